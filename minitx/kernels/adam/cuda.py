"""Adam on CUDA: all parameters in one launch, a thread for four elements of each of the four arrays, which are read and written 16 bytes at a time.

A loop over the parameters would be its naive version: a hundred launches of kernels that are too small to fill the GPU.

Nothing waits for the GPU. The norm of the gradient stays there, as does what clipping makes of it, and the next kernel reads that from memory.
"""
from numba import cuda
from numba.cuda import types

from ..runtime.columns import PARTS
from ..runtime.cuda import array, contiguous, empty, filled, flat, kernel, zeros
from ..runtime.elements import THREADS, read, width_for, write
from ..runtime.intrinsics import ONE, WARP, ZERO, row_sum, sqrt
from ..runtime.rows import for_sizes
from .reference import check


def adam(parameter, gradient, m, v, learning_rate, beta1, beta2, eps, weight_decay, step, decoupled, scale=1.0):
    """See reference.adam; `scale` is a number or an array of one element."""
    check(parameter, gradient, m, v, step)
    if parameter.size == 0:
        return
    keep = 1.0 - learning_rate * weight_decay if decoupled else 1.0
    # α m̂ / (√v̂ + ε), with both corrections as factors that are the same for all elements, computed here in float64
    rate, root = learning_rate / (1.0 - beta1**step), (1.0 - beta2**step) ** -0.5
    arrays = [one.reshape(-1) for one in (parameter, contiguous(gradient), m, v)]
    number, there = (scale, filled(1, 1, parameter.dtype)) if isinstance(scale, (int, float)) else (1.0, scale.reshape(1))
    width = width_for(arrays)
    _adam[width][-(-parameter.size // (width * THREADS)), THREADS](
        *arrays, there, number, 0.0 if decoupled else weight_decay, beta1, 1.0 - beta1, beta2, 1.0 - beta2, keep, rate, root, eps)


@for_sizes(1, 4)
def _adam(width):
    @kernel(lambda real: (array(real, 1),) * 5 + (real,) * 10, threads=THREADS, variant=width)
    def adam(parameter, gradient, m, v, there, scale, decay, beta1, rest1, beta2, rest2, keep, rate, root, eps):
        p, slope = cuda.local.array(width, parameter.dtype), cuda.local.array(width, parameter.dtype)
        first, second = cuda.local.array(width, parameter.dtype), cuda.local.array(width, parameter.dtype)
        i = width * cuda.grid(1)
        if i < parameter.size:
            read(p, parameter, i)
            read(slope, gradient, i)
            read(first, m, i)
            read(second, v, i)
            for k in range(width):
                slope[k] = slope[k] * (scale * there[0]) + decay * p[k]
                first[k] = beta1 * first[k] + rest1 * slope[k]
                second[k] = beta2 * second[k] + rest2 * slope[k] * slope[k]
                p[k] = keep * p[k] - rate * first[k] / (root * sqrt(second[k]) + eps)
            write(parameter, i, p)
            write(m, i, first)
            write(v, i, second)

    return adam


def clipping(gradient, limit):
    """See reference.clipping."""
    gradient = flat(gradient, gradient.dtype)
    parts, found = zeros(gradient, max(1, min(PARTS, -(-gradient.size // (4 * THREADS))))), empty(gradient, 2)
    if gradient.size > 0:
        _squares[len(parts), THREADS](gradient, parts)
    _clip[1, THREADS](parts, limit, found)
    return found[:1].reshape(()), found[1:].reshape(())


@kernel(lambda real: (array(real, 1), array(real, 1)), threads=THREADS)
def _squares(x, parts):
    values, scratch = cuda.local.array(4, x.dtype), cuda.shared.array(WARP, x.dtype)
    total = ZERO
    for i in range(4 * cuda.grid(1), x.size, 4 * cuda.gridsize(1)):
        for k in range(4):
            values[k] = ZERO
        read(values, x, i)
        for k in range(4):
            total += values[k] * values[k]
    total = row_sum(total, scratch)
    if cuda.threadIdx.x == 0:
        parts[cuda.blockIdx.x] = total


@kernel(lambda real: (array(real, 1), real, array(real, 1)), threads=THREADS)
def _clip(parts, limit, found):
    scratch = cuda.shared.array(WARP, parts.dtype)
    total = ZERO
    for i in range(cuda.threadIdx.x, parts.size, cuda.blockDim.x):
        total += parts[i]
    norm = sqrt(row_sum(total, scratch))
    if cuda.threadIdx.x == 0:
        found[0] = norm
        found[1] = min(ONE, limit / (norm + parts.dtype.type(1e-6)))
