"""Additive attention on the CPU: the hidden layer of the perceptron lives in registers, one query and key at a time.

Work is cut by the shape alone, and partial sums are added in the order of the blocks: the bits do not depend on the
number of threads.
"""
import numpy as np
from numba import boolean, int64, prange, uint64
from numba.extending import register_jitable

from ..dropout import philox
from ..runtime import launch, vector
from ..runtime.compiled import compiled, reads, writes
from ..runtime.memory import empty
from .reference import check, seen_keys


def additive_attention(q, k, v, weight, heads=1, causal=False, lengths=None, p=0.0, key=0):
    """See reference.additive_attention."""
    check(q, k, v, weight, heads, lengths)
    (batch, tq, width), tk = q.shape, k.shape[1]
    out, weights = empty(q.shape, q.dtype), empty((batch, heads, tq, tk), q.dtype)
    threshold, scale = philox.split(p)
    _additive_attention(*map(np.ascontiguousarray, (q, k, v, weight)), seen_keys(batch, tq, tk, causal, lengths), heads, p > 0, threshold, scale,
                        key, launch.blocks(batch * heads, tq * tk * width // heads), out, weights)
    return out, weights


@compiled(lambda real: (reads(real, 3, "C"), reads(real, 3, "C"), reads(real, 3, "C"), reads(real, 1, "C"), reads(int64, 2, "C"), int64, boolean,
                        uint64, real, uint64, int64, writes(real, 3), writes(real, 4)), **launch.OPTIONS)
def _additive_attention(q, k, v, weight, seen, heads, drop, threshold, scale, key, blocks, out, weights):
    (batch, tq, width), tk = q.shape, k.shape[1]
    d, items = width // heads, batch * heads
    threads = launch.share(tq * k.size)
    for block in prange(blocks):
        factors = np.empty(tk + 8, q.dtype)
        for item in range(block * items // blocks, (block + 1) * items // blocks):
            b, h = item // heads, item % heads
            left, right = h * d, (h + 1) * d
            for i in range(tq):
                row, sees = weights[b, h, i], seen[b, i]
                for j in range(sees):
                    row[j] = _score(q[b, i, left:right], k[b, j, left:right], weight[left:right])
                _softmax(row, sees)
                mask = factors
                if drop:
                    mask = philox.mask(factors, (item * tq + i) * tk, tk, key, threshold, scale)
                _average(out[b, i, left:right], row, mask, drop, v[b], left, sees)
    launch.restore(threads)


@register_jitable
def _score(query, key, weight):
    total = query.dtype.type(0)
    for c in range(query.size):
        total += weight[c] * vector.tanh(query[c] + key[c])
    return total


@register_jitable
def _softmax(row, sees):
    """Of the first `sees` elements, in place; zeros behind them."""
    largest, total = row.dtype.type(-np.inf), row.dtype.type(0)
    for j in range(sees):
        largest = vector.maximum(largest, row[j])
    for j in range(sees):
        row[j] = vector.exp(row[j] - largest)
        total += row[j]
    for j in range(sees):
        row[j] /= total
    for j in range(sees, row.size):
        row[j] = row.dtype.type(0)


@register_jitable
def _average(out, row, mask, drop, v, left, sees):
    """out = Σ_j row_j mask_j v_j, of the features from `left` on."""
    for c in range(out.size):
        out[c] = out.dtype.type(0)
    for j in range(sees):
        share, value = row[j] * mask[j] if drop else row[j], v[j, left:]
        for c in range(out.size):
            out[c] += share * value[c]


def additive_attention_backward(g, q, k, v, weight, weights, heads=1, p=0.0, key=0):
    """See reference.additive_attention_backward."""
    (batch, tq, width), tk = q.shape, k.shape[1]
    dq, dk, dv, dweight = (empty(x.shape, q.dtype) for x in (q, k, v, weight))
    blocks = launch.blocks(batch * heads, tq * tk * width // heads)
    threshold, scale = philox.split(p)
    _additive_attention_backward(*map(np.ascontiguousarray, (q, k, v, weight, g, weights)), heads, p > 0, threshold, scale, key, blocks, dq, dk, dv,
                                 dweight, empty((blocks, width), q.dtype))
    return dq, dk, dv, dweight


@compiled(lambda real: (reads(real, 3, "C"), reads(real, 3, "C"), reads(real, 3, "C"), reads(real, 1, "C"), reads(real, 3, "C"), reads(real, 4, "C"),
                        int64, boolean, uint64, real, uint64, int64, writes(real, 3), writes(real, 3), writes(real, 3), writes(real, 1),
                        writes(real, 2)), **launch.OPTIONS)
def _additive_attention_backward(q, k, v, weight, g, weights, heads, drop, threshold, scale, key, blocks, dq, dk, dv, dweight, parts):
    (batch, tq, width), tk = q.shape, k.shape[1]
    d, items, zero = width // heads, batch * heads, q.dtype.type(0)
    threads = launch.share(2 * tq * k.size)
    for block in prange(blocks):
        factors, dscores = np.empty(tk + 8, q.dtype), np.empty(tk, q.dtype)
        parts[block] = zero
        for item in range(block * items // blocks, (block + 1) * items // blocks):
            b, h = item // heads, item % heads
            left, right = h * d, (h + 1) * d
            dq[b, :, left:right] = zero
            dk[b, :, left:right] = zero
            dv[b, :, left:right] = zero
            for i in range(tq):
                row = weights[b, h, i]
                mask = factors
                if drop:
                    mask = philox.mask(factors, (item * tq + i) * tk, tk, key, threshold, scale)
                delta = zero
                for j in range(tk):  # row is 0 where i does not see j, and then nothing flows
                    dscores[j] = zero
                    if row[j] != zero:
                        factor = mask[j] if drop else q.dtype.type(1)
                        dscores[j] = factor * _value_backward(g[b, i, left:right], v[b, j, left:right], dv[b, j, left:right], row[j] * factor)
                    delta += row[j] * dscores[j]
                for j in range(tk):
                    if row[j] != zero:
                        _score_backward(row[j] * (dscores[j] - delta), q[b, i, left:right], k[b, j, left:right], weight[left:right],
                                        dq[b, i, left:right], dk[b, j, left:right], parts[block, left:right])
    launch.restore(threads)
    dweight[:] = zero
    for block in range(blocks):
        for c in range(width):
            dweight[c] += parts[block, c]


@register_jitable
def _value_backward(g, value, dvalue, share):
    """dvalue gains share · g; returns g · value, what the share itself gains."""
    total = g.dtype.type(0)
    for c in range(g.size):
        total += g[c] * value[c]
    for c in range(g.size):
        dvalue[c] += share * g[c]
    return total


@register_jitable
def _score_backward(dscore, query, key, weight, dquery, dkey, dweight):
    one, size = query.dtype.type(1), query.size
    for c in range(size):
        hidden = vector.tanh(query[c] + key[c])
        dweight[c] += dscore * hidden
        inner = dscore * weight[c] * (one - hidden * hidden)
        dquery[c] += inner
        dkey[c] += inner
