"""Batch normalisation in plain NumPy; `moments` and `batch_norm` run on Tensors as well."""
import numpy as np


def moments(x, real=None):
    """The mean and the variance (features,) of each feature over the n real rows; both divide by n, and are 0 where that is 0.

    x (..., features), float32 or float64; real (...): booleans, True where a row counts, by default everywhere.
    """
    check("moments", x, real)
    rows, real, n = flat(x, real)
    zero = rows.dtype.type(0)
    mean = np.where(real, rows, zero).sum(axis=0) / max(n, 1)
    centred = np.where(real, rows - mean, zero)
    return mean, (centred * centred).sum(axis=0) / max(n, 1)


def batch_norm(x, weight, bias, mean, variance, real=None, eps=1e-5):
    """(x − mean) / √(variance + eps) · weight + bias in the real rows, 0 in the others, given the `moments` of x.

    x (..., features); weight and bias (features,); real (...) booleans or None.
    """
    check("batch_norm", x, real, weight, bias)
    rows, real, _ = flat(x, real)
    out = (rows - mean) * (variance + eps) ** -0.5 * weight + bias
    return np.where(real, out, rows.dtype.type(0)).reshape(x.shape)


def batch_norm_backward(g, x, weight, mean, variance, real=None, eps=1e-5):
    """dx, dweight, dbias from g = ∂L/∂out and what the forward pass took: x also moves its own mean and variance."""
    check("batch_norm_backward", x, real, weight, None, g)
    rows, real, n = flat(x, real)
    g = np.where(real, g.reshape(rows.shape), rows.dtype.type(0))
    rstd = (variance + eps) ** -0.5
    normalised = np.where(real, (rows - mean) * rstd, rows.dtype.type(0))
    dweight, dbias = (g * normalised).sum(axis=0), g.sum(axis=0)
    dx = np.where(real, weight * rstd * (g - dbias / max(n, 1) - normalised * (dweight / max(n, 1))), rows.dtype.type(0))
    return dx.reshape(x.shape), dweight, dbias


def flat(x, real):
    """x as rows (n, features), `real` as booleans (n, 1), and how many are True."""
    rows = x.reshape(-1, x.shape[-1])
    real = np.ones((len(rows), 1), bool) if real is None else np.asarray(real).reshape(-1, 1)
    return rows, real, int(np.count_nonzero(real))


def check(name, x, real, weight=None, bias=None, g=None):
    """Raise ValueError or TypeError with what is wrong, what was expected and the likely fix."""
    if len(x.shape) < 2 or x.shape[-1] == 0:
        raise ValueError(f"{name}: x has shape {x.shape}; expected (..., features), rows whose features are normalised over the rows")
    if x.dtype.char not in "fd":
        raise TypeError(f"{name}: x is {x.dtype}, expected float32 or float64; use .astype(np.float32)")
    if real is not None and (real.shape != x.shape[:-1] or real.dtype != bool):
        raise ValueError(f"{name}: real is {real.dtype} {real.shape}; expected booleans {x.shape[:-1]}, one for each row of x")
    for what, array in (("weight", weight), ("bias", bias)):
        if array is not None and array.shape != x.shape[-1:]:
            raise ValueError(f"{name}: {what} has shape {array.shape} but x has {x.shape[-1]} features; it must be ({x.shape[-1]},)")
        if array is not None and array.dtype != x.dtype:
            raise TypeError(f"{name}: x is {x.dtype}, {what} {array.dtype}; make them the same with .astype")
    if g is not None and g.shape != x.shape:
        raise ValueError(f"{name}: g has shape {g.shape} but x {x.shape}; they must be alike")
