"""GELU in plain NumPy; `gelu` runs on Tensors as well."""
import numpy as np
from scipy.special import erf


def gelu(x):
    """x Φ(x), elementwise: x of any shape, float32 or float64."""
    check(x)
    return x * (0.5 * (1 + erf(x * 0.5**0.5)))


def gelu_backward(g, x):
    """dx from g = ∂L/∂out and x, both of one shape."""
    check(x)
    return g * (0.5 * (1 + erf(x * 0.5**0.5)) + x * np.exp(-0.5 * x * x) * (2 * np.pi) ** -0.5)


def check(x):
    """Raise TypeError with what was expected and the likely fix."""
    if x.dtype.char not in "fd":
        raise TypeError(f"gelu: x is {x.dtype}, expected float32 or float64; use .astype(np.float32)")
