r"""A linear layer with its activation: out = f(x Wᵀ + b), f one of none, ReLU, GELU and its approximation; then dropout if p > 0.

With pre = x Wᵀ + b and the mask m (each element 0 or 1/(1 − p)):

    out_ij = m_ij f(pre_ij)          slope_ij = ∂out_ij / ∂pre_ij = m_ij f′(pre_ij)

GELU (Hendrycks and Gimpel 2016), Φ and φ being the standard normal's distribution function and density:

    f(z) = z Φ(z)                    f′(z) = Φ(z) + z φ(z)

or as GPT-2 approximates it, with u(z) = √(2/π) (z + 0.044715 z³) and the logistic function σ, since
(1 + tanh u)/2 = σ(2u):

    f(z) = z σ(2u)                   f′(z) = σ(2u) + 2 z u′(z) σ(2u) (1 − σ(2u))

The backward pass. The loss L depends on x, W and b through pre alone, so with g = ∂L/∂out and
dpre = ∂L/∂pre = g ∘ slope, from pre_ij = Σ_k x_ik W_jk + b_j:

    dx = dpre W                      dW = dpreᵀ x                     db = Σ_i dpre_i

GELU keeps `slope`, not pre: as many bytes, but the exponential is then computed once, and the mask is not needed
again. ReLU keeps `out`: wherever out > 0 the slope is 1/(1 − p), elsewhere it is 0.
"""
from ..runtime.registry import serve

linear, linear_backward = serve(__name__, "linear", "linear_backward")
