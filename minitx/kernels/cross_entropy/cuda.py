"""Cross-entropy on CUDA. Versions, from naive to fast:

1. `naive.py`: a thread for a row, and all logits at once.
2. A block for a row (`_cross_entropy_long`): maximum and sum are taken together, and the gradient is written over the logits in a second pass.
3. The row in registers (`_cross_entropy`): logits are read once and the gradient is written over them, which is the least there can be.

`linear_cross_entropy` works on as many rows at a time as have 134 MB of logits: products of that size run at full speed, and a large vocabulary does not
fill the GPU's memory. Rows that are ignored take part in the products, their gradients being zeros: to leave them out, the CPU would have to know
how many there are, and wait for the GPU. For the same reason nobody looks whether a target is a class; one that is not makes its loss NaN.
"""
import numpy as np
from numba import cuda
from numba.cuda import types

from ..runtime.columns import column_sums
from ..runtime.cuda import aligned, array, contiguous, device, empty, filled, flat, kernel, rows, zeros
from ..runtime.elements import THREADS as ELEMENTS, first_column, over_matrix, read, write
from ..runtime.intrinsics import LOWEST, ONE, WARP, ZERO, exp, load4, log, row_sum
from ..runtime.rows import THREADS, choose, column, finite, for_sizes, join, largest_of, read_piece, read_row, take_in, this_row, write_piece, write_row
from .reference import check_linear, check_logits, check_rows

_CHUNK = 1 << 25  # logits that exist at once
_NAN = np.float32(np.nan)


def cross_entropy(logits, targets, smoothing=0.0, ignore_index=-100):
    """See reference.cross_entropy."""
    check_logits("cross_entropy", logits)
    check_rows("cross_entropy", targets, logits.shape[0], smoothing)
    losses, log_sum_exp = empty(logits, len(logits)), empty(logits, len(logits))
    _by_rows(rows(logits, logits.dtype), None, targets.astype(np.int64), losses, log_sum_exp, smoothing, ignore_index, False)
    return losses, log_sum_exp


def _by_rows(logits, bias, targets, losses, log_sum_exp, smoothing, ignore_index, differentiates):
    """Launch the kernel that fits the rows; with `differentiates` it replaces logits by gradients."""
    if len(logits) > 0:
        offsets = filled(logits.shape[1], 0, logits.dtype) if bias is None else flat(bias, logits.dtype)
        long = _cross_entropy_long[4 if aligned(logits) else 1]
        launch, grid, block = choose(_cross_entropy, long, (logits,), (offsets,))
        launch[grid, block](logits, offsets, targets, losses, log_sum_exp, smoothing, ignore_index, bias is not None, differentiates)


def _signature(real):
    """logits, bias, targets, losses, log_sum_exp, smoothing, ignore_index, adds, differentiates."""
    return (array(real, 2), array(real, 1), array(types.int64, 1), array(real, 1), array(real, 1), real, types.int64, types.boolean, types.boolean)


@for_sizes(4, 8, 16, 32)
def _cross_entropy(size):
    @kernel(_signature, threads=THREADS[size], variant=size)
    def cross_entropy(logits, bias, targets, losses, log_sum_exp, smoothing, ignore_index, adds, differentiates):
        z, scratch = cuda.local.array(size, logits.dtype), cuda.shared.array(WARP, logits.dtype)
        row, columns = this_row(), logits.shape[1]
        if row < logits.shape[0]:
            n, target = logits.dtype.type(columns), targets[row]
            read_row(z, logits, row, LOWEST)
            if adds:
                for k in range(size // 4):
                    if column(k) < columns:
                        b = load4(bias, column(k))
                        for e in range(4):
                            z[4 * k + e] += b[e]
            largest = finite(largest_of(z, scratch))
            total, sum_ = ZERO, ZERO
            for k in range(size):
                total += exp(z[k] - largest)
            log_sum = largest + log(row_sum(total, scratch))
            if smoothing > ZERO:
                for k in range(size):
                    if column(k // 4) < columns:
                        sum_ += z[k]
                sum_ = row_sum(sum_, scratch)
            if cuda.threadIdx.x == 0:
                log_sum_exp[row] = log_sum
                if not 0 <= target < columns:
                    losses[row] = ZERO if target == ignore_index else _NAN
            weight, target_column = weight_of(target, columns, ignore_index), target if 0 <= target < columns else -1
            for k in range(size):
                here = column(k // 4) + k % 4 == target_column  # in one thread of the row
                if here:
                    losses[row] = loss(z[k], log_sum, sum_, smoothing, n) if target != ignore_index else ZERO
                z[k] = slope(z[k], log_sum, weight, here, smoothing, n)
            if differentiates:
                write_row(logits, row, z)

    return cross_entropy


@for_sizes(1, 4)
def _cross_entropy_long(width):
    @kernel(_signature, threads=1024, variant=width)
    def cross_entropy_long(logits, bias, targets, losses, log_sum_exp, smoothing, ignore_index, adds, differentiates):
        z, scratch = cuda.local.array(width, logits.dtype), cuda.shared.array(WARP, logits.dtype)
        row, columns = cuda.blockIdx.x, logits.shape[1]
        n, target = logits.dtype.type(columns), targets[row]
        largest, total, sum_ = LOWEST, ZERO, ZERO
        for j in range(width * cuda.threadIdx.x, columns, width * cuda.blockDim.x):
            read_piece(z, logits, row, j)
            for k in range(width):
                z[k] += bias[j + k] if adds else ZERO
                largest, total = take_in(largest, total, z[k])
                sum_ += z[k]
        largest, total = join(largest, total, scratch)
        log_sum = finite(largest) + log(total)
        if smoothing > ZERO:
            sum_ = row_sum(sum_, scratch)
        if cuda.threadIdx.x == 0:
            log_sum_exp[row] = log_sum
            if not 0 <= target < columns:
                losses[row] = ZERO if target == ignore_index else _NAN
        weight = weight_of(target, columns, ignore_index)
        for j in range(width * cuda.threadIdx.x, columns, width * cuda.blockDim.x):
            if differentiates or j <= target < j + width:
                read_piece(z, logits, row, j)
                for k in range(width):
                    z[k] += bias[j + k] if adds else ZERO
                    if j + k == target:
                        losses[row] = loss(z[k], log_sum, sum_, smoothing, n) if target != ignore_index else ZERO
                    z[k] = slope(z[k], log_sum, weight, j + k == target, smoothing, n)
            if differentiates:
                write_piece(logits, row, j, z)

    return cross_entropy_long


def cross_entropy_backward(g, logits, targets, log_sum_exp, smoothing=0.0, ignore_index=-100):
    """See reference.cross_entropy_backward."""
    check_logits("cross_entropy_backward", logits)
    check_rows("cross_entropy_backward", targets, logits.shape[0], smoothing)
    dlogits, dtype = empty(logits, logits.shape), logits.dtype
    if logits.size > 0:
        arrays = flat(logits, dtype), dlogits.reshape(-1)
        vectors = flat(g, dtype), targets.astype(np.int64), contiguous(log_sum_exp)
        over_matrix(_cross_entropy_backward, *logits.shape, arrays, *vectors, *logits.shape, smoothing, ignore_index)
    return dlogits


def _backward_signature(real):
    """logits, dlogits, g, targets, log_sum_exp, rows, columns, smoothing, ignore_index."""
    return (array(real, 1),) * 3 + (array(types.int64, 1), array(real, 1), types.int64, types.int64, real, types.int64)


@for_sizes(1, 4)
def _cross_entropy_backward(width):
    @kernel(_backward_signature, threads=ELEMENTS, variant=width)
    def cross_entropy_backward(logits, dlogits, g, targets, log_sum_exp, n_rows, columns, smoothing, ignore_index):
        z = cuda.local.array(width, logits.dtype)
        row, j, n = this_row(), first_column(width), logits.dtype.type(columns)
        if row < n_rows and j < columns:
            target = targets[row]
            weight = g[row] * weight_of(target, columns, ignore_index)
            read(z, logits, row * columns + j)
            for k in range(width):
                z[k] = slope(z[k], log_sum_exp[row], weight, j + k == target, smoothing, n)
            write(dlogits, row * columns + j, z)

    return cross_entropy_backward


def linear_cross_entropy(x, weight, bias, targets, smoothing=0.0, ignore_index=-100, needs_gradient=True):
    """See reference.linear_cross_entropy."""
    check_linear("linear_cross_entropy", x, weight, bias)
    check_rows("linear_cross_entropy", targets, len(x), smoothing)
    n, classes = len(x), len(weight)
    targets, losses, log_sum_exp = targets.astype(np.int64), empty(x, n), empty(x, n)
    if needs_gradient:
        dx, dweight, dbias = empty(x, x.shape), zeros(weight, weight.shape), None if bias is None else zeros(weight, classes)
    chunk = max(1, _CHUNK // classes)
    for top in range(0, n, chunk):
        piece = slice(top, top + chunk)
        logits = x[piece] @ weight.T
        _by_rows(logits, bias, targets[piece], losses[piece], log_sum_exp[piece], smoothing, ignore_index, needs_gradient)
        if needs_gradient:  # logits are gradients now
            dx[piece] = logits @ weight
            dweight += logits.T @ x[piece]
            if bias is not None:
                dbias += column_sums(logits)
    return (losses, dx, dweight, dbias) if needs_gradient else (losses, None, None, None)


@device
def loss(logit, log_sum_exp, sum_, smoothing, n):
    """The loss of a row, `logit` being its target's."""
    value = (ONE - smoothing) * (log_sum_exp - logit)
    return value + smoothing * (log_sum_exp - sum_ / n) if smoothing > ZERO else value


@device
def weight_of(target, columns, ignore_index):
    """What the gradients of a row are multiplied by: nothing where it is ignored, NaN where its target is no class."""
    return ZERO if target == ignore_index else ONE if 0 <= target < columns else _NAN


@device
def slope(logit, log_sum_exp, weight, is_target, smoothing, n):
    """The gradient of a logit: weight · (p − q)."""
    q = smoothing / n + (ONE - smoothing if is_target else ZERO)
    return ZERO if weight == ZERO else weight * (exp(logit - log_sum_exp) - q)
