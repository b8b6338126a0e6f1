"""Softmax and log-softmax on CUDA. Versions, from naive to fast:

1. `naive.py`: a thread for a row. Neighbouring threads read places a row apart, so of each 32 bytes that memory gives, 4 are used.
2. A block for a row (`_softmax_long` and the like): neighbouring threads read neighbouring elements, and maximum and sum are taken together,
   corrected whenever a larger element comes (Milakov and Gimelshein 2018). Two passes over the row, for rows of any length.
3. The row in registers (`_softmax` and the like): it is read once, 16 bytes at a time, and written once, which is the least there can be.

Version 3 serves rows of up to 16,384 elements, if their number is a multiple of 4: 16 elements for each of 1,024 threads.
"""
from numba import cuda

from ..runtime.cuda import array, empty, kernel, rows
from ..runtime.intrinsics import LOWEST, ONE, WARP, ZERO, exp, log, row_max, row_sum
from ..runtime.rows import THREADS, choose, finite, for_sizes, join, largest_of, my_columns, read_row, sum_of, take_in, this_row, write_row
from .reference import check


def _one(real):
    return array(real, 2), array(real, 2)


def _two(real):
    return array(real, 2), array(real, 2), array(real, 2)


def softmax(x):
    """See reference.softmax."""
    check("softmax", x)
    return _by_rows(_softmax, _softmax_long, x)


@for_sizes(4, 8, 16, 32)
def _softmax(size):
    @kernel(_one, threads=THREADS[size], variant=size)
    def softmax(x, out):
        values, scratch = cuda.local.array(size, x.dtype), cuda.shared.array(WARP, x.dtype)
        row = this_row()
        if row < x.shape[0]:
            read_row(values, x, row, LOWEST)
            largest = finite(largest_of(values, scratch))
            for k in range(size):
                values[k] = exp(values[k] - largest)
            total = sum_of(values, scratch)
            scale = ZERO if total == ZERO else ONE / total  # a row that is −inf throughout
            for k in range(size):
                values[k] *= scale
            write_row(out, row, values)

    return softmax


@kernel(_one, threads=1024)
def _softmax_long(x, out):
    scratch = cuda.shared.array(WARP, x.dtype)
    row, columns = cuda.blockIdx.x, x.shape[1]
    largest, total = LOWEST, ZERO
    for j in my_columns(columns):
        largest, total = take_in(largest, total, x[row, j])
    largest, total = join(largest, total, scratch)
    shift = finite(largest)
    scale = ZERO if total == ZERO else ONE / total
    for j in my_columns(columns):
        out[row, j] = exp(x[row, j] - shift) * scale


def softmax_backward(g, out):
    """See reference.softmax_backward."""
    check("softmax_backward", out, g)
    return _by_rows(_softmax_backward, _softmax_backward_long, out, g)


@for_sizes(4, 8, 16)
def _softmax_backward(size):
    @kernel(_two, threads=THREADS[size], variant=size)
    def softmax_backward(out, g, dx):
        p, slopes, scratch = cuda.local.array(size, out.dtype), cuda.local.array(size, out.dtype), cuda.shared.array(WARP, out.dtype)
        row = this_row()
        if row < out.shape[0]:
            read_row(p, out, row, ZERO)
            read_row(slopes, g, row, ZERO)
            dot = ZERO
            for k in range(size):
                dot += p[k] * slopes[k]
            dot = row_sum(dot, scratch)
            for k in range(size):
                p[k] *= slopes[k] - dot
            write_row(dx, row, p)

    return softmax_backward


@kernel(_two, threads=1024)
def _softmax_backward_long(out, g, dx):
    scratch = cuda.shared.array(WARP, out.dtype)
    row, columns = cuda.blockIdx.x, out.shape[1]
    dot = ZERO
    for j in my_columns(columns):
        dot += out[row, j] * g[row, j]
    dot = row_sum(dot, scratch)
    for j in my_columns(columns):
        dx[row, j] = out[row, j] * (g[row, j] - dot)


def log_softmax(x):
    """See reference.log_softmax."""
    check("log_softmax", x)
    return _by_rows(_log_softmax, _log_softmax_long, x)


@for_sizes(4, 8, 16, 32)
def _log_softmax(size):
    @kernel(_one, threads=THREADS[size], variant=size)
    def log_softmax(x, out):
        values, scratch = cuda.local.array(size, x.dtype), cuda.shared.array(WARP, x.dtype)
        row = this_row()
        if row < x.shape[0]:
            read_row(values, x, row, LOWEST)
            largest = finite(largest_of(values, scratch))
            total = ZERO
            for k in range(size):
                total += exp(values[k] - largest)
            total = row_sum(total, scratch)
            log_sum_exp = ZERO if total == ZERO else largest + log(total)
            for k in range(size):
                values[k] -= log_sum_exp
            write_row(out, row, values)

    return log_softmax


@kernel(_one, threads=1024)
def _log_softmax_long(x, out):
    scratch = cuda.shared.array(WARP, x.dtype)
    row, columns = cuda.blockIdx.x, x.shape[1]
    largest, total = LOWEST, ZERO
    for j in my_columns(columns):
        largest, total = take_in(largest, total, x[row, j])
    largest, total = join(largest, total, scratch)
    log_sum_exp = ZERO if total == ZERO else largest + log(total)
    for j in my_columns(columns):
        out[row, j] = x[row, j] - log_sum_exp


def log_softmax_backward(g, out):
    """See reference.log_softmax_backward."""
    check("log_softmax_backward", out, g)
    return _by_rows(_log_softmax_backward, _log_softmax_backward_long, out, g)


@for_sizes(4, 8, 16)
def _log_softmax_backward(size):
    @kernel(_two, threads=THREADS[size], variant=size)
    def log_softmax_backward(out, g, dx):
        y, slopes, scratch = cuda.local.array(size, out.dtype), cuda.local.array(size, out.dtype), cuda.shared.array(WARP, out.dtype)
        row = this_row()
        if row < out.shape[0]:
            read_row(y, out, row, LOWEST)
            read_row(slopes, g, row, ZERO)
            total = sum_of(slopes, scratch)
            visible = largest_of(y, scratch) > LOWEST
            for k in range(size):
                y[k] = slopes[k] - exp(y[k]) * total if visible else ZERO
            write_row(dx, row, y)

    return log_softmax_backward


@kernel(_two, threads=1024)
def _log_softmax_backward_long(out, g, dx):
    scratch = cuda.shared.array(WARP, out.dtype)
    row, columns = cuda.blockIdx.x, out.shape[1]
    largest, total = LOWEST, ZERO
    for j in my_columns(columns):
        largest, total = max(largest, out[row, j]), total + g[row, j]
    visible = row_max(largest, scratch) > LOWEST
    total = row_sum(total, scratch)
    for j in my_columns(columns):
        dx[row, j] = g[row, j] - exp(out[row, j]) * total if visible else ZERO


def _by_rows(short, long, *arrays):
    """Launch the kernel that fits with the arrays as matrices of rows; returns what it computes, in the shape of the first."""
    first = arrays[0]
    out = empty(first, first.shape)
    if out.size > 0:
        matrices = [*(rows(array, first.dtype) for array in arrays), out.reshape(-1, out.shape[-1])]
        launch, grid, block = choose(short, long, matrices)
        launch[grid, block](*matrices)
    return out
