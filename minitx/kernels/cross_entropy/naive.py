"""Cross-entropy on CUDA as one writes it first, a thread for a row: `reference.py` with loops. It is here to be read and timed.

What is wrong with it: neighbouring threads read places a row apart, so of each 32 bytes that memory gives, 4 are used; the logits are read three times;
and `linear_cross_entropy` has all of them in memory at once, beside their gradients.
"""
import numpy as np
from numba import cuda
from numba.cuda import types

from ..runtime.cuda import array, contiguous, empty, kernel, rows, zeros
from ..runtime.intrinsics import LOWEST, ONE, ZERO, exp, log
from .reference import check_linear, check_logits, check_rows

_NAN = np.float32(np.nan)


def cross_entropy(logits, targets, smoothing=0.0, ignore_index=-100):
    """See reference.cross_entropy."""
    check_logits("cross_entropy", logits)
    check_rows("cross_entropy", targets, logits.shape[0], smoothing)
    losses, log_sum_exp = empty(logits, len(logits)), empty(logits, len(logits))
    if logits.size > 0:
        _cross_entropy[-(-len(logits) // 128), 128](rows(logits, logits.dtype), targets.astype(np.int64), smoothing, ignore_index, losses, log_sum_exp)
    return losses, log_sum_exp


@kernel(lambda real: (array(real, 2), array(types.int64, 1), real, types.int64, array(real, 1), array(real, 1)), threads=128)
def _cross_entropy(logits, targets, smoothing, ignore_index, losses, log_sum_exp):
    i, n = cuda.grid(1), logits.dtype.type(logits.shape[1])
    if i < logits.shape[0]:
        largest, total, sum_, target = LOWEST, ZERO, ZERO, targets[i]
        for j in range(logits.shape[1]):
            largest = max(largest, logits[i, j])
        for j in range(logits.shape[1]):
            total += exp(logits[i, j] - largest)
            sum_ += logits[i, j]
        log_sum_exp[i] = largest + log(total)
        if target == ignore_index:
            losses[i] = ZERO
        elif 0 <= target < logits.shape[1]:
            losses[i] = (ONE - smoothing) * (log_sum_exp[i] - logits[i, target])
            if smoothing > ZERO:
                losses[i] += smoothing * (log_sum_exp[i] - sum_ / n)
        else:
            losses[i] = _NAN


def cross_entropy_backward(g, logits, targets, log_sum_exp, smoothing=0.0, ignore_index=-100):
    """See reference.cross_entropy_backward."""
    check_logits("cross_entropy_backward", logits)
    check_rows("cross_entropy_backward", targets, logits.shape[0], smoothing)
    dlogits = empty(logits, logits.shape)
    if logits.size > 0:
        _cross_entropy_backward[-(-len(logits) // 128), 128](
            rows(logits, logits.dtype), contiguous(g), targets.astype(np.int64), contiguous(log_sum_exp), smoothing, ignore_index, dlogits)
    return dlogits


@kernel(lambda real: (array(real, 2), array(real, 1), array(types.int64, 1), array(real, 1), real, types.int64, array(real, 2)), threads=128)
def _cross_entropy_backward(logits, g, targets, log_sum_exp, smoothing, ignore_index, dlogits):
    i, n = cuda.grid(1), logits.dtype.type(logits.shape[1])
    if i < logits.shape[0]:
        target = targets[i]
        for j in range(logits.shape[1]):
            if target == ignore_index:
                dlogits[i, j] = ZERO
            elif 0 <= target < logits.shape[1]:
                q = smoothing / n + (ONE - smoothing if j == target else ZERO)
                dlogits[i, j] = g[i] * (exp(logits[i, j] - log_sum_exp[i]) - q)
            else:
                dlogits[i, j] = _NAN


def linear_cross_entropy(x, weight, bias, targets, smoothing=0.0, ignore_index=-100, needs_gradient=True):
    """See reference.linear_cross_entropy."""
    check_linear("linear_cross_entropy", x, weight, bias)
    logits = x @ weight.T
    if bias is not None:
        logits += bias
    losses, log_sum_exp = cross_entropy(logits, targets, smoothing, ignore_index)
    if not needs_gradient:
        return losses, None, None, None
    ones = zeros(logits, len(logits)) + logits.dtype.type(1)
    dlogits = cross_entropy_backward(ones, logits, targets, log_sum_exp, smoothing, ignore_index)
    return losses, dlogits @ weight, dlogits.T @ x, None if bias is None else dlogits.sum(axis=0)
