r"""GELU (Hendrycks and Gimpel 2016): x times the probability that a standard normal number is below x.

Φ and φ being the standard normal's distribution function and density,

    f(x) = x Φ(x)                    f′(x) = Φ(x) + x φ(x),      φ(x) = exp(−x²/2) / √(2π)

so with g = ∂L/∂out the gradient is dx = g f′(x). It is computed again from x: an exponential costs less than a second
array to write and read. Behind a linear layer, `kernels/linear` does the same on rows that are still in cache.
"""
from ..runtime.registry import serve

gelu, gelu_backward = serve(__name__, "gelu", "gelu_backward")
