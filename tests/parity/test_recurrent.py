"""GRU and LSTM against PyTorch's with the same weights: outputs, last states and every gradient, with padding and both directions."""
import numpy as np
import pytest
import torch
from torch import nn as torch_nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from minitx import nn, tensor

from .test_layers import DTYPES, close, compare_parameters, normal, with_weights_of

LENGTHS = np.array([5, 1, 3, 4])


def run(module, x, start, lengths):
    """PyTorch's module on a padded batch."""
    packed = pack_padded_sequence(x, torch.from_numpy(lengths), batch_first=True, enforce_sorted=False)
    out, last = module(packed, start)
    return pad_packed_sequence(out, batch_first=True, total_length=x.shape[1])[0], last


def tuple_of(last):
    return last if isinstance(last, tuple) else (last,)


@DTYPES
@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
@pytest.mark.parametrize("num_layers, bidirectional, bias", [(1, False, True), (1, True, False), (2, False, True), (3, True, True)])
@pytest.mark.parametrize("begun", [False, True])
def test_a_stack_of_recurrent_layers(kind, num_layers, bidirectional, bias, begun, dtype):
    options = dict(num_layers=num_layers, bias=bias, bidirectional=bidirectional)
    ours = getattr(nn, kind)(3, 5, **options)
    theirs = with_weights_of(ours, getattr(torch_nn, kind)(3, 5, batch_first=True, **options), dtype)
    states = [normal(num_layers * (1 + bidirectional), 4, 5, dtype=dtype, seed=i) for i in range(2 if kind == "LSTM" else 1)]
    x = normal(4, 6, 3, dtype=dtype)
    our_x, their_x = tensor(x, requires_grad=True), torch.from_numpy(x.copy()).requires_grad_()
    our_start = [tensor(state, requires_grad=True) for state in states] if begun else None
    their_start = [torch.from_numpy(state.copy()).requires_grad_() for state in states] if begun else None

    def given(start):
        return start and (tuple(start) if kind == "LSTM" else start[0])

    our_out, our_last = ours(our_x, given(our_start), lengths=LENGTHS)
    their_out, their_last = run(theirs, their_x, given(their_start), LENGTHS)
    our_outputs, their_outputs = (our_out, *tuple_of(our_last)), (their_out, *tuple_of(their_last))
    cotangents = [normal(*out.shape, dtype=dtype, seed=9 + i) for i, out in enumerate(our_outputs)]
    for one, other in zip(our_outputs, their_outputs, strict=True):
        assert close(one.data, other, dtype)
    sum((out * cotangent).sum() for out, cotangent in zip(our_outputs, cotangents)).backward()
    sum((out * torch.from_numpy(cotangent)).sum() for out, cotangent in zip(their_outputs, cotangents)).backward()
    for one, other in zip([our_x, *(our_start or [])], [their_x, *(their_start or [])], strict=True):
        assert close(one.grad.data, other.grad, dtype)
    compare_parameters(ours, theirs, dtype)
