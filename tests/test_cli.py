"""The command line as a person or a script meets it: exit codes, what goes where, and what each flag hands on."""
import dataclasses
import io
import json
import os
import subprocess
import sys
import types

import pytest

import minitx
from minitx import cli
from minitx.decoding.generator import NextToken
from minitx.errors import UserError
from minitx.settings import Settings


@dataclasses.dataclass
class Hypothesis:
    text: str
    score: float


class Translator:
    """Translates by shouting; `asked` is what it was asked for."""

    settings = Settings()

    def __init__(self, asked):
        self.asked = asked

    def translate(self, lines, beam, n_best, **options):
        self.asked.update(beam=beam, n_best=n_best, **options)
        if n_best > 1:
            return [[Hypothesis(line.upper(), -1 - 0.5 * rank) for rank in range(n_best)] for line in lines]
        return [line.upper() for line in lines]

    def sample(self, lines, n, seed, **options):
        self.asked.update(n=n, seed=seed, **options)
        return [[Hypothesis(line.upper(), -rank) for rank in range(n)] for line in lines]

    def unknown(self, line):
        return [word for word in line.split() if word.startswith("x")]

    def attention(self, line, beam=1):
        return line.split(), line.upper().split(), [[1.0] * len(line.split())] * len(line.split())


@pytest.fixture
def translator(monkeypatch):
    asked = {}

    def load(run, device="cpu", ensemble=()):
        asked.update(device=device, ensemble=[str(one) for one in ensemble])
        return Translator(asked)

    monkeypatch.setattr(minitx, "load", load)
    return asked


class Generator:
    """Goes on with the prompt in capital letters; `asked` is what it was asked for."""

    def __init__(self):
        self.asked = []

    def generate(self, prompts, n, **options):
        self.asked.append(options)
        texts = [[f"{prompt.upper()}{number}" for number in range(n)] for prompt in prompts]
        return texts if n > 1 else [one for [one] in texts]

    def stream(self, prompt, **options):
        self.asked.append(options)
        yield from prompt.upper()

    def next_tokens(self, prompt, **options):
        self.asked.append(options)
        return [NextToken("▁", 0.75, 1.0), NextToken("猫", 0.25, 0.0)]

    def unknown(self, text):
        return [letter for letter in text if letter == "x"]


@pytest.fixture
def generator(monkeypatch):
    one = Generator()
    monkeypatch.setattr(minitx, "load", lambda run, device, **options: one)
    return one


@pytest.fixture
def trainer(monkeypatch):
    """Stands in for minitx.training.run; `calls` are the settings and arguments it was given."""

    class Interrupted(Exception):
        def __init__(self, run):
            self.run = run

    def train(settings, **arguments):
        module.calls.append((settings, arguments))
        if module.raises:
            raise module.raises

    module = types.SimpleNamespace(train=train, Interrupted=Interrupted, calls=[], raises=None)
    monkeypatch.setitem(sys.modules, "minitx.training.run", module)
    return module


def stdin(monkeypatch, *chunks):
    """Standard input whose bytes come in these pieces."""

    class Pipe(io.BytesIO):
        def read1(self, size=-1):
            return next(pieces, b"")

    pieces = iter(chunks)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Pipe(), encoding="utf-8"))


def refused(capfd, *arguments):
    """The message of a command that must be refused as the user's mistake."""
    assert cli.main(list(arguments)) == 2
    out, error = capfd.readouterr()
    assert out == "" and 1 <= len(error.splitlines()) <= 3 and "Traceback" not in error
    return error


@pytest.mark.parametrize(
    "command, said",
    [
        ("train --pair english", "en-es"),
        ("train --pair en-xx", "en, es, ko, zh"),
        ("grammar --pair en-xx", "en, es, ko, zh"),
        ("train --d-model 130 --n-heads 4", "128 or 132"),
        ("train --d-model -8", "d_model is -8"),
        ("train --steps -1", "steps is -1"),
        ("train --steps 5.5", "whole number"),
        ("train --learning-rate nan", "learning_rate is nan"),
        ("train --device tpu", "cpu"),
        ("train --no-such-flag 3", "--no-such-flag"),
        ("train --d-modle 3", "--d-model"),
        ("train --d-model", "requires an argument"),
        ("train --src one", "src is given without tgt"),
        ("train --resume nowhere", "no such folder"),
        ("train --resume run --out other", "drop --preset, --out"),
        ("train --preset nothing", "toy, small"),
        ("translate", "RUN"),
        ("translate run hello --beam 0", "beam is 0"),
        ("translate run hello --n-best 3", "--beam 3"),
        ("translate run hello --samples 2 --beam 3", "drop one of the two"),
        ("translate run hello --samples -1", "samples is -1"),
        ("translate run hello --samples 2 --n-best 2", "drop --n-best"),
        ("translate run hello --temperature 0.5", "nothing is drawn; add --samples 3, or drop --temperature"),
        ("translate run hello --top-k 5 --beam 4", "drop --top-k"),
        ("translate run hello --alpha 0.6", "alpha is 0.6, but only a beam ranks translations by it"),
        ("evaluate run --beta 0.1", "beta is 0.1, but only a beam"),
        ("evaluate run --src text", "src and ref"),
        ("attention run", "TEXT"),
        ("neighbours run", "no sentence to find neighbours of"),
        ("neighbours run hello --n 0", "n is 0"),
        ("train --text a --pair en-es", "drop one"),
        ("train --text a --model encoder-decoder", "drop --model encoder-decoder"),
        ("train --tsv=", "tsv is an empty name"),
        ("train --preset multi30k-tiny --src a --tgt b --model decoder-only", "take --norm pre"),
        ("train --text a --batch-tokens 9", "--batch-sequences and --block"),
        ("train --block 9", "drop --block"),
        ("generate", "RUN"),
        ("generate run --n 0", "n is 0"),
        ("generate run --top-k 1.5", "whole number"),
        ("generate run --stream --n 2", "stream is for one text, but 2"),
        ("generate run --show-distribution --prompt a --prompt b", "show_distribution is for one text, but 2"),
        ("generate run --out picture.png", "add --show-distribution"),
        ("generate run --prompt", "requires an argument"),
        ("generate nowhere", "no such folder"),
        ("grammar --n 0", "n is 0"),
        ("grammar --seed -1", "seed is -1"),
        ("nonsense", "nonsense"),
    ],
)
def test_a_mistake_is_told_in_a_line_or_two_with_exit_code_2(command, said, capfd):
    assert said in refused(capfd, *command.split())


@pytest.mark.parametrize("command", ["train --device cuda", "translate run hello --device cuda", "generate run --device cuda", "evaluate run --device cuda"])
def test_cuda_without_cuda_says_in_a_line_what_is_missing_and_what_to_type(command, capfd, monkeypatch):
    monkeypatch.setattr("minitx.kernels.runtime.gpu.find_driver", lambda: None)
    monkeypatch.setattr("minitx.kernels.runtime.gpu._version", lambda *packages: None)
    said = refused(capfd, *command.split())
    assert "no NVIDIA driver was found" in said and "numba-cuda and CuPy with pip install 'minitx[cuda13]'" in said and "--device cpu" in said
    assert said.count("\n") <= 1


def test_only_the_flags_that_were_typed_change_the_preset(trainer, capfd):
    typed = ["--src", "a", "--tgt", "b", "--d-model", "64", "--no-joint-vocabulary", "--tie-embeddings", "none"]
    assert cli.main(["train", *typed, "--out", "run"]) == 0
    settings, arguments = trainer.calls[0]
    assert (settings.d_model, settings.joint_vocabulary, settings.tokenizer) == (64, False, "bpe")
    assert str(arguments["out"]) == "run" and not arguments["overwrite"] and arguments["resume"] is None


def test_train_alone_is_the_default_translator(trainer):
    assert cli.main(["train"]) == 0
    assert trainer.calls[0][0] == Settings() and trainer.calls[0][1]["out"] is None


def test_resume_takes_the_settings_of_the_run(trainer, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"settings": Settings(seed=3).to_json()}), "utf-8")
    assert cli.main(["train", "--resume", str(tmp_path), "--threads", "1"]) == 0
    assert trainer.calls[0][0] == Settings(seed=3, threads=1)


def test_an_interrupted_run_says_how_to_go_on(trainer, capfd):
    trainer.raises = trainer.Interrupted("runs/en-es")
    assert cli.main(["train"]) == 130
    assert "minitx train --resume runs/en-es" in capfd.readouterr().out


@pytest.mark.parametrize(
    "error, code, said",
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (UserError("a: wrong\nb"), 2, "a: wrong"),
        (OSError(28, "No space left on device", "run/last"), 1, "run/last: No space left on device"),
        (MemoryError("512 GiB"), 1, "out of memory"),
        (FloatingPointError("the loss became nan; try a lower --learning-rate"), 1, "error: the loss became nan; try a lower --learning-rate\n"),
        (ZeroDivisionError("by\nzero"), 1, "ZeroDivisionError: by (a fault of minitx; MINITX_DEBUG=1 shows where)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_goes_wrong_in_a_run_is_one_line(trainer, capfd, monkeypatch, error, code, said):
    monkeypatch.delenv("MINITX_DEBUG", raising=False)
    trainer.raises = error
    assert cli.main(["train"]) == code
    assert said in capfd.readouterr().err


def test_a_fault_of_ours_can_be_seen_whole(trainer, monkeypatch):
    monkeypatch.setenv("MINITX_DEBUG", "1")
    trainer.raises = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        cli.main(["train"])


def test_typed_sentences_are_translated_line_by_line(translator, capfd):
    assert cli.main(["translate", "run", "the cat", "--", "- a\u2028b"]) == 0
    assert capfd.readouterr() == ("THE CAT\n- A B\n", "")


def test_every_line_of_stdin_gives_one_line_wherever_the_pipe_cuts_it(translator, capfd, monkeypatch):
    stdin(monkeypatch, b"\xef\xbb\xbfthe cat\n\ncaf\xc3", b"\xa9\r\nlast")
    assert cli.main(["translate", "run"]) == 0
    assert capfd.readouterr() == ("THE CAT\n\nCAFÉ\nLAST\n", "")


def test_odd_lines_warn_and_are_still_translated(translator, capfd, monkeypatch):
    stdin(monkeypatch, b"a xenon\nb\xff\n")
    assert cli.main(["translate", "run"]) == 0
    out, error = capfd.readouterr()
    assert out == "A XENON\nB\ufffd\n"
    assert "sentence 1: never seen in training: xenon" in error and "not UTF-8" in error


def test_every_option_of_the_search_is_handed_on(translator, capfd):
    options = "--beam 3 --alpha 0.5 --beta 0.2 --ensemble two --ensemble three --copy-unknown --tokenised"
    assert cli.main(["translate", "run", "a", *options.split(), "--prefix", "der Hund"]) == 0
    assert translator == {"device": "cpu", "ensemble": ["two", "three"], "beam": 3, "n_best": 1, "alpha": 0.5, "beta": 0.2, "prefix": "der Hund",
                          "copy_unknown": True, "tokenised": True}


def test_samples_are_printed_as_the_n_best_are(translator, capfd):
    assert cli.main(["translate", "run", "a", "--samples", "2", "--temperature", "0.5", "--top-k", "4", "--top-p", "0.9", "--seed", "7"]) == 0
    assert capfd.readouterr().out == "1\t0.0000\tA\n1\t-1.0000\tA\n"
    assert [translator[name] for name in ("n", "seed", "temperature", "top_k", "top_p", "prefix")] == [2, 7, 0.5, 4, 0.9, ""]


def test_n_best_prints_number_score_and_text(translator, capfd):
    assert cli.main(["translate", "run", "a", "b", "--beam", "2", "--n-best", "2"]) == 0
    assert capfd.readouterr().out == "1\t-1.0000\tA\n1\t-1.5000\tA\n2\t-1.0000\tB\n2\t-1.5000\tB\n"


def test_attention_is_drawn_under_its_translation(translator, capfd):
    assert cli.main(["translate", "run", "the cat", "--show-attention"]) == 0
    assert capfd.readouterr().out.startswith("THE CAT\n\nAttention")


@pytest.mark.parametrize("flag", ["--show-attention", "--copy-unknown"])
def test_a_model_without_attention_is_not_asked_for_it(translator, capfd, monkeypatch, flag):
    monkeypatch.setattr(Translator, "settings", Settings(model="recurrent", score="none"))
    assert cli.main(["translate", "run", "the cat", flag]) == 2
    assert capfd.readouterr() == ("", f"error: run has no attention: it was trained with --score none; drop {flag}\n")


def test_a_prompt_is_printed_with_what_comes_after_it(generator, capfd):
    assert cli.main(["generate", "run", "--prompt", "a\ncat"]) == 0
    assert capfd.readouterr() == ("a\ncatA\nCAT0\n", "")
    assert cli.main(["generate", "run"]) == 0
    assert capfd.readouterr().out == "0\n"


def test_several_texts_are_numbered(generator, capfd):
    assert cli.main(["generate", "run", "--prompt", "a", "--prompt", "b", "--n", "2"]) == 0
    assert capfd.readouterr().out == "── 1 of 4 ──\naA0\n── 2 of 4 ──\naA1\n── 3 of 4 ──\nbB0\n── 4 of 4 ──\nbB1\n"


def test_a_stream_is_printed_behind_its_prompt(generator, capfd):
    assert cli.main(["generate", "run", "--prompt", "ab", "--stream"]) == 0
    assert capfd.readouterr().out == "abAB\n"


def test_a_text_may_begin_with_a_dash(translator, capfd):
    assert cli.main(["translate", "run", "a", "--prefix", "- b"]) == 0
    assert translator["prefix"] == "- b"


@pytest.mark.parametrize("stream", [[], ["--stream"]], ids=["whole", "streamed"])
def test_every_flag_of_the_sampling_is_handed_on(generator, stream):
    flags = "--max-tokens 7 --temperature 0.5 --top-k 3 --top-p 0.9 --min-p 0.1 --repetition-penalty 1.2 --seed 4 --stop a --stop b"
    assert cli.main(["generate", "run", *flags.split(), *stream]) == 0
    assert generator.asked == [{"max_tokens": 7, "temperature": 0.5, "top_k": 3, "top_p": 0.9, "min_p": 0.1, "repetition_penalty": 1.2,
                                "seed": 4, "stop": ["a", "b"]}]


def test_the_next_tokens_are_shown_as_a_table_and_a_picture(generator, capfd, tmp_path):
    picture = tmp_path / "next.png"
    assert cli.main(["generate", "run", "--prompt", "the", "--show-distribution", "--top-k", "1", "--out", str(picture)]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].split() == ["probability", "drawn", "with"]
    assert lines[1].split()[:3] == ["'▁'", "75.00%", "100.00%"] and lines[2].split() == ["'猫'", "25.00%", "–"]
    assert picture.read_bytes().startswith(b"\x89PNG") and generator.asked[0]["top_k"] == 1


def test_a_character_the_model_has_never_seen_warns_and_it_goes_on(generator, capfd):
    assert cli.main(["generate", "run", "--prompt", "a", "--prompt", "fax"]) == 0
    out, error = capfd.readouterr()
    assert "faxFAX0" in out and error == "warning: prompt 2: never seen in training: 'x'\n"


def test_a_translator_does_not_generate(translator, capfd):
    assert "is a translator; use it with minitx translate" in refused(capfd, "generate", "run", "--prompt", "a")


def test_a_language_model_does_not_translate(generator, capfd):
    assert "is a language model; use it with minitx generate" in refused(capfd, "translate", "run", "a")


@pytest.fixture
def evaluation(monkeypatch):
    result = {
        "splits": {"longer": {"exact_match": 0.5, "bleu": 70.0, "loss": float("nan")}},
        "rules": {"negation": {"accuracy": 1.0, "count": 3}},
    }
    asked = {}
    module = types.SimpleNamespace(evaluate=lambda run, **options: asked.update(options) or result)
    monkeypatch.setitem(sys.modules, "minitx.training.evaluate", module)
    return result, asked


def test_evaluate_prints_scores(evaluation, capfd):
    assert cli.main(["evaluate", "run"]) == 0
    out = capfd.readouterr().out
    assert "longer" in out and "50.0%" in out and "negation" in out


def test_evaluate_json_is_one_valid_object(evaluation, capfd):
    assert cli.main(["evaluate", "run", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["splits"]["longer"] == {"exact_match": 0.5, "bleu": 70.0, "loss": None}


def test_json_has_no_infinity_however_deep(evaluation, capfd):
    evaluation[0]["scores"] = [{"score": float("inf"), "parts": (float("nan"), 1.0)}]
    assert cli.main(["evaluate", "run", "--json"]) == 0
    assert json.loads(capfd.readouterr().out, parse_constant=pytest.fail)["scores"] == [{"score": None, "parts": [None, 1.0]}]


def test_text_is_scored_as_papers_report_it_and_by_length(evaluation, capfd, tmp_path):
    result, asked = evaluation
    result["scores"] = [{"measure": "chrF", "form": "raw text", "score": 61.5, "signature": "nrefs:1|nc:6"}]
    result["lengths"] = [{"words": "1–5", "sentences": 2, "bleu": 40.0}]
    result["speed"] = {"sentences": 2, "seconds": 0.5, "sentences_per_second": 4.0}
    assert cli.main(["evaluate", str(tmp_path), "--beam", "5", "--alpha", "0.6", "--beta", "0.2", "--ensemble", "b", "--ensemble", "c", "--copy-unknown"]) == 0
    assert asked["copy_unknown"] is True
    assert (asked["beam"], asked["alpha"], asked["beta"], [str(one) for one in asked["ensemble"]]) == (5, 0.6, 0.2, ["b", "c"])
    out = capfd.readouterr().out
    assert "chrF  61.5  raw text" in out and "nrefs:1|nc:6" in out and "2 sentences" in out and str(tmp_path / "bleu-by-length.png") in out
    assert "2 sentences in 0.5 s, 4 a second: beam 5" in out
    assert (tmp_path / "bleu-by-length.png").read_bytes()[:4] == b"\x89PNG"
    assert cli.main(["evaluate", str(tmp_path), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["scores"][0]["score"] == 61.5
    (tmp_path / "bleu-by-length.png.tmp").mkdir()  # so that nothing can be written, as in a folder that may only be read
    assert cli.main(["evaluate", str(tmp_path)]) == 0
    assert "chrF  61.5" in (out := capfd.readouterr().out) and "without its picture" in out


def test_a_language_model_is_scored_on_its_own_text_or_another(monkeypatch, capfd):
    def evaluate(run, text, **options):
        return {str(text or "validation"): {"loss": 1.5, "perplexity": 4.48}}

    monkeypatch.setitem(sys.modules, "minitx.training.evaluate", types.SimpleNamespace(evaluate=evaluate))
    assert cli.main(["evaluate", "run"]) == 0
    assert "validation  loss 1.500  perplexity 4.48" in capfd.readouterr().out
    assert cli.main(["evaluate", "run", "--text", "a.txt", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {"a.txt": {"loss": 1.5, "perplexity": 4.48}}


def test_info_tells_the_machine_in_lines_and_in_json(capfd):
    assert cli.main(["info", "--json"]) == 0
    facts = json.loads(capfd.readouterr().out)
    assert {"minitx", "python", "cores", "threads", "threading_layer", "blas", "cache", "cuda", "numba"} <= set(facts)
    assert cli.main(["info"]) == 0
    assert f"threads           {facts['threads']}" in capfd.readouterr().out


@pytest.mark.parametrize("rules", [[], ["--rules"]], ids=["sentences", "rules"])
def test_grammar_prints_sentences_or_rules(rules, capfd):
    assert cli.main(["grammar", "--pair", "en-ko", "--n", "3", *rules]) == 0
    assert len(capfd.readouterr().out.splitlines()) >= 3


@pytest.mark.parametrize("command", ["train", "translate", "generate", "evaluate", "attention", "neighbours", "grammar", "info", "bench"])
def test_every_flag_has_help(command, capfd):
    assert cli.main([command, "--help"]) == 0
    text = capfd.readouterr().out
    flags = [line for line in text.splitlines() if line.lstrip().startswith("--")]
    assert flags and all(len(line.split()) > 2 for line in flags if not line.startswith("    --no-"))


def test_every_setting_is_a_flag(capfd):
    assert cli.main(["train", "--help"]) == 0
    text = capfd.readouterr().out
    flags = [f"--{field.name.replace('_', '-')} " for field in dataclasses.fields(Settings)]
    assert [flag for flag in flags if flag not in text] == []


def run(*arguments, **kwargs):
    return subprocess.run([sys.executable, "-m", "minitx", *arguments], capture_output=True, encoding="utf-8", **kwargs)


def test_version_names_the_version():
    assert run("--version").stdout == f"{minitx.__version__}\n"


def test_help_is_quick_because_nothing_heavy_is_loaded():
    code = "import sys, minitx.cli; print([m for m in ('matplotlib', 'tokenizers', 'sacrebleu') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_a_reader_that_leaves_ends_the_command_without_a_word():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-m", "minitx", "info"], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert done.stderr == "" and done.returncode == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full, an always full disk, exists on Linux only")
def test_a_full_disk_is_one_line_and_exit_code_1():
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "minitx", "info"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and done.stderr == "error: No space left on device\n"


def test_a_locale_without_utf8_does_not_matter():
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0"}
    assert "×" in run("train", "--help", env=plain).stdout
    assert run("train", "--resume", "España", env=plain).returncode == 2
