"""Batch normalisation on the CPU: rows are read in blocks, whose sums over the rows are added in their order.

So the bits do not depend on the number of threads. Padding is jumped over.
"""
import numpy as np
from numba import boolean, int64, prange
from numba.extending import register_jitable

from ..runtime import launch
from ..runtime.compiled import compiled, reads, writes
from ..runtime.memory import empty
from .reference import check


def moments(x, real=None):
    """See reference.moments."""
    check("moments", x, real)
    rows, real = launch.rows(x, x.dtype), _real(x, real)
    blocks, features = launch.blocks(*rows.shape), rows.shape[1]
    mean, variance = empty(features, x.dtype), empty(features, x.dtype)
    _moments(rows, real, max(1, np.count_nonzero(real)), blocks, empty((blocks, features), x.dtype), mean, variance)
    return mean, variance


@compiled(lambda real: (reads(real, 2, "C"), reads(boolean, 1, "C"), int64, int64, writes(real, 2), writes(real, 1), writes(real, 1)),
          **launch.OPTIONS)
def _moments(x, real, n, blocks, parts, mean, variance):
    rows, features = x.shape
    threads = launch.share(x.size // 4)
    for block in prange(blocks):
        part = parts[block]
        part[:] = 0
        for i in range(block * rows // blocks, (block + 1) * rows // blocks):
            if real[i]:
                for j in range(features):
                    part[j] += x[i, j]
    _mean_of(parts, n, mean)
    for block in prange(blocks):  # of the differences from the mean: the difference of two large sums would lose its digits
        part = parts[block]
        part[:] = 0
        for i in range(block * rows // blocks, (block + 1) * rows // blocks):
            if real[i]:
                for j in range(features):
                    part[j] += (x[i, j] - mean[j]) * (x[i, j] - mean[j])
    _mean_of(parts, n, variance)
    launch.restore(threads)


def batch_norm(x, weight, bias, mean, variance, real=None, eps=1e-5):
    """See reference.batch_norm."""
    check("batch_norm", x, real, weight, bias)
    rows, out = launch.rows(x, x.dtype), empty(x.shape, x.dtype)
    scale = (variance + x.dtype.type(eps)) ** x.dtype.type(-0.5) * weight
    _batch_norm(rows, scale, np.ascontiguousarray(mean), np.ascontiguousarray(bias), _real(x, real), launch.blocks(*rows.shape), out.reshape(rows.shape))
    return out


@compiled(lambda real: (reads(real, 2, "C"), reads(real, 1, "C"), reads(real, 1, "C"), reads(real, 1, "C"), reads(boolean, 1, "C"), int64,
                        writes(real, 2)), **launch.OPTIONS)
def _batch_norm(x, scale, mean, bias, real, blocks, out):
    rows, features = x.shape
    threads = launch.share(x.size // 8)
    for block in prange(blocks):
        for i in range(block * rows // blocks, (block + 1) * rows // blocks):
            if real[i]:
                for j in range(features):
                    out[i, j] = (x[i, j] - mean[j]) * scale[j] + bias[j]
            else:
                out[i] = 0
    launch.restore(threads)


def batch_norm_backward(g, x, weight, mean, variance, real=None, eps=1e-5):
    """See reference.batch_norm_backward."""
    check("batch_norm_backward", x, real, weight, None, g)
    dtype, rows = x.dtype, launch.rows(x, x.dtype)
    real, blocks, features = _real(x, real), launch.blocks(*rows.shape), rows.shape[1]
    rstd = (variance + dtype.type(eps)) ** dtype.type(-0.5)
    dx, dweight, dbias = empty(x.shape, dtype), empty(features, dtype), empty(features, dtype)
    _batch_norm_backward(rows, launch.rows(g, dtype), np.ascontiguousarray(weight), np.ascontiguousarray(mean), rstd, real,
                         max(1, np.count_nonzero(real)), blocks, empty((2, blocks, features), dtype), dx.reshape(rows.shape), dweight, dbias)
    return dx, dweight, dbias


@compiled(lambda real: (reads(real, 2, "C"), reads(real, 2, "C"), reads(real, 1, "C"), reads(real, 1, "C"), reads(real, 1, "C"), reads(boolean, 1, "C"),
                        int64, int64, writes(real, 3), writes(real, 2), writes(real, 1), writes(real, 1)), **launch.OPTIONS)
def _batch_norm_backward(x, g, weight, mean, rstd, real, n, blocks, parts, dx, dweight, dbias):
    rows, features = x.shape
    count = x.dtype.type(n)
    threads = launch.share(x.size // 2)
    for block in prange(blocks):
        of_weight, of_bias = parts[0, block], parts[1, block]
        of_weight[:] = 0
        of_bias[:] = 0
        for i in range(block * rows // blocks, (block + 1) * rows // blocks):
            if real[i]:
                for j in range(features):
                    of_weight[j] += g[i, j] * (x[i, j] - mean[j]) * rstd[j]
                    of_bias[j] += g[i, j]
    _sum_of(parts[0], dweight)
    _sum_of(parts[1], dbias)
    for block in prange(blocks):
        for i in range(block * rows // blocks, (block + 1) * rows // blocks):
            if real[i]:
                for j in range(features):
                    normalised = (x[i, j] - mean[j]) * rstd[j]
                    dx[i, j] = weight[j] * rstd[j] * (g[i, j] - (dbias[j] + normalised * dweight[j]) / count)
            else:
                dx[i] = 0
    launch.restore(threads)


@register_jitable
def _sum_of(parts, total):
    """total = Σ over the blocks, in their order."""
    total[:] = 0
    for block in range(len(parts)):
        for j in range(total.size):
            total[j] += parts[block, j]


@register_jitable
def _mean_of(parts, n, mean):
    _sum_of(parts, mean)
    for j in range(mean.size):
        mean[j] /= n


def _real(x, real):
    """Booleans (rows,)."""
    return np.ones(x.size // x.shape[-1], bool) if real is None else np.ascontiguousarray(real).reshape(-1)
