r"""Embedding: out_i = W[id_i], a row of the table for each id.

The backward pass. With the one-hot matrix E (E_iv = 1 where id_i = v), out = E W, so from g = ∂L/∂out

    dW = Eᵀ g,        dW_v = Σ_{i: id_i = v} g_i

A row of dW is the sum of the gradients at the places where its id stands, zeros for an id that does not occur. The
places are listed id by id first (a counting sort), so that each row is summed by one thread, in the order of the text,
and the bits do not depend on the number of threads.
"""
from ..runtime.registry import serve

embedding, embedding_backward = serve(__name__, "embedding", "embedding_backward")
