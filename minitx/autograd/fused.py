"""Operations that a kernel serves. Each names its reference, the same mathematics in NumPy, which `create_graph=True` differentiates.

A fused forward returns its output and then its residuals: what the backward kernel needs besides the inputs. The formulas and the derivations
of their gradients are in the kernels' folders. (Operations that one layer alone uses stand with it: batch norm, GRU and LSTM, additive attention, in nn/.)

All take float32 or float64, one dtype for all, and give it back. What does not fit is a TypeError (dtypes), an IndexError (ids outside of a table) or a
ValueError (shapes, options) that names the operation, what came, what was expected and the likely fix.
"""
import numpy as np

from ..kernels.attention import attention as _attention, attention_backward as _attention_backward
from ..kernels.cross_entropy import cross_entropy as _cross_entropy, cross_entropy_backward as _cross_entropy_backward
from ..kernels.cross_entropy import linear_cross_entropy as _linear_cross_entropy
from ..kernels.dropout import dropout as _dropout
from ..kernels.embedding import embedding as _embedding, embedding_backward as _embedding_backward
from ..kernels.gelu import gelu as _gelu, gelu_backward as _gelu_backward
from ..kernels.layer_norm import add_layer_norm as _add_layer_norm, add_layer_norm_backward as _add_layer_norm_backward
from ..kernels.layer_norm import layer_norm as _layer_norm, layer_norm_backward as _layer_norm_backward
from ..kernels.linear import linear as _linear, linear_backward as _linear_backward
from ..kernels.rms_norm import rms_norm as _rms_norm, rms_norm_backward as _rms_norm_backward
from ..kernels.rotary import rotary as _rotary
from ..kernels.softmax import log_softmax as _log_softmax, log_softmax_backward as _log_softmax_backward
from ..kernels.softmax import softmax as _softmax, softmax_backward as _softmax_backward
from ..kernels.swiglu import swiglu as _swiglu, swiglu_backward as _swiglu_backward
from . import random
from .graph import op


def _along(kernel, axis, *arrays):
    """A kernel that works on the last axis, applied along another one."""
    if axis in (-1, arrays[0].ndim - 1):
        return kernel(*arrays)
    return np.moveaxis(kernel(*[np.moveaxis(array, axis, -1) for array in arrays]), -1, axis)


def _first(kernel):
    """The reference of a kernel without its residuals."""
    return lambda *args, **static: kernel.reference(*args, **static)[0]


@op(reference=lambda x, *, axis=-1: _along(_softmax.reference, axis, x))
def softmax(x, *, axis=-1):
    """exp(x) / Σ exp(x) along `axis`, in the shape of x; zeros where all of x is −inf."""
    return _along(_softmax, axis, x)


@softmax.vjp
def _(g, out, axis):
    return _along(_softmax_backward, axis, g, out)


@op(reference=lambda x, *, axis=-1: _along(_log_softmax.reference, axis, x))
def log_softmax(x, *, axis=-1):
    """log softmax(x) along `axis`, in the shape of x, without forming the softmax."""
    return _along(_log_softmax, axis, x)


@log_softmax.vjp
def _(g, out, axis):
    return _along(_log_softmax_backward, axis, g, out)


@op(reference=_first(_layer_norm), residuals="mean rstd")
def layer_norm(x, weight=None, bias=None, *, eps=1e-5):
    """(x − mean) / √(variance + eps) · weight + bias over the last axis (Ba, Kiros and Hinton 2016); weight, bias (features,) or None."""
    return _layer_norm(x, weight, bias, eps)


@layer_norm.vjp
def _(g, x, weight, mean, rstd, needs):
    dx, dweight, dbias = _layer_norm_backward(g, x, weight, mean, rstd)
    return dx, dweight if needs[1] else None, dbias if needs[2] else None


@op(reference=_first(_add_layer_norm), residuals="total mean rstd")
def add_layer_norm(x, residual, weight, bias, *, eps=1e-5, p=0.0, key=0):
    """layer_norm(residual + dropout(x)): the end of a post-norm sublayer (Vaswani et al. 2017, section 5.4) in one pass over memory.

    x and residual (..., features), weight and bias (features,) or None; p, key: of the dropout.
    """
    return _add_layer_norm(x, residual, weight, bias, eps, p, key)


@add_layer_norm.vjp
def _(g, weight, total, mean, rstd, p, key):
    return _add_layer_norm_backward(g, None, total, weight, mean, rstd, p, key)


@op(reference=_first(_rms_norm), residuals="rstd")
def rms_norm(x, weight=None, *, eps=1e-6):
    """x / √(mean(x²) + eps) · weight over the last axis (Zhang and Sennrich 2019); weight (features,) or None."""
    return _rms_norm(x, weight, eps)


rms_norm.vjp(lambda g, x, weight, rstd: _rms_norm_backward(g, x, weight, rstd))


@op(reference=_swiglu.reference)
def swiglu(x):
    """silu(gate) · value (Shazeer 2020): x (..., 2 · hidden), whose first half are the gates, to the (..., hidden) of a feed-forward network."""
    return _swiglu(x)


swiglu.vjp(lambda g, x: _swiglu_backward(g, x))


@op(reference=_rotary.reference)
def rotary(x, cos, sin, *, heads, start=None):
    """x (batch, time, width) with the first `heads` heads turned by their positions (Su et al. 2021), which begin at `start` (batch,), by default 0.

    cos, sin (positions, d_head / 2): of the angle at each position, in each of a head's planes; no gradient flows to them.
    """
    return _rotary(x, cos, sin, heads, start)


rotary.vjp(lambda g, cos, sin, heads, start: (_rotary(g, cos, -sin, heads, start), None, None))


@op(reference=_gelu.reference)
def gelu(x):
    """x Φ(x) for every element, with the normal distribution function Φ in its exact form (Hendrycks and Gimpel 2016)."""
    return _gelu(x)


gelu.vjp(lambda g, x: _gelu_backward(g, x))


@op(reference=_first(_linear), residuals="kept")
def linear(x, weight, bias=None, *, activation="none", p=0.0, key=0, needs=()):
    """dropout(activation(x Wᵀ + b)): x (..., in), weight (out, in), bias (out,) or None; activation "none", "relu", "gelu" or "gelu_tanh"."""
    return _linear(x, weight, bias, activation, p, key, any(needs))


@linear.vjp
def _(g, x, weight, kept, activation, p, needs, into):
    return _linear_backward(g, x, weight, kept, activation, p, needs, into[1])


@op(reference=_dropout.reference)
def _drop(x, *, p, key):
    return _dropout(x, p, key)


@_drop.vjp
def _(g, p, key):
    return _dropout(g, p, key)


def dropout(x, p=0.5, *, key=None):
    """x with each element zeroed with probability p and the rest scaled by 1 / (1 − p) (Srivastava et al. 2014).

    The mask is a function of `key`, by default the next of `random.next_key()`, and is computed again for the gradient, never stored.
    """
    return x if p == 0 else _drop(x, p=p, key=random.next_key() if key is None else key)


@op(reference=_embedding.reference)
def embedding(weight, ids):
    """Rows `ids` (integers, any shape) of weight (vocabulary, features): shape ids.shape + (features,)."""
    return _embedding(weight, ids)


@embedding.vjp
def _(g, ids, shapes, into):
    return _embedding_backward(g, ids, shapes[0][0], into[0]), None


def _reference_attention(q, k, v, mask, *, heads=1, causal=False, lengths=None, p=0.0, key=0, kv_heads=None, window=None):
    return _attention.reference(q, k, v, heads, causal, lengths, p, key, mask, kv_heads, window)[0]


@op(reference=_reference_attention, residuals="log_sum_exp")
def attention(q, k, v, mask=None, *, heads=1, causal=False, lengths=None, p=0.0, key=0, kv_heads=None, window=None):
    """softmax(q kᵀ / √d) v for each head (Vaswani et al. 2017, section 3.2), never storing the time × time weights.

    q (batch, query time, heads · d); k, v (batch, key time, kv_heads · d), by default as many heads. `lengths` (batch,): how many keys are real. `causal`:
    query i sees keys up to i + (key time − query time), with `window` only the last so many of them. `mask`: booleans that broadcast to (batch, heads,
    query time, key time), True where a query may look. `p`, `key`: dropout on the weights. A query that sees nothing gives zeros.
    """
    return _attention(q, k, v, heads, causal, lengths, p, key, mask, kv_heads, window)


@attention.vjp
def _(g, q, k, v, mask, out, log_sum_exp, heads, causal, lengths, p, key, kv_heads, window):
    return *_attention_backward(g, q, k, v, out, log_sum_exp, heads, causal, lengths, p, key, mask, False, kv_heads, window), None


def _heads_of(packed, heads, kv_heads):
    """Queries, keys and values of a projection (batch, time, (heads + 2 · kv_heads) · d), as views."""
    d, rest = divmod(packed.shape[-1], max(1, heads + 2 * kv_heads))
    if rest:
        raise ValueError(f"attention: a projection of {packed.shape[-1]} features does not divide into {heads} heads of queries and 2 · {kv_heads} of keys and values")
    return packed[..., :heads * d], packed[..., heads * d:(heads + kv_heads) * d], packed[..., (heads + kv_heads) * d:]


def _reference_self_attention(qkv, *, heads=1, causal=False, lengths=None, p=0.0, key=0, kv_heads=None, window=None):
    return _attention.reference(*_heads_of(qkv, heads, kv_heads or heads), heads, causal, lengths, p, key, None, kv_heads, window)[0]


@op(reference=_reference_self_attention, residuals="log_sum_exp")
def self_attention(qkv, *, heads=1, causal=False, lengths=None, p=0.0, key=0, kv_heads=None, window=None):
    """`attention` of queries, keys and values side by side in one projection (batch, time, (heads + 2 · kv_heads) · d), read in place."""
    return _attention(*_heads_of(qkv, heads, kv_heads or heads), heads, causal, lengths, p, key, None, kv_heads, window)


@self_attention.vjp
def _(g, qkv, out, log_sum_exp, heads, causal, lengths, p, key, kv_heads, window):
    return _attention_backward(g, *_heads_of(qkv, heads, kv_heads or heads), out, log_sum_exp, heads, causal, lengths, p, key, None, True, kv_heads, window)


def _reference_cross_attention(q, kv, *, heads=1, lengths=None, p=0.0, key=0, kv_heads=None):
    return _attention.reference(q, *_heads_of(kv, 0, kv_heads or heads)[1:], heads, False, lengths, p, key, None, kv_heads)[0]


@op(reference=_reference_cross_attention, residuals="log_sum_exp")
def cross_attention(q, kv, *, heads=1, lengths=None, p=0.0, key=0, kv_heads=None):
    """`attention` of q (batch, query time, heads · d) to keys and values side by side in one projection (batch, key time, 2 · kv_heads · d)."""
    return _attention(q, *_heads_of(kv, 0, kv_heads or heads)[1:], heads, False, lengths, p, key, None, kv_heads)


@cross_attention.vjp
def _(g, q, kv, out, log_sum_exp, heads, lengths, p, key, kv_heads):
    return _attention_backward(g, q, *_heads_of(kv, 0, kv_heads or heads)[1:], out, log_sum_exp, heads, False, lengths, p, key, None, "kv", kv_heads)


def _reference_cross_entropy(logits, targets, *, label_smoothing=0.0, ignore_index=-100, reduction="mean"):
    losses = _cross_entropy.reference(logits, targets, label_smoothing, ignore_index)[0]
    return losses if reduction == "none" else losses.sum() * _share(targets, ignore_index, reduction, losses.dtype)


@op(reference=_reference_cross_entropy, residuals="log_sum_exp")
def _cross_entropy_loss(logits, targets, *, label_smoothing=0.0, ignore_index=-100, reduction="mean"):
    losses, log_sum_exp = _cross_entropy(logits, targets, label_smoothing, ignore_index)
    out = losses if reduction == "none" else losses.sum() * _share(targets, ignore_index, reduction, losses.dtype)
    return out, log_sum_exp


@_cross_entropy_loss.vjp
def _(g, logits, targets, log_sum_exp, label_smoothing, ignore_index, reduction):
    if reduction != "none":
        g = np.zeros_like(logits, shape=targets.shape) + g * _share(targets, ignore_index, reduction, logits.dtype)
    return _cross_entropy_backward(g, logits, targets, log_sum_exp, label_smoothing, ignore_index), None


def cross_entropy(logits, targets, *, label_smoothing=0.0, ignore_index=-100, reduction="mean"):
    """−log softmax(logits)[target], smoothed as in Szegedy et al. 2016, section 7: logits (..., classes), integer targets (...).

    `reduction` is "mean" over the targets that are not `ignore_index`, "sum", or "none" (one loss per target, 0 where ignored).
    """
    _check_reduction("cross_entropy", reduction)
    targets = _flat_targets("cross_entropy", targets, "logits", logits)
    losses = _cross_entropy_loss(logits.reshape(-1, logits.shape[-1]), targets, label_smoothing=label_smoothing, ignore_index=ignore_index,
                                     reduction=reduction)
    return losses.reshape(logits.shape[:-1]) if reduction == "none" else losses


def _reference_linear_cross_entropy(x, weight, bias, targets, *, label_smoothing=0.0, ignore_index=-100, reduction="mean"):
    logits = x @ weight.T if bias is None else x @ weight.T + bias
    return _reference_cross_entropy(logits, targets, label_smoothing=label_smoothing, ignore_index=ignore_index, reduction=reduction)


@op(reference=_reference_linear_cross_entropy, residuals="dx dweight dbias")
def _linear_cross_entropy_loss(x, weight, bias, targets, *, label_smoothing=0.0, ignore_index=-100, reduction="mean", needs=()):
    losses, dx, dweight, dbias = _linear_cross_entropy(x, weight, bias, targets, label_smoothing, ignore_index, any(needs))
    return losses.sum() * _share(targets, ignore_index, reduction, losses.dtype), dx, dweight, dbias


@_linear_cross_entropy_loss.vjp
def _(g, dx, dweight, dbias, targets, ignore_index, reduction, into):
    scale = g * _share(targets, ignore_index, reduction, dx.dtype)
    return dx * scale, np.multiply(dweight, scale, out=into[1]), None if dbias is None else dbias * scale, None


def linear_cross_entropy(x, weight, bias, targets, *, label_smoothing=0.0, ignore_index=-100, reduction="mean"):
    """cross_entropy(x Wᵀ + b, targets) in row chunks: the (targets × classes) logits, often the largest array of a model, never exist at once.

    x (..., features), weight (classes, features), bias (classes,) or None, integer targets (...). `reduction` is "mean" or "sum". Because the loss is
    the end of the graph, the forward computes the gradients on the way, if any are wanted, and the backward only scales them.
    """
    _check_reduction("linear_cross_entropy", reduction, ("mean", "sum"))
    targets = _flat_targets("linear_cross_entropy", targets, "x", x)
    return _linear_cross_entropy_loss(x.reshape(-1, x.shape[-1]), weight, bias, targets, label_smoothing=label_smoothing, ignore_index=ignore_index,
                                      reduction=reduction)


def _flat_targets(name, targets, what, rows):
    """The targets as an array (n,), one for each of the n rows of `rows` (..., features)."""
    targets = targets if hasattr(targets, "dtype") else np.asarray(targets)
    if targets.shape != rows.shape[:-1]:
        raise ValueError(f"{name}: targets have shape {targets.shape} but {what} {rows.shape}; there must be one for each row, {rows.shape[:-1]}")
    return targets.reshape(-1)


def _share(targets, ignore_index, reduction, dtype):
    """What each counted loss weighs in the reduced one: a number, or on the GPU, for which nobody waits, an array ()."""
    count = 1 if reduction == "sum" else np.count_nonzero(targets != ignore_index)
    return dtype.type(1 / max(1, count)) if isinstance(count, (int, np.integer)) else (1 / np.maximum(1, count)).astype(dtype)


def _check_reduction(name, reduction, known=("mean", "sum", "none")):
    if reduction not in known:
        raise ValueError(f"{name}: reduction {reduction!r} is not one of {', '.join(known)}")
