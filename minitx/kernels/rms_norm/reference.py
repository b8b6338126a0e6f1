"""RMS norm in plain NumPy; `rms_norm` runs on Tensors as well."""
import numpy as np


def rms_norm(x, weight=None, eps=1e-6):
    """out = x · rstd · weight over the last axis of x (..., n), float32 or float64; weight (n,) or None.

    Returns out and rstd, the reciprocal of each row's root mean square, of shape x.shape[:-1].
    """
    check("rms_norm", x, weight)
    rstd = (np.sum(x * x, axis=-1, keepdims=True) / x.shape[-1] + eps) ** -0.5
    out = x * rstd
    return out if weight is None else out * weight, rstd.reshape(x.shape[:-1])


def rms_norm_backward(g, x, weight, rstd):
    """dx, dweight from g = ∂L/∂out and what the forward pass took and gave; dweight is None without a weight."""
    check("rms_norm_backward", x, weight, g)
    normalised = x * rstd[..., None]
    a = g if weight is None else g * weight
    dx = rstd[..., None] * (a - normalised * (a * normalised).mean(-1, keepdims=True))
    return dx, None if weight is None else (g * normalised).sum(tuple(range(x.ndim - 1)))


def check(name, x, weight, g=None):
    """Raise ValueError or TypeError with what is wrong, what was expected and the likely fix."""
    if not x.shape or x.shape[-1] == 0:
        raise ValueError(f"{name}: the input has shape {x.shape}; the last axis is normalised and needs at least one "
                         "element")
    if x.dtype.char not in "fd":
        raise TypeError(f"{name}: the input is {x.dtype}, expected float32 or float64; use .astype(np.float32)")
    if weight is not None and weight.shape != x.shape[-1:]:
        raise ValueError(f"{name}: weight has shape {weight.shape} but rows have {x.shape[-1]} elements; "
                         f"it must be ({x.shape[-1]},)")
    if weight is not None and weight.dtype != x.dtype:
        raise TypeError(f"{name}: x is {x.dtype}, weight {weight.dtype}; make them the same with .astype")
    if g is not None and g.shape != x.shape:
        raise ValueError(f"{name}: g has shape {g.shape} but the input {x.shape}; they must be alike")
