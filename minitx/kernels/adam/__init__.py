r"""Adam (Kingma and Ba 2015, algorithm 1) and AdamW (Loshchilov and Hutter 2019, algorithm 2), and the norm that
clipping needs.

With gradient g (multiplied by `scale`, where it is clipped), step t = 1, 2, …, learning rate α and weight decay λ:

    m ← β₁ m + (1 − β₁) g                  v ← β₂ v + (1 − β₂) g²
    θ ← θ − α (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)

Adam adds λ θ to g first; AdamW (`decoupled`) multiplies θ by 1 − α λ first and leaves g alone, as in PyTorch. Nothing
here is differentiated.
"""
from ..runtime.registry import serve

adam, clipping = serve(__name__, "adam", "clipping")
