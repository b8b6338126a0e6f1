"""Greedy decoding: at every position the most probable word, for a whole batch of sentences at once."""
import numpy as np

from ..data.batches import BOS, EOS
from ..kernels.top_k import top_k
from .limits import FREE, forced_words, length_limits

_LEAVE = 0.25  # finished sentences leave when they are this share of the batch: it costs a copy of the others' cache


def greedy(model, source, lengths, max_length=None, prefixes=None):
    """Translate source ids (batch, source time), of which the first `lengths` (batch,) of each row are real.

    Returns a list of target ids for each row, without <bos> and <eos>. Of equally probable words the first in the
    vocabulary is taken; <pad> and <bos> are never said. The model has to be in eval mode. `max_length`: see `length_limits`. `prefixes`: for each row the
    ids that its translation begins with.
    """
    limits, forced = length_limits(model, lengths, max_length, prefixes), forced_words(prefixes, len(source))
    cache = model.start(source, lengths, int(limits.max()))
    rows = np.arange(len(source))  # which sentences are still in the batch
    ids = np.full(len(source), BOS, np.int32)
    going = np.ones(len(source), bool)
    said = np.full((len(source), int(limits.max())), EOS, np.int32)
    for position in range(said.shape[1]):
        logits = model.step(ids, cache)  # (rows, vocabulary)
        ids = top_k(logits, 1, EOS)[0][:, 0].astype(np.int32)
        if position < forced.shape[1]:
            ids = np.where(forced[rows, position] == FREE, ids, forced[rows, position]).astype(np.int32)
        ids[~going] = EOS
        said[rows, position] = ids
        going &= (ids != EOS) & (position + 1 < limits[rows])
        left = np.count_nonzero(going)
        if left == 0:
            break
        if left <= (1 - _LEAVE) * len(rows):
            cache.select(np.flatnonzero(going))
            rows, ids, going = rows[going], ids[going], going[going]
    words = np.count_nonzero(said != EOS, axis=1)  # from its end on, a row is <eos>
    return [row[:n].tolist() for row, n in zip(said, words)]
