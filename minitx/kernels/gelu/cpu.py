"""GELU on the CPU: one pass over memory, the exponential in vector code.

Through NumPy the same formula takes eight passes and SciPy's scalar erf: 25 times as long for 4096 × 512 elements.
"""
import numpy as np
from numba import int64, prange

from ..runtime import launch, vector
from ..runtime.compiled import compiled, reads, writes
from ..runtime.memory import empty
from .reference import check

_NANOSECONDS = 2  # per element, by which launch.share measures work


def gelu(x):
    """See reference.gelu."""
    check(x)
    out = empty(x.shape, x.dtype)
    _gelu(np.ascontiguousarray(x).reshape(-1), launch.blocks(x.size, 1), out.reshape(-1))
    return out


@compiled(lambda real: (reads(real, 1, "C"), int64, writes(real, 1)), **launch.OPTIONS)
def _gelu(x, blocks, out):
    half = x.dtype.type(0.5)
    threads = launch.share(x.size * _NANOSECONDS)
    for block in prange(blocks):
        first, last = block * x.size // blocks, (block + 1) * x.size // blocks
        source, target = x[first:last], out[first:last]
        for i in range(last - first):
            target[i] = source[i] * vector.normal_cdf(source[i], vector.exp(-half * source[i] * source[i]))
    launch.restore(threads)


def gelu_backward(g, x):
    """See reference.gelu_backward."""
    check(x)
    dx = empty(x.shape, x.dtype)
    _gelu_backward(np.ascontiguousarray(g, x.dtype).reshape(-1), np.ascontiguousarray(x).reshape(-1), launch.blocks(x.size, 1),
                   dx.reshape(-1))
    return dx


@compiled(lambda real: (reads(real, 1, "C"), reads(real, 1, "C"), int64, writes(real, 1)), **launch.OPTIONS)
def _gelu_backward(g, x, blocks, dx):
    half, peak = x.dtype.type(0.5), x.dtype.type(0.3989422804014327)  # the density at 0 is 1/√(2π)
    flat = x.dtype.type(20)  # beyond which the density is none
    threads = launch.share(x.size * _NANOSECONDS)
    for block in prange(blocks):
        first, last = block * x.size // blocks, (block + 1) * x.size // blocks
        source, upstream, target = x[first:last], g[first:last], dx[first:last]
        for i in range(last - first):
            density = vector.exp(-half * source[i] * source[i])
            near = min(max(source[i], -flat), flat)
            target[i] = upstream[i] * (vector.normal_cdf(source[i], density) + near * density * peak)
    launch.restore(threads)
