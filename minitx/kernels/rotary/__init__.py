r"""Rotary positions (Su et al. 2021): queries and keys are turned by an angle that grows with their position.

The d features of a head are d/2 points of a plane, feature i with feature i + d/2. At position t point i is turned by
the angle θ = t f_i, the frequencies f_i falling from 1 to almost 0:

    out_i       = x_i cos θ − x_{i+d/2} sin θ
    out_{i+d/2} = x_i sin θ + x_{i+d/2} cos θ

A product of a query and a key turned like this depends on the distance of their positions alone:
(R_s q)ᵀ (R_t k) = qᵀ R_{t−s} k. (The paper pairs features 2i and 2i + 1; halves, as in Llama's published weights, are
the same up to an order of the features, and are vectors side by side in memory.)

The backward pass. A rotation's transpose is the rotation by the negative angle, so ∂L/∂x is `rotary` of ∂L/∂out with
−sin θ for sin θ.
"""
from ..runtime.registry import serve

rotary, = serve(__name__, "rotary")
