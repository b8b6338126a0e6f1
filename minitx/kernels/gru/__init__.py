r"""The gated recurrent unit over time (Cho et al. 2014), with PyTorch's order of gates and its place of the reset gate.

`projected` holds a_t = W_i x_t + b_i for all time steps: one product, done before. With the recurrent weight W and bias b:

    u_t = W h_{t−1} + b                            rows for the gates r, z, n below each other, like those of a_t
    r = σ(a_r + u_r)                               reset: how much of the past the proposal sees
    z = σ(a_z + u_z)                               update: how much of the past stays
    n = tanh(a_n + r ∘ u_n)                        the proposal
    h_t = (1 − z) ∘ n + z ∘ h_{t−1}

Where a row has ended (t ≥ its length), h_t = h_{t−1}: the last of the states is the last real one. `reverse` runs from
the last step to the first, so that "t − 1" stands for the step on the right, and a row begins at its last real step.

The backward pass goes through time the other way. With H = ∂L/∂h_t, all of it: what arrives there directly and what
came from step t + 1,

    ∂z = H ∘ (h_{t−1} − n)      ∂n = H ∘ (1 − z)
    δ_n = ∂n ∘ (1 − n²)         δ_z = ∂z ∘ z ∘ (1 − z)         δ_r = δ_n ∘ u_n ∘ r ∘ (1 − r)
    ∂a_t = (δ_r, δ_z, δ_n)      ∂u_t = (δ_r, δ_z, δ_n ∘ r)
    ∂L/∂h_{t−1} gains H ∘ z + Wᵀ ∂u_t
    ∂W = Σ_t ∂u_t h_{t−1}ᵀ      ∂b = Σ_t ∂u_t

The sums over t and over the batch are one product, made after the loop. The forward pass keeps r, z, n and u_n.
"""
from ..runtime.registry import serve

gru, gru_backward = serve(__name__, "gru", "gru_backward")
