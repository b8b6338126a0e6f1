"""The engine: reverse-mode differentiation of NumPy programs.

To read it: `graph.py` (Op, Node, backward), `tensor.py` (what a Tensor is), `ops/` (each operation beside its gradient), `fused.py` (those that a kernel serves).
"""
from .tensor import Tensor, tensor  # noqa: F401  (first: it builds on graph and ops)
from . import ops, random  # noqa: F401
from .graph import Op, gradients, no_grad, op  # noqa: F401
