r"""Softmax over the last axis, and its logarithm.

    softmax:      p_j = exp(x_j) / Σ_k exp(x_k)          log-softmax:   y_j = x_j − log Σ_k exp(x_k)

Both are computed from x − max x, which changes neither and keeps every exponential at 1 or below. An element of −inf
has p = 0 exactly. A row of nothing but −inf (everything masked) has no softmax; here it is zeros, its log-softmax −inf,
and no gradient flows into it.

The backward passes. From ∂p_j/∂x_i = p_j (δ_ij − p_i), with g = ∂L/∂p:

    dx_i = Σ_j g_j p_j (δ_ij − p_i) = p_i (g_i − Σ_j g_j p_j)

From ∂y_j/∂x_i = δ_ij − p_i, with g = ∂L/∂y and p = exp(y):

    dx_i = g_i − p_i Σ_j g_j

Both need the output alone, not x.
"""
from ..runtime.registry import serve

softmax, softmax_backward, log_softmax, log_softmax_backward = serve(
    __name__, "softmax", "softmax_backward", "log_softmax", "log_softmax_backward")
