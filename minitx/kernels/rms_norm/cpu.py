"""RMS norm on the CPU: each row comes from memory once; dweight is summed per block of rows, then over the blocks in
order, so that its bits do not depend on the number of threads.
"""
import functools

import numpy as np
from numba import int64, prange

from ..runtime import launch
from ..runtime.compiled import compiled, reads, writes
from ..runtime.memory import empty
from .reference import check


def rms_norm(x, weight=None, eps=1e-6):
    """See reference.rms_norm."""
    check("rms_norm", x, weight)
    out, rstd = empty(x.shape, x.dtype), empty(x.shape[:-1], x.dtype)
    rows = launch.rows(x, x.dtype)
    _rms_norm(rows, _or_ones(weight, x), eps, launch.blocks(*rows.shape), out.reshape(rows.shape), rstd.reshape(-1))
    return out, rstd


@compiled(lambda real: (reads(real, 2, "C"), reads(real, 1, "C"), real, int64, writes(real, 2), writes(real, 1)),
          **launch.OPTIONS)
def _rms_norm(x, weight, eps, blocks, out, rstd):
    rows, columns = x.shape
    one, n = x.dtype.type(1), x.dtype.type(columns)
    threads = launch.share(x.size // 3)
    for block in prange(blocks):
        for i in range(block * rows // blocks, (block + 1) * rows // blocks):
            squares = x.dtype.type(0)
            for j in range(columns):
                squares += x[i, j] * x[i, j]
            r = one / np.sqrt(squares / n + eps)
            for j in range(columns):
                out[i, j] = x[i, j] * r * weight[j]
            rstd[i] = r
    launch.restore(threads)


def rms_norm_backward(g, x, weight, rstd):
    """See reference.rms_norm_backward."""
    check("rms_norm_backward", x, weight, g)
    dx, rows = empty(x.shape, x.dtype), launch.rows(x, x.dtype)
    parts = empty((launch.blocks(*rows.shape), rows.shape[1]), x.dtype)
    dweight = empty(rows.shape[1], x.dtype)
    _rms_norm_backward(rows, launch.rows(g, x.dtype), _or_ones(weight, x), np.ascontiguousarray(rstd).reshape(-1),
                       dx.reshape(rows.shape), parts, dweight)
    return dx, None if weight is None else dweight


@compiled(lambda real: (reads(real, 2, "C"), reads(real, 2, "C"), reads(real, 1, "C"), reads(real, 1, "C"),
                        writes(real, 2), writes(real, 2), writes(real, 1)), **launch.OPTIONS)
def _rms_norm_backward(x, g, weight, rstd, dx, parts, dweight):
    (rows, columns), blocks = x.shape, parts.shape[0]
    zero, n = x.dtype.type(0), x.dtype.type(columns)
    threads = launch.share(x.size // 2)
    for block in prange(blocks):
        for j in range(columns):
            parts[block, j] = zero
        for i in range(block * rows // blocks, (block + 1) * rows // blocks):
            r, sum_a_normalised = rstd[i], zero
            for j in range(columns):
                normalised = x[i, j] * r
                sum_a_normalised += g[i, j] * weight[j] * normalised
                parts[block, j] += g[i, j] * normalised
            slope = sum_a_normalised / n
            for j in range(columns):
                dx[i, j] = r * (g[i, j] * weight[j] - x[i, j] * r * slope)
    launch.restore(threads)
    for j in range(columns):
        dweight[j] = zero
    for block in range(blocks):
        for j in range(columns):
            dweight[j] += parts[block, j]


def _or_ones(weight, x):
    return _ones(x.shape[-1], x.dtype) if weight is None else np.ascontiguousarray(weight)


@functools.cache
def _ones(size, dtype):
    """What stands for an absent weight."""
    return np.ones(size, dtype)
