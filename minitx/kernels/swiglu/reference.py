"""SwiGLU in plain NumPy; `swiglu` runs on Tensors as well."""
import numpy as np


def swiglu(x):
    """silu(gate) · value for x (..., 2n), float32 or float64, whose first n features are the gate; returns (..., n)."""
    check("swiglu", x)
    n = x.shape[-1] // 2
    gate, value = x[..., :n], x[..., n:]
    return gate * _logistic(gate) * value


def swiglu_backward(g, x):
    """dx (..., 2n) from g = ∂L/∂out (..., n) and the input x."""
    check("swiglu_backward", x, g)
    n = x.shape[-1] // 2
    gate, value = x[..., :n], x[..., n:]
    share = _logistic(gate)
    return np.concatenate([g * value * share * (1 + gate * (1 - share)), g * gate * share], axis=-1)


def _logistic(z):
    """1 / (1 + e⁻ᶻ), by way of tanh, which does not overflow."""
    return 0.5 * np.tanh(0.5 * z) + 0.5


def check(name, x, g=None):
    """Raise ValueError or TypeError with what is wrong, what was expected and the likely fix."""
    if not x.shape or x.shape[-1] % 2:
        raise ValueError(f"{name}: x has shape {x.shape}; its last axis holds gates and as many values, an even number")
    if x.dtype.char not in "fd":
        raise TypeError(f"{name}: x is {x.dtype}, expected float32 or float64; use .astype(np.float32)")
    if g is not None and g.shape != (*x.shape[:-1], x.shape[-1] // 2):
        raise ValueError(f"{name}: g has shape {g.shape} but x {x.shape}; g must be "
                         f"{(*x.shape[:-1], x.shape[-1] // 2)}, half as wide")
