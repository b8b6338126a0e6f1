"""Runs of a second: a task that a tiny model learns, written as the user's own text."""
import json
import random

from minitx.presets import choose
from minitx.run_folder import RunFolder
from minitx.settings import Settings
from minitx.silent import Silent

WORDS = "ant bee cat dog eel fox gnu hen".split()


class Stopped(Exception):
    """Stands for a kill: nothing below may save anything on its way out."""


class At(Silent):
    """A console that calls `action` when update number `step` is done, and collects what it is told."""

    def __init__(self, step=None, action=None):
        self.when, self.action, self.notes, self.steps, self.scores, self.samples = step, action, [], [], [], []

    def note(self, text):
        self.notes.append(text)

    def step(self, step, loss, tokens_per_second, learning_rate, eta):
        self.steps.append((step, loss, learning_rate))
        if step == self.when:
            self.action()

    def validation(self, step, metrics, samples, best):
        self.samples.append(samples)

    def finished(self, run, splits, *rest):
        self.scores.append(splits)


def kill():
    """For `At`: end the run as a kill does, as far as its files can tell."""
    raise Stopped


def write_text(folder, n=120):
    """Files of n sentences and their translations, the words in upper case and reverse order; returns the settings that name them."""
    drawn = random.Random(0)
    sources = [[drawn.choice(WORDS) for _ in range(drawn.randint(2, 6))] for _ in range(n)]
    targets = [[word.upper() for word in reversed(words)] for words in sources]
    for name, sentences in (("src", sources), ("tgt", targets)):
        (folder / f"{name}.txt").write_text("".join(" ".join(words) + "\n" for words in sentences), encoding="utf-8")
    return {"src": str(folder / "src.txt"), "tgt": str(folder / "tgt.txt")}


def small_settings(folder, **changes):
    """Settings of a tiny model on `write_text`: 60 steps with everything on that a resumed run could get wrong."""
    values = dict(d_model=16, n_heads=2, n_layers=1, d_ff=32, max_length=16, pair=None, steps=60, validate_every=20, batch_tokens=120,
                  accumulate=2, learning_rate=5e-3, warmup=10, dropout=0.2, label_smoothing=0.1)
    return Settings(**values | write_text(folder) | changes)


def write_rhyme(folder, n=150):
    """A file of n lines in which each word decides the next; returns the settings that name it."""
    drawn = random.Random(0)
    lines = []
    for _ in range(n):
        first = drawn.randrange(len(WORDS))
        lines.append(" ".join(WORDS[(first + place) % len(WORDS)] for place in range(drawn.randint(2, 6))))
    (folder / "rhyme.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"text": str(folder / "rhyme.txt")}


def small_text_settings(folder, **changes):
    """Settings of a tiny language model on `write_rhyme`: 60 steps with everything on that a resumed run could get wrong."""
    values = dict(d_model=16, n_heads=2, n_layers=1, d_ff=32, block=24, batch_sequences=4, steps=60, validate_every=20, accumulate=2,
                  learning_rate=5e-3, warmup=10, dropout=0.2, label_smoothing=0.1)
    return choose(values | write_rhyme(folder) | changes)[0]


def files_of(run):
    """{name: bytes} of what must be the same, bit for bit, in two runs."""
    folder = RunFolder(run)
    paths = folder.last, folder.model, folder.tokenizer, folder.validation, folder.validation_text
    return {path.name: path.read_bytes() for path in paths if path.exists()}


def metrics_of(run):
    """The lines of metrics.jsonl."""
    return [json.loads(line) for line in RunFolder(run).metrics.read_text(encoding="utf-8").splitlines()]


def record_of(run):
    """The lines of metrics.jsonl, without what depends on the clock."""
    return [{name: value for name, value in line.items() if name != "tokens_per_second"} for line in metrics_of(run)]
