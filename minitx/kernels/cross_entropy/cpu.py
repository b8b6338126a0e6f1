"""Cross-entropy on the CPU: two passes over a row that stays in cache; with the linear layer before it, over a chunk of
rows that does.

The logits of 4,096 rows and 10,000 classes are 164 MB, and writing and reading them takes as long as the exponentials.
In chunks that stay in the last cache, linear + cross-entropy and all three gradients take little more than their matrix
products.
"""
import functools

import numpy as np
from numba import boolean, int64, prange
from numba.extending import register_jitable

from ..runtime import launch, vector
from ..runtime.blas import gemm
from ..runtime.compiled import compiled, reads, writes
from ..runtime.memory import empty
from .reference import check, check_linear, check_targets

_CHUNK = 1 << 22  # logits that exist at once: 16 MB in float32
_FEW_CLASSES = 2048  # with fewer, threads share out the rows, with as many or more the classes
_ROWS, _COLUMNS = 208, 1024  # of a block for one thread, at most


def cross_entropy(logits, targets, smoothing=0.0, ignore_index=-100):
    """See reference.cross_entropy."""
    check("cross_entropy", logits, targets, smoothing, ignore_index)
    n, classes = logits.shape
    losses, log_sum_exp = empty(n, logits.dtype), empty(n, logits.dtype)
    _cross_entropy(np.ascontiguousarray(logits), targets.astype(np.int64), smoothing, ignore_index,
                   launch.blocks(n, classes), losses, log_sum_exp)
    return losses, log_sum_exp


@compiled(lambda real: (reads(real, 2, "C"), reads(int64, 1, "C"), real, int64, int64, writes(real, 1),
                        writes(real, 1)), **launch.OPTIONS)
def _cross_entropy(logits, targets, smoothing, ignore_index, blocks, losses, log_sum_exp):
    n = logits.shape[0]
    threads = launch.share(logits.size // 2)
    for block in prange(blocks):
        for i in range(block * n // blocks, (block + 1) * n // blocks):
            losses[i], log_sum_exp[i] = logits.dtype.type(0), logits.dtype.type(0)
            if targets[i] != ignore_index:
                losses[i], log_sum_exp[i] = _row_loss(logits[i], targets[i], smoothing)
    launch.restore(threads)


def cross_entropy_backward(g, logits, targets, log_sum_exp, smoothing=0.0, ignore_index=-100):
    """See reference.cross_entropy_backward."""
    check("cross_entropy_backward", logits, targets, smoothing, ignore_index)
    n, classes = logits.shape
    dlogits = empty(logits.shape, logits.dtype)
    _cross_entropy_backward(
        np.ascontiguousarray(logits), np.ascontiguousarray(g, logits.dtype), targets.astype(np.int64),
        np.ascontiguousarray(log_sum_exp), smoothing, ignore_index, launch.blocks(n, classes), dlogits)
    return dlogits


@compiled(lambda real: (reads(real, 2, "C"), reads(real, 1, "C"), reads(int64, 1, "C"), reads(real, 1, "C"), real,
                        int64, int64, writes(real, 2)), **launch.OPTIONS)
def _cross_entropy_backward(logits, g, targets, log_sum_exp, smoothing, ignore_index, blocks, dlogits):
    n, classes = logits.shape
    threads = launch.share(logits.size // 2)
    for block in prange(blocks):
        for i in range(block * n // blocks, (block + 1) * n // blocks):
            if targets[i] == ignore_index:
                for j in range(classes):
                    dlogits[i, j] = logits.dtype.type(0)
            else:
                for j in range(classes):
                    dlogits[i, j] = logits[i, j]
                _to_gradient(dlogits[i], g[i], targets[i], log_sum_exp[i], smoothing)
    launch.restore(threads)


def linear_cross_entropy(x, weight, bias, targets, smoothing=0.0, ignore_index=-100, needs_gradient=True):
    """See reference.linear_cross_entropy."""
    check_linear("linear_cross_entropy", x, weight, bias)
    (n, d), classes, dtype = x.shape, weight.shape[0], x.dtype
    check_targets("linear_cross_entropy", targets, n, classes, smoothing, ignore_index)
    counted = np.flatnonzero(targets != ignore_index)
    whole = len(counted) == n
    x, weight, targets = np.ascontiguousarray(x), np.ascontiguousarray(weight), targets.astype(np.int64)
    if not whole:
        x, targets = x[counted], targets[counted]
    losses, dx, dweight = empty(len(counted), dtype), _absent(dtype), _absent(dtype)
    dbias = _absent(dtype)[0]
    if needs_gradient:
        dx, dweight = empty(x.shape, dtype), empty(weight.shape, dtype)
        dbias = empty(0 if bias is None else classes, dtype)
    chunk = max(16, min(len(counted), _CHUNK // classes))
    column_blocks = 2 * -(-classes // (2 * _COLUMNS)) if classes > 16 else 1
    dx_parts = empty((column_blocks if needs_gradient and classes >= _FEW_CLASSES else 0, chunk, d), dtype)
    _linear_cross_entropy(x, weight, _absent(dtype)[0] if bias is None else np.ascontiguousarray(bias), targets,
                          smoothing, needs_gradient, column_blocks, empty((chunk, classes), dtype), dx_parts, losses,
                          dx, dweight, dbias)
    if not whole:
        losses = _spread(losses, counted, n)
    if not needs_gradient:
        return losses, None, None, None
    if len(counted) == 0:  # no chunk has written anything
        dweight.fill(0)
        dbias.fill(0)
    return losses, dx if whole else _spread(dx, counted, n), dweight, None if bias is None else dbias


@compiled(lambda real: (reads(real, 2, "C"), reads(real, 2, "C"), reads(real, 1, "C"), reads(int64, 1, "C"), real,
                        boolean, int64, writes(real, 2), writes(real, 3), writes(real, 1), writes(real, 2),
                        writes(real, 2), writes(real, 1)), **launch.OPTIONS)
def _linear_cross_entropy(x, weight, bias, targets, smoothing, needs_gradient, column_blocks, logits, dx_parts, losses,
                          dx, dweight, dbias):
    """`logits` (chunk, classes) is memory that each chunk of rows uses in turn, for logits and then gradients.

    With many classes, dx is summed from one part per block of classes, `dx_parts`. Products with all rows of the chunk
    are a sixth faster than those with the 105 rows that four threads would get.
    """
    n, d = x.shape
    chunk, classes = logits.shape
    zero, one = x.dtype.type(0), x.dtype.type(1)
    threads = launch.share(n * classes * d // 32)
    for top in range(0, n, chunk):
        size = min(chunk, n - top)
        row_blocks = 2 * ((size + 2 * _ROWS - 1) // (2 * _ROWS)) if size > 16 else 1
        if classes >= _FEW_CLASSES:
            for block in prange(column_blocks):
                left, right = block * classes // column_blocks, (block + 1) * classes // column_blocks
                gemm(False, True, size, right - left, d, one, x[top:], d, weight[left:], d, zero, logits[:, left:],
                     classes)
        for block in prange(row_blocks):
            first, last = block * size // row_blocks, (block + 1) * size // row_blocks
            if classes < _FEW_CLASSES:
                gemm(False, True, last - first, classes, d, one, x[top + first:], d, weight, d, zero, logits[first:],
                     classes)
            for i in range(first, last):
                row = logits[i]
                if bias.size > 0:
                    for j in range(classes):
                        row[j] += bias[j]
                losses[top + i], log_sum_exp = _row_loss(row, targets[top + i], smoothing)
                if needs_gradient:
                    _to_gradient(row, one, targets[top + i], log_sum_exp, smoothing)
            if needs_gradient and classes < _FEW_CLASSES:
                gemm(False, False, last - first, d, classes, one, logits[first:], classes, weight, d, zero,
                     dx[top + first:], d)
        if needs_gradient:
            for block in prange(column_blocks):
                left, right = block * classes // column_blocks, (block + 1) * classes // column_blocks
                gemm(True, False, right - left, d, size, one, logits[:, left:], classes, x[top:], d,
                     zero if top == 0 else one, dweight[left:], d)
                if classes >= _FEW_CLASSES:
                    gemm(False, False, size, d, right - left, one, logits[:, left:], classes, weight[left:], d, zero,
                         dx_parts[block], d)
                if dbias.size > 0:
                    sums = dbias[left:right]
                    if top == 0:
                        for j in range(right - left):
                            sums[j] = zero
                    for i in range(size):
                        row = logits[i, left:right]
                        for j in range(right - left):
                            sums[j] += row[j]
        if dx_parts.size > 0:
            for i in prange(size):
                for j in range(d):
                    dx[top + i, j] = dx_parts[0, i, j]
                for block in range(1, column_blocks):
                    for j in range(d):
                        dx[top + i, j] += dx_parts[block, i, j]
    launch.restore(threads)


@register_jitable
def _row_loss(z, target, smoothing):
    """The loss of a row of logits, and log Σ exp of it."""
    classes, zero = z.size, z.dtype.type(0)
    largest = z.dtype.type(-np.inf)
    for j in range(classes):
        largest = vector.maximum(largest, z[j])
    total = zero
    for j in range(classes):
        total += vector.exp(z[j] - largest)
    log_sum_exp = largest + np.log(total)
    loss = (z.dtype.type(1) - smoothing) * (log_sum_exp - z[target])
    if smoothing > zero:
        sum_ = zero
        for j in range(classes):
            sum_ += z[j]
        loss += smoothing * (log_sum_exp - sum_ / z.dtype.type(classes))
    return loss, log_sum_exp


@register_jitable
def _to_gradient(z, g, target, log_sum_exp, smoothing):
    """Replace a row of logits by g (p − q).

    One array and not two: where two turn out to be the same memory, LLVM runs scalar code, seven times as slow.
    """
    classes, zero, lowest = z.size, z.dtype.type(0), z.dtype.type(-87)
    rest = smoothing / z.dtype.type(classes)
    for j in range(classes):
        shifted = z[j] - log_sum_exp
        p = vector.exp(shifted)
        z[j] = g * ((zero if shifted < lowest else p) - rest)
    z[target] -= g * (z.dtype.type(1) - smoothing)


def _spread(part, rows, n):
    """`part` in the given rows of an array of n, zeros in the others."""
    out = empty((n, *part.shape[1:]), part.dtype)
    out.fill(0)
    out[rows] = part
    return out


@functools.cache
def _absent(dtype):
    return np.empty((1, 0), dtype)
