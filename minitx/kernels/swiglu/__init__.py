r"""SwiGLU (Shazeer 2020): a feed-forward network whose hidden features pass through gates.

The two halves of a projection's row are the gate a and the value b. With the logistic function σ(z) = 1 / (1 + e⁻ᶻ):

    out_j = s(a_j) b_j          s(z) = z σ(z)          s is called SiLU or Swish

The backward pass. With g = ∂L/∂out and σ′ = σ (1 − σ):

    da_j = g_j b_j s′(a_j)          s′(z) = σ(z) + z σ(z) (1 − σ(z)) = σ(z) (1 + z (1 − σ(z)))
    db_j = g_j s(a_j)

The exponential is computed a second time: to keep it would cost as much memory as out.
"""
from ..runtime.registry import serve

swiglu, swiglu_backward = serve(__name__, "swiglu", "swiglu_backward")
