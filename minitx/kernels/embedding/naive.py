"""Embedding on CUDA as one writes it first: a block for each row of the table, which looks through all ids for its own. It is here to be read and timed.

What is wrong with it: most rows of the table are not in the text at all, yet each reads all of it, vocabulary × text comparisons. What is right: nobody
but the block writes to the row, and it adds in the order of the text, so that the sums have the same bits each time.
"""
import numpy as np
from numba import cuda
from numba.cuda import types

from ..runtime.cuda import array, contiguous, empty, kernel
from ..runtime.intrinsics import ZERO
from .reference import check_kinds

_NAN = np.float32(np.nan)


def embedding(weight, ids):
    """See reference.embedding."""
    check_kinds("embedding", ids, weight.dtype)
    d = weight.shape[1]
    out = empty(weight, ids.shape + (d,))
    if out.size > 0:
        _embedding[ids.size, 128](contiguous(weight), ids.astype(np.int32).reshape(-1), out.reshape(-1, d))
    return out


@kernel(lambda real: (array(real, 2), array(types.int32, 1), array(real, 2)), threads=128)
def _embedding(weight, ids, out):
    i = cuda.blockIdx.x
    for j in range(cuda.threadIdx.x, out.shape[1], cuda.blockDim.x):
        out[i, j] = weight[ids[i], j] if 0 <= ids[i] < weight.shape[0] else _NAN


def embedding_backward(g, ids, vocabulary, dweight=None):
    """See reference.embedding_backward."""
    check_kinds("embedding_backward", ids, g.dtype, g)
    d = g.shape[-1]
    dweight = empty(g, (vocabulary, d)) if dweight is None else dweight
    dweight.fill(0)
    if g.size > 0 and vocabulary > 0:
        _embedding_backward[vocabulary, 128](contiguous(g).reshape(-1, d), ids.astype(np.int32).reshape(-1), dweight)
    return dweight


@kernel(lambda real: (array(real, 2), array(types.int32, 1), array(real, 2)), threads=128)
def _embedding_backward(g, ids, dweight):
    v = cuda.blockIdx.x
    for j in range(cuda.threadIdx.x, dweight.shape[1], cuda.blockDim.x):
        total = ZERO
        for i in range(ids.size):
            if ids[i] == v:
                total += g[i, j]
        dweight[v, j] = total
