"""Greedy decoding: at every position the most probable word."""
import numpy as np

from ..data.batches import BOS, EOS


def greedy(model, source, lengths, max_length=None):
    """Lists of target ids for source ids (batch, source time), without <bos> and <eos>."""
    limit = min(max_length or 2 * source.shape[1] + 10, model.max_length - 1)
    cache = model.start(source, lengths, limit + 1)
    rows = np.arange(len(source))
    ids = np.full(len(source), BOS, np.int32)
    out = np.full((len(source), limit), EOS, np.int32)
    for position in range(limit):
        ids = model.step(ids, cache).argmax(axis=-1).astype(np.int32)
        out[rows, position] = ids
        going = ids != EOS
        if not going.any():
            break
        if going.sum() < 0.75 * len(going):
            keep = np.flatnonzero(going)
            cache.select(keep)
            rows, ids = rows[keep], ids[keep]
    ends = np.where((out == EOS).any(1), (out == EOS).argmax(1), limit)
    return [row[:end].tolist() for row, end in zip(out, ends)]
