"""The linear layer on CUDA as one writes it first, a thread for each element of each product. It is here to be read and timed.

What is wrong with it: every thread reads a whole row and a whole column for one number, two readings for each multiplication. A product of n × n
matrices reads 2 n³ numbers where 2 n² are there; fast ones bring tiles into shared memory and registers, and use each number a hundred times.
"""
from numba import cuda
from numba.cuda import types

from ..dropout import philox
from ..dropout.philox_cuda import factor
from ..gelu.cuda import PEAK, ROOT_HALF
from ..runtime.cuda import array, contiguous, empty, filled, kernel, rows, zeros
from ..runtime.intrinsics import ZERO
from .cuda import ACTIVATION, BEND, STEEPNESS, gelu_factors
from .reference import check

_RELU, _GELU = 1, 2
_BLOCK = 16, 16


def linear(x, weight, bias=None, activation="none", p=0.0, key=0, needs_gradient=True):
    """See reference.linear."""
    check(x, weight, bias, activation, p)
    dtype, n_out = x.dtype, len(weight)
    out, slope = empty(x, x.shape[:-1] + (n_out,)), empty(x, x.shape[:-1] + (n_out,))
    threshold, scale = philox.split(p)
    if out.size > 0:
        out_rows = out.reshape(-1, n_out)
        _linear[_grid(out_rows), _BLOCK](rows(x, dtype), contiguous(weight), filled(n_out, 0, dtype) if bias is None else contiguous(bias),
                                         ACTIVATION[activation], p > 0, int(key), threshold, scale, out_rows, slope.reshape(-1, n_out))
    if not needs_gradient or activation == "none":
        return out, None
    return out, out if activation == "relu" else slope


@kernel(lambda real: (array(real, 2), array(real, 2), array(real, 1), types.int64, types.boolean, types.uint64, types.uint64, real, array(real, 2),
                      array(real, 2)), threads=256)
def _linear(x, weight, bias, activation, drops, key, threshold, scale, out, slope):
    j, i = cuda.grid(2)
    if i < out.shape[0] and j < out.shape[1]:
        value, slope_ = bias[j], ZERO
        for k in range(x.shape[1]):
            value += x[i, k] * weight[j, k]
        if activation == _RELU:
            value = ZERO if value < ZERO else value
        elif activation > _RELU:
            cdf, density = gelu_factors(value, activation == _GELU, x.dtype.type(ROOT_HALF), x.dtype.type(PEAK), x.dtype.type(BEND),
                                        x.dtype.type(STEEPNESS))
            slope_ = cdf + value * density
            value *= cdf
        if drops:
            keep = factor(i * out.shape[1] + j, key, threshold, scale)
            value *= keep
            slope_ *= keep
        out[i, j], slope[i, j] = value, slope_


def linear_backward(g, x, weight, saved, activation="none", p=0.0, needs=(True, True, True), dweight=None):
    """See reference.linear_backward."""
    dtype, (n_out, n_in) = x.dtype, weight.shape
    dx, dweight, dbias = empty(x, x.shape), empty(weight, weight.shape) if dweight is None else dweight, zeros(weight, n_out)
    dweight.fill(0)
    if g.size > 0 and x.size > 0:
        g, x_rows, weight = rows(g, dtype), rows(x, dtype), contiguous(weight)
        dpre, dx_rows = empty(g, g.shape), dx.reshape(-1, n_in)
        _to_the_product[_grid(g), _BLOCK](g, g if saved is None else rows(saved, dtype), ACTIVATION[activation], philox.split(p)[1], dpre)
        _dx[_grid(dx_rows), _BLOCK](dpre, weight, dx_rows)
        _dweight[_grid(weight), _BLOCK](dpre, x_rows, dweight)
        _dbias[-(-n_out // 256), 256](dpre, dbias)
    return tuple(gradient if needed else None for gradient, needed in zip((dx, dweight, dbias), needs))


@kernel(lambda real: (array(real, 2), array(real, 2), types.int64, real, array(real, 2)), threads=256)
def _to_the_product(g, saved, activation, scale, dpre):
    j, i = cuda.grid(2)
    if i < g.shape[0] and j < g.shape[1]:
        if activation == _RELU:
            dpre[i, j] = g[i, j] * scale if saved[i, j] > ZERO else ZERO
        elif activation > _RELU:
            dpre[i, j] = g[i, j] * saved[i, j]
        else:
            dpre[i, j] = g[i, j]


@kernel(lambda real: (array(real, 2), array(real, 2), array(real, 2)), threads=256)
def _dx(dpre, weight, dx):
    k, i = cuda.grid(2)
    if i < dx.shape[0] and k < dx.shape[1]:
        total = ZERO
        for j in range(weight.shape[0]):
            total += dpre[i, j] * weight[j, k]
        dx[i, k] = total


@kernel(lambda real: (array(real, 2), array(real, 2), array(real, 2)), threads=256)
def _dweight(dpre, x, dweight):
    k, j = cuda.grid(2)
    if j < dweight.shape[0] and k < dweight.shape[1]:
        total = ZERO
        for i in range(x.shape[0]):
            total += dpre[i, j] * x[i, k]
        dweight[j, k] = total


@kernel(lambda real: (array(real, 2), array(real, 1)), threads=256)
def _dbias(dpre, dbias):
    j = cuda.grid(1)
    if j < dbias.size:
        total = ZERO
        for i in range(dpre.shape[0]):
            total += dpre[i, j]
        dbias[j] = total


def _grid(matrix):
    """Blocks across and down a matrix."""
    return -(-matrix.shape[1] // _BLOCK[0]), -(-matrix.shape[0] // _BLOCK[1])
