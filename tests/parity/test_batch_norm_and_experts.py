"""Batch norm against torch.nn.BatchNorm1d on what is not padding, and a mixture of experts against the same equations in PyTorch, written densely."""
import numpy as np
import pytest
import torch
from torch import nn as torch_nn
from torch.nn import functional as F

from minitx import nn, tensor

from .test_layers import DTYPES, close, compare_parameters, normal, with_weights_of

REAL = np.arange(6) < np.array([6, 2, 5, 1])[:, None]


@DTYPES
@pytest.mark.parametrize("bias", [True, False])
def test_batch_norm_over_some_batches_and_then_in_use(dtype, bias):
    ours, theirs = nn.BatchNorm(7, bias=bias, momentum=0.2).to(dtype), torch_nn.BatchNorm1d(7, momentum=0.2).to(getattr(torch, dtype))
    if not bias:
        theirs.register_parameter("bias", None)
    for name, parameter in ours.named_parameters():
        parameter.data += 0.2 * normal(7, dtype=dtype)
        getattr(theirs, name).data.copy_(torch.from_numpy(parameter.data))
    for i in range(3):
        x, cotangent = normal(4, 6, 7, dtype=dtype, seed=i) * 3 + 1, normal(4, 6, 7, dtype=dtype, seed=10 + i)
        our_x, their_x = tensor(x, requires_grad=True), torch.from_numpy(x.copy()).requires_grad_()
        ours.zero_grad(), theirs.zero_grad()
        our_out, their_out = ours(our_x, REAL), theirs(their_x[torch.from_numpy(REAL)])
        assert close(our_out.data[REAL], their_out, dtype)
        (our_out * cotangent).sum().backward()
        (their_out * torch.from_numpy(cotangent[REAL])).sum().backward()
        assert close(our_x.grad.data, their_x.grad, dtype)  # of padding, zeros
        compare_parameters(ours, theirs, dtype)
        for name in ("running_mean", "running_var"):
            assert close(ours.state_dict()[name], getattr(theirs, name), dtype), name
    x = normal(5, 7, dtype=dtype)
    assert close(ours.eval()(tensor(x)).data, theirs.eval()(torch.from_numpy(x)), dtype)


class Dense(torch_nn.Module):
    """Every expert on every token, most of the answers weighed by 0."""

    def __init__(self, d_model, d_ff, experts, per_token):
        super().__init__()
        self.router = torch_nn.Linear(d_model, experts, bias=False)
        self.experts = torch_nn.ModuleList()
        for _ in range(experts):
            expert = torch_nn.Module()
            expert.linear1, expert.linear2 = torch_nn.Linear(d_model, d_ff), torch_nn.Linear(d_ff, d_model)
            self.experts.append(expert)
        self.per_token = per_token

    def forward(self, x, real):
        probabilities = F.softmax(self.router(x), -1)
        best = probabilities.topk(self.per_token, dim=-1)
        gates = torch.zeros_like(probabilities).scatter(-1, best.indices, best.values)
        if self.per_token > 1:
            gates = gates / gates.sum(-1, keepdim=True)
        answers = torch.stack([expert.linear2(F.gelu(expert.linear1(x))) for expert in self.experts], -2)  # (batch, time, experts, d_model)
        taken = F.one_hot(best.indices, len(self.experts)).to(x.dtype)[real].flatten(0, 1)  # (choices, experts)
        loss = len(self.experts) * (taken.mean(0) * probabilities[real].mean(0)).sum()
        return (gates[..., None] * answers).sum(-2), loss


@DTYPES
@pytest.mark.parametrize("per_token", [1, 2, 3])
def test_a_mixture_of_experts_and_its_balancing_loss(dtype, per_token):
    ours = nn.Experts(5, 8, 4, per_token, activation="gelu", generator=np.random.default_rng(0))
    theirs = with_weights_of(ours, Dense(5, 8, 4, per_token), dtype)
    x, cotangent = normal(4, 6, 5, dtype=dtype), normal(4, 6, 5, dtype=dtype, seed=1)
    our_x, their_x = tensor(x, requires_grad=True), torch.from_numpy(x.copy()).requires_grad_()
    our_out = ours(our_x, real=REAL)
    their_out, their_loss = theirs(their_x, torch.from_numpy(REAL))
    assert close(our_out.data, their_out, dtype) and close(ours.last.loss.data, their_loss, dtype)
    ((our_out * cotangent).sum() + ours.last.loss * 3).backward()
    ((their_out * torch.from_numpy(cotangent)).sum() + their_loss * 3).backward()
    assert close(our_x.grad.data, their_x.grad, dtype)
    compare_parameters(ours, theirs, dtype)
