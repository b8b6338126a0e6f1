"""The backward pass of attention on the CPU: the weights are recomputed tile by tile, with five BLAS products per tile."""
import math

import numpy as np
from numba import int64, prange

from ..dropout import philox
from ..runtime import launch
from ..runtime.blas import gemm
from ..runtime.compiled import compiled, reads, writes
from ..runtime.memory import empty
from . import blocks, tiles
from .reference import check


def attention_backward(g, q, k, v, out, log_sum_exp, heads, causal=False, lengths=None, p=0.0, key=0, mask=None, packed=False):
    """See reference.attention_backward."""
    check(q, k, v, heads, lengths, mask, packed)
    (batch, tq, width), tk, dtype = q.shape, k.shape[1], q.dtype
    shared = blocks.arguments(q, k, heads, causal, lengths, p, key, mask)
    chunks = shared[blocks.CHUNKS]
    if packed == "kv":
        dq, columns = empty(q.shape, dtype), (0, 0, width)
        dk = dv = empty((batch, tk, 2 * width), dtype)
    elif packed:
        dq = dk = dv = empty((batch, tq, 3 * width), dtype)
        columns = 0, width, 2 * width
    else:
        dq, dk, dv = empty(q.shape, dtype), empty(k.shape, dtype), empty(k.shape, dtype)
        columns = 0, 0, 0
    parts = empty((2, chunks if chunks > 1 else 0, batch, tk, width), dtype)
    _attention_backward(blocks.readable(q), blocks.readable(k), blocks.readable(v), *shared, np.ascontiguousarray(g), np.ascontiguousarray(out),
                        log_sum_exp, parts, *columns, dq, dk, dv)
    return (dq, dk) if packed == "kv" else dq if packed else (dq, dk, dv)


@compiled(lambda real: (reads(real, 3), reads(real, 3), reads(real, 3), *blocks.kinds(real), reads(real, 3, "C"), reads(real, 3, "C"),
                        reads(real, 3, "C"), writes(real, 5), int64, int64, int64, writes(real, 3), writes(real, 3), writes(real, 3)),
          **launch.OPTIONS)
def _attention_backward(q, k, v, heads, causal, lengths, mask, drop, threshold, kept, key, query_block, key_block, chunks, groups, transposed,
                        g, out, log_sum_exp, parts, q_column, k_column, v_column, dq, dk, dv):
    """dk and dv of each chunk are summed in `parts` (2, chunks, batch, tk, width) where there are several chunks."""
    batch, tq, width = q.shape
    tk, d = k.shape[1], width // heads
    q_step, k_step, v_step = q.strides[1] // q.itemsize, k.strides[1] // k.itemsize, v.strides[1] // v.itemsize
    dtype = out.dtype.type
    zero, one, root = dtype(0), dtype(1), dtype(1 / math.sqrt(d))
    padded, items = (tk + 15) // 16 * 16, batch * heads * chunks
    threads = launch.share(4 * batch * heads * tq * tk)
    for group in prange(groups):
        weights = np.empty((query_block, min(key_block, padded)), out.dtype)
        dweights = np.empty_like(weights)
        step = weights.shape[1]
        keys, values = np.empty((d, padded), out.dtype), np.empty((d, padded), out.dtype)
        delta, factors = np.empty(query_block, out.dtype), np.empty(key_block + 8, out.dtype)
        for item in range(group * items // groups, (group + 1) * items // groups):
            chunk, h, b = item % chunks, item // chunks % heads, item // (chunks * heads)
            column, dq_column, dk_column, dv_column = h * d, q_column + h * d, k_column + h * d, v_column + h * d
            into_k, into_v = dk[b], dv[b]
            if chunks > 1:
                into_k, into_v, dk_column, dv_column = parts[0, chunk, b], parts[1, chunk, b], column, column
            for j in range(tk):
                tiles.clear(into_k, j, dk_column, dk_column + d)
                tiles.clear(into_v, j, dv_column, dv_column + d)
            tiles.transpose(k, b, column, d, lengths[b], keys)
            tiles.transpose(v, b, column, d, lengths[b], values)
            for first in range(chunk * query_block, tq, chunks * query_block):
                count = min(query_block, tq - first)
                block_sees = min(lengths[b], first + count + tk - tq) if causal else lengths[b]
                for i in range(count):
                    delta[i] = tiles.dot(g[b, first + i, column:column + d], out[b, first + i, column:column + d])
                    if block_sees <= 0:
                        tiles.clear(dq[b], first + i, dq_column, dq_column + d)
                for left in range(0, block_sees, key_block):
                    columns = min(key_block, block_sees - left)
                    gemm(False, False, count, columns, d, root, q[b, first:, column:], q_step, keys[:, left:], padded, zero, weights, step)
                    gemm(False, False, count, columns, d, one, g[b, first:, column:], width, values[:, left:], padded, zero, dweights, step)
                    for i in range(count):
                        query = first + i
                        sees = max(0, min(columns, query + tk - tq + 1 - left)) if causal else columns
                        used = tiles.hide(weights, i, sees, mask, b, h, query, left)
                        if drop:
                            offset = philox.factors(factors, ((b * heads + h) * tq + query) * tk + left, sees, key, threshold, kept)
                            tiles.multiply(dweights, i, factors, offset, sees)
                        tiles.softmax_backward(weights, dweights, i, used, log_sum_exp[b, h, query], delta[i])
                        tiles.forget(weights, i, sees, columns, mask, b, h, query, left)
                        tiles.forget(dweights, i, sees, columns, mask, b, h, query, left)
                        if drop:
                            tiles.multiply(weights, i, factors, offset, sees)
                    gemm(True, False, columns, d, count, one, weights, step, g[b, first:, column:], width, one, into_v[left:, dv_column:],
                         into_v.shape[1])
                    gemm(True, False, columns, d, count, root, dweights, step, q[b, first:, column:], q_step, one, into_k[left:, dk_column:],
                         into_k.shape[1])
                    gemm(False, False, count, d, columns, root, dweights, step, k[b, left:, column:], k_step, zero if left == 0 else one,
                         dq[b, first:, dq_column:], dq.shape[2])
    if chunks > 1:
        for row in prange(batch * tk):
            b, j = row // tk, row % tk
            for i in range(width):
                dk[b, j, k_column + i] = parts[0, 0, b, j, i]
                dv[b, j, v_column + i] = parts[1, 0, b, j, i]
            for chunk in range(1, chunks):
                for i in range(width):
                    dk[b, j, k_column + i] += parts[0, chunk, b, j, i]
                    dv[b, j, v_column + i] += parts[1, chunk, b, j, i]
    launch.restore(threads)
