"""The engine: reverse-mode differentiation of NumPy programs.

To read it: `graph.py` (Op and Node), `backward.py` (the walk), `tensor.py` (what a Tensor is), `ops/` (each operation beside its gradient), `fused.py` (those that a kernel serves).
Then `functional.py` (derivatives of functions), `check.py` (is a gradient right?) and `inspect.py` (what happened?).
"""
from .tensor import Tensor, arange, eye, full, linspace, ones, tensor, zeros  # noqa: F401  (first: it builds on graph and ops)
from . import ops, random  # noqa: F401
from .backward import gradients  # noqa: F401
from .graph import Op, enable_grad, no_grad, op  # noqa: F401
from .check import gradcheck  # noqa: F401
from .functional import checkpoint, grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp  # noqa: F401
from .inspect import detect_anomaly, draw, print_graph  # noqa: F401
