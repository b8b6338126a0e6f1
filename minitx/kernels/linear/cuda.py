"""The linear layer on CUDA. Versions, from naive to fast:

1. `naive.py`: a thread for an element of the product, which reads a row and a column for it.
2. The products are cuBLAS's; one kernel for bias, activation and dropout, and one for their gradients and the sums of the bias, go over memory once.

The sums of the bias: each block has many rows, one after the other, and its threads keep the sums of their columns; `column_sums` adds up what the
blocks found. How many blocks there are is decided by the shape, so that every GPU gives the same bits.
"""
import numpy as np
from numba import cuda
from numba.cuda import types

from ..dropout import philox
from ..dropout.philox_cuda import mask
from ..gelu.cuda import PEAK, ROOT_HALF, logistic, normal_cdf, normal_density
from ..runtime.columns import PARTS, column_sums
from ..runtime.cuda import array, device, empty, filled, flat, kernel, zeros
from ..runtime.elements import ROWS, THREADS, cover, first_column, over_matrix, read, width_for, write
from ..runtime.intrinsics import ONE, WARP, ZERO
from ..runtime.rows import for_sizes, this_row
from .reference import check

ACTIVATION = {"none": 0, "relu": 1, "gelu": 2, "gelu_tanh": 3}
_RELU, _GELU = 1, 2
BEND, STEEPNESS = 0.044715, 2 * (2 / np.pi) ** 0.5  # of the logistic function that stands for Φ
_THREE = np.float32(3)


def linear(x, weight, bias=None, activation="none", p=0.0, key=0, needs_gradient=True):
    """See reference.linear."""
    check(x, weight, bias, activation, p)
    n_out, n_in = weight.shape
    out = x.reshape(-1, n_in) @ weight.T  # (rows, out)
    keeps_slope = activation in ("gelu", "gelu_tanh") and needs_gradient
    slope = empty(out, out.shape) if keeps_slope else out
    if out.size > 0 and (bias is not None or activation != "none"):
        threshold, scale = philox.split(p)
        arrays = out.reshape(-1), slope.reshape(-1), filled(n_out, 0, out.dtype) if bias is None else flat(bias, out.dtype)
        over_matrix(_finish, *out.shape, arrays, *out.shape, ACTIVATION[activation], keeps_slope, p > 0, int(key), threshold, scale)
    out = out.reshape(x.shape[:-1] + (n_out,))
    if not needs_gradient or activation == "none":
        return out, None
    return out, slope.reshape(out.shape) if keeps_slope else out


def _finish_signature(real):
    """out, slope, bias, rows, columns, activation, keeps_slope, drops, key, threshold, scale; where no slope is kept, out stands for it."""
    return ((array(real, 1),) * 3 + (types.int64,) * 3 + (types.boolean, types.boolean, types.uint64, types.uint64, real))


@for_sizes(1, 4)
def _finish(width):
    @kernel(_finish_signature, threads=THREADS, variant=width)
    def finish(out, slope, bias, rows, columns, activation, keeps_slope, drops, key, threshold, scale):
        """Replace x Wᵀ by dropout(f(x Wᵀ + b))."""
        values, offsets = cuda.local.array(width, out.dtype), cuda.local.array(width, out.dtype)
        slopes, keep = cuda.local.array(width, out.dtype), cuda.local.array(width, out.dtype)
        root_half, peak, bend, steepness = out.dtype.type(ROOT_HALF), out.dtype.type(PEAK), out.dtype.type(BEND), out.dtype.type(STEEPNESS)
        row, j = this_row(), first_column(width)
        if row < rows and j < columns:
            i = row * columns + j
            read(values, out, i)
            read(offsets, bias, j)
            for k in range(width):
                values[k] += offsets[k]
                if activation == _RELU:
                    values[k] = ZERO if values[k] < ZERO else values[k]  # NaN stays
                elif activation > _RELU:
                    cdf, density = gelu_factors(values[k], activation == _GELU, root_half, peak, bend, steepness)
                    slopes[k] = cdf + values[k] * density
                    values[k] *= cdf
            if drops:
                mask(keep, i, key, threshold, scale)
                for k in range(width):
                    values[k] *= keep[k]
                    slopes[k] *= keep[k]
            write(out, i, values)
            if keeps_slope:
                write(slope, i, slopes)

    return finish


@device
def gelu_factors(x, exact, root_half, peak, bend, steepness):
    """Φ(x) and its slope, or those of what stands for Φ in the approximate GELU: ½ (1 + tanh u) = 1 / (1 + e⁻²ᵘ)."""
    if exact:
        return normal_cdf(x, root_half), normal_density(x, peak)
    cdf = logistic(steepness * (x + bend * x * x * x))
    return cdf, cdf * (ONE - cdf) * steepness * (ONE + _THREE * bend * x * x)


def linear_backward(g, x, weight, saved, activation="none", p=0.0, needs=(True, True, True), dweight=None):
    """See reference.linear_backward."""
    n_out, n_in = weight.shape
    dpre, dbias = _to_the_product(flat(g, x.dtype).reshape(-1, n_out), saved, activation, philox.split(p)[1], needs[2])
    dx = (dpre @ weight).reshape(x.shape) if needs[0] else None
    dweight = dpre.T.dot(x.reshape(-1, n_in), out=dweight) if needs[1] else None
    return dx, dweight, dbias


def _to_the_product(g, saved, activation, scale, sums):
    """∂L/∂(x Wᵀ) (rows, out) from g = ∂L/∂out, and its column sums if they are wanted."""
    if g.size == 0:
        return g, zeros(g, g.shape[1]) if sums else None
    if activation == "none" and not sums:
        return g, None
    rows, columns = g.shape
    dpre = g if activation == "none" else empty(g, g.shape)
    arrays = g.reshape(-1), g.reshape(-1) if activation == "none" else flat(saved, g.dtype), dpre.reshape(-1)
    width = width_for(arrays, columns)
    down, across = cover(rows, columns, width)
    parts = empty(g, (min(down, max(1, PARTS // across)), columns))
    _backward[width][(len(parts), across), (WARP, ROWS)](*arrays, parts.reshape(-1), rows, columns, ACTIVATION[activation], scale)
    return dpre, column_sums(parts) if sums else None


@for_sizes(1, 4)
def _backward(width):
    @kernel(lambda real: (array(real, 1),) * 4 + (types.int64,) * 3 + (real,), threads=THREADS, variant=width)
    def backward(g, saved, dpre, parts, rows, columns, activation, scale):
        """g ∘ slope, and its sums over the rows of each block; without an activation, g is read only."""
        slopes, kept, totals = cuda.local.array(width, g.dtype), cuda.local.array(width, g.dtype), cuda.local.array(width, g.dtype)
        sums = cuda.shared.array((width, ROWS, WARP), g.dtype)
        lane, part, j = cuda.threadIdx.x, cuda.threadIdx.y, first_column(width)
        for k in range(width):
            totals[k] = ZERO
        if j < columns:
            for row in range(this_row(), rows, ROWS * cuda.gridDim.x):
                i = row * columns + j
                read(slopes, g, i)
                if activation > 0:
                    read(kept, saved, i)
                    for k in range(width):
                        if activation == _RELU:
                            slopes[k] = slopes[k] * scale if kept[k] > ZERO else ZERO
                        else:
                            slopes[k] *= kept[k]
                    write(dpre, i, slopes)
                for k in range(width):
                    totals[k] += slopes[k]
        for k in range(width):
            sums[k, part, lane] = totals[k]
        cuda.syncthreads()
        if part == 0 and j < columns:
            for k in range(width):
                for other in range(1, ROWS):
                    totals[k] += sums[k, other, lane]
            write(parts, cuda.blockIdx.x * columns + j, totals)

    return backward
