r"""Layer normalisation (Ba, Kiros and Hinton 2016), alone or of the sum of a residual and a branch with dropout.

Over a row t of n elements, with weight γ and bias β:

    μ = Σ_j t_j / n        r = 1 / √(Σ_j (t_j − μ)² / n + ε)        x̂_j = (t_j − μ) r        out_j = γ_j x̂_j + β_j

`add_layer_norm` takes t = residual + m ∘ x, m being the dropout mask (each element 0 or 1/(1 − p)); `layer_norm` takes
t = x.

The backward pass. With g = ∂L/∂out, the sums running over all rows:

    dγ_j = Σ g_j x̂_j        dβ_j = Σ g_j

Let a_j = ∂L/∂x̂_j = γ_j g_j: the weight belongs inside the sums below. From ∂μ/∂t_i = 1/n and ∂r/∂t_i = −r² x̂_i / n
(in which the sum of t_j − μ is zero):

    ∂x̂_j/∂t_i = r (δ_ij − 1/n) + (t_j − μ) ∂r/∂t_i = r (δ_ij − 1/n − x̂_i x̂_j / n)
    dt_i = Σ_j a_j ∂x̂_j/∂t_i = r (a_i − Σ_j a_j / n − x̂_i Σ_j a_j x̂_j / n)

Where t itself goes on to a later layer (pre-norm blocks), the gradient that arrives there is added to dt. Then
dresidual = dt and dx = m ∘ dt, the mask being computed a second time from its key.
"""
from ..runtime.registry import serve

layer_norm, layer_norm_backward, add_layer_norm, add_layer_norm_backward = serve(
    __name__, "layer_norm", "layer_norm_backward", "add_layer_norm", "add_layer_norm_backward")
