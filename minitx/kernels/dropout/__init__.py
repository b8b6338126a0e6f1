r"""Dropout (Srivastava et al. 2014) whose mask is computed from a key whenever it is needed, and never stored.

    out_i = m_i x_i,     m_i = 1/(1 − p) if word_i ≥ ⌊p · 2³²⌋, else 0

word_i being the i-th random word that Philox makes of the key (philox.py), i the index in the flattened array. The
backward pass is the same function: out is linear in x, so with g = ∂L/∂out

    dx_i = m_i g_i = dropout(g, p, key)_i
"""
from ..runtime.registry import serve

(dropout,) = serve(__name__, "dropout")
