"""Additive attention in plain NumPy; `additive_attention` runs on Tensors as well."""
import numpy as np

from ..dropout.reference import dropout


def additive_attention(q, k, v, weight, heads=1, causal=False, lengths=None, p=0.0, key=0):
    """softmax(Σ_c weight_c tanh(q_c + k_c)) v for each head, over the keys that a query sees.

    q (batch, tq, heads·d), k and v (batch, tk, heads·d), weight (heads·d,): float32 or float64.
    causal: query i sees the keys up to i + tk − tq. lengths (batch,): only the first lengths[b] keys are seen.
    p, key: dropout on the weights, drawn for element ((b·heads + h)·tq + i)·tk + j.
    Returns out (batch, tq, heads·d) and P (batch, heads, tq, tk), whose rows sum to 1, or to 0 where no key is seen.
    """
    check(q, k, v, weight, heads, lengths)
    query, keys, value = (_split(x, heads) for x in (q, k, v))  # (batch, heads, time, d)
    batch, _, tq, d = query.shape
    tk = keys.shape[2]
    seen = np.arange(tk) < seen_keys(batch, tq, tk, causal, lengths)[:, None, :, None]  # (batch, 1, tq, tk)
    hidden = np.tanh(query[:, :, :, None] + keys[:, :, None])  # (batch, heads, tq, tk, d)
    scores = np.sum(hidden * weight.reshape(heads, 1, 1, d), axis=-1)
    scores = np.where(seen, scores, scores.dtype.type(-np.inf))
    largest = np.max(scores, axis=-1, keepdims=True) if tk else scores.sum(axis=-1, keepdims=True)
    exponentials = np.exp(scores - np.where(largest == -np.inf, largest.dtype.type(0), largest))
    total = np.sum(exponentials, axis=-1, keepdims=True)
    weights = exponentials / np.where(total == 0, total.dtype.type(1), total)
    kept = weights * dropout(np.ones(weights.shape, weights.dtype), p, key) if p > 0 else weights
    return _merged(kept @ value), weights


def additive_attention_backward(g, q, k, v, weight, weights, heads=1, p=0.0, key=0):
    """dq, dk, dv, dweight from g = ∂L/∂out (batch, tq, heads·d) and what `additive_attention` took and returned."""
    query, keys, value, g_heads = (_split(x, heads) for x in (q, k, v, g))
    kept = dropout(np.ones(weights.shape, weights.dtype), p, key) if p > 0 else weights.dtype.type(1)
    dv = np.swapaxes(weights * kept, 2, 3) @ g_heads
    dweights = kept * (g_heads @ np.swapaxes(value, 2, 3))
    dscores = weights * (dweights - np.sum(weights * dweights, axis=-1, keepdims=True))
    hidden = np.tanh(query[:, :, :, None] + keys[:, :, None])
    dweight = np.einsum("bhij,bhijc->hc", dscores, hidden).reshape(-1)
    inner = dscores[..., None] * weight.reshape(heads, 1, 1, -1) * (1 - hidden * hidden)
    return _merged(inner.sum(axis=3)), _merged(inner.sum(axis=2)), _merged(dv), dweight


def seen_keys(batch, tq, tk, causal, lengths):
    """How many keys, from the first, each query sees: int64 (batch, tq)."""
    counts = np.full((batch, tq), tk, np.int64)
    if causal:
        counts = np.minimum(counts, np.maximum(0, np.arange(tq) + tk - tq + 1))
    return counts if lengths is None else np.minimum(counts, np.asarray(lengths, np.int64)[:, None])


def _split(x, heads):
    """(batch, time, heads·d) as (batch, heads, time, d)."""
    batch, time, width = x.shape
    return np.swapaxes(x.reshape(batch, time, heads, width // heads), 1, 2)


def _merged(x):
    """(batch, heads, time, d) as (batch, time, heads·d)."""
    batch, heads, time, d = x.shape
    return np.swapaxes(x, 1, 2).reshape(batch, time, heads * d)


def check(q, k, v, weight, heads, lengths):
    """Raise ValueError or TypeError with what is wrong, what was expected and the likely fix."""
    if not len(q.shape) == len(k.shape) == len(v.shape) == 3:
        raise ValueError(f"additive_attention: query, key and value have shapes {q.shape}, {k.shape}, {v.shape}; each must be "
                         "(batch, time, heads · d_head)")
    batch, _, width = k.shape
    if v.shape != k.shape:
        raise ValueError(f"additive_attention: value has shape {v.shape} but key has {k.shape}; they must be the same")
    if q.shape[0] != batch:
        raise ValueError(f"additive_attention: query has batch size {q.shape[0]} but key and value have {batch}")
    if q.shape[2] != width:
        raise ValueError(f"additive_attention: key has {width} features but query has {q.shape[2]}; project both to the same")
    if heads < 1 or width % heads:
        raise ValueError(f"additive_attention: {width} features cannot be shared among {heads} heads; choose a divisor")
    if weight.shape != (width,):
        raise ValueError(f"additive_attention: weight has shape {weight.shape}; expected ({width},), one per feature of query and key")
    if not q.dtype == k.dtype == v.dtype == weight.dtype:
        raise TypeError(f"additive_attention: query is {q.dtype}, key {k.dtype}, value {v.dtype}, weight {weight.dtype}; make them one with .astype")
    if q.dtype.char not in "fd":
        raise TypeError(f"additive_attention: the inputs are {q.dtype}, expected float32 or float64; use .astype(np.float32)")
    if lengths is not None and np.shape(lengths) != (batch,):
        raise ValueError(f"additive_attention: lengths has shape {np.shape(lengths)}; expected ({batch},), the number of real keys of each sequence")
