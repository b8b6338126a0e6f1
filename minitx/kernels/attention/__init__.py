r"""Attention of several heads (Vaswani et al. 2017, 3.2), causal or not, over keys that may be padding or masked.

For one head, with queries Q (tq, d), keys K and values V (tk, d), the scale c = 1/√d, and the set of keys that query i
sees (the first `lengths[b]` of them; with `causal` those up to i + tk − tq, of these with `window` the last so many;
and those where `mask` is true):

    S = c Q Kᵀ      ℓ_i = log Σ_j exp(S_ij)      P_ij = exp(S_ij − ℓ_i) where i sees j, else 0      O = (M ∘ P) V

Several heads of queries may share one head of keys and values (multi-query attention, Shazeer 2019; grouped-query
attention, Ainslie et al. 2023), whose gradient is then the sum over them.

M is dropout on the weights, each element 0 or 1/(1 − p), or 1 throughout. A query that sees no key has O_i = 0 and
ℓ_i = −∞, and no gradient.

The forward pass in tiles. P is never stored whole. Over tiles of keys, each query keeps the largest score so far, the
sum of exponentials relative to it, and its row of O relative to it; when a later tile has a larger score, sum and row
are multiplied by exp(old largest − new largest) (Milakov and Gimelshein 2018; FlashAttention, Dao et al. 2022).

The backward pass. With G = ∂L/∂O:

    dV = (M ∘ P)ᵀ G             from O_i = Σ_j M_ij P_ij V_j
    dP = M ∘ (G Vᵀ)             the gradient arriving at the weights
    dS_ij = P_ij (dP_ij − δ_i)  the softmax, with δ_i = Σ_j P_ij dP_ij
    dQ = c dS K,  dK = c dSᵀ Q

δ needs no P either: δ_i = Σ_j P_ij M_ij Σ_f G_if V_jf = Σ_f G_if O_if, over the features f. So the backward pass keeps
O and ℓ only, and recomputes P tile by tile from ℓ, without a running maximum.
"""
from ..runtime.registry import serve

attention, attention_backward, attention_weights = serve(
    __name__, "attention", "attention_backward", "attention_weights")
