"""The commands `minitx attention`, `minitx neighbours` and `minitx grammar`: where a translator looks, what it takes for alike, what it learns from."""
from pathlib import Path

from ..errors import UserError
from .typed import Switch, Whole, translator_of, typed


def attention(run: Path, text: str, /, *, layer: Whole | None = None, head: Whole | None = None, beam: Whole = 1, out: Path | None = None):
    """Draw where the decoder looks when it writes each word of a translation.

    Without --layer and --head: the maps of all heads on one sheet.

    Parameters
    ----------
    run
        folder of the run that minitx train made
    text
        a sentence, in quotes
    layer
        one of the decoder's layers, from 1 [default: the last, if --head is given]
    head
        one of its heads, from 1 [default: the mean of all, if --layer is given]
    beam
        hypotheses kept by the search; 1 is greedy
    out
        PNG file [default: attention-heads.png or attention-map.png in the run]
    """
    from .. import plots
    from ..console import Console

    source, target, maps = translator_of(run).attention_maps(typed(text), beam=beam)
    for name, number, count in (("layer", layer, maps.shape[0]), ("head", head, maps.shape[1])):
        if number is not None and not 1 <= number <= count:
            raise UserError(f"{name} is {number}, but the model has {count}; take one from 1 to {count}")
    of_layer = maps[-1 if layer is None else layer - 1]  # (heads, target time, source time)
    matrix = of_layer.mean(axis=0) if head is None else of_layer[head - 1]
    console = Console()
    console.attention(source, target, matrix)
    if layer is None and head is None:
        path = out or run / "attention-heads.png"
        missing_font = plots.attention_sheet(source, target, maps, path)
    else:
        path = out or run / "attention-map.png"
        missing_font = plots.attention_map(source, target, matrix, path)
    if missing_font:
        console.note(missing_font)
    print(f"\n{path}")


def neighbours(run: Path, /, *text: str, among: Path | None = None, n: Whole = 5):
    """Show the sentences that the encoder takes to mean most alike.

    Each line is the number of the text, the cosine of the two sentences' vectors (less the mean of all that are looked among), and a sentence.

    Parameters
    ----------
    run
        folder of the run that minitx train made
    text
        sentences, each in quotes
    among
        file with the sentences to look among, one a line [default: the held-out sentences of the run]
    n
        how many to show of each
    """
    if not text:
        raise UserError("there is no sentence to find neighbours of; give one, in quotes, behind the run")
    if not 1 <= n <= 1000:
        raise UserError(f"n is {n} but must be a whole number from 1 to 1,000")
    from ..data.files import read_lines
    from ..training.evaluate import held_out

    translator = translator_of(run)
    form = translator.tokenizers.punctuation[0]
    sentences = read_lines(among) if among else [pair.source for pairs in held_out(run).values() for pair in pairs]
    if form and not among:
        sentences = [form.join(sentence) for sentence in sentences]
    for number, found in enumerate(translator.neighbours([typed(one) for one in text], sentences, n), 1):
        print(*(f"{number}\t{one.similarity:.4f}\t{one.text}" for one in found), sep="\n")


def grammar(*, pair: str = "en-es", n: Whole = 5, seed: Whole = 0, rules: Switch = False):
    """Show the toy languages: sentences, translations, rules.

    Parameters
    ----------
    pair
        two toy languages, SOURCE-TARGET
    n
        number of sentences
    seed
        another seed, other sentences
    rules
        show the table of all rules instead
    """
    if not 1 <= n <= 100_000:
        raise UserError(f"n is {n} but must be a whole number from 1 to 100,000")
    if seed < 0:
        raise UserError(f"seed is {seed} but must be a whole number from 0")
    from ..data import toy

    print(_rules_table(toy.RULES) if rules else toy.describe(pair, n, seed))


def _rules_table(rules):
    from rich.cells import cell_len, set_cell_size

    width = max(map(cell_len, rules)) + 2
    return "\n".join(set_cell_size(name, width) + explanation for name, explanation in rules.items())
