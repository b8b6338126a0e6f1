"""minitx: a Transformer to read from the first line of its gradient to the last translated word.

    import minitx as mx, numpy as np
    w = mx.tensor([[0.5, -1.0], [2.0, 0.0]], requires_grad=True)
    loss = mx.tanh(np.ones((1, 2), np.float32) @ w).sum()
    loss.backward()                                  # w.grad

    mx.load("runs/en-es").translate(["the red cats do not see the dog"], beam=4)
"""
from . import nn, optim  # noqa: F401
from .autograd import (  # noqa: F401
    Op, Tensor, arange, checkpoint, detect_anomaly, draw, enable_grad, eye, full, fused, grad, gradcheck, gradients, hessian, hvp, jacobian, jvp, linspace,
    no_grad, ones, op, ops, print_graph, random, tensor, value_and_grad, vjp, zeros)
from .autograd.fused import (  # noqa: F401
    attention, cross_entropy, dropout, embedding, gelu, layer_norm, linear, linear_cross_entropy, log_softmax, rms_norm, softmax)
from .autograd.ops import *  # noqa: F401,F403
from .bench.profile import profile  # noqa: F401


__version__ = "0.1.0"


def load(run, device="cpu", ensemble=()):
    """The translator in the folder of a run, together with those of an ensemble, or the generator where it is a language model; see `minitx.decoding`."""
    from .decoding import load

    return load(run, device=device, ensemble=ensemble)
