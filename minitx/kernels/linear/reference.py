"""The linear layer in plain NumPy; `linear` runs on Tensors as well."""
import numpy as np
from scipy.special import erf

from ..dropout import philox
from ..dropout.reference import dropout

ACTIVATIONS = ("none", "relu", "gelu", "gelu_tanh")


def linear(x, weight, bias=None, activation="none", p=0.0, key=0, needs_gradient=True):
    """out = dropout(f(x Wᵀ + b)).

    x (..., in), weight (out, in), bias (out,) or None; `activation` is one of ACTIVATIONS; `p` and `key` are
    those of `dropout`. Returns out (..., out) and what the backward pass needs of it: the slope ∂out/∂pre for GELU,
    `out` itself for ReLU, None otherwise, or if there is to be no backward pass (`needs_gradient`).
    Dropout needs an activation: without one, use the kernel that adds the result to the residual.
    """
    check(x, weight, bias, activation, p)
    pre = x @ np.swapaxes(weight, 0, 1)
    if bias is not None:
        pre = pre + bias
    if activation == "none":
        return pre, None
    mask = dropout(np.ones(pre.shape, pre.dtype), p, key) if p > 0 else pre.dtype.type(1)
    if activation == "relu":
        out = np.where(pre < 0, pre.dtype.type(0), pre) * mask
        return out, out if needs_gradient else None
    if activation == "gelu":
        cdf = 0.5 * (1 + erf(pre * 0.5**0.5))
        density = np.exp(-0.5 * pre * pre) * (2 * np.pi) ** -0.5
    else:
        u = (2 / np.pi) ** 0.5 * (pre + 0.044715 * pre * pre * pre)
        cdf = 0.5 * (1 + np.tanh(u))
        density = 2 * cdf * (1 - cdf) * (2 / np.pi) ** 0.5 * (1 + 3 * 0.044715 * pre * pre)
    return pre * cdf * mask, (cdf + pre * density) * mask if needs_gradient else None


def linear_backward(g, x, weight, saved, activation="none", p=0.0, needs=(True, True, True), dweight=None):
    """dx, dweight, dbias from g = ∂L/∂out (..., out) and what `linear` saved; None for what is not in `needs`.

    `dweight` may be the array to write that gradient to.
    """
    if activation == "relu":
        g = np.where(saved > 0, g * g.dtype.type(philox.split(p)[1]), g.dtype.type(0))
    elif activation != "none":
        g = g * saved
    rows = g.reshape(-1, g.shape[-1])
    dx = g @ weight if needs[0] else None
    dweight = np.matmul(rows.T, x.reshape(-1, x.shape[-1]), out=dweight) if needs[1] else None
    dbias = rows.sum(axis=0) if needs[2] else None
    return dx, dweight, dbias


def check(x, weight, bias, activation, p):
    """Raise ValueError or TypeError with what is wrong, what was expected and the likely fix."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"linear: activation {activation!r} is not one of {', '.join(ACTIVATIONS)}")
    if len(weight.shape) != 2:
        raise ValueError(f"linear: weight has shape {weight.shape}; expected (out features, in features)")
    if not weight.shape[1]:
        raise ValueError(f"linear: weight has shape {weight.shape}; there must be at least one feature in")
    if not x.shape or x.shape[-1] != weight.shape[1]:
        raise ValueError(f"linear: x has shape {x.shape} but weight {weight.shape} takes {weight.shape[1]} features on "
                         "the last axis of x; is weight transposed?")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"linear: bias has shape {bias.shape}; expected ({weight.shape[0]},), one per output feature "
                         f"of weight {weight.shape}")
    if not x.dtype == weight.dtype == (weight if bias is None else bias).dtype:
        others = f"weight {weight.dtype}" if bias is None else f"weight {weight.dtype}, bias {bias.dtype}"
        raise TypeError(f"linear: x is {x.dtype}, {others}; make them the same with .astype")
    if x.dtype.char not in "fd":
        raise TypeError(f"linear: x and weight are {x.dtype}, expected float32 or float64; use .astype(np.float32)")
    if not 0 <= p <= 1:
        raise ValueError(f"linear: p is {p}; expected a probability of dropping, from 0 to 1")
    if p > 0 and activation == "none":
        raise ValueError("linear: dropout (p > 0) comes with an activation only; call dropout on the result instead")
