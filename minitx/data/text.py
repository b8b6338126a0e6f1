"""One long text for a language model: its last part held out, the rest cut into blocks, epoch after epoch."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import UserError
from .batches import permutation
from .files import read_text


@dataclass(frozen=True)
class TextBatch:
    """Stretches of text: the model reads `target_in` and learns to say `target_out`, the same one position further on.

    The names are those of the target side of `batches.Batch`; nothing is padded.
    """

    target_in: np.ndarray  # (batch, block) int32
    target_out: np.ndarray  # (batch, block) int32
    n_tokens: int  # batch · block: what a mean loss divides by
    ignore = -100  # the target that does not count: no token, so all do


class Blocks:
    """Batches of `batch_sequences` contiguous blocks of a text, epoch after epoch without an end.

    An epoch cuts the text into disjoint blocks and gives them in random order. Each epoch cuts at other places, so that
    a token stands now early in its block and now late. Order and cuts are functions of (seed, epoch) alone, so a
    position is two numbers and a resumed run sees the batches that an uninterrupted one would have seen.

    Args:
        ids: (tokens,) int32.
        seed: non-negative; another seed is another order.

    Raises:
        UserError: the text is shorter than a block and the token behind it.
    """

    def __init__(self, ids: np.ndarray, batch_sequences: int, block: int, *, seed: int = 0):
        if len(ids) <= block:
            raise UserError(
                f"block is {block}, but the training text has {len(ids)} tokens and a block needs {block + 1};"
                f" {f'try --block {len(ids) - 1}' if len(ids) > 2 else 'take a longer text'}"
            )
        self._ids, self.batch_sequences, self.block, self.seed = ids, batch_sequences, block, seed
        self.n_tokens = len(ids) - 1  # that there are to predict
        self.restore({"epoch": 0, "index": 0})

    def __len__(self) -> int:
        """Batches in the current epoch, those already given included. It may differ by one between epochs."""
        return len(self._starts)

    def next(self) -> TextBatch:
        """The batch at the current position, which moves on by one."""
        batch = _batch(self._ids, self._starts[self.index], self.block)
        if self.index + 1 < len(self._starts):
            self.index += 1
        else:
            self.restore({"epoch": self.epoch + 1, "index": 0})
        return batch

    def state(self) -> dict[str, int]:
        """Position of the batch that comes next, as JSON can hold it."""
        return {"epoch": self.epoch, "index": self.index}

    def restore(self, state: dict[str, int]) -> None:
        """Goes to a position that `state` gave, of batches made from the same text and settings."""
        epoch, index = state["epoch"], state["index"]
        starts = self._epoch(epoch)
        if not 0 <= index < len(starts):
            raise UserError(
                f"batch {index} of epoch {epoch} does not exist: that epoch has {len(starts)} batches;"
                " the text, batch_sequences or block differ from those the position was saved with"
            )
        self.epoch, self.index, self._starts = epoch, index, starts

    def _epoch(self, epoch: int) -> np.ndarray:
        """(batches, rows) where each block starts. Blocks that fill no whole batch wait for an epoch that cuts otherwise."""
        room = self.n_tokens - self.block  # the last place where a block can start
        cut = int(permutation(min(self.block, room + 1), self.seed, epoch, 1)[0])
        starts = np.arange(cut, room + 1, self.block)
        starts = starts[permutation(len(starts), self.seed, epoch)]
        rows = min(self.batch_sequences, len(starts))
        return starts[: len(starts) // rows * rows].reshape(-1, rows)


def disjoint_blocks(ids: np.ndarray, block: int, rows: int) -> Iterator[TextBatch]:
    """A text from its start to its end in blocks, `rows` of them a batch: every token but the first is predicted once.

    What is left behind the last whole block comes last, as a shorter one.
    """
    whole = np.arange(0, len(ids) - block, block)
    for first in range(0, len(whole), rows):
        yield _batch(ids, whole[first : first + rows], block)
    start = len(whole) * block
    if rest := len(ids) - 1 - start:
        yield _batch(ids, np.array([start]), rest)


def read_and_split(path: str | Path, tail: float) -> tuple[str, str]:
    """The text of a file with \\n as line ends, in two: what to train on, and its last part, `tail` of its characters.

    Raises:
        UserError: the file cannot be read (see `read_text`), or one of the parts would hold fewer than two characters.
    """
    text = read_text(path).replace("\r\n", "\n")
    cut = int(len(text) * (1 - tail))
    if min(cut, len(text) - cut) < 2:
        raise UserError(
            f"{path} has {len(text)} characters, of which validation_tail, {tail:g}, leaves {cut} to train on and"
            f" {len(text) - cut} to validate with; take a longer text"
        )
    return text[:cut], text[cut:]


def pieces(text: str) -> list[str]:
    """The text cut before the ends of its lines, where no tokenizer joins anything: their ids are those of the text."""
    return re.split(r"(?<=\S)(?=\n)", text)


def _batch(ids: np.ndarray, starts: np.ndarray, block: int) -> TextBatch:
    rows = ids[starts[:, None] + np.arange(block + 1)]  # (batch, block + 1)
    return TextBatch(np.ascontiguousarray(rows[:, :-1]), np.ascontiguousarray(rows[:, 1:]), len(starts) * block)
