"""Batch normalisation on CUDA: a thread for a column, of the rows that its block has; neighbouring threads read neighbouring elements.

Sums over the rows: each block sums its own, and `column_sums` adds up what the blocks found, in an order that the shape alone decides. One more column
counts the rows that are real, so that nobody waits for their number.
"""
from numba import cuda
from numba.cuda import types

from ..runtime.columns import PARTS, column_sums
from ..runtime.cuda import array, contiguous, device, empty, filled, kernel, rows, zeros
from ..runtime.elements import ROWS, THREADS, cover, first_column
from ..runtime.intrinsics import ONE, WARP, ZERO, sqrt
from ..runtime.rows import this_row
from .reference import check


def moments(x, real=None):
    """See reference.moments."""
    check("moments", x, real)
    features = x.shape[-1]
    mean, variance = zeros(x, features), zeros(x, features)
    if x.size > 0:
        matrix, flags = rows(x, x.dtype), _flags(real)
        sums = _sums_of(_sums, features + 1, matrix, flags, real is not None, filled(1, 0, x.dtype), False)
        # of the differences from the mean: the difference of two large sums would lose its digits
        squares = _sums_of(_sums, features + 1, matrix, flags, real is not None, sums, True)
        _moments[-(-features // THREADS), THREADS](sums, squares, mean, variance)
    return mean, variance


def _sums_of(kernel, columns, matrix, *arguments):
    """Sums (columns,) over the rows of a matrix, by a kernel that has a thread for each of its columns and one that counts rows."""
    down, across = cover(len(matrix), matrix.shape[1] + 1, 1)
    parts = empty(matrix, (min(down, max(1, PARTS // across)), columns))
    kernel[(len(parts), across), (WARP, ROWS)](matrix, *arguments, parts)
    return column_sums(parts)


@kernel(lambda real: (array(real, 2), array(types.boolean, 1), types.boolean, array(real, 1), types.boolean, array(real, 2)), threads=THREADS)
def _sums(x, real, ragged, sums, centred, parts):
    """Σ x over the real rows of each block and how many they are; or with these of all, Σ (x − mean)²."""
    scratch = cuda.shared.array((ROWS, WARP), x.dtype)
    j, columns, total, centre = first_column(1), x.shape[1], ZERO, ZERO
    if centred and j < columns:
        centre = sums[j] / max(sums[columns], ONE)
    if j <= columns:
        for row in range(this_row(), x.shape[0], ROWS * cuda.gridDim.x):
            if not ragged or real[row]:
                value = x[row, j] - centre if j < columns else ONE
                total += value * value if centred else value
    total = _over_the_block(total, scratch)
    if cuda.threadIdx.y == 0 and j <= columns:
        parts[cuda.blockIdx.x, j] = total


@kernel(lambda real: (array(real, 1),) * 4, threads=THREADS)
def _moments(sums, squares, mean, variance):
    j = cuda.grid(1)
    if j < mean.size:
        n = max(sums[mean.size], ONE)
        mean[j], variance[j] = sums[j] / n, squares[j] / n


def batch_norm(x, weight, bias, mean, variance, real=None, eps=1e-5):
    """See reference.batch_norm."""
    check("batch_norm", x, real, weight, bias)
    out = empty(x, x.shape)
    if x.size > 0:
        matrix = rows(x, x.dtype)
        _batch_norm[cover(*matrix.shape, 1), (WARP, ROWS)](
            matrix, _flags(real), real is not None, *map(contiguous, (weight, bias, mean, variance)), eps, out.reshape(matrix.shape))
    return out


@kernel(lambda real: (array(real, 2), array(types.boolean, 1), types.boolean, *(array(real, 1),) * 4, real, array(real, 2)), threads=THREADS)
def _batch_norm(x, real, ragged, weight, bias, mean, variance, eps, out):
    row, j = this_row(), first_column(1)
    if row < x.shape[0] and j < x.shape[1]:
        value = (x[row, j] - mean[j]) / sqrt(variance[j] + eps) * weight[j] + bias[j]
        out[row, j] = value if not ragged or real[row] else ZERO


def batch_norm_backward(g, x, weight, mean, variance, real=None, eps=1e-5):
    """See reference.batch_norm_backward."""
    check("batch_norm_backward", x, real, weight, None, g)
    dx, features = empty(x, x.shape), x.shape[-1]
    if x.size == 0:
        return dx, zeros(x, features), zeros(x, features)
    matrix, g = rows(x, x.dtype), rows(g, x.dtype)
    arguments = g, _flags(real), real is not None, contiguous(mean), contiguous(variance), eps
    sums = _sums_of(_backward_sums, 2 * features + 1, matrix, *arguments)
    _batch_norm_backward[cover(*matrix.shape, 1), (WARP, ROWS)](matrix, *arguments, contiguous(weight), sums, dx.reshape(matrix.shape))
    return dx, sums[:features], sums[features:2 * features]


def _backward_signature(real):
    """x, g, real, ragged, mean, variance, eps."""
    return array(real, 2), array(real, 2), array(types.boolean, 1), types.boolean, array(real, 1), array(real, 1), real


@kernel(lambda real: (*_backward_signature(real), array(real, 2)), threads=THREADS)
def _backward_sums(x, g, real, ragged, mean, variance, eps, parts):
    """Σ g x̂ and Σ g over the real rows of each block, and how many they are."""
    scratch = cuda.shared.array((ROWS, WARP), x.dtype)
    j, columns, of_weight, of_bias, centre, r = first_column(1), x.shape[1], ZERO, ZERO, ZERO, ONE
    if j < columns:
        centre, r = mean[j], ONE / sqrt(variance[j] + eps)
    if j <= columns:
        for row in range(this_row(), x.shape[0], ROWS * cuda.gridDim.x):
            if not ragged or real[row]:
                if j < columns:
                    of_weight += g[row, j] * (x[row, j] - centre) * r
                    of_bias += g[row, j]
                else:
                    of_bias += ONE
    of_weight = _over_the_block(of_weight, scratch)
    cuda.syncthreads()
    of_bias = _over_the_block(of_bias, scratch)
    if cuda.threadIdx.y == 0 and j <= columns:
        if j < columns:
            parts[cuda.blockIdx.x, j] = of_weight
        parts[cuda.blockIdx.x, columns + j] = of_bias


@kernel(lambda real: (*_backward_signature(real), array(real, 1), array(real, 1), array(real, 2)), threads=THREADS)
def _batch_norm_backward(x, g, real, ragged, mean, variance, eps, weight, sums, dx):
    row, j, columns = this_row(), first_column(1), x.shape[1]
    if row < x.shape[0] and j < columns:
        n, r = max(sums[2 * columns], ONE), ONE / sqrt(variance[j] + eps)
        value = weight[j] * r * (g[row, j] - (sums[columns + j] + (x[row, j] - mean[j]) * r * sums[j]) / n)
        dx[row, j] = value if not ragged or real[row] else ZERO


@device
def _over_the_block(value, scratch):
    """The sum over the rows of the block's threads, in those of the first row."""
    scratch[cuda.threadIdx.y, cuda.threadIdx.x] = value
    cuda.syncthreads()
    if cuda.threadIdx.y == 0:
        for other in range(1, ROWS):
            value += scratch[other, cuda.threadIdx.x]
    return value


def _flags(real):
    """Which rows count, as a row of booleans; or what stands for none."""
    return filled(1, True, "bool") if real is None else contiguous(real).reshape(-1)
