"""The backward pass of attention on the CPU: weights recomputed tile by tile, with five BLAS products per tile."""
import math

import numpy as np
from numba import int64, njit, prange

from ..dropout import philox
from ..runtime import launch
from ..runtime.blas import gemm
from ..runtime.compiled import compiled, reads, writes
from ..runtime.memory import empty
from . import blocks, tiles
from .reference import check


def attention_backward(g, q, k, v, out, log_sum_exp, heads, causal=False, lengths=None, p=0.0, key=0, mask=None,
                       packed=False, kv_heads=None, window=None):
    """See reference.attention_backward."""
    kv_heads = check(q, k, v, heads, lengths, mask, packed, causal, kv_heads, window)
    (batch, tq, width), (_, tk, kv_width), dtype = q.shape, k.shape, q.dtype
    work = blocks.work(q, k, heads, causal, lengths, p, key, mask, kv_heads, window)
    chunks = work.chunks
    if packed == "kv":
        dq, columns = empty(q.shape, dtype), (0, 0, kv_width)
        dk = dv = empty((batch, tk, 2 * kv_width), dtype)
    elif packed:
        dq = dk = dv = empty((batch, tq, width + 2 * kv_width), dtype)
        columns = 0, width, width + kv_width
    else:
        dq, dk, dv = empty(q.shape, dtype), empty(k.shape, dtype), empty(k.shape, dtype)
        columns = 0, 0, 0
    parts = empty((2, chunks if chunks > 1 else 0, batch, tk, kv_width), dtype)
    g, out, log_sum_exp = np.ascontiguousarray(g), np.ascontiguousarray(out), np.ascontiguousarray(log_sum_exp)
    _attention_backward(blocks.readable(q), blocks.readable(k), blocks.readable(v), tuple(work), g, out, log_sum_exp, parts,
                        *columns, dq, dk, dv)
    if tq == 0:
        dk.fill(0)
        dv.fill(0)
    if chunks > 1:
        np.sum(parts[0], axis=0, out=dk[:, :, columns[1]:columns[1] + kv_width])
        np.sum(parts[1], axis=0, out=dv[:, :, columns[2]:columns[2] + kv_width])
    return (dq, dk) if packed == "kv" else dq if packed else (dq, dk, dv)


@compiled(lambda real: (reads(real, 3), reads(real, 3), reads(real, 3), blocks.kinds(real), reads(real, 3, "C"),
                        reads(real, 3, "C"), reads(real, 3, "C"), writes(real, 5), int64, int64, int64, writes(real, 3),
                        writes(real, 3), writes(real, 3)), **launch.OPTIONS)
def _attention_backward(q, k, v, plain, g, out, log_sum_exp, parts, q_column, k_column, v_column, dq, dk, dv):
    """Where a head has several chunks, each leaves its dk and dv in `parts` (2, chunks, batch, tk, kv_heads·d)."""
    work = blocks.Work(*plain)
    heads, chunks, groups, kv_heads = work.heads, work.chunks, work.groups, work.kv_heads
    items = q.shape[0] * kv_heads * chunks
    threads = launch.share(4 * q.shape[0] * heads * q.shape[1] * k.shape[1])
    for group in prange(groups):
        _items(group * items // groups, (group + 1) * items // groups, q, k, v, plain, g, out, log_sum_exp, parts,
               q_column, k_column, v_column, dq, dk, dv)
    launch.restore(threads)


@njit(**blocks.WORKER)
def _items(start, stop, q, k, v, plain, g, out, log_sum_exp, parts, q_column, k_column, v_column, dq, dk, dv):
    """The gradients of items start … stop − 1, each a chunk of the query blocks of one sequence's heads with the same keys."""
    work = blocks.Work(*plain)
    heads, kv_heads, lengths, mask, chunks = work.heads, work.kv_heads, work.lengths, work.mask, work.chunks
    query_block, key_block = work.query_block, work.key_block
    tq, tk, width = q.shape[1], k.shape[1], q.shape[2]
    d = width // heads
    q_step, k_step, v_step = q.strides[1] // q.itemsize, k.strides[1] // k.itemsize, v.strides[1] // v.itemsize
    dtype = out.dtype.type
    zero, one, root = dtype(0), dtype(1), dtype(1 / math.sqrt(d))
    masked = mask.size > 0
    padded = (tk + 15) // 16 * 16
    weights = np.empty((query_block, min(key_block, padded)), out.dtype)
    dweights = np.empty_like(weights)
    step = weights.shape[1]
    keys, values = np.empty((d, padded), out.dtype), np.empty((d, padded), out.dtype)
    delta, factors = np.empty(query_block, out.dtype), np.empty(key_block + 8, out.dtype)
    for item in range(start, stop):
        chunk, kv_head, b = item % chunks, item // chunks % kv_heads, item // (chunks * kv_heads)
        kv_column, dk_column, dv_column = kv_head * d, k_column + kv_head * d, v_column + kv_head * d
        into_k, into_v = dk[b], dv[b]
        if chunks > 1:
            into_k, into_v, dk_column, dv_column = parts[0, chunk, b], parts[1, chunk, b], kv_column, kv_column
        tiles.transpose(k, b, kv_column, d, lengths[b], keys)
        tiles.transpose(v, b, kv_column, d, lengths[b], values)
        share, blocks_of_head = heads // kv_heads, -(-(tq - chunk * query_block) // (chunks * query_block))
        for block in range(share * blocks_of_head):  # those of a first head, then of a second that shares its keys ...
            h, first = kv_head * share + block // blocks_of_head, (block % blocks_of_head * chunks + chunk) * query_block
            column, dq_column = h * d, q_column + h * d
            count = min(query_block, tq - first)
            low, high = tiles.seen_by_block(work, tq, tk, lengths[b], first, count)
            for i in range(count):
                delta[i] = tiles.dot(g[b, first + i, column:column + d], out[b, first + i, column:column + d])
                if high <= low:
                    tiles.clear(dq[b], first + i, dq_column, dq_column + d)
            added = one
            if block == 0:  # the first block writes what it sees, later blocks add
                added = zero
                for j in range(tk):
                    if not low <= j < high:
                        tiles.clear(into_k, j, dk_column, dk_column + d)
                        tiles.clear(into_v, j, dv_column, dv_column + d)
            for left in range(low, high, key_block):
                columns = min(key_block, high - left)
                gemm(False, False, count, columns, d, root, q[b, first:, column:], q_step, keys[:, left:], padded,
                     zero, weights, step)
                gemm(False, False, count, columns, d, one, g[b, first:, column:], width, values[:, left:], padded,
                     zero, dweights, step)
                for i in range(count):
                    query = first + i
                    begin, end = tiles.seen_by_row(work, tq, tk, query, left, columns)
                    used = tiles.padded(end, weights)
                    hides = masked or begin > 0 or end < max(used, columns)
                    if hides:
                        tiles.hide(weights, i, begin, end, used, mask, b, h, query, left)
                    if work.drop:
                        element = ((b * heads + h) * tq + query) * tk + left
                        offset = philox.factors(factors, element, end, work.key, work.threshold, work.kept)
                        tiles.multiply(dweights, i, factors, offset, end)
                    tiles.softmax_backward(weights, dweights, i, used, log_sum_exp[b, h, query], delta[i])
                    if hides:
                        tiles.forget(weights, i, begin, end, columns, mask, b, h, query, left)
                        tiles.forget(dweights, i, begin, end, columns, mask, b, h, query, left)
                    if work.drop:
                        tiles.multiply(weights, i, factors, offset, end)
                gemm(True, False, columns, d, count, one, weights, step, g[b, first:, column:], width,
                     added, into_v[left:, dv_column:], into_v.shape[1])
                gemm(True, False, columns, d, count, root, dweights, step, q[b, first:, column:], q_step,
                     added, into_k[left:, dk_column:], into_k.shape[1])
                gemm(False, False, count, d, columns, root, dweights, step, k[b, left:, kv_column:], k_step,
                     zero if left == low else one, dq[b, first:, dq_column:], dq.shape[2])
