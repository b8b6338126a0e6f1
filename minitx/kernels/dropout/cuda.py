"""Dropout on CUDA. Versions, from naive to fast:

1. `naive.py`: a thread for an element. Philox makes four words at a time, of which each thread uses one.
2. A thread for four elements that lie together: all four words are used, and 16 bytes read and written at a time.
"""
from numba import cuda
from numba.cuda import types

from ..runtime.cuda import array, empty, flat, kernel
from ..runtime.elements import THREADS, first_element, over_elements, read, write
from . import philox
from .philox_cuda import factors
from .reference import check


def dropout(x, p, key):
    """See reference.dropout."""
    check(x)
    threshold, scale = philox.split(p)
    out = empty(x, x.shape)
    if x.size > 0:
        over_elements(_dropout, (flat(x, x.dtype), out.reshape(-1)), int(key), threshold, scale)
    return out


@kernel(lambda real: (array(real, 1), array(real, 1), types.uint64, types.uint64, real), threads=THREADS)
def _dropout(x, out, key, threshold, scale):
    values = cuda.local.array(4, x.dtype)
    i = first_element()
    if i < x.size:
        read(values, x, i)
        keep = factors(i, key, threshold, scale)
        for k in range(4):
            values[k] *= keep[k]
        write(out, i, values)
