"""Kernels that go row by row: how a row is shared out between threads, and kept in their registers.

A row of up to 512 or 1,024 elements is one warp's, so that nothing but shuffles joins its threads; a longer one is a block's. Either way thread t has
elements 4·t … 4·t + 3, then as many 4 · threads further on, and so on: each warp reads and writes 512 bytes in a row.
"""
import numpy as np
from numba import cuda

from .cuda import aligned, device
from .intrinsics import LOWEST, ONE, WARP, ZERO, exp, load4, row_max, row_sum, store4

# Elements of a row that a thread may have, and the most threads that share a row then. Registers cannot be counted off at run time: each size is a kernel.
THREADS = {4: 128, 8: 128, 16: 1024, 32: 128}
_WARPS = 4  # rows of a block, where a row is a warp's


def for_sizes(*sizes):
    """Decorate a function of a size that returns a kernel: {size: kernel} for each number of elements that a thread may have of a row."""
    return lambda make: {size: make(size) for size in sizes}


def choose(short, long, matrices, vectors=(), most_threads=1024):
    """(kernel, grid, block) for matrices of one shape: of `short`, {size: kernel}, where a row fits into registers and 16 bytes lie together, else `long`."""
    n, columns = matrices[0].shape
    if aligned(*matrices, *vectors):
        quads = columns // 4
        for size in short:
            if quads <= WARP * size // 4:
                return short[size], -(-n // _WARPS), (WARP, _WARPS)
        threads = _whole_warps(quads // 4 + (quads % 4 > 0))
        if threads <= most_threads:
            return short[16], n, (threads, 1)
    return long, n, min(most_threads, _whole_warps(-(-columns // 4)))


def _whole_warps(threads):
    return WARP * -(-threads // WARP)


@device
def this_row():
    """The row that the calling thread works on."""
    return cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y


@device
def my_columns(columns):
    """The columns that the calling thread goes over, one by one; unsigned, so that no index is asked whether it counts from the end."""
    return range(np.uint64(cuda.threadIdx.x), np.uint64(columns), np.uint64(cuda.blockDim.x))


@device
def column(k):
    """The first of the four columns that are number k of the calling thread's."""
    return 4 * (cuda.threadIdx.x + k * cuda.blockDim.x)


@device
def read_row(values, x, row, filler):
    """Fill the local array `values` with the calling thread's elements of a row of x, and with `filler` behind its end."""
    columns = x.shape[1]
    for k in range(values.size // 4):
        j = column(k)
        if j < columns:
            values[4 * k], values[4 * k + 1], values[4 * k + 2], values[4 * k + 3] = load4(x, row * columns + j)
        else:
            for e in range(4):
                values[4 * k + e] = filler


@device
def write_row(x, row, values):
    """The reverse of `read_row`."""
    columns = x.shape[1]
    for k in range(values.size // 4):
        j = column(k)
        if j < columns:
            store4(x, row * columns + j, values[4 * k], values[4 * k + 1], values[4 * k + 2], values[4 * k + 3])


@device
def read_piece(values, x, row, j):
    """Fill the local array `values`, of 4 or 1, from column j of a row of x on; a row is a multiple of so many elements."""
    if values.size == 4:
        values[0], values[1], values[2], values[3] = load4(x, row * x.shape[1] + j)
    else:
        values[0] = x[row, j]


@device
def write_piece(x, row, j, values):
    """The reverse of `read_piece`."""
    if values.size == 4:
        store4(x, row * x.shape[1] + j, values[0], values[1], values[2], values[3])
    else:
        x[row, j] = values[0]


@device
def largest_of(values, scratch):
    """The largest element of the row."""
    largest = LOWEST
    for k in range(values.size):
        largest = max(largest, values[k])
    return row_max(largest, scratch)


@device
def finite(largest):
    """What is subtracted from a row before the exponentials: its largest element, or 0 where all are −inf."""
    return ZERO if largest == LOWEST else largest


@device
def sum_of(values, scratch):
    """The sum of the row."""
    total = ZERO
    for k in range(values.size):
        total += values[k]
    return row_sum(total, scratch)


@device
def take_in(largest, total, value):
    """One more element: the largest so far, and the sum of exponentials relative to it (Milakov and Gimelshein 2018)."""
    if value > largest:
        total = total * exp(largest - value) + ONE
        largest = value
    elif value != LOWEST:
        total += exp(value - largest)
    return largest, total


@device
def join(largest, total, scratch):
    """What the threads of a row took in, put together."""
    whole = row_max(largest, scratch)
    total = row_sum(ZERO if largest == LOWEST else total * exp(largest - whole), scratch)
    return whole, total
