r"""Cross-entropy of a softmax with label smoothing, of given logits or of a linear layer whose logits never exist at
once.

With C classes, logits z, target t and smoothing s (Szegedy et al. 2016; the target's share is 1 − s + s/C, as in
PyTorch):

    p_j = exp(z_j) / Σ_k exp(z_k)        q_j = (1 − s) [j = t] + s / C        ℓ = log Σ_k exp(z_k)
    loss = −Σ_j q_j log p_j = ℓ − Σ_j q_j z_j = (1 − s) (ℓ − z_t) + s (ℓ − Σ_j z_j / C)

The backward pass. ∂ℓ/∂z_j = p_j and Σ_j q_j = 1, so with g = ∂L/∂loss

    dz_j = g (p_j − q_j),       p_j = exp(z_j − ℓ)

and a row whose target is ignored has neither loss nor gradient. For logits z = x Wᵀ + b:

    dx = dz W        dW = dzᵀ x        db = Σ_rows dz

`linear_cross_entropy` makes, uses and forgets z for a few hundred rows at a time; the gradients for g = 1 are
by-products of the forward pass.
"""
from ..runtime.registry import serve

cross_entropy, cross_entropy_backward, linear_cross_entropy = serve(
    __name__, "cross_entropy", "cross_entropy_backward", "linear_cross_entropy")
