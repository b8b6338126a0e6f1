"""Dropout on CUDA as one writes it first, a thread for an element. It is here to be read and timed.

What is wrong with it: ten rounds of Philox make four words, and three of them are thrown away. That is enough to wait for arithmetic instead of memory.
"""
from numba import cuda
from numba.cuda import types

from ..runtime.cuda import array, contiguous, empty, kernel
from . import philox
from .philox_cuda import factor
from .reference import check


def dropout(x, p, key):
    """See reference.dropout."""
    check(x)
    threshold, scale = philox.split(p)
    out = empty(x, x.shape)
    if x.size > 0:
        _dropout[-(-x.size // 256), 256](contiguous(x).reshape(-1), out.reshape(-1), int(key), threshold, scale)
    return out


@kernel(lambda real: (array(real, 1), array(real, 1), types.uint64, types.uint64, real), threads=256)
def _dropout(x, out, key, threshold, scale):
    i = cuda.grid(1)
    if i < x.size:
        out[i] = x[i] * factor(i, key, threshold, scale)
