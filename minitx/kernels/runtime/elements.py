"""Kernels that go element by element: each thread has four neighbours, which it reads and writes 16 bytes at a time.

Arrays come as one row of memory. Where a kernel must know the column of an element, as for a bias, a matrix is covered by blocks of `ROWS` rows and
32 · width columns, width being the elements of a thread: 4, or 1 where the rows of a matrix do not begin at multiples of 16 bytes.
"""
from numba import cuda

from .cuda import device, on_16_bytes
from .intrinsics import WARP, load4, store4

THREADS = 256
ROWS = 8  # of a block that covers a part of a matrix


def over_elements(kernel, arrays, *rest):
    """Launch a kernel whose threads have four elements each of arrays made by `flat`."""
    kernel[-(-arrays[0].size // (4 * THREADS)), THREADS](*arrays, *rest)


def over_matrix(kernels, rows, columns, arrays, *rest):
    """Launch, of {width: kernel}, the one that fits matrices of so many columns and vectors of so many elements, all of them flat."""
    width = width_for(arrays, columns)
    kernels[width][cover(rows, columns, width), (WARP, ROWS)](*arrays, *rest)


def width_for(arrays, *extents):
    """4 if flat arrays can be read 16 bytes at a time from every multiple of the extents on, else 1."""
    return 4 if all(extent % 4 == 0 for extent in extents) and on_16_bytes(*arrays) else 1


def cover(rows, columns, width):
    """The numbers of blocks down and across a matrix."""
    return -(-rows // ROWS), -(-columns // (WARP * width))


@device
def first_element():
    """The first of the calling thread's four elements."""
    return 4 * cuda.grid(1)


@device
def first_column(width):
    """The first of the calling thread's columns; its row is `rows.this_row()`."""
    return width * (cuda.blockIdx.y * cuda.blockDim.x + cuda.threadIdx.x)


@device
def read(values, x, index):
    """Fill the local array `values`, of 4 or 1, with the elements of x from `index` on, as far as x goes."""
    if values.size == 4 and index + 4 <= x.size:
        values[0], values[1], values[2], values[3] = load4(x, index)
    else:
        for k in range(values.size):
            if index + k < x.size:
                values[k] = x[index + k]


@device
def write(x, index, values):
    """The reverse of `read`."""
    if values.size == 4 and index + 4 <= x.size:
        store4(x, index, values[0], values[1], values[2], values[3])
    else:
        for k in range(values.size):
            if index + k < x.size:
                x[index + k] = values[k]
