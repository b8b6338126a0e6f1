"""Attention in plain NumPy, every (tq, tk) matrix stored; `attention` and `attention_weights` also run on Tensors."""
import math

import numpy as np

from ..dropout.reference import dropout


def attention(q, k, v, heads, causal=False, lengths=None, p=0.0, key=0, mask=None, kv_heads=None, window=None):
    """softmax(q kᵀ / √d) v for each head, over the keys that a query sees; zeros for a query that sees none.

    q (batch, tq, heads·d), k and v (batch, tk, kv_heads·d): float32 or float64; may be slices of a wider projection.
    causal: query i sees the keys up to i + tk − tq, so that with tq < tk the queries are the last of the sequence.
    lengths (batch,) integers: only the first lengths[b] keys are seen; None for all.
    p, key: dropout on the weights, drawn for element ((b·heads + h)·tq + i)·tk + j.
    mask: boolean, broadcastable to (batch, heads, tq, tk), True where a query may see a key.
    kv_heads: heads of k and v, by default `heads`; each serves heads/kv_heads neighbouring heads of q.
    window: with `causal`, how many keys a query sees at most, up to its own; None for all.
    Returns out (batch, tq, heads·d) and log_sum_exp (batch, heads, tq) of the scores, −inf where no key is seen.
    """
    kv_heads = check(q, k, v, heads, lengths, mask, False, causal, kv_heads, window)
    weights, log_sum_exp = _weights(q, k, heads, causal, lengths, mask, kv_heads, window)
    if p > 0:
        weights = weights * dropout(np.ones(weights.shape, weights.dtype), p, key)
    return _merged(weights @ _split(v, kv_heads, heads)), log_sum_exp


def attention_backward(g, q, k, v, out, log_sum_exp, heads, causal=False, lengths=None, p=0.0, key=0, mask=None,
                       packed=False, kv_heads=None, window=None):
    """dq, dk, dv from g = ∂L/∂out (batch, tq, heads·d) and what `attention` took and returned.

    packed says which of q, k and v are neighbouring columns of one projection, whose gradient is then returned in one
    array: False, none; "kv", k and v: dq and (batch, tk, 2·kv_heads·d); True, all three:
    (batch, tq, (heads + 2·kv_heads)·d).
    """
    kv_heads = check(q, k, v, heads, lengths, mask, packed, causal, kv_heads, window)
    scale = 1 / math.sqrt(q.shape[-1] // heads)
    query, g_heads = (_split(x, heads, heads) for x in (q, g))
    keys, value = (_split(x, kv_heads, heads) for x in (k, v))
    weights, _ = _weights(q, k, heads, causal, lengths, mask, kv_heads, window)  # (batch, heads, tq, tk)
    kept = dropout(np.ones(weights.shape, weights.dtype), p, key) if p > 0 else weights.dtype.type(1)
    dv = np.swapaxes(weights * kept, 2, 3) @ g_heads
    dweights = kept * (g_heads @ np.swapaxes(value, 2, 3))
    delta = np.sum(g_heads * _split(out, heads, heads), axis=-1, keepdims=True)
    dscores = weights * (dweights - delta) * weights.dtype.type(scale)
    dq, dk = dscores @ keys, np.swapaxes(dscores, 2, 3) @ query
    dq, dk, dv = _merged(dq), _merged(_shared(dk, kv_heads)), _merged(_shared(dv, kv_heads))
    if packed == "kv":
        return dq, np.concatenate((dk, dv), axis=-1)
    return np.concatenate((dq, dk, dv), axis=-1) if packed else (dq, dk, dv)


def attention_weights(q, k, heads, causal=False, lengths=None, mask=None, kv_heads=None, window=None):
    """The weights (batch, heads, tq, tk) that average the values; each row sums to 1, or to 0 if it sees no key."""
    kv_heads = check(q, k, k, heads, lengths, mask, False, causal, kv_heads, window)
    return _weights(q, k, heads, causal, lengths, mask, kv_heads, window)[0]


def _weights(q, k, heads, causal, lengths, mask, kv_heads, window):
    """The softmax of the scores (batch, heads, tq, tk), and the logarithm of its denominator (batch, heads, tq)."""
    scores = _split(q, heads, heads) @ np.swapaxes(_split(k, kv_heads, heads), 2, 3)
    scores = scores * (1 / math.sqrt(q.shape[-1] // heads))
    scores = np.where(_seen(scores.shape, causal, lengths, mask, window), scores, scores.dtype.type(-np.inf))
    if scores.shape[-1] == 0:
        return scores, np.full(scores.shape[:-1], -np.inf, scores.dtype)
    largest = np.max(scores, axis=-1, keepdims=True)
    largest = np.where(largest == -np.inf, largest.dtype.type(0), largest)
    exponentials = np.exp(scores - largest)
    total = np.sum(exponentials, axis=-1, keepdims=True)
    none, zero, one = total == 0, total.dtype.type(0), total.dtype.type(1)
    total = np.where(none, one, total)
    weights = exponentials / total
    log_sum_exp = largest + np.log(total) - np.where(none, total.dtype.type(np.inf), zero)
    return weights, log_sum_exp.reshape(scores.shape[:-1])


def _seen(shape, causal, lengths, mask, window):
    """True where query i sees key j, broadcastable to `shape` (batch, heads, tq, tk)."""
    tq, tk = shape[2:]
    seen = np.ones((1, 1, tq, tk), bool)
    if causal:
        ahead = np.arange(tk) - (np.arange(tq)[:, None] + (tk - tq))  # how far a key is ahead of the query
        seen = seen & (ahead <= 0) & (ahead > -(tk if window is None else window))
    if lengths is not None:
        seen = seen & (np.arange(tk) < np.asarray(lengths)[:, None, None, None])
    return seen if mask is None else seen & mask


def _split(x, own, heads):
    """(batch, time, own·d) as (batch, heads, time, d), each of its own heads standing heads/own times."""
    batch, time, width = x.shape
    x = np.swapaxes(x.reshape(batch, time, own, width // own), 1, 2)
    return x if own == heads else np.repeat(x, heads // own, axis=1)


def _shared(x, own):
    """The gradient (batch, heads, time, d) of what `_split` repeated, summed over the repetitions."""
    batch, heads, time, d = x.shape
    return x if own == heads else x.reshape(batch, own, heads // own, time, d).sum(2)


def _merged(x):
    """(batch, heads, time, d) as (batch, time, heads·d)."""
    batch, heads, time, d = x.shape
    return np.swapaxes(x, 1, 2).reshape(batch, time, heads * d)


def check(q, k, v, heads, lengths, mask, packed=False, causal=False, kv_heads=None, window=None, dtypes=("float32", "float64")):
    """Raise ValueError or TypeError with what is wrong, what was expected and the likely fix; return kv_heads."""
    kv_heads = heads if kv_heads is None else kv_heads
    if not len(q.shape) == len(k.shape) == len(v.shape) == 3:
        raise ValueError(f"attention: query, key and value have shapes {q.shape}, {k.shape}, {v.shape}; "
                         "each must be (batch, time, heads * d_head)")
    batch, tk, width = k.shape
    if v.shape != k.shape:
        raise ValueError(f"attention: value has shape {v.shape} but key has {k.shape}; they must be the same")
    if q.shape[0] != batch:
        raise ValueError(f"attention: query has batch size {q.shape[0]} but key and value have {batch}")
    if heads < 1 or q.shape[2] % heads:
        raise ValueError(f"attention: {q.shape[2]} features cannot be shared among {heads} heads; choose a divisor")
    if kv_heads < 1 or heads % kv_heads:
        raise ValueError(f"attention: {heads} heads cannot share {kv_heads} heads of keys and values; choose a divisor")
    if q.shape[2] // heads * kv_heads != width:
        raise ValueError(f"attention: key has {width} features but query has {q.shape[2]}; both need heads * d_head, "
                         f"here {heads} and {kv_heads} heads")
    if not q.dtype == k.dtype == v.dtype:
        raise TypeError(f"attention: query is {q.dtype}, key {k.dtype}, value {v.dtype}; make them one with .astype")
    if q.dtype.name not in dtypes:
        raise TypeError(f"attention: the inputs are {q.dtype}, expected {' or '.join(dtypes)}; use .astype(np.{dtypes[0]})")
    if lengths is not None and np.shape(lengths) != (batch,):
        raise ValueError(f"attention: lengths has shape {np.shape(lengths)}; expected ({batch},), the number of "
                         "real keys of each sequence")
    if mask is not None and mask.dtype != bool:
        raise ValueError(f"attention: mask is {mask.dtype}; expected bool, True where a query may see a key "
                         "(for an additive mask, pass mask == 0)")
    full = batch, heads, q.shape[1], tk
    if mask is not None and (mask.ndim > 4 or any(m not in (1, n) for m, n in zip(mask.shape[::-1], full[::-1]))):
        raise ValueError(f"attention: mask has shape {mask.shape}; it must broadcast to (batch, heads, tq, tk), here "
                         f"{full}")
    if window is not None and (window < 1 or not causal):
        raise ValueError(f"attention: window is {window}{'' if causal else ' without causal=True'}; expected, for causal "
                         "attention, how many keys a query sees: 1 or more, or None for all")
    if packed not in (False, True, "kv"):
        raise ValueError(f"attention: packed is {packed!r}; expected False, True or 'kv'")
    if packed is True and q.shape[1] != tk:
        raise ValueError(f"attention: packed gradients need as many queries as keys; there are {q.shape[1]} and {tk}")
    return kv_heads
