"""Softmax and log-softmax in plain NumPy; the forward functions run on Tensors as well."""
import numpy as np


def softmax(x):
    """p = exp(x) / Σ exp(x) over the last axis of x (..., columns), float32 or float64; zeros where a whole row is
    −inf."""
    check("softmax", x)
    if x.shape[-1] == 0:
        return x + 0
    e = np.exp(x - _finite_max(x))
    total = np.sum(e, axis=-1, keepdims=True)
    return e / np.where(total == 0, 1, total)


def softmax_backward(g, out):
    """dx from g = ∂L/∂out and out = softmax(x), all of one shape."""
    check("softmax_backward", out, g)
    return out * (g - np.sum(g * out, axis=-1, keepdims=True))


def log_softmax(x):
    """x − log Σ exp(x) over the last axis of x (..., columns), float32 or float64; −inf where a whole row is −inf."""
    check("log_softmax", x)
    if x.shape[-1] == 0:
        return x + 0
    shifted = x - _finite_max(x)
    total = np.sum(np.exp(shifted), axis=-1, keepdims=True)
    return shifted - np.log(np.where(total == 0, 1, total))


def log_softmax_backward(g, out):
    """dx from g = ∂L/∂out and out = log_softmax(x), all of one shape."""
    check("log_softmax_backward", out, g)
    masked = np.all(out == -np.inf, axis=-1, keepdims=True)
    return np.where(masked, out.dtype.type(0), g - np.exp(out) * np.sum(g, axis=-1, keepdims=True))


def check(name, x, g=None):
    """Raise ValueError or TypeError with what is wrong, what was expected and the likely fix."""
    if not x.shape:
        raise ValueError(f"{name}: the input is a scalar; it needs an axis to run over, such as x.reshape(1)")
    if x.dtype.char not in "fd":
        raise TypeError(f"{name}: the input is {x.dtype}, expected float32 or float64; use .astype(np.float32)")
    if g is not None and g.shape != x.shape:
        raise ValueError(f"{name}: g has shape {g.shape} but out has {x.shape}; both have that of the forward pass")


def _finite_max(x):
    """The largest of each row, or 0 where that is −inf: −inf − (−inf) would be NaN."""
    largest = np.max(x, axis=-1, keepdims=True)
    return np.where(largest == -np.inf, 0, largest)
