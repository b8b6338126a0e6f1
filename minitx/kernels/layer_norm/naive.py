"""Layer normalisation on CUDA as one writes it first: a thread for a row, and for the gradients of weight and bias a thread for a column.

It is here to be read and timed. The threads that have rows read memory a row apart, 4 of every 32 bytes that come; those that have columns read
neighbouring places, but there are only as many of them as columns, each with all rows to go through.
"""
from numba import cuda

from ..runtime.cuda import array, contiguous, empty, filled, kernel, rows, zeros
from ..runtime.intrinsics import ONE, ZERO, sqrt
from .reference import check


def layer_norm(x, weight=None, bias=None, eps=1e-5):
    """See reference.layer_norm."""
    check("layer_norm", x, weight, bias)
    out, mean, rstd = empty(x, x.shape), empty(x, x.shape[:-1]), empty(x, x.shape[:-1])
    if x.size > 0:
        columns = x.shape[-1]
        _layer_norm[-(-mean.size // 128), 128](
            rows(x, x.dtype), filled(columns, 1, x.dtype) if weight is None else contiguous(weight),
            filled(columns, 0, x.dtype) if bias is None else contiguous(bias), eps, out.reshape(-1, columns), mean.reshape(-1), rstd.reshape(-1))
    return out, mean, rstd


@kernel(lambda real: (array(real, 2), array(real, 1), array(real, 1), real, array(real, 2), array(real, 1), array(real, 1)), threads=128)
def _layer_norm(x, weight, bias, eps, out, mean, rstd):
    i, n = cuda.grid(1), x.dtype.type(x.shape[1])
    if i < x.shape[0]:
        total, squares = ZERO, ZERO
        for j in range(x.shape[1]):
            total += x[i, j]
        centre = total / n
        for j in range(x.shape[1]):
            squares += (x[i, j] - centre) * (x[i, j] - centre)
        r = ONE / sqrt(squares / n + eps)
        for j in range(x.shape[1]):
            out[i, j] = (x[i, j] - centre) * r * weight[j] + bias[j]
        mean[i], rstd[i] = centre, r


def layer_norm_backward(g, x, weight, mean, rstd):
    """See reference.layer_norm_backward."""
    check("layer_norm_backward", x, weight, None, g)
    columns = x.shape[-1]
    dx, dweight, dbias = empty(x, x.shape), zeros(x, columns), zeros(x, columns)
    if x.size > 0:
        arrays = rows(g, x.dtype), rows(x, x.dtype), filled(columns, 1, x.dtype) if weight is None else contiguous(weight)
        statistics = contiguous(mean).reshape(-1), contiguous(rstd).reshape(-1)
        _layer_norm_backward_rows[-(-mean.size // 128), 128](*arrays, *statistics, dx.reshape(-1, columns))
        _layer_norm_backward_columns[-(-columns // 128), 128](*arrays[:2], *statistics, dweight, dbias)
    return dx, None if weight is None else dweight, dbias


@kernel(lambda real: (array(real, 2), array(real, 2), array(real, 1), array(real, 1), array(real, 1), array(real, 2)), threads=128)
def _layer_norm_backward_rows(g, x, weight, mean, rstd, dx):
    i, n = cuda.grid(1), x.dtype.type(x.shape[1])
    if i < x.shape[0]:
        sum_a, sum_a_normalised = ZERO, ZERO
        for j in range(x.shape[1]):
            sum_a += g[i, j] * weight[j]
            sum_a_normalised += g[i, j] * weight[j] * (x[i, j] - mean[i]) * rstd[i]
        for j in range(x.shape[1]):
            dx[i, j] = rstd[i] * (g[i, j] * weight[j] - sum_a / n - (x[i, j] - mean[i]) * rstd[i] * sum_a_normalised / n)


@kernel(lambda real: (array(real, 2), array(real, 2), array(real, 1), array(real, 1), array(real, 1), array(real, 1)), threads=128)
def _layer_norm_backward_columns(g, x, mean, rstd, dweight, dbias):
    j = cuda.grid(1)
    if j < x.shape[1]:
        sum_weight, sum_bias = ZERO, ZERO
        for i in range(x.shape[0]):
            sum_weight += g[i, j] * (x[i, j] - mean[i]) * rstd[i]
            sum_bias += g[i, j]
        dweight[j], dbias[j] = sum_weight, sum_bias
