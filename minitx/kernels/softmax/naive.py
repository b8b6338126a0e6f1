"""Softmax and log-softmax on CUDA as one writes them first, a thread for a row: `reference.py` with loops. It is here to be read and timed.

What is wrong with it: the 32 threads of a warp read 32 rows, so each of their loads touches 32 places in memory, and of the 32 bytes that come from
each, 4 are used. And a matrix of few long rows keeps few threads busy.
"""
from numba import cuda

from ..runtime.cuda import array, device, empty, kernel, rows
from ..runtime.intrinsics import LOWEST, ZERO, exp, log
from .reference import check


def softmax(x):
    """See reference.softmax."""
    check("softmax", x)
    return _by_rows(_softmax, x)


@kernel(lambda real: (array(real, 2), array(real, 2)), threads=128)
def _softmax(x, out):
    i = cuda.grid(1)
    if i < x.shape[0]:
        largest = _largest(x, i)
        total = ZERO
        for j in range(x.shape[1]):
            out[i, j] = exp(x[i, j] - largest)
            total += out[i, j]
        for j in range(x.shape[1]):
            out[i, j] = ZERO if total == ZERO else out[i, j] / total


def softmax_backward(g, out):
    """See reference.softmax_backward."""
    check("softmax_backward", out, g)
    return _by_rows(_softmax_backward, out, g)


@kernel(lambda real: (array(real, 2), array(real, 2), array(real, 2)), threads=128)
def _softmax_backward(out, g, dx):
    i = cuda.grid(1)
    if i < out.shape[0]:
        dot = ZERO
        for j in range(out.shape[1]):
            dot += g[i, j] * out[i, j]
        for j in range(out.shape[1]):
            dx[i, j] = out[i, j] * (g[i, j] - dot)


def log_softmax(x):
    """See reference.log_softmax."""
    check("log_softmax", x)
    return _by_rows(_log_softmax, x)


@kernel(lambda real: (array(real, 2), array(real, 2)), threads=128)
def _log_softmax(x, out):
    i = cuda.grid(1)
    if i < x.shape[0]:
        largest = _largest(x, i)
        total = ZERO
        for j in range(x.shape[1]):
            total += exp(x[i, j] - largest)
        log_sum_exp = ZERO if total == ZERO else largest + log(total)
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] - log_sum_exp


def log_softmax_backward(g, out):
    """See reference.log_softmax_backward."""
    check("log_softmax_backward", out, g)
    return _by_rows(_log_softmax_backward, out, g)


@kernel(lambda real: (array(real, 2), array(real, 2), array(real, 2)), threads=128)
def _log_softmax_backward(out, g, dx):
    i = cuda.grid(1)
    if i < out.shape[0]:
        total, probability = ZERO, ZERO
        for j in range(out.shape[1]):
            total += g[i, j]
            probability += exp(out[i, j])
        for j in range(out.shape[1]):
            dx[i, j] = ZERO if probability == ZERO else g[i, j] - exp(out[i, j]) * total


@device
def _largest(x, i):
    largest = LOWEST
    for j in range(x.shape[1]):
        largest = max(largest, x[i, j])
    return ZERO if largest == LOWEST else largest


def _by_rows(kernel, *arrays):
    out = empty(arrays[0], arrays[0].shape)
    if out.size > 0:
        matrices = [*(rows(array, out.dtype) for array in arrays), out.reshape(-1, out.shape[-1])]
        kernel[-(-len(matrices[0]) // 128), 128](*matrices)
    return out
