"""What a run is trained and scored on: the toy languages, or the user's own text, in one shape."""
from dataclasses import dataclass, field

from ..data import files, toy
from ..errors import UserError


@dataclass
class Corpus:
    """Sentence pairs. `splits` are scored at the end; for the toy languages they are lists of Examples, which know their rules."""

    source: str  # names of the languages or files, for the screen
    target: str
    train: list
    validation: list
    splits: dict = field(default_factory=dict)
    hashes: dict = field(default_factory=dict)  # of the user's files, by setting
    report: str = ""  # what was left out


def load(settings) -> Corpus:
    """The corpus that the settings name; the same settings and files give the same one."""
    return _own_text(settings) if settings.own_text else _toy(settings)


def _toy(settings):
    source, target = toy.parse_pair(settings.pair)
    corpus = toy.corpus(settings.pair, seed=settings.seed)
    return Corpus(toy.LANGUAGES[source].name, toy.LANGUAGES[target].name, _pairs(corpus.train), _pairs(corpus.validation), dict(corpus.splits))


def _own_text(settings):
    if settings.tsv is not None:
        named, pairs = ("tsv",), files.read_tsv(settings.tsv)
        source, target = f"{settings.tsv}, left of the tab", "right of it"
    else:
        named, pairs = ("src", "tgt"), files.read_parallel(settings.src, settings.tgt)
        source, target = settings.src, settings.tgt
    pairs, report = files.clean(pairs)
    report = str(report)
    if settings.valid_src is not None:
        named += ("valid_src", "valid_tgt")
        validation, left_out = files.clean(files.read_parallel(settings.valid_src, settings.valid_tgt), "of valid_src and valid_tgt ")
        report += f"\nvalidation: {left_out}"
    else:
        pairs, validation = files.split_validation(pairs, seed=settings.seed)
    hashes = {name: files.sha256(getattr(settings, name)) for name in named}
    return Corpus(source, target, pairs, validation, {"validation": validation}, hashes, report)


def check_hashes(settings, saved: dict, hashes: dict):
    """Refuse to go on with other text than a run was started with."""
    for name, value in saved.items():
        if hashes.get(name) != value:
            raise UserError(f"{name}: {getattr(settings, name)} is not the file that the run was started with; name the right one with --{name.replace('_', '-')}")


def _pairs(examples):
    return [files.Pair(example.source, example.target) for example in examples]
