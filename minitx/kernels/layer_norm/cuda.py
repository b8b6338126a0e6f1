"""Layer normalisation on CUDA. Versions, from naive to fast:

1. `naive.py`: a thread for a row, and for the gradients of weight and bias a thread for a column.
2. A block for a row (`_layer_norm_long` and the like), which it goes over three times: for rows of any length.
3. The row in registers of a warp or a block (`_layer_norm` and the like): sum, dropout, statistics and result for one reading and one writing.

The backward pass needs sums over rows (dx) and over columns (dweight, dbias). A block has many rows, one after the other; its threads keep the sums of
their columns in registers, and `column_sums` adds up what the blocks found, in an order that does not depend on the GPU.
"""
from numba import cuda
from numba.cuda import types

from ..dropout import philox
from ..dropout.philox_cuda import factor, factors
from ..runtime.columns import PARTS, column_sums
from ..runtime.cuda import array, contiguous, empty, filled, kernel, rows, zeros
from ..runtime.intrinsics import ONE, WARP, ZERO, load4, row_sum, sqrt, store4
from ..runtime.rows import THREADS, choose, column, for_sizes, my_columns, read_row, sum_of, this_row, write_row
from .reference import check

_MOST_THREADS = 512  # in the backward pass, which needs more registers


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
    out, mean, rstd = empty(x, x.shape), empty(x, x.shape[:-1]), empty(x, x.shape[:-1])
    total = x if residual is None else empty(x, x.shape)
    if x.size > 0:
        x_rows = rows(x, dtype)
        matrices = x_rows, x_rows if residual is None else rows(residual, dtype), rows(total, dtype), out.reshape(-1, columns)
        vectors = _vector(weight, 1, columns, dtype), _vector(bias, 0, columns, dtype)
        threshold, scale = philox.split(p)
        launch, grid, block = choose(_layer_norm, _layer_norm_long, matrices, vectors)
        launch[grid, block](*matrices, *vectors, mean.reshape(-1), rstd.reshape(-1), eps, residual is not None, p > 0, int(key), threshold, scale)
    return out, total, mean, rstd


def _signature(real):
    """x, residual, total, out, weight, bias, mean, rstd, eps, adds, drops, key, threshold, scale; without a residual, x stands for it and total."""
    return (array(real, 2),) * 4 + (array(real, 1),) * 4 + (real, types.boolean, types.boolean, types.uint64, types.uint64, real)


@for_sizes(4, 8, 16, 32)
def _layer_norm(size):
    @kernel(_signature, threads=THREADS[size], variant=size)
    def layer_norm(x, residual, total, out, weight, bias, mean, rstd, eps, adds, drops, key, threshold, scale):
        values, scratch = cuda.local.array(size, x.dtype), cuda.shared.array(WARP, x.dtype)
        row, columns = this_row(), x.shape[1]
        if row < x.shape[0]:
            n = x.dtype.type(columns)
            read_row(values, x, row, ZERO)
            if adds:
                for k in range(size // 4):
                    j = column(k)
                    if j < columns:
                        a, b, c, d = load4(residual, row * columns + j)
                        keep_a, keep_b, keep_c, keep_d = factors(row * columns + j, key, threshold, scale) if drops else (ONE, ONE, ONE, ONE)
                        values[4 * k] = a + keep_a * values[4 * k]
                        values[4 * k + 1] = b + keep_b * values[4 * k + 1]
                        values[4 * k + 2] = c + keep_c * values[4 * k + 2]
                        values[4 * k + 3] = d + keep_d * values[4 * k + 3]
                write_row(total, row, values)
            centre = sum_of(values, scratch) / n
            # of the differences from the mean: the difference of two large sums would lose its digits
            squares = ZERO
            for k in range(size // 4):
                if column(k) < columns:
                    for e in range(4):
                        values[4 * k + e] -= centre
                        squares += values[4 * k + e] * values[4 * k + e]
            r = ONE / sqrt(row_sum(squares, scratch) / n + eps)
            for k in range(size // 4):
                j = column(k)
                if j < columns:
                    w, b = load4(weight, j), load4(bias, j)
                    store4(out, row * columns + j, values[4 * k] * r * w[0] + b[0], values[4 * k + 1] * r * w[1] + b[1],
                           values[4 * k + 2] * r * w[2] + b[2], values[4 * k + 3] * r * w[3] + b[3])
            if cuda.threadIdx.x == 0:
                mean[row], rstd[row] = centre, r

    return layer_norm


@kernel(_signature, threads=1024)
def _layer_norm_long(x, residual, total, out, weight, bias, mean, rstd, eps, adds, drops, key, threshold, scale):
    scratch = cuda.shared.array(WARP, x.dtype)
    row, columns = cuda.blockIdx.x, x.shape[1]
    n = x.dtype.type(columns)
    sum_ = ZERO
    for j in my_columns(columns):
        value = x[row, j]
        if adds:
            value = residual[row, j] + (value * factor(row * columns + j, key, threshold, scale) if drops else value)
            total[row, j] = value
        sum_ += value
    centre = row_sum(sum_, scratch) / n
    squares = ZERO
    for j in my_columns(columns):
        squares += (total[row, j] - centre) * (total[row, j] - centre)
    r = ONE / sqrt(row_sum(squares, scratch) / n + eps)
    for j in my_columns(columns):
        out[row, j] = (total[row, j] - centre) * r * weight[j] + bias[j]
    if cuda.threadIdx.x == 0:
        mean[row], rstd[row] = centre, r


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
    dtotal = empty(total, total.shape)
    dx = empty(total, total.shape) if p > 0 else dtotal
    sums = zeros(total, 2 * columns)
    if total.size > 0:
        total_rows = rows(total, dtype)
        matrices = (total_rows, rows(g, dtype), total_rows if g_total is None else rows(g_total, dtype), dtotal.reshape(-1, columns),
                    dx.reshape(-1, columns))
        vectors = _vector(weight, 1, columns, dtype), contiguous(mean).reshape(-1), contiguous(rstd).reshape(-1)
        launch, grid, block = choose(_layer_norm_backward, _layer_norm_backward_long, matrices, vectors[:1], _MOST_THREADS)
        grid = min(grid, PARTS)
        parts = empty(total, (grid, 2 * columns))
        threshold, scale = philox.split(p)
        launch[grid, block](*matrices, *vectors, parts, g_total is not None, p > 0, int(key), threshold, scale)
        sums = column_sums(parts)
    return dx, dtotal, None if weight is None else sums[:columns], sums[columns:]


def _signature_backward(real):
    """total, g, g_total, dtotal, dx, weight, mean, rstd, parts, adds, drops, key, threshold, scale; without a g_total, total stands for it."""
    return (array(real, 2),) * 5 + (array(real, 1),) * 3 + (array(real, 2), types.boolean, types.boolean, types.uint64, types.uint64, real)


@for_sizes(4, 8, 16)
def _layer_norm_backward(size):
    @kernel(_signature_backward, threads=min(THREADS[size], _MOST_THREADS), variant=size)
    def layer_norm_backward(total, g, g_total, dtotal, dx, weight, mean, rstd, parts, adds, drops, key, threshold, scale):
        normalised, a = cuda.local.array(size, total.dtype), cuda.local.array(size, total.dtype)
        dweight, dbias = cuda.local.array(size, total.dtype), cuda.local.array(size, total.dtype)
        scratch = cuda.shared.array(WARP, total.dtype)
        n_rows, columns = total.shape
        n = total.dtype.type(columns)
        for k in range(size):
            dweight[k] = ZERO
            dbias[k] = ZERO
        for row in range(this_row(), n_rows, cuda.gridDim.x * cuda.blockDim.y):
            centre, r = mean[row], rstd[row]
            read_row(normalised, total, row, centre)
            read_row(a, g, row, ZERO)
            sum_a, sum_a_normalised = ZERO, ZERO
            for k in range(size // 4):
                j = column(k)
                if j < columns:
                    w = load4(weight, j)
                    for e in range(4):
                        normalised[4 * k + e] = (normalised[4 * k + e] - centre) * r
                        dweight[4 * k + e] += a[4 * k + e] * normalised[4 * k + e]
                        dbias[4 * k + e] += a[4 * k + e]
                        a[4 * k + e] *= w[e]
                        sum_a += a[4 * k + e]
                        sum_a_normalised += a[4 * k + e] * normalised[4 * k + e]
            mean_a, slope = row_sum(sum_a, scratch) / n, row_sum(sum_a_normalised, scratch) / n
            for k in range(size):
                a[k] = r * (a[k] - mean_a - normalised[k] * slope)
            if adds:
                read_row(normalised, g_total, row, ZERO)
                for k in range(size):
                    a[k] += normalised[k]
            write_row(dtotal, row, a)
            if drops:
                for k in range(size // 4):
                    keep = factors(row * columns + column(k), key, threshold, scale)
                    for e in range(4):
                        a[4 * k + e] *= keep[e]
                write_row(dx, row, a)
        # the warps of the block one after the other
        for warp in range(cuda.blockDim.y):
            if cuda.threadIdx.y == warp:
                for k in range(size):
                    j = column(k // 4) + k % 4
                    if j < columns:
                        parts[cuda.blockIdx.x, j] = dweight[k] + (parts[cuda.blockIdx.x, j] if warp > 0 else ZERO)
                        parts[cuda.blockIdx.x, columns + j] = dbias[k] + (parts[cuda.blockIdx.x, columns + j] if warp > 0 else ZERO)
            cuda.syncthreads()

    return layer_norm_backward


@kernel(_signature_backward, threads=_MOST_THREADS)
def _layer_norm_backward_long(total, g, g_total, dtotal, dx, weight, mean, rstd, parts, adds, drops, key, threshold, scale):
    scratch = cuda.shared.array(WARP, total.dtype)
    n_rows, columns = total.shape
    n = total.dtype.type(columns)
    for j in my_columns(2 * columns):
        parts[cuda.blockIdx.x, j] = ZERO
    cuda.syncthreads()
    for row in range(cuda.blockIdx.x, n_rows, cuda.gridDim.x):
        centre, r = mean[row], rstd[row]
        sum_a, sum_a_normalised = ZERO, ZERO
        for j in my_columns(columns):
            normalised = (total[row, j] - centre) * r
            sum_a += g[row, j] * weight[j]
            sum_a_normalised += g[row, j] * weight[j] * normalised
            parts[cuda.blockIdx.x, j] += g[row, j] * normalised
            parts[cuda.blockIdx.x, columns + j] += g[row, j]
        mean_a, slope = row_sum(sum_a, scratch) / n, row_sum(sum_a_normalised, scratch) / n
        for j in my_columns(columns):
            value = r * (g[row, j] * weight[j] - mean_a - (total[row, j] - centre) * r * slope)
            if adds:
                value += g_total[row, j]
            dtotal[row, j] = value
            if drops:
                dx[row, j] = value * factor(row * columns + j, key, threshold, scale)


def _vector(given, value, size, dtype):
    """The weight or bias, or what stands for an absent one."""
    return filled(size, value, dtype) if given is None else contiguous(given)
