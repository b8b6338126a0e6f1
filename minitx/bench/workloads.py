"""The whole pieces of work that are measured: two language models, a translator, its greedy decoding, and for a GPU a large translator.

What both sides need to do the same, the initial weights and the batches, is written into a folder that each side reads.
"""
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from ..data import files
from ..data.batches import BOS, SPECIAL_TOKENS, Batches, length_batches

TRANSLATOR = {"d_model": 128, "n_heads": 4, "n_layers": 4, "d_ff": 256, "dropout": 0.3, "activation_dropout": 0.0, "norm": "post", "activation": "relu",
              "positions": "sinusoidal", "tie_embeddings": "all", "max_length": 256}


@dataclass(frozen=True)
class Workload:
    """One piece of work. `batch` is (sequences, time) of a language model and (target tokens, batches) of a translator."""

    name: str
    title: str
    kind: str  # "language model", "translator" or "decoding"
    model: dict
    vocabulary: int
    batch: tuple
    label_smoothing: float = 0.0
    optimizer: dict = field(default_factory=dict)  # of AdamW; with weight_decay 0 that is Adam
    clip: float = 0.0
    dtype: str = "float32"
    only_cuda: bool = False  # too much for a CPU

    def without_dropout(self):
        """The same work, every number of which follows from the weights."""
        return replace(self, model={**self.model, "dropout": 0.0})


WORKLOADS = {workload.name: workload for workload in (
    Workload("W1", "language model step: 4 layers, 4 heads, d 128, 12×64 tokens", "language model",
             {"d_model": 128, "n_heads": 4, "n_layers": 4, "bias": False, "max_length": 64}, 65, (12, 64),
             optimizer={"learning_rate": 1e-3, "betas": (0.9, 0.99), "weight_decay": 0.1}, clip=1.0),
    Workload("W2", "language model step: 6 layers, 6 heads, d 384, 4×256 tokens", "language model",
             {"d_model": 384, "n_heads": 6, "n_layers": 6, "bias": False, "max_length": 256}, 65, (4, 256),
             optimizer={"learning_rate": 1e-3, "betas": (0.9, 0.99), "weight_decay": 0.1}, clip=1.0),
    Workload("W3", "translator step: 4+4 layers, d 128, vocabulary 10,000, batches of about 4,096 target tokens", "translator", TRANSLATOR, 10_000, (4096, 4),
             label_smoothing=0.1, optimizer={"learning_rate": 1e-3, "betas": (0.9, 0.98), "weight_decay": 0.0}),
    Workload("W4", "greedy decoding of 256 sentences, 20 words each, with W3's model and a cache of keys and values", "decoding",
             {**TRANSLATOR, "dropout": 0.0}, 10_000, (256, 20)),
    Workload("W5", "translator step: 6+6 layers, d 512, vocabulary 32,000, batches of about 25,000 target tokens", "translator",
             {**TRANSLATOR, "d_model": 512, "n_heads": 8, "n_layers": 6, "d_ff": 2048, "dropout": 0.1}, 32_000, (25_000, 4),
             label_smoothing=0.1, optimizer={"learning_rate": 1e-3, "betas": (0.9, 0.98), "weight_decay": 0.0}, only_cuda=True),
)}

QUICK = {
    "W1": {"title": "tiny language model step", "model": {"d_model": 16, "n_heads": 2, "n_layers": 1, "bias": False, "max_length": 8}, "batch": (2, 8)},
    "W2": {"title": "tiny language model step", "model": {"d_model": 24, "n_heads": 3, "n_layers": 2, "bias": False, "max_length": 16}, "batch": (2, 16)},
    "W3": {"title": "tiny translator step", "model": {**TRANSLATOR, "d_model": 16, "n_heads": 2, "n_layers": 1, "d_ff": 24}, "vocabulary": 100, "batch": (64, 2)},
    "W4": {"title": "tiny greedy decoding", "model": {**TRANSLATOR, "d_model": 16, "n_heads": 2, "n_layers": 1, "d_ff": 24, "dropout": 0.0}, "vocabulary": 100, "batch": (4, 3)},
    "W5": {"title": "tiny translator step", "model": {**TRANSLATOR, "d_model": 24, "n_heads": 3, "n_layers": 2, "d_ff": 40}, "vocabulary": 100, "batch": (64, 2)},
}
"""{name: what is smaller for a quick look}."""


def workload(name, changes=None):
    """The `Workload` of that name, with some of its fields changed (as JSON hands them on)."""
    changes = {key: tuple(value) if isinstance(value, list) else value for key, value in (changes or {}).items()}
    return replace(WORKLOADS[name], **changes)


def build_model(work, seed=0):
    """minitx's model of a workload, with its initial weights."""
    from ..models import DecoderOnly, EncoderDecoder

    if work.kind == "language model":
        return DecoderOnly(work.vocabulary, seed=seed, **work.model)
    return EncoderDecoder(work.vocabulary, work.vocabulary, seed=seed, **work.model)


def prepare(work, folder, pairs=None):
    """Write weights.npz and batches.npz of a workload into `folder`; `pairs` of ids come from real text, else their lengths are like Multi30k's."""
    np.savez(Path(folder) / "weights.npz", **build_model(work).state_dict())
    arrays = {}
    for number, batch in enumerate(make_batches(work, pairs)):
        arrays |= {f"{number}.{name}": array for name, array in batch.items()}
    np.savez(Path(folder) / "batches.npz", **arrays)


def read_batches(folder):
    """The batches that `prepare` wrote, as a list of {name: array}."""
    batches = {}
    with np.load(Path(folder) / "batches.npz") as arrays:
        for key, array in arrays.items():
            number, name = key.split(".")
            batches.setdefault(int(number), {})[name] = array
    return [batches[number] for number in sorted(batches)]


def read_weights(folder):
    """The initial weights that `prepare` wrote, as {name: array}."""
    with np.load(Path(folder) / "weights.npz") as arrays:
        return dict(arrays)


def as_batch(arrays):
    """What a model's `loss` takes."""
    real = arrays["target_lengths"].sum() if "target_lengths" in arrays else arrays["target_out"].size
    return SimpleNamespace(**arrays, n_tokens=int(real), **({} if "target_lengths" in arrays else {"ignore": -100}))


def make_batches(work, pairs=None):
    """A list of {name: array}: one batch of a language model, several of different lengths of a translator, the sources to be decoded."""
    generator = np.random.default_rng(0)
    if work.kind == "language model":
        sequences, time = work.batch
        ids = generator.integers(0, work.vocabulary, (sequences, time + 1)).astype(np.int32)
        return [{"target_in": ids[:, :-1], "target_out": ids[:, 1:]}]
    pairs = pairs or made_up_pairs(generator, 29_000 if work.vocabulary >= 10_000 else 200, work.vocabulary)
    if work.kind == "decoding":
        batch = length_batches([source for source, _ in pairs[:work.batch[0]]], 1 << 30)[0]
        return [{"source": batch.source, "source_lengths": batch.source_lengths}]
    tokens, count = work.batch
    batches = Batches(pairs, tokens, seed=0)
    every = sorted((batches.next() for _ in range(len(batches))), key=lambda batch: batch.target_out.shape[1])
    chosen = [every[int((place + 0.5) * len(every) / count)] for place in range(count)]  # the middle of each part, from short sentences to long ones
    names = ("source", "source_lengths", "target_in", "target_out", "target_lengths")
    return [{name: getattr(batch, name) for name in names} for batch in chosen]


def made_up_pairs(generator, count, vocabulary):
    """Pairs of ids as long as those of Multi30k, German to English, in 10,000 subwords: log-normal lengths, 14.3 tokens on average (half of them 11 to
    17, one in a hundred above 28), sources a little longer, with a correlation of 0.86; ids by Zipf's law."""
    common = generator.standard_normal(count)
    targets = np.exp(2.612 + 0.307 * common)
    sources = np.exp(2.626 + 0.341 * (0.862 * common + 0.507 * generator.standard_normal(count)))
    frequency = 1.0 / np.arange(1, vocabulary - len(SPECIAL_TOKENS) + 1)
    frequency /= frequency.sum()

    def sentences(lengths):
        sizes = np.maximum(1, np.round(lengths).astype(int) - 1)  # without <eos>
        ids = generator.choice(len(frequency), sizes.sum(), p=frequency) + len(SPECIAL_TOKENS)
        return [part.tolist() for part in np.split(ids, np.cumsum(sizes)[:-1])]

    return list(zip(sentences(sources), sentences(targets)))


def pairs_of_text(source, target, vocabulary):
    """Pairs of ids of two line-aligned files, in a joint vocabulary of subwords learnt from them."""
    from ..data.tokenizers import TokenizerPair

    pairs = files.read_parallel(source, target)
    tokenizers = TokenizerPair.train("bpe", pairs, vocabulary, joint=True)
    both = zip(tokenizers.source.encode_batch([pair.source for pair in pairs]), tokenizers.target.encode_batch([pair.target for pair in pairs]))
    return [(first, second) for first, second in both if first and second and max(len(first), len(second)) < TRANSLATOR["max_length"]]


def first_ids(rows):
    """What decoding begins with: <bos> for each sentence."""
    return np.full(rows, BOS, np.int32)


def forced_ids(work):
    """Words (rows, words) that decoding is fed to compare its scores: of two that are as good as equal, sides may choose differently."""
    rows, words = work.batch
    return np.random.default_rng(2).integers(len(SPECIAL_TOKENS), work.vocabulary, (rows, words)).astype(np.int32)
