"""RMS norm on CUDA. Versions, from naive to fast:

1. `naive.py`: a thread for a row, and for the gradient of the weight a thread for a column.
2. A block for a row (`_rms_norm_long` and the like), which it goes over twice: for rows of any length.
3. The row in registers of a warp or a block (`_rms_norm` and the like): one reading and one writing.

The sums over rows and over columns of the backward pass are layer norm's, see there.
"""
from numba import cuda

from ..runtime.columns import PARTS, column_sums
from ..runtime.cuda import array, contiguous, empty, filled, flat, kernel, rows, zeros
from ..runtime.intrinsics import ONE, WARP, ZERO, load4, row_sum, sqrt, store4
from ..runtime.rows import THREADS, choose, column, for_sizes, my_columns, read_row, this_row, write_row
from .reference import check

_MOST_THREADS = 512  # in the backward pass, which needs more registers


def rms_norm(x, weight=None, eps=1e-6):
    """See reference.rms_norm."""
    check("rms_norm", x, weight)
    out, rstd = empty(x, x.shape), empty(x, x.shape[:-1])
    if x.size > 0:
        matrices, weight = (rows(x, x.dtype), rows(out, x.dtype)), _vector(weight, x)
        launch, grid, block = choose(_rms_norm, _rms_norm_long, matrices, (weight,))
        launch[grid, block](*matrices, weight, rstd.reshape(-1), eps)
    return out, rstd


def _signature(real):
    """x, out, weight, rstd, eps."""
    return array(real, 2), array(real, 2), array(real, 1), array(real, 1), real


@for_sizes(4, 8, 16, 32)
def _rms_norm(size):
    @kernel(_signature, threads=THREADS[size], variant=size)
    def rms_norm(x, out, weight, rstd, eps):
        values, scratch = cuda.local.array(size, x.dtype), cuda.shared.array(WARP, x.dtype)
        row, columns = this_row(), x.shape[1]
        if row < x.shape[0]:
            read_row(values, x, row, ZERO)
            squares = ZERO
            for k in range(size):
                squares += values[k] * values[k]
            r = ONE / sqrt(row_sum(squares, scratch) / x.dtype.type(columns) + eps)
            for k in range(size // 4):
                j = column(k)
                if j < columns:
                    w = load4(weight, j)
                    store4(out, row * columns + j, values[4 * k] * r * w[0], values[4 * k + 1] * r * w[1], values[4 * k + 2] * r * w[2],
                           values[4 * k + 3] * r * w[3])
            if cuda.threadIdx.x == 0:
                rstd[row] = r

    return rms_norm


@kernel(_signature, threads=1024)
def _rms_norm_long(x, out, weight, rstd, eps):
    scratch = cuda.shared.array(WARP, x.dtype)
    row, columns = cuda.blockIdx.x, x.shape[1]
    squares = ZERO
    for j in my_columns(columns):
        squares += x[row, j] * x[row, j]
    r = ONE / sqrt(row_sum(squares, scratch) / x.dtype.type(columns) + eps)
    for j in my_columns(columns):
        out[row, j] = x[row, j] * r * weight[j]
    if cuda.threadIdx.x == 0:
        rstd[row] = r


def rms_norm_backward(g, x, weight, rstd):
    """See reference.rms_norm_backward."""
    check("rms_norm_backward", x, weight, g)
    dx, dweight = empty(x, x.shape), zeros(x, x.shape[-1])
    if x.size > 0:
        matrices, vector = (rows(x, x.dtype), rows(g, x.dtype), rows(dx, x.dtype)), _vector(weight, x)
        launch, grid, block = choose(_rms_norm_backward, _rms_norm_backward_long, matrices, (vector,), _MOST_THREADS)
        parts = empty(x, (min(grid, PARTS), x.shape[-1]))
        launch[len(parts), block](*matrices, vector, contiguous(rstd).reshape(-1), parts)
        dweight = column_sums(parts)
    return dx, None if weight is None else dweight


def _signature_backward(real):
    """x, g, dx, weight, rstd, parts."""
    return array(real, 2), array(real, 2), array(real, 2), array(real, 1), array(real, 1), array(real, 2)


@for_sizes(4, 8, 16)
def _rms_norm_backward(size):
    @kernel(_signature_backward, threads=min(THREADS[size], _MOST_THREADS), variant=size)
    def rms_norm_backward(x, g, dx, weight, rstd, parts):
        normalised, a, dweight = cuda.local.array(size, x.dtype), cuda.local.array(size, x.dtype), cuda.local.array(size, x.dtype)
        scratch = cuda.shared.array(WARP, x.dtype)
        n_rows, columns = x.shape
        for k in range(size):
            dweight[k] = ZERO
        for row in range(this_row(), n_rows, cuda.gridDim.x * cuda.blockDim.y):
            r, slope = rstd[row], ZERO
            read_row(normalised, x, row, ZERO)
            read_row(a, g, row, ZERO)
            for k in range(size // 4):
                j = column(k)
                if j < columns:
                    w = load4(weight, j)
                    for e in range(4):
                        normalised[4 * k + e] *= r
                        dweight[4 * k + e] += a[4 * k + e] * normalised[4 * k + e]
                        a[4 * k + e] *= w[e]
                        slope += a[4 * k + e] * normalised[4 * k + e]
            slope = row_sum(slope, scratch) / x.dtype.type(columns)
            for k in range(size):
                a[k] = r * (a[k] - normalised[k] * slope)
            write_row(dx, row, a)
        # the warps of the block one after the other
        for warp in range(cuda.blockDim.y):
            if cuda.threadIdx.y == warp:
                for k in range(size):
                    j = column(k // 4) + k % 4
                    if j < columns:
                        parts[cuda.blockIdx.x, j] = dweight[k] + (parts[cuda.blockIdx.x, j] if warp > 0 else ZERO)
            cuda.syncthreads()

    return rms_norm_backward


@kernel(_signature_backward, threads=_MOST_THREADS)
def _rms_norm_backward_long(x, g, dx, weight, rstd, parts):
    scratch = cuda.shared.array(WARP, x.dtype)
    n_rows, columns = x.shape
    for j in my_columns(columns):
        parts[cuda.blockIdx.x, j] = ZERO
    for row in range(cuda.blockIdx.x, n_rows, cuda.gridDim.x):
        r, slope = rstd[row], ZERO
        for j in my_columns(columns):
            slope += g[row, j] * weight[j] * x[row, j] * r
            parts[cuda.blockIdx.x, j] += g[row, j] * x[row, j] * r
        slope = row_sum(slope, scratch) / x.dtype.type(columns)
        for j in my_columns(columns):
            dx[row, j] = r * (g[row, j] * weight[j] - x[row, j] * r * slope)


def _vector(weight, x):
    """The weight, or what stands for an absent one."""
    return filled(x.shape[-1], 1, x.dtype) if weight is None else flat(weight, x.dtype)
