"""Embedding on the CPU: rows are copied, and the gradient's rows summed id by id, each by one thread."""
import numpy as np
from numba import int64, prange

from ..runtime import launch
from ..runtime.compiled import compiled, reads, writes
from ..runtime.memory import empty
from .reference import check

_RUN = 16  # rows that a block writes one after the other: single ones, far apart, would each be on a page of their own


def embedding(weight, ids, out=None):
    """See reference.embedding."""
    check("embedding", ids, weight.shape[0], weight.dtype)
    d = weight.shape[1]
    out = empty(ids.shape + (d,), weight.dtype) if out is None else out
    _embedding(np.ascontiguousarray(weight), ids.astype(np.int64).reshape(-1), launch.blocks(ids.size, d),
               out.reshape(ids.size, d))
    return out


@compiled(lambda real: (reads(real, 2, "C"), reads(int64, 1, "C"), int64, writes(real, 2)), **launch.OPTIONS)
def _embedding(weight, ids, blocks, out):
    n, d = out.shape
    threads = launch.share(out.size // 8)
    for block in prange(blocks):
        for i in range(block * n // blocks, (block + 1) * n // blocks):
            row = weight[ids[i]]
            for j in range(d):
                out[i, j] = row[j]
    launch.restore(threads)


def embedding_backward(g, ids, vocabulary, dweight=None):
    """See reference.embedding_backward."""
    check("embedding_backward", ids, vocabulary, g.dtype, g)
    d = g.shape[-1]
    dweight = empty((vocabulary, d), g.dtype) if dweight is None else dweight
    _embedding_backward(np.ascontiguousarray(g).reshape(ids.size, d), ids.astype(np.int64).reshape(-1),
                        launch.blocks(vocabulary, d), np.zeros(vocabulary + 1, np.int64), np.empty(ids.size, np.int64),
                        dweight)
    return dweight


@compiled(lambda real: (reads(real, 2, "C"), reads(int64, 1, "C"), int64, writes(int64, 1), writes(int64, 1),
                        writes(real, 2)), **launch.OPTIONS)
def _embedding_backward(g, ids, blocks, end, places, dweight):
    """`end` comes as zeros. After the sort the places of id v are places[end[v − 1]] … places[end[v] − 1]."""
    n = ids.size
    vocabulary, d = dweight.shape
    for i in range(n):
        end[ids[i] + 1] += 1
    for v in range(vocabulary):
        end[v + 1] += end[v]
    for i in range(n):  # end[v], until now where id v begins, moves on to where it ends
        places[end[ids[i]]] = i
        end[ids[i]] += 1
    threads = launch.share((dweight.size + g.size) // 8)
    for block in prange(blocks):
        # frequent words have low ids in many vocabularies: each block gets some
        for first in range(block * _RUN, vocabulary, blocks * _RUN):
            for v in range(first, min(first + _RUN, vocabulary)):
                total = dweight[v]
                for j in range(d):
                    total[j] = 0
                for k in range(end[v - 1] if v > 0 else 0, end[v]):
                    term = g[places[k]]
                    for j in range(d):
                        total[j] += term[j]
    launch.restore(threads)
