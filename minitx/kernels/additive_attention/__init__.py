r"""Attention whose scores are those of a one-layer perceptron (Bahdanau, Cho and Bengio 2015, appendix A.1.2), for each head.

With queries Q (tq, d), keys K and values V (tk, d) — the layer's two linear maps are already in Q and K — and its
output weights w (d):

    T_ijc = tanh(Q_ic + K_jc)        S_ij = Σ_c w_c T_ijc        P_i = softmax of S_i over the keys that i sees
    O = (M ∘ P) V

M is dropout on the weights. A query that sees no key gives zeros.

The backward pass. With G = ∂L/∂O, P and V being as in any attention:

    dV = (M ∘ P)ᵀ G        dP = M ∘ (G Vᵀ)        dS_ij = P_ij (dP_ij − Σ_j P_ij dP_ij)
    dw_c = Σ_ij dS_ij T_ijc                       E_ijc = dS_ij w_c (1 − T²_ijc)
    dQ_ic = Σ_j E_ijc                             dK_jc = Σ_i E_ijc

T has tq · tk · d elements, more than all else together. It is computed again instead of stored; P, a d-th of it, is
kept.
"""
from ..runtime.registry import serve

additive_attention, additive_attention_backward = serve(__name__, "additive_attention", "additive_attention_backward")
