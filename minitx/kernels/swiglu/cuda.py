"""SwiGLU on CUDA: a thread for four neighbours of a gate and the values beside them, read and written 16 bytes at a time.

It waits for memory, so there is no faster version.
"""
from numba import cuda
from numba.cuda import types

from ..gelu.cuda import logistic
from ..runtime.cuda import array, empty, flat, kernel
from ..runtime.elements import THREADS, first_column, over_matrix, read, write
from ..runtime.intrinsics import ONE
from ..runtime.rows import for_sizes, this_row
from .reference import check


def swiglu(x):
    """See reference.swiglu."""
    check("swiglu", x)
    n = x.shape[-1] // 2
    out = empty(x, x.shape[:-1] + (n,))
    if out.size > 0:
        over_matrix(_swiglu, out.size // n, n, (flat(x, x.dtype), out.reshape(-1)), out.size // n, n)
    return out


@for_sizes(1, 4)
def _swiglu(width):
    @kernel(lambda real: (array(real, 1), array(real, 1), types.int64, types.int64), threads=THREADS, variant=width)
    def swiglu(x, out, rows, n):
        gate, value = cuda.local.array(width, x.dtype), cuda.local.array(width, x.dtype)
        row, j = this_row(), first_column(width)
        if row < rows and j < n:
            read(gate, x, 2 * row * n + j)
            read(value, x, 2 * row * n + n + j)
            for k in range(width):
                value[k] *= gate[k] * logistic(gate[k])
            write(out, row * n + j, value)

    return swiglu


def swiglu_backward(g, x):
    """See reference.swiglu_backward."""
    check("swiglu_backward", x, g)
    dx, n = empty(x, x.shape), g.shape[-1]
    if g.size > 0:
        over_matrix(_swiglu_backward, g.size // n, n, (flat(x, x.dtype), flat(g, x.dtype), dx.reshape(-1)), g.size // n, n)
    return dx


@for_sizes(1, 4)
def _swiglu_backward(width):
    @kernel(lambda real: (array(real, 1), array(real, 1), array(real, 1), types.int64, types.int64), threads=THREADS, variant=width)
    def swiglu_backward(x, g, dx, rows, n):
        gate, value, slope = cuda.local.array(width, x.dtype), cuda.local.array(width, x.dtype), cuda.local.array(width, x.dtype)
        row, j = this_row(), first_column(width)
        if row < rows and j < n:
            read(gate, x, 2 * row * n + j)
            read(value, x, 2 * row * n + n + j)
            read(slope, g, row * n + j)
            for k in range(width):
                share = logistic(gate[k])
                value[k] *= slope[k] * share * (ONE + gate[k] * (ONE - share))
                slope[k] *= gate[k] * share
            write(dx, 2 * row * n + j, value)
            write(dx, 2 * row * n + n + j, slope)

    return swiglu_backward
