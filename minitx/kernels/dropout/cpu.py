"""Dropout on the CPU: a stretch of the mask is computed into cache by vector code, then multiplied."""
import numpy as np
from numba import int64, prange, uint64

from ..runtime import launch
from ..runtime.compiled import compiled, reads, writes
from ..runtime.memory import empty
from . import philox
from .reference import check

_STRETCH = 2048  # elements whose mask is computed at a time: 8 KB, a quarter of the first-level cache


def dropout(x, p, key):
    """See reference.dropout."""
    check(x)
    threshold, scale = philox.split(p)
    out = empty(x.shape, x.dtype)
    stretches = -(-x.size // _STRETCH)
    _dropout(np.ascontiguousarray(x).reshape(-1), int(key), threshold, scale, launch.blocks(stretches, _STRETCH),
             out.reshape(-1))
    return out


@compiled(lambda real: (reads(real, 1, "C"), uint64, uint64, real, int64, writes(real, 1)), **launch.OPTIONS)
def _dropout(x, key, threshold, scale, blocks, out):
    stretches = (x.size + _STRETCH - 1) // _STRETCH
    threads = launch.share(x.size // 2)
    for block in prange(blocks):
        scratch = np.empty(_STRETCH + 6, x.dtype)
        for stretch in range(block * stretches // blocks, (block + 1) * stretches // blocks):
            start = stretch * _STRETCH
            count = min(_STRETCH, x.size - start)
            mask = philox.mask(scratch, start, count, key, threshold, scale)
            source, target = x[start : start + count], out[start : start + count]
            for k in range(count):
                target[k] = source[k] * mask[k]
    launch.restore(threads)
