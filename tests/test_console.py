"""What a user sees: the right words, no control characters without a terminal, nothing wider than the terminal."""
import io

import numpy as np
import pytest
from rich.cells import cell_len

from minitx.decoding.generator import NextToken
from minitx.console import Console, attention_lines, marked
from minitx.silent import Silent
from minitx.settings import Settings

ENGLISH, SPANISH = "the red cats do not see the dog", "los gatos rojos no ven al perro"


def show_everything(console):
    """Every moment of a run, in order."""
    with console:
        console.machine({"cores": 2, "threads": 2, "threading_layer": "omp", "blas": "openblas 0.3", "cuda": "no"})
        compiled = []
        console.compiling((compiled.append(title) or title for title in ["softmax", "attention"]), 2)
        assert compiled == ["softmax", "attention"]
        console.data("English", "Spanish", {"training": 20000, "longer": 500}, "words", (312, 420))
        console.examples([(ENGLISH, SPANISH), ("this is a cat", "这是一只猫")])
        console.teacher_forcing(ENGLISH.split(), SPANISH.split())
        console.text("poems.txt", {"to train on": 1000, "to validate with": 100}, "characters", 69)
        console.excerpt("First Citizen:\nBefore we proceed")
        console.next_token(list("First▁C↵"))
        console.prefix(ENGLISH.split(), SPANISH.split())
        console.model(1_234_567, Settings())
        console.plan(100, 3700, first=10)
        for step in range(11, 101):
            console.step(step, 3 / step, 41_234.5, 1e-3, 100 - step)
        metrics = {"loss": 0.5, "exact_match": 0.61, "bleu": None}
        console.validation(50, metrics, [(ENGLISH, SPANISH, "los gatos")], best=True)
        console.validation(75, {"loss": 0.4, "perplexity": 1.49}, [("ROMEO:\n", None, "O\n\nJuliet")], best=False)
        console.trained(90, 250.0, {"validations": 10.0, "saving": 2.0})
        console.sample("ROMEO:\n", "O\n\nJuliet")
        console.distribution("ROMEO", [NextToken(":", 0.9, 1.0), NextToken("▁", 0.05, 0.0), NextToken("猫", 0.01, 0.0)])
        console.note("a sentence")
        console.attention(ENGLISH.split(), SPANISH.split(), np.eye(7, 8))
        scores = {"unseen_sentences": {"exact_match": 0.981, "bleu": 98.2, "loss": 0.02}}
        rules = {"plural": {"accuracy": 0.99, "count": 1512}, "copula": {"accuracy": 0.5, "count": 2},
                 "了": {"accuracy": 1.0, "count": 3}}
        console.finished("runs/en-es", scores, rules, ["loss.png"], "minitx translate runs/en-es", "nrefs:1")
        console.speed(1014, 4.0, 1)
        console.text_scores(
            [{"measure": "BLEU", "form": "tokenised, lowercased", "score": 41.02, "signature": "nrefs:1|case:lc"}],
            [{"words": "1–5", "sentences": 1, "bleu": 50.0}, {"words": "over 60", "sentences": 1200, "bleu": 0.0}])
        console.picture("runs/en-es/bleu-by-length.png")
        console.interrupted("runs/en es")


def shown(**kwargs):
    file = io.StringIO()
    show_everything(Console(file, preset="toy", **kwargs))
    return file.getvalue()


def test_a_run_is_told_from_start_to_end():
    text = shown(width=100)
    for part in ("2 cores", "compiling 2 kernels", "English → Spanish", "20,000 training", "preset toy", "<bos>",
                 "1,234,567 parameters", "90 steps, about 1 h 01 min", "step 11/100", "step 100/100",
                 "exact match 61.0%", "★", "98.1%", "of 1,512", "nrefs:1", "Next: minitx translate",
                 "minitx train --resume 'runs/en es'", "Learning to go on with poems.txt", "1,000 tokens to train on",
                 "a vocabulary of 69", "it reads      F  i  r  s  t  ▁  C", "and predicts  i  r  s  t  ▁  C  ↵", "perplexity 1.49",
                 "    ROMEO:\n    O\n    \n    Juliet", "BLEU  41.0  tokenised, lowercased  nrefs:1|case:lc", f"    1–5   50.0  {'━' * 20}  1 sentence\n", "over 60    0.0", "1,200 sentences",
                 "90 steps in 4 min 10 s, of which 4.0% on validations, 0.8% on saving", "1,014 sentences in 4.0 s, 254 a second: greedy",
                 "What it writes now", "drawn with", "90.00%     100.00%"):
        assert part in text, part


def test_a_target_is_predicted_only_behind_its_source():
    screen = io.StringIO()
    Console(screen, width=100).prefix(["red", "cats"], ["gatos", "rojos"])
    assert screen.getvalue().splitlines()[2:] == ["  it reads      red  cats  <eos>  <bos>  gatos  rojos",
                                                 "  and predicts                    gatos  rojos  <eos>"]


def test_without_a_terminal_there_are_no_control_characters():
    assert not [character for character in shown(width=60) if ord(character) < 32 and character != "\n"]


def test_the_weakest_rule_comes_first():
    text = shown(width=100)
    assert text.index("copula") < text.index("plural") < text.index("all right: 了")


@pytest.mark.parametrize("width", [60, 200])
def test_a_terminal_gets_a_progress_bar_and_its_cursor_back(width, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    text = shown(width=width)
    assert "100/100" in text and text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_the_silent_one_knows_every_moment():
    show_everything(Silent())
    assert {name for name in vars(Console) if not name.startswith("_")} <= set(vars(Silent))


@pytest.mark.parametrize(
    "reference, hypothesis, plain",
    [
        (SPANISH, SPANISH, SPANISH + " ✓"),
        (SPANISH, "los gatos rojas no ven perro", "los gatos [rojas] no ven […] perro"),
        ("这是一只猫", "这是一个猫", "这是一[个]猫"),
        ("a b", "", "[…]"),
        ("", "a", "[a]"),
        ("the [bold] cat", "the [bold] dog", "the [bold] [dog]"),
    ],
)
def test_wrong_and_missing_words_are_marked(reference, hypothesis, plain):
    assert marked(reference, hypothesis).plain == plain


@pytest.mark.parametrize("width", [20, 40, 60, 100])
@pytest.mark.parametrize("source", [ENGLISH.split(), list("这是一只猫"), ["incomprehensibilities"] * 30, ["x"]])
def test_a_map_of_attention_fits_the_terminal(source, width):
    target = ["고양이들은", "perro", "incomprehensibilities"]
    lines = attention_lines(source, target, np.ones((3, len(source))), width)
    assert lines and max(cell_len(line.plain) for line in lines) <= width
    assert sum(line.plain.count("█") for line in lines) >= len(source)


def test_a_map_is_darkest_where_attention_is_most():
    words, row = (line.plain for line in attention_lines(["aa", "bb"], ["x"], [[0.1, 0.9]], 40))
    assert words.index("bb") == row.index("██")


def test_a_map_of_nothing_is_blank():
    assert attention_lines(["a"], ["x"], [[0.0]], 40)[-1].plain.strip() == "x"


def test_a_model_that_does_not_stop_is_cut_short():
    shown = str(marked("ein hund", "ein " * 100))
    assert shown.endswith("[…]") and shown.count("ein") < 10
