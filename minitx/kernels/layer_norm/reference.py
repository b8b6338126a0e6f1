"""Layer normalisation in plain NumPy; the forward functions run on Tensors as well."""
import numpy as np

from ..dropout.reference import dropout


def layer_norm(x, weight=None, bias=None, eps=1e-5):
    """out = (x − mean) · rstd · weight + bias over the last axis of x (..., n), float32 or float64; weight and bias
    (n,) or None.

    Returns out, mean and rstd; the latter two have one element per row, shape x.shape[:-1].
    """
    check("layer_norm", x, weight, bias)
    mean = np.sum(x, axis=-1, keepdims=True) / x.shape[-1]
    centred = x - mean
    rstd = (np.sum(centred * centred, axis=-1, keepdims=True) / x.shape[-1] + eps) ** -0.5
    out = centred * rstd
    if weight is not None:
        out = out * weight
    if bias is not None:
        out = out + bias
    return out, mean.reshape(x.shape[:-1]), rstd.reshape(x.shape[:-1])


def layer_norm_backward(g, x, weight, mean, rstd):
    """dx, dweight, dbias from g = ∂L/∂out and what the forward pass took and gave; dweight is None without a weight."""
    check("layer_norm_backward", x, weight, None, g)
    normalised = (x - mean[..., None]) * rstd[..., None]
    a = g if weight is None else g * weight
    dx = rstd[..., None] * (a - a.mean(-1, keepdims=True) - normalised * (a * normalised).mean(-1, keepdims=True))
    leading = tuple(range(x.ndim - 1))
    return dx, None if weight is None else (g * normalised).sum(leading), g.sum(leading)


def add_layer_norm(x, residual, weight=None, bias=None, eps=1e-5, p=0.0, key=0):
    """layer_norm of total = residual + dropout(x, p, key), x and residual (..., n). Returns out, total, mean and
    rstd."""
    check("add_layer_norm", x, weight, bias, residual)
    total = residual + (dropout(x, p, key) if p > 0 else x)
    out, mean, rstd = layer_norm(total, weight, bias, eps)
    return out, total, mean, rstd


def add_layer_norm_backward(g, g_total, total, weight, mean, rstd, p=0.0, key=0):
    """dx, dresidual, dweight, dbias from g = ∂L/∂out and g_total = ∂L/∂total by the other uses of total, or None.

    With p = 0, dx and dresidual are one and the same array.
    """
    check("add_layer_norm_backward", total, weight, None, g, g_total)
    dresidual, dweight, dbias = layer_norm_backward(g, total, weight, mean, rstd)
    if g_total is not None:
        dresidual = dresidual + g_total
    return dropout(dresidual, p, key) if p > 0 else dresidual, dresidual, dweight, dbias


def check(name, x, weight, bias, *alike):
    """Raise ValueError or TypeError with what is wrong, what was expected and the likely fix; `alike` must have the
    shape of x."""
    if not x.shape or x.shape[-1] == 0:
        raise ValueError(f"{name}: the input has shape {x.shape}; the last axis is normalised and needs at least one "
                         "element")
    if x.dtype.char not in "fd":
        raise TypeError(f"{name}: the input is {x.dtype}, expected float32 or float64; use .astype(np.float32)")
    for what, vector in (("weight", weight), ("bias", bias)):
        if vector is not None and vector.shape != x.shape[-1:]:
            raise ValueError(f"{name}: {what} has shape {vector.shape} but rows have {x.shape[-1]} elements; "
                             f"it must be ({x.shape[-1]},)")
        if vector is not None and vector.dtype != x.dtype:
            raise TypeError(f"{name}: x is {x.dtype}, {what} {vector.dtype}; make them the same with .astype")
    for other in alike:
        if other is not None and other.shape != x.shape:
            raise ValueError(f"{name}: inputs have shapes {x.shape} and {other.shape}, but are added or multiplied "
                             "element by element; they must be alike")
        if other is not None and other.dtype != x.dtype:
            raise TypeError(f"{name}: inputs are {x.dtype} and {other.dtype}; make them the same with .astype")
