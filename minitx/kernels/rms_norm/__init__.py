r"""RMS norm (Zhang and Sennrich 2019): layer norm without the mean, and without a bias.

Over a row t of n elements, with weight γ:

    r = 1 / √(Σ_j t_j² / n + ε)        x̂_j = t_j r        out_j = γ_j x̂_j

The backward pass. With g = ∂L/∂out, the sum running over all rows:

    dγ_j = Σ g_j x̂_j

Let a_j = ∂L/∂x̂_j = γ_j g_j. From ∂r/∂t_i = −r³ t_i / n = −r² x̂_i / n:

    ∂x̂_j/∂t_i = r δ_ij + t_j ∂r/∂t_i = r (δ_ij − x̂_i x̂_j / n)
    dt_i = Σ_j a_j ∂x̂_j/∂t_i = r (a_i − x̂_i Σ_j a_j x̂_j / n)
"""
from ..runtime.registry import serve

rms_norm, rms_norm_backward = serve(__name__, "rms_norm", "rms_norm_backward")
