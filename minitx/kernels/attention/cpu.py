"""Attention on the CPU: for a block of queries, tiles of scores that stay in cache, two BLAS products per tile.

The heads are read where they lie. Tiles of keys that no query of the block sees are not computed. The work is cut by
the shape alone, so the bits do not depend on the number of threads.
"""
import math

import numpy as np
from numba import njit, prange

from ..dropout import philox
from ..runtime import launch, vector
from ..runtime.blas import gemm
from ..runtime.compiled import compiled, reads, writes
from ..runtime.memory import empty
from . import blocks, tiles
from .cpu_backward import attention_backward  # noqa: F401
from .reference import attention_weights, check  # noqa: F401  (pictures need no speed)


def attention(q, k, v, heads, causal=False, lengths=None, p=0.0, key=0, mask=None, kv_heads=None, window=None):
    """See reference.attention."""
    kv_heads = check(q, k, v, heads, lengths, mask, False, causal, kv_heads, window)
    out, log_sum_exp = empty(q.shape, q.dtype), empty((q.shape[0], heads, q.shape[1]), q.dtype)
    work = blocks.work(q, k, heads, causal, lengths, p, key, mask, kv_heads, window)
    _attention(blocks.readable(q), blocks.readable(k), blocks.readable(v), tuple(work), out, log_sum_exp)
    return out, log_sum_exp


@compiled(lambda real: (reads(real, 3), reads(real, 3), reads(real, 3), blocks.kinds(real), writes(real, 3),
                        writes(real, 3)), **launch.OPTIONS)
def _attention(q, k, v, plain, out, log_sum_exp):
    work = blocks.Work(*plain)
    heads, chunks, groups = work.heads, work.chunks, work.groups
    items = q.shape[0] * heads * chunks
    threads = launch.share(2 * q.shape[0] * heads * q.shape[1] * k.shape[1])
    for group in prange(groups):
        _items(group * items // groups, (group + 1) * items // groups, q, k, v, plain, out, log_sum_exp)
    launch.restore(threads)


@njit(**blocks.WORKER)
def _items(start, stop, q, k, v, plain, out, log_sum_exp):
    """Attention for items start … stop − 1, each a chunk of the query blocks of one head of one sequence."""
    work = blocks.Work(*plain)
    heads, kv_heads, lengths, mask, chunks = work.heads, work.kv_heads, work.lengths, work.mask, work.chunks
    query_block, key_block, transposed = work.query_block, work.key_block, work.transposed
    tq, tk, width = q.shape[1], k.shape[1], q.shape[2]
    d = width // heads
    q_step, k_step, v_step = q.strides[1] // q.itemsize, k.strides[1] // k.itemsize, v.strides[1] // v.itemsize
    dtype = out.dtype.type
    zero, one, hidden, root = dtype(0), dtype(1), dtype(-np.inf), dtype(1 / math.sqrt(d))
    masked = mask.size > 0
    padded = (tk + 15) // 16 * 16
    scores = np.empty((query_block, min(key_block, padded)), out.dtype)
    step = scores.shape[1]
    keys = np.empty((d if transposed else 0, padded), out.dtype)
    largest, total = np.empty(query_block, out.dtype), np.empty(query_block, out.dtype)
    factors = np.empty(key_block + 8, out.dtype)
    for item in range(start, stop):
        chunk, h, b = item % chunks, item // chunks % heads, item // (chunks * heads)
        column, kv_column = h * d, h * kv_heads // heads * d
        if transposed and (item == start or chunk == 0 and h % (heads // kv_heads) == 0):  # else they lie there already
            tiles.transpose(k, b, kv_column, d, lengths[b], keys)
        for first in range(chunk * query_block, tq, chunks * query_block):
            count = min(query_block, tq - first)
            low, high = tiles.seen_by_block(work, tq, tk, lengths[b], first, count)
            for i in range(count):
                largest[i] = hidden
                total[i] = zero
                if high <= low:
                    tiles.clear(out[b], first + i, column, column + d)
            for left in range(low, high, key_block):
                columns = min(key_block, high - left)
                if transposed:
                    gemm(False, False, count, columns, d, root, q[b, first:, column:], q_step, keys[:, left:], padded,
                         zero, scores, step)
                else:
                    gemm(False, True, count, columns, d, root, q[b, first:, column:], q_step, k[b, left:, kv_column:],
                         k_step, zero, scores, step)
                for i in range(count):
                    query = first + i
                    begin, end = tiles.seen_by_row(work, tq, tk, query, left, columns)
                    used = tiles.padded(end, scores)
                    hides = masked or begin > 0 or end < max(used, columns)
                    if hides:
                        tiles.hide(scores, i, begin, end, used, mask, b, h, query, left)
                    new = max(largest[i], tiles.largest_of(scores, i, used))
                    shift = zero if new == hidden else new
                    sum_of_row = tiles.exponentiate(scores, i, used, shift)
                    if hides:
                        tiles.forget(scores, i, begin, end, columns, mask, b, h, query, left)
                    if left > low and new > largest[i]:
                        shrink = vector.exp(largest[i] - shift)
                        total[i] *= shrink
                        tiles.scale(out[b, query, column:column + d], shrink)
                    total[i] += sum_of_row
                    largest[i] = new
                    if work.drop:
                        element = ((b * heads + h) * tq + query) * tk + left
                        offset = philox.factors(factors, element, end, work.key, work.threshold, work.kept)
                        tiles.multiply(scores, i, factors, offset, end)
                gemm(False, False, count, d, columns, one, scores, step, v[b, left:, kv_column:], v_step,
                     zero if left == low else one, out[b, first:, column:], width)
            for i in range(count):
                if largest[i] > hidden:
                    tiles.scale(out[b, first + i, column:column + d], one / total[i])
                    log_sum_exp[b, h, first + i] = largest[i] + math.log(total[i])
                else:
                    log_sum_exp[b, h, first + i] = hidden
