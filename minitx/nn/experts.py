"""A mixture of experts: several feed-forward networks, of which each token takes a few (Shazeer et al. 2017).

    r = softmax(R x)                        what the router R thinks of each of E experts
    T = the k experts with the largest r
    y = Σ_{e ∈ T} g_e expert_e(x)           g_e = r_e / Σ_{T} r (Jiang et al. 2024); for k = 1 r_e itself (Fedus et al. 2022), or R would not learn

So a layer has E times the weights for k times the work. Each expert multiplies all of its tokens at once, however many there are: none is dropped. That
the experts come to share the work is the business of a loss,

    L = E Σ_e f_e P_e                       f_e: e's share of all choices; P_e: the mean of r_e over the tokens

which is 1 when all are alike, E when one has everything, and has a gradient through P (Fedus et al. 2022, section 2.2).
"""
from typing import NamedTuple

import numpy as np

from ..autograd import Tensor, fused
from ..autograd.ops import concatenate
from ..kernels.runtime import devices
from .layers import Linear
from .module import Module


class Experts(Module):
    """The feed-forward networks of one layer and the router that chooses between them: (..., d_model) to the same shape.

    Args:
        experts: how many; per_token: how many of them each token takes, or a ValueError is raised. The others: of the networks.

    Attributes: `last`, the `Routing` of the last forward pass.
    """

    def __init__(self, d_model, d_ff, experts, per_token=2, bias=True, activation="relu", generator=None):
        if not 1 <= per_token <= experts:
            raise ValueError(f"per_token: a token cannot take {per_token} of {experts} experts; choose 1 to {experts}")
        self.router = Linear(d_model, experts, bias=False, generator=generator)
        self.experts = [Expert(d_model, d_ff, bias, activation, generator) for _ in range(experts)]
        self.per_token, self.last = per_token, None

    def forward(self, x, p=0.0, real=None):
        """`p`: dropout behind the activations; `real` (...): booleans, False for padding, which is served as well but counts for nothing."""
        rows = x.reshape(-1, x.shape[-1])  # (tokens, d_model)
        probabilities = fused.softmax(self.router(rows))  # (tokens, experts)
        chosen, gates = self._route(probabilities)  # (tokens, per_token)
        served = self._served(rows, chosen, p)  # (tokens, per_token, d_model)
        real = np.ones(len(chosen), bool) if real is None else np.asarray(real).reshape(-1)
        counts = np.bincount(chosen[real].ravel(), minlength=len(self.experts))
        loss = balancing_loss(probabilities, counts, real) if self.training else None
        self.last = Routing(chosen.reshape(*x.shape[:-1], self.per_token), counts, loss)
        return (served * gates.reshape(*gates.shape, 1)).sum(axis=1).reshape(x.shape)

    def _route(self, probabilities):
        """Who serves each token: ids, an array in main memory, and the weights of their answers, a Tensor; both (tokens, per_token)."""
        chosen = np.argsort(-devices.host(probabilities.data), axis=1, kind="stable")[:, :self.per_token]
        places = chosen + np.arange(len(chosen))[:, None] * len(self.experts)
        gates = fused.embedding(probabilities.reshape(-1, 1), devices.place(places, probabilities.data)).reshape(chosen.shape)
        return chosen, gates if self.per_token == 1 else gates / gates.sum(axis=1, keepdims=True)

    def _served(self, rows, chosen, p):
        """What the chosen experts answer: (tokens, per_token, d_model). The tokens are sorted by expert, served, and sorted back."""
        order = np.argsort(chosen.ravel(), kind="stable")  # of the choices: token 0's first, token 0's second, token 1's first …
        ends = np.cumsum(np.bincount(chosen.ravel(), minlength=len(self.experts)))
        answers = []
        for expert, choices in zip(self.experts, np.split(order, ends[:-1])):
            answers.append(expert(fused.embedding(rows, devices.place(choices // self.per_token, rows.data)), p))
        places = np.empty_like(order)
        places[order] = np.arange(len(order))
        return fused.embedding(concatenate(answers), devices.place(places.reshape(chosen.shape), rows.data))


class Routing(NamedTuple):
    """Who served whom."""

    chosen: np.ndarray  # (..., per_token): the experts that each token took, the best first
    counts: np.ndarray  # (experts,): how often each was taken by a token that is not padding
    loss: Tensor | None  # the balancing loss, in training, until it is added to the model's


class Expert(Module):
    """One feed-forward network: two linear layers."""

    def __init__(self, d_model, d_ff, bias, activation, generator):
        self.linear1 = Linear(d_model, d_ff, bias=bias, activation=activation, generator=generator)
        self.linear2 = Linear(d_ff, d_model, bias=bias, generator=generator)

    def forward(self, x, p=0.0):
        """x (..., d_model) to the same shape; `p`: dropout behind the activation."""
        return self.linear2(self.linear1(x, p=p))


def balancing_loss(probabilities, counts, real):
    """E Σ_e f_e P_e: probabilities (tokens, experts), a Tensor; counts (experts,) of the choices; real (tokens,): which tokens count."""
    dtype, n = probabilities.dtype, max(1, np.count_nonzero(real))
    shares = (len(counts) * counts / max(1, counts.sum())).astype(dtype)
    means = devices.place((real / n).astype(dtype), probabilities.data) @ probabilities  # (experts,)
    return (means * devices.place(shares, probabilities.data)).sum()


def balanced(loss, model, batch=None):
    """In training `loss` + `model.balance` · the balancing losses of all `Experts` of the model in its last forward pass; otherwise the same loss.

    `batch`: where the loss is the sum over its tokens, for then each token adds as much. The losses are forgotten with this: they hold that pass's graph.
    """
    if not model.training or not model.balance:
        return loss
    weight = model.balance if batch is None else model.balance * batch.n_tokens
    for _, module in model.named_modules():
        if isinstance(module, Experts) and module.last is not None and module.last.loss is not None:
            loss, module.last = loss + module.last.loss * weight, module.last._replace(loss=None)
    return loss
