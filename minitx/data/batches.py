"""Sentence pairs as padded arrays: batches of like lengths, bounded in tokens, shuffled by seed and epoch.

The order of an epoch is a function of (seed, epoch) alone, so a position is two numbers and a resumed run sees the
batches that an uninterrupted one would have seen.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np

from ..errors import UserError

SPECIAL_TOKENS = ("<pad>", "<bos>", "<eos>", "<unk>")  # every vocabulary begins with these
PAD, BOS, EOS, UNK = range(4)

Ids = Sequence[int]


@dataclass(frozen=True)
class Batch:
    """Sentence pairs of one training step, padded with <pad> = 0; every array is int32.

    The decoder reads `target_in` and learns to say `target_out`: the same tokens, one position further on.
    """

    source: np.ndarray  # (batch, source time): source + <eos>
    source_lengths: np.ndarray  # (batch,), <eos> counted
    target_in: np.ndarray  # (batch, target time): <bos> + target
    target_out: np.ndarray  # (batch, target time): target + <eos>
    target_lengths: np.ndarray  # (batch,), of target_out and of target_in
    n_tokens: int  # real tokens in target_out: what a mean loss divides by


class Padding(NamedTuple):
    """Share of the padded arrays that holds <pad>, from 0 to 1."""

    source: float
    target: float


class SourceBatch(NamedTuple):
    """Sentences to translate together; `rows` are their positions in the list they came from."""

    rows: np.ndarray  # (batch,)
    source: np.ndarray  # (batch, source time) int32: source + <eos>
    source_lengths: np.ndarray  # (batch,) int32, <eos> counted


def make_batch(pairs: Sequence[tuple[Ids, Ids]]) -> Batch:
    """One batch of these (source ids, target ids), in this order; the ids are without <bos> and <eos>."""
    if not pairs:
        raise ValueError("make_batch: no pairs; a batch needs at least one")
    return _batch(*_framed(pairs), np.arange(len(pairs)))


class Batches:
    """Bucketed batches of sentence pairs, epoch after epoch.

    >>> batches = Batches(pairs, batch_tokens=4096, seed=0)
    >>> for epoch in range(10):
    ...     for batch in batches:            # the rest of this epoch
    ...         ...

    Args:
        pairs: (source ids, target ids) without <bos> and <eos>.
        batch_tokens: bound on rows x longest target, pads and <eos> counted. A longer sentence is a batch of its own.
        seed: non-negative; another seed is another order.
        shuffle: False gives the same batches, longest first, in every epoch (validation).
        max_length: the longest sentence the model takes, <eos> counted.
        redraw: gives the pairs of an epoch by its number, in the place of `pairs`: as many, with other ids.

    Raises:
        UserError: there are no pairs, or one of them is longer than `max_length`.

    Within a pool of shuffled sentences the pairs are sorted by the length of their longer side, then by how much longer
    it is, so that both sides of a batch are alike; the batches cut from all pools are shuffled.
    """

    POOL = 100_000  # sentences sorted at a time: large, because what is wasted shrinks with the batches in a pool

    def __init__(
        self, pairs: Sequence[tuple[Ids, Ids]], batch_tokens: int, *, seed: int = 0, shuffle: bool = True,
        max_length: int | None = None, redraw: Callable[[int], Sequence[tuple[Ids, Ids]]] | None = None,
    ):
        if not pairs:
            raise UserError("there are no sentence pairs to make batches of")
        if batch_tokens < 1:
            raise UserError(f"batch_tokens is {batch_tokens}; it must be at least 1")
        self.batch_tokens, self.seed, self.shuffle, self.max_length = batch_tokens, seed, shuffle, max_length
        self.n_pairs = len(pairs)
        self._redraw, self._drawn = redraw, None  # the epoch whose pairs these are
        self._take(pairs)
        self.restore({"epoch": 0, "index": 0})

    def __len__(self) -> int:
        """Batches in the current epoch, those already given included. It may differ by a few between epochs."""
        return len(self._plan)

    def __iter__(self) -> Iterator[Batch]:
        """The rest of the current epoch. As its last batch is given, the position is already the next epoch's start."""
        epoch = self.epoch
        while self.epoch == epoch:
            yield self.next()

    def next(self) -> Batch:
        """The batch at the current position, which moves on by one; epochs follow each other without an end."""
        batch = _batch(self._source, self._target, self._plan[self.index])
        if self.index + 1 < len(self._plan):
            self.index += 1
        else:
            self.restore({"epoch": self.epoch + 1, "index": 0})
        return batch

    def state(self) -> dict[str, int]:
        """Position of the batch that comes next, as JSON can hold it."""
        return {"epoch": self.epoch, "index": self.index}

    def restore(self, state: dict[str, int]) -> None:
        """Goes to a position that `state` gave, of batches made from the same pairs and settings."""
        epoch, index = state["epoch"], state["index"]
        if self._redraw is not None and epoch != self._drawn:
            self._take(self._redraw(epoch))
            self._drawn = epoch
        plan = self._batches_of(epoch)
        if not 0 <= index < len(plan):
            raise UserError(
                f"batch {index} of epoch {epoch} does not exist: that epoch has {len(plan)} batches;"
                " the data, the seed or batch_tokens differ from those the position was saved with"
            )
        self.epoch, self.index, self._plan = epoch, index, plan

    def most_positions(self) -> int:
        """Positions of source and target, pads counted, in the largest batch of the current epoch."""
        return max(len(rows) * int(self._source.lengths[rows].max() + self._target_lengths[rows].max()) for rows in self._plan)

    def padding(self) -> Padding:
        """Share of <pad> on each side over the current epoch."""
        return Padding(
            _wasted(self._source.lengths, self._plan),
            _wasted(self._target_lengths, self._plan),
        )

    def _take(self, pairs: Sequence[tuple[Ids, Ids]]) -> None:
        self._source, self._target = _framed(pairs)
        self._target_lengths = self._target.lengths - 1  # of target_out
        self.n_tokens = int(self._target_lengths.sum())  # real target tokens of an epoch
        self._refuse_longer_than(self.max_length)

    def _batches_of(self, epoch: int) -> list[np.ndarray]:
        """The epoch's batches, each an array of row numbers."""
        if not self.shuffle:
            return self._cut(np.arange(self.n_pairs))
        rows = permutation(self.n_pairs, self.seed, epoch)
        batches = [
            batch for start in range(0, self.n_pairs, self.POOL) for batch in self._cut(rows[start : start + self.POOL])
        ]
        return [batches[i] for i in permutation(len(batches), self.seed, epoch, 1)]

    def _cut(self, rows: np.ndarray) -> list[np.ndarray]:
        """Batches of like lengths, longest first. Where the longer side's length changes, the difference of the two turns
        round (up, down, up), so that a batch on the border joins pairs with long sources, or pairs with long targets."""
        source, target = self._source.lengths[rows], self._target_lengths[rows]
        longer, difference = np.maximum(source, target), source - target
        order = np.lexsort((np.where(longer % 2, difference, -difference), -longer))
        return _cut(rows[order], target[order], self.batch_tokens)

    def _refuse_longer_than(self, max_length: int | None) -> None:
        for side, lengths in (("source", self._source.lengths), ("target", self._target_lengths)):
            longest = int(lengths.argmax())
            if max_length is not None and lengths[longest] > max_length:
                raise UserError(
                    f"the {side} of pair {longest + 1} has {lengths[longest]} tokens, <eos> counted, but max_length is"
                    f" {max_length}; leave such pairs out or raise max_length"
                )


def length_batches(sentences: Sequence[Ids], batch_tokens: int, most_rows: int | None = None) -> list[SourceBatch]:
    """Batches for translation, longest first, with rows x longest source (<eos> counted) within `batch_tokens`, and rows within `most_rows`.

    The way back: `results[row] = translation` for each `row` of `batch.rows`.
    """
    if not sentences:
        return []
    source = _Ragged([[*sentence, EOS] for sentence in sentences])
    order = np.argsort(-source.lengths, kind="stable")
    return [
        SourceBatch(rows, source.padded(rows), source.lengths[rows])
        for rows in _cut(order, source.lengths[order], batch_tokens, most_rows)
    ]


def permutation(n: int, *key: int) -> np.ndarray:
    """Row numbers 0..n-1 in an order that the key (non-negative integers) alone decides.

    Sorts raw words of PCG64, whose stream NumPy keeps the same on every platform and in every version; it does not
    promise that of `Generator.permutation`.
    """
    return np.argsort(np.random.PCG64(list(key)).random_raw(n), kind="stable")


class _Ragged:
    """Rows of different lengths end to end in one array, so that a padded batch is one gather."""

    def __init__(self, rows: Sequence[Ids]):
        self.lengths = np.fromiter(map(len, rows), np.int32, len(rows))
        self.starts = np.cumsum(self.lengths, dtype=np.int64) - self.lengths
        self.tokens = np.fromiter(chain.from_iterable(rows), np.int32, int(self.lengths.sum(dtype=np.int64)))

    def padded(self, rows: np.ndarray, first: int = 0, dropped: int = 0) -> np.ndarray:
        """(batch, longest - dropped) int32: the rows from token `first` on, `dropped` tokens fewer than they have."""
        lengths = self.lengths[rows] - dropped
        columns = np.arange(lengths.max())
        inside = columns < lengths[:, None]  # (batch, time)
        padded = np.full(inside.shape, PAD, np.int32)
        padded[inside] = self.tokens[((self.starts[rows] + first)[:, None] + columns)[inside]]
        return padded


def _framed(pairs: Sequence[tuple[Ids, Ids]]) -> tuple[_Ragged, _Ragged]:
    """Sources as source + <eos>, targets as <bos> + target + <eos>."""
    return (
        _Ragged([[*source, EOS] for source, _ in pairs]),
        _Ragged([[BOS, *target, EOS] for _, target in pairs]),
    )


def _batch(source: _Ragged, target: _Ragged, rows: np.ndarray) -> Batch:
    target_lengths = target.lengths[rows] - 1
    return Batch(
        source=source.padded(rows),
        source_lengths=source.lengths[rows],
        target_in=target.padded(rows, dropped=1),
        target_out=target.padded(rows, first=1, dropped=1),
        target_lengths=target_lengths,
        n_tokens=int(target_lengths.sum()),
    )


def _cut(rows: np.ndarray, lengths: np.ndarray, batch_tokens: int, most_rows: int | None = None) -> list[np.ndarray]:
    """Cuts rows, in their order, into the longest pieces whose rows x longest length is within `batch_tokens`, of at most `most_rows` rows."""
    most_rows = most_rows or len(rows)
    pieces, start, longest = [], 0, 0
    for stop, length in enumerate(lengths.tolist()):
        longest = max(longest, length)
        if stop > start and ((stop + 1 - start) * longest > batch_tokens or stop - start >= most_rows):
            pieces.append(rows[start:stop])
            start, longest = stop, length
    return [*pieces, rows[start:]]


def _wasted(lengths: np.ndarray, plan: list[np.ndarray]) -> float:
    padded = sum(len(rows) * int(lengths[rows].max()) for rows in plan)
    return 1 - int(lengths.sum(dtype=np.int64)) / padded
