"""The k largest of each row on the CPU: a row is looked at in runs, and a run in which nothing is large enough costs no more than its maximum."""
import numpy as np
from numba import int64, prange
from numba.extending import register_jitable

from ..runtime import launch, vector
from ..runtime.compiled import compiled, reads, writes
from .reference import check

_RUN = 128


def top_k(logits, k, first=0):
    """See reference.top_k."""
    check(logits, k, first)
    rows = len(logits)
    columns, values, log_sum_exp = np.empty((rows, k), np.int64), np.empty((rows, k), logits.dtype), np.empty(rows, logits.dtype)
    _top_k(np.ascontiguousarray(logits), first, launch.blocks(*logits.shape), columns, values, log_sum_exp)
    return columns, values, log_sum_exp


@compiled(lambda real: (reads(real, 2, "C"), int64, int64, writes(int64, 2), writes(real, 2), writes(real, 1)), **launch.OPTIONS)
def _top_k(logits, first, blocks, columns, values, log_sum_exp):
    rows = logits.shape[0]
    threads = launch.share(logits.size // 2)
    for block in prange(blocks):
        for i in range(block * rows // blocks, (block + 1) * rows // blocks):
            if columns.shape[1] > 0:
                _largest(logits[i], first, columns[i], values[i])
            log_sum_exp[i] = _log_sum_exp(logits[i])
    launch.restore(threads)


@register_jitable
def _largest(row, first, columns, values):
    """Each candidate that is larger than the last of those found so far goes to its place among them, behind its equals."""
    last = columns.size - 1
    for place in range(columns.size):
        columns[place], values[place] = first, -np.inf
    for left in range(first, row.size, _RUN):
        right = min(left + _RUN, row.size)
        largest = row.dtype.type(-np.inf)
        for j in range(left, right):
            largest = vector.maximum(largest, row[j])
        if not largest > values[last]:
            continue
        for j in range(left, right):
            if row[j] > values[last]:
                place = last
                while place > 0 and values[place - 1] < row[j]:
                    columns[place], values[place] = columns[place - 1], values[place - 1]
                    place -= 1
                columns[place], values[place] = j, row[j]


@register_jitable
def _log_sum_exp(row):
    largest, total = row.dtype.type(-np.inf), row.dtype.type(0)
    for j in range(row.size):
        largest = vector.maximum(largest, row[j])
    for j in range(row.size):
        total += vector.exp(row[j] - largest)
    return largest + np.log(total)
