r"""Batch normalisation (Ioffe and Szegedy 2015) over the rows of a batch that are real: padding does not count.

For feature j, with the sums running over the n real rows i, weight γ and bias β:

    μ_j = Σ_i x_ij / n      v_j = Σ_i (x_ij − μ_j)² / n      r_j = 1 / √(v_j + ε)
    x̂_ij = (x_ij − μ_j) r_j                                 out_ij = γ_j x̂_ij + β_j

and out_ij = 0 in the other rows. It is a layer norm turned by a quarter: there a row is normalised over its features,
and knows nothing of other rows; here a feature over the rows, each of which depends on all others.

The backward pass. With g = ∂L/∂out in the real rows,

    dγ_j = Σ_i g_ij x̂_ij        dβ_j = Σ_i g_ij

and with a_ij = ∂L/∂x̂_ij = γ_j g_ij, as for a layer norm (see there) with rows and features exchanged,

    dx_ij = r_j (a_ij − Σ_k a_kj / n − x̂_ij Σ_k a_kj x̂_kj / n) = γ_j r_j (g_ij − dβ_j / n − x̂_ij dγ_j / n)

"""
from ..runtime.registry import serve

moments, batch_norm, batch_norm_backward = serve(__name__, "moments", "batch_norm", "batch_norm_backward")
