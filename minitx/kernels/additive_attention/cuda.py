"""Additive attention on CUDA: a thread for each score, then for each element of what is made of them.

The tanh of every query, key and feature takes longer than all else, so that it does not matter here that numbers are read again and again. The softmax
is that of `softmax/cuda.py`. No two threads add to the same place.
"""
from numba import cuda
from numba.cuda import types

from ..dropout import philox
from ..dropout.philox_cuda import factor
from ..runtime.columns import column_sums
from ..runtime.cuda import array, contiguous, device, empty, filled, kernel, zeros
from ..runtime.elements import THREADS
from ..runtime.intrinsics import LOWEST, ONE, ZERO, tanh
from ..softmax.cuda import softmax, softmax_backward
from .reference import check


def additive_attention(q, k, v, weight, heads=1, causal=False, lengths=None, p=0.0, key=0):
    """See reference.additive_attention."""
    check(q, k, v, weight, heads, lengths)
    (batch, tq, _), tk = q.shape, k.shape[1]
    out, scores = zeros(q, q.shape), empty(q, (batch, heads, tq, tk))
    if q.size == 0 or k.size == 0:
        return out, scores
    q, k, v, weight = map(contiguous, (q, k, v, weight))
    there = filled(batch, tk, "int32") if lengths is None else contiguous(lengths.astype("int32"))
    _scores[_blocks(scores), THREADS](q, k, weight, there, causal, scores)
    weights = softmax(scores)
    threshold, scale = philox.split(p)
    _average[_blocks(q), THREADS](v, weights, p > 0, int(key), threshold, scale, out)
    return out, weights


@kernel(lambda real: (array(real, 3), array(real, 3), array(real, 1), array(types.int32, 1), types.boolean, array(real, 4)), threads=THREADS)
def _scores(q, k, weight, lengths, causal, scores):
    b, head, i, j = _place(scores)
    if b < scores.shape[0]:
        d, tq, tk = q.shape[2] // scores.shape[1], q.shape[1], k.shape[1]
        score = LOWEST
        if j < lengths[b] and (not causal or j <= i + tk - tq):
            score = ZERO
            for c in range(head * d, (head + 1) * d):
                score += weight[c] * tanh(q[b, i, c] + k[b, j, c])
        scores[b, head, i, j] = score


@kernel(lambda real: (array(real, 3), array(real, 4), types.boolean, types.uint64, types.uint64, real, array(real, 3)), threads=THREADS)
def _average(v, weights, drops, key, threshold, scale, out):
    b, i, c, head = _feature(out, weights)
    if b < out.shape[0]:
        total = ZERO
        for j in range(v.shape[1]):
            share = weights[b, head, i, j]
            if share != ZERO:  # what nobody sees may hold anything
                total += share * _kept(b, head, i, j, weights, drops, key, threshold, scale) * v[b, j, c]
        out[b, i, c] = total


def additive_attention_backward(g, q, k, v, weight, weights, heads=1, p=0.0, key=0):
    """See reference.additive_attention_backward."""
    if q.size == 0 or k.size == 0:
        return zeros(q, q.shape), zeros(k, k.shape), zeros(v, v.shape), zeros(weight, weight.shape)
    g, q, k, v, weight, weights = map(contiguous, (g, q, k, v, weight, weights))
    dropout = p > 0, int(key), *philox.split(p)
    dweights, dq, dk, dv, parts = (empty(q, x.shape) for x in (weights, q, k, v, q))
    _dweights[_blocks(weights), THREADS](g, v, weights, *dropout, dweights)
    dscores = softmax_backward(dweights, weights)
    _dq[_blocks(q), THREADS](q, k, weight, dscores, dq, parts)
    _dkv[_blocks(k), THREADS](g, q, k, weight, weights, dscores, *dropout, dk, dv)
    return dq, dk, dv, column_sums(parts.reshape(-1, q.shape[2]))


@kernel(lambda real: (array(real, 3), array(real, 3), array(real, 4), types.boolean, types.uint64, types.uint64, real, array(real, 4)), threads=THREADS)
def _dweights(g, v, weights, drops, key, threshold, scale, dweights):
    b, head, i, j = _place(weights)
    if b < weights.shape[0]:
        d, total = g.shape[2] // weights.shape[1], ZERO
        if weights[b, head, i, j] != ZERO:
            for c in range(head * d, (head + 1) * d):
                total += g[b, i, c] * v[b, j, c]
            total *= _kept(b, head, i, j, weights, drops, key, threshold, scale)
        dweights[b, head, i, j] = total


@kernel(lambda real: (array(real, 3), array(real, 3), array(real, 1), array(real, 4), array(real, 3), array(real, 3)), threads=THREADS)
def _dq(q, k, weight, dscores, dq, parts):
    """dq, and for the gradient of the weight what each query gives."""
    b, i, c, head = _feature(q, dscores)
    if b < q.shape[0]:
        total, of_weight = ZERO, ZERO
        for j in range(k.shape[1]):
            dscore = dscores[b, head, i, j]
            if dscore != ZERO:
                hidden = tanh(q[b, i, c] + k[b, j, c])
                total += dscore * (ONE - hidden * hidden)
                of_weight += dscore * hidden
        dq[b, i, c], parts[b, i, c] = total * weight[c], of_weight


@kernel(lambda real: (array(real, 3), array(real, 3), array(real, 3), array(real, 1), array(real, 4), array(real, 4), types.boolean, types.uint64,
                      types.uint64, real, array(real, 3), array(real, 3)), threads=THREADS)
def _dkv(g, q, k, weight, weights, dscores, drops, key, threshold, scale, dk, dv):
    b, j, c, head = _feature(k, weights)
    if b < k.shape[0]:
        total, of_value = ZERO, ZERO
        for i in range(q.shape[1]):
            share, dscore = weights[b, head, i, j], dscores[b, head, i, j]
            if share != ZERO:
                of_value += share * _kept(b, head, i, j, weights, drops, key, threshold, scale) * g[b, i, c]
            if dscore != ZERO:
                hidden = tanh(q[b, i, c] + k[b, j, c])
                total += dscore * (ONE - hidden * hidden)
        dk[b, j, c], dv[b, j, c] = total * weight[c], of_value


@device
def _place(scores):
    """(batch, head, query, key) of the calling thread."""
    e, heads, tq, tk = cuda.grid(1), scores.shape[1], scores.shape[2], scores.shape[3]
    return e // (heads * tq * tk), e // (tq * tk) % heads, e // tk % tq, e % tk


@device
def _feature(x, scores):
    """(batch, time, feature, head) of the calling thread."""
    e, time, width = cuda.grid(1), x.shape[1], x.shape[2]
    return e // (time * width), e // width % time, e % width, e % width // (width // scores.shape[1])


@device
def _kept(b, head, i, j, weights, drops, key, threshold, scale):
    """What dropout multiplies a weight by."""
    _, heads, tq, tk = weights.shape
    return factor(((b * heads + head) * tq + i) * tk + j, key, threshold, scale) if drops else ONE


def _blocks(x):
    """Blocks that have a thread for each element."""
    return -(-x.size // THREADS)
