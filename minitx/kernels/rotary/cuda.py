"""Rotary positions on CUDA: a thread for four neighbouring planes of a head, whose two coordinates lie half a head apart. It waits for memory alone.

Nobody looks whether the positions are in the tables, as the CPU would have to wait for the answer: one that is not makes NaN.
"""
import numpy as np
from numba import cuda
from numba.cuda import types

from ..runtime.cuda import array, contiguous, empty, filled, flat, kernel
from ..runtime.elements import ROWS, THREADS, cover, first_column, read, width_for, write
from ..runtime.intrinsics import WARP
from ..runtime.rows import for_sizes, this_row
from .reference import check_shapes

_NAN = np.float32(np.nan)


def rotary(x, cos, sin, heads, start=None):
    """See reference.rotary."""
    check_shapes(x, cos, sin, heads, start)
    (batch, time, width), half, out = x.shape, cos.shape[1], empty(x, x.shape)
    if x.size > 0:
        arrays = flat(x, x.dtype), out.reshape(-1), flat(cos, x.dtype), flat(sin, x.dtype)
        elements = width_for(arrays, half, width)
        # a column for each plane, and one for each feature of the rest that is copied
        grid = cover(batch * time, width - heads * half, elements)
        start = filled(batch, 0, "int32") if start is None else contiguous(start.astype(np.int32))
        _rotary[elements][grid, (WARP, ROWS)](*arrays, start, batch * time, time, width, heads * half, half)
    return out


@for_sizes(1, 4)
def _rotary(elements):
    @kernel(lambda real: (array(real, 1),) * 4 + (array(types.int32, 1),) + (types.int64,) * 5, threads=THREADS, variant=elements)
    def rotary(x, out, cos, sin, start, rows, time, width, planes, half):
        first, second = cuda.local.array(elements, x.dtype), cuda.local.array(elements, x.dtype)
        c, s = cuda.local.array(elements, x.dtype), cuda.local.array(elements, x.dtype)
        row, j = this_row(), first_column(elements)
        if row < rows and j < planes:
            i = row * width + j // half * 2 * half + j % half
            place = (start[row // time] + row % time) * half + j % half
            read(first, x, i)
            read(second, x, i + half)
            if 0 <= place < cos.size:
                read(c, cos, place)
                read(s, sin, place)
            else:
                for k in range(elements):
                    c[k], s[k] = _NAN, _NAN
            for k in range(elements):
                turned = first[k] * c[k] - second[k] * s[k]
                second[k] = first[k] * s[k] + second[k] * c[k]
                first[k] = turned
            write(out, i, first)
            write(out, i + half, second)
        elif row < rows and j < width - planes:
            read(first, x, row * width + planes + j)
            write(out, row * width + planes + j, first)

    return rotary
