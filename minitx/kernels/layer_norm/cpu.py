"""Layer normalisation on the CPU: each row comes from memory once, and sum, dropout, statistics and result are computed
while it is in cache.

dweight and dbias are summed per block of rows, then over the blocks in order, so their bits do not depend on the number
of threads.
"""
import functools

import numpy as np
from numba import boolean, int64, prange, uint64

from ..dropout import philox
from ..runtime import launch
from ..runtime.compiled import compiled, reads, writes
from ..runtime.memory import empty
from .reference import check


def layer_norm(x, weight=None, bias=None, eps=1e-5):
    """See reference.layer_norm."""
    check("layer_norm", x, weight, bias)
    out, _, mean, rstd = _forward(x, None, weight, bias, eps, 0.0, 0)
    return out, mean, rstd


def add_layer_norm(x, residual, weight=None, bias=None, eps=1e-5, p=0.0, key=0):
    """See reference.add_layer_norm."""
    check("add_layer_norm", x, weight, bias, residual)
    return _forward(x, residual, weight, bias, eps, p, key)


def _forward(x, residual, weight, bias, eps, p, key):
    dtype, columns = x.dtype, x.shape[-1]
    out, mean, rstd = empty(x.shape, dtype), empty(x.shape[:-1], dtype), empty(x.shape[:-1], dtype)
    x_rows = launch.rows(x, dtype)
    if residual is None:
        total, total_rows, written, residual = x, x_rows, _absent(dtype), _absent(dtype)
    else:
        total = empty(x.shape, dtype)
        total_rows = written = total.reshape(-1, columns)
        residual = launch.rows(residual, dtype)
    weight = _constant(columns, 1, dtype) if weight is None else np.ascontiguousarray(weight)
    bias = _constant(columns, 0, dtype) if bias is None else np.ascontiguousarray(bias)
    threshold, scale = philox.split(p)
    _layer_norm(x_rows, residual, weight, bias, eps, p > 0, int(key), threshold, scale,
                launch.blocks(len(x_rows), columns), written, total_rows, out.reshape(-1, columns),
                mean.reshape(-1), rstd.reshape(-1))
    return out, total, mean, rstd


def _signature(real):
    matrix, vector = reads(real, 2, "C"), reads(real, 1, "C")
    return (matrix, matrix, vector, vector, real, boolean, uint64, uint64, real, int64, writes(real, 2), matrix,
            writes(real, 2), writes(real, 1), writes(real, 1))


@compiled(_signature, **launch.OPTIONS)
def _layer_norm(x, residual, weight, bias, eps, drop, key, threshold, scale, blocks, total_written, total, out, mean,
                rstd):
    """`total_written` and `total` are the same memory, or without a residual nothing and x."""
    rows, columns = x.shape
    n = x.dtype.type(columns)
    threads = launch.share(x.size if drop else x.size // 3)
    for block in prange(blocks):
        scratch = np.empty(columns + 6, x.dtype)
        for i in range(block * rows // blocks, (block + 1) * rows // blocks):
            if drop:
                mask = philox.mask(scratch, i * columns, columns, key, threshold, scale)
                for j in range(columns):
                    total_written[i, j] = residual[i, j] + x[i, j] * mask[j]
            elif residual.size > 0:
                for j in range(columns):
                    total_written[i, j] = residual[i, j] + x[i, j]
            sum_ = x.dtype.type(0)
            for j in range(columns):
                sum_ += total[i, j]
            centre = sum_ / n
            # of the differences from the mean: the difference of two large sums would lose its digits
            squares = x.dtype.type(0)
            for j in range(columns):
                squares += (total[i, j] - centre) * (total[i, j] - centre)
            r = x.dtype.type(1) / np.sqrt(squares / n + eps)
            for j in range(columns):
                out[i, j] = (total[i, j] - centre) * r * weight[j] + bias[j]
            mean[i], rstd[i] = centre, r
    launch.restore(threads)


def layer_norm_backward(g, x, weight, mean, rstd):
    """See reference.layer_norm_backward."""
    check("layer_norm_backward", x, weight, None, g)
    return _backward(g, None, x, weight, mean, rstd, 0.0, 0)[1:]


def add_layer_norm_backward(g, g_total, total, weight, mean, rstd, p=0.0, key=0):
    """See reference.add_layer_norm_backward."""
    check("add_layer_norm_backward", total, weight, None, g, g_total)
    return _backward(g, g_total, total, weight, mean, rstd, p, key)


def _backward(g, g_total, total, weight, mean, rstd, p, key):
    dtype, columns = total.dtype, total.shape[-1]
    dtotal = empty(total.shape, dtype)
    dx = empty(total.shape, dtype) if p > 0 else dtotal
    total_rows = launch.rows(total, dtype)
    blocks = launch.blocks(len(total_rows), columns)
    parts = empty((blocks, 2, columns), dtype)
    dweight, dbias = empty(columns, dtype), empty(columns, dtype)
    threshold, scale = philox.split(p)
    _layer_norm_backward(
        total_rows, launch.rows(g, dtype), _absent(dtype) if g_total is None else launch.rows(g_total, dtype),
        _constant(columns, 1, dtype) if weight is None else np.ascontiguousarray(weight),
        np.ascontiguousarray(mean).reshape(-1), np.ascontiguousarray(rstd).reshape(-1), p > 0, int(key), threshold,
        scale, blocks, dtotal.reshape(-1, columns), dx.reshape(-1, columns), parts, dweight, dbias)
    return dx, dtotal, None if weight is None else dweight, dbias


def _signature_backward(real):
    matrix, vector = reads(real, 2, "C"), reads(real, 1, "C")
    return (matrix, matrix, matrix, vector, vector, vector, boolean, uint64, uint64, real, int64, writes(real, 2),
            writes(real, 2), writes(real, 3), writes(real, 1), writes(real, 1))


@compiled(_signature_backward, **launch.OPTIONS)
def _layer_norm_backward(total, g, g_total, weight, mean, rstd, drop, key, threshold, scale, blocks, dtotal, dx, parts,
                         dweight, dbias):
    rows, columns = total.shape
    zero, n = total.dtype.type(0), total.dtype.type(columns)
    threads = launch.share(total.size if drop else total.size // 2)
    for block in prange(blocks):
        scratch = np.empty(columns + 6, total.dtype)
        for j in range(columns):
            parts[block, 0, j] = zero
            parts[block, 1, j] = zero
        for i in range(block * rows // blocks, (block + 1) * rows // blocks):
            centre, r = mean[i], rstd[i]
            sum_a, sum_a_normalised = zero, zero
            for j in range(columns):
                normalised = (total[i, j] - centre) * r
                sum_a += g[i, j] * weight[j]
                sum_a_normalised += g[i, j] * weight[j] * normalised
                parts[block, 0, j] += g[i, j] * normalised
                parts[block, 1, j] += g[i, j]
            mean_a, slope = sum_a / n, sum_a_normalised / n
            for j in range(columns):
                dtotal[i, j] = r * (g[i, j] * weight[j] - mean_a - (total[i, j] - centre) * r * slope)
            if g_total.size > 0:
                for j in range(columns):
                    dtotal[i, j] += g_total[i, j]
            if drop:
                mask = philox.mask(scratch, i * columns, columns, key, threshold, scale)
                for j in range(columns):
                    dx[i, j] = dtotal[i, j] * mask[j]
    launch.restore(threads)
    for j in range(columns):
        dweight[j] = zero
        dbias[j] = zero
    for block in range(blocks):
        for j in range(columns):
            dweight[j] += parts[block, 0, j]
            dbias[j] += parts[block, 1, j]


@functools.cache
def _constant(size, value, dtype):
    """A vector of ones or zeros that stands for an absent weight or bias."""
    return np.full(size, value, dtype)


@functools.cache
def _absent(dtype):
    return np.empty((0, 0), dtype)
