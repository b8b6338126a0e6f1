r"""The long short-term memory over time (Hochreiter and Schmidhuber 1997; with the forget gate of Gers et al. 2000), with PyTorch's order of gates.

`projected` holds a_t = W_i x_t + b_i for all time steps: one product, done before. With the recurrent weight W and bias b:

    s_t = a_t + W h_{t−1} + b                      rows for the gates i, f, g, o below each other
    i = σ(s_i)        f = σ(s_f)        o = σ(s_o)        g = tanh(s_g)
    c_t = f ∘ c_{t−1} + i ∘ g                      the cell: what is forgotten, and what comes in
    h_t = o ∘ tanh(c_t)                            what of it is seen

Where a row has ended (t ≥ its length), both stay as they are; `reverse` is that of `gru`.

The backward pass goes through time the other way. With H = ∂L/∂h_t and C = ∂L/∂c_t, all that arrives at them,

    C gains H ∘ o ∘ (1 − tanh²(c_t))               h_t is a function of c_t
    δ_o = H ∘ tanh(c_t) ∘ o ∘ (1 − o)
    δ_i = C ∘ g ∘ i ∘ (1 − i)     δ_f = C ∘ c_{t−1} ∘ f ∘ (1 − f)     δ_g = C ∘ i ∘ (1 − g²)
    ∂L/∂c_{t−1} gains C ∘ f       ∂L/∂h_{t−1} gains Wᵀ δ,  δ = (δ_i, δ_f, δ_g, δ_o) = ∂a_t
    ∂W = Σ_t δ h_{t−1}ᵀ           ∂b = Σ_t δ

On its way back through the cell a gradient is multiplied by f alone, which may be 1: this is what keeps it alive over
many steps. The forward pass keeps the four gates.
"""
from ..runtime.registry import serve

lstm, lstm_backward = serve(__name__, "lstm", "lstm_backward")
