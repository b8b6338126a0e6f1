"""RMS norm on CUDA as one writes it first: a thread for a row, and for the gradient of the weight a thread for a column.

It is here to be read and timed; what is wrong with it is what is wrong with the naive layer norm.
"""
from numba import cuda

from ..runtime.cuda import array, contiguous, empty, filled, kernel, rows, zeros
from ..runtime.intrinsics import ONE, ZERO, sqrt
from .reference import check


def rms_norm(x, weight=None, eps=1e-6):
    """See reference.rms_norm."""
    check("rms_norm", x, weight)
    out, rstd = empty(x, x.shape), empty(x, x.shape[:-1])
    if x.size > 0:
        _rms_norm[-(-rstd.size // 128), 128](rows(x, x.dtype), _vector(weight, x), eps, rows(out, x.dtype), rstd.reshape(-1))
    return out, rstd


@kernel(lambda real: (array(real, 2), array(real, 1), real, array(real, 2), array(real, 1)), threads=128)
def _rms_norm(x, weight, eps, out, rstd):
    i = cuda.grid(1)
    if i < x.shape[0]:
        squares = ZERO
        for j in range(x.shape[1]):
            squares += x[i, j] * x[i, j]
        rstd[i] = ONE / sqrt(squares / x.dtype.type(x.shape[1]) + eps)
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] * rstd[i] * weight[j]


def rms_norm_backward(g, x, weight, rstd):
    """See reference.rms_norm_backward."""
    check("rms_norm_backward", x, weight, g)
    dx, dweight = empty(x, x.shape), zeros(x, x.shape[-1])
    if x.size > 0:
        arrays = rows(g, x.dtype), rows(x, x.dtype), contiguous(rstd).reshape(-1)
        _rms_norm_backward_rows[-(-rstd.size // 128), 128](*arrays, _vector(weight, x), rows(dx, x.dtype))
        _rms_norm_backward_columns[-(-dweight.size // 128), 128](*arrays, dweight)
    return dx, None if weight is None else dweight


@kernel(lambda real: (array(real, 2), array(real, 2), array(real, 1), array(real, 1), array(real, 2)), threads=128)
def _rms_norm_backward_rows(g, x, rstd, weight, dx):
    i = cuda.grid(1)
    if i < x.shape[0]:
        slope = ZERO
        for j in range(x.shape[1]):
            slope += g[i, j] * weight[j] * x[i, j] * rstd[i]
        for j in range(x.shape[1]):
            dx[i, j] = rstd[i] * (g[i, j] * weight[j] - x[i, j] * rstd[i] * slope / x.dtype.type(x.shape[1]))


@kernel(lambda real: (array(real, 2), array(real, 2), array(real, 1), array(real, 1)), threads=128)
def _rms_norm_backward_columns(g, x, rstd, dweight):
    j = cuda.grid(1)
    if j < x.shape[1]:
        total = ZERO
        for i in range(x.shape[0]):
            total += g[i, j] * x[i, j] * rstd[i]
        dweight[j] = total


def _vector(weight, x):
    return filled(x.shape[-1], 1, x.dtype) if weight is None else contiguous(weight)
