"""Recurrent layers: GRU and LSTM, with PyTorch's names, order of gates and parameters.

The input's product is made for all time steps at once; what a step needs of the one before is the kernel's (see kernels/gru and kernels/lstm).
"""
import numpy as np

from ..autograd import fused, op
from ..autograd.ops import concatenate, stack
from ..kernels.gru import gru as _gru, gru_backward as _gru_backward
from ..kernels.lstm import lstm as _lstm, lstm_backward as _lstm_backward
from ..kernels.runtime import devices
from .layers import Dropout
from .module import Module, Parameter


def _reference(kernel):
    return lambda projected, weight, bias=None, start=None, *, lengths=None, reverse=False: kernel.reference(
        projected, weight, bias, start, lengths, reverse)[0]


@op(reference=_reference(_gru), residuals="gates")
def gru(projected, weight, bias=None, start=None, *, lengths=None, reverse=False, needs=()):
    """The states (batch, time, hidden) of a gated recurrent unit (Cho et al. 2014).

    projected (batch, time, 3 · hidden): the inputs times weight_ih, plus its bias; weight (3 · hidden, hidden), bias (3 · hidden,): those of the state;
    start (batch, hidden). `lengths` (batch,): where a row has ended, its state stays. `reverse`: from the last step to the first.
    """
    return _gru(projected, weight, bias, start, devices.place(lengths, projected), reverse, any(needs))


@gru.vjp
def _(g, out, gates, weight, bias, start, lengths, reverse):
    dprojected, dweight, dbias, dstart = _gru_backward(g, out, gates, weight, start, devices.place(lengths, out), reverse)
    return dprojected, dweight, None if bias is None else dbias, None if start is None else dstart


@op(reference=_reference(_lstm), residuals="gates")
def lstm(projected, weight, bias=None, start=None, *, lengths=None, reverse=False, needs=()):
    """The states (2, batch, time, hidden), h before c, of a long short-term memory (Hochreiter and Schmidhuber 1997).

    As `gru`, with 4 · hidden for 3 · hidden, and start (2, batch, hidden).
    """
    return _lstm(projected, weight, bias, start, devices.place(lengths, projected), reverse, any(needs))


@lstm.vjp
def _(g, out, gates, weight, bias, start, lengths, reverse):
    dprojected, dweight, dbias, dstart = _lstm_backward(g, out, gates, weight, start, devices.place(lengths, out), reverse)
    return dprojected, dweight, None if bias is None else dbias, None if start is None else dstart


class Recurrent(Module):
    """Layers above each other, each going through time, or both ways through time. `GRU` and `LSTM` are its kinds.

    A layer's state is one Tensor: (batch, hidden_size) of a GRU, (2, batch, hidden_size), h before c, of an LSTM.

    Args:
        input_size, hidden_size: features that come in and that go out of each layer, per direction.
        num_layers: how many. bidirectional: also from the last step to the first; the outputs stand side by side.
        dropout: between the layers. generator: of the initial weights, uniform in ±1/√hidden_size.
    """

    def __init__(self, input_size, hidden_size, num_layers=1, bias=True, *, dropout=0.0, bidirectional=False, generator=None):
        generator = generator or np.random.default_rng()
        self.hidden_size, self.num_layers, self.directions = hidden_size, num_layers, 2 if bidirectional else 1
        self.dropout = Dropout(dropout)
        rows, bound = self.gates * hidden_size, hidden_size ** -0.5
        for suffix in self._suffixes():
            width = input_size if suffix.startswith("l0") else hidden_size * self.directions
            shapes = {"weight_ih": (rows, width), "weight_hh": (rows, hidden_size)} | ({"bias_ih": rows, "bias_hh": rows} if bias else {})
            for name, shape in shapes.items():
                setattr(self, f"{name}_{suffix}", Parameter(generator.uniform(-bound, bound, shape).astype(np.float32)))

    def forward(self, x, start=None, lengths=None):
        """x (batch, time, input_size), the first `lengths` steps of each row real: the outputs and each layer's last state, as in PyTorch.

        start and last: h (layers · directions, batch, hidden_size), of an LSTM the pair (h, c). Where a row has ended, the outputs are zero.
        """
        states = None if start is None else self._unpacked(start)
        if states is not None and len(states) != self.num_layers * self.directions:
            raise ValueError(f"start: there are {len(states)} states, but {self.num_layers} layers in {self.directions} directions begin in "
                             f"{self.num_layers * self.directions}")
        out, last = self.layers(x, states, lengths)
        if lengths is not None:
            real = np.arange(x.shape[1])[:, None] < np.asarray(devices.host(lengths))[:, None, None]
            out = out * devices.place(real.astype(out.dtype), out.data)
        return out, self._packed(last)

    def layers(self, x, starts=None, lengths=None):
        """The outputs (batch, time, directions · hidden_size), and the last states as a list: of each layer, first the one forward."""
        last = []
        for layer in range(self.num_layers):
            x = self.dropout(x) if layer else x
            outs = []
            for direction in range(self.directions):
                states = self.layer(layer, self.project(layer, x, direction), starts and starts[len(last)], lengths, direction)
                outs.append(self.outputs(states))
                last.append(self.last(states, direction))
            x = outs[0] if len(outs) == 1 else concatenate(outs, axis=-1)
        return x, last

    def project(self, layer, x, direction=0):
        """The input's part of all gates, for all steps of x (batch, time, features) at once."""
        suffix = self._suffixes()[layer * self.directions + direction]
        return fused.linear(x, getattr(self, "weight_ih_" + suffix), getattr(self, "bias_ih_" + suffix, None))

    def layer(self, layer, projected, start=None, lengths=None, direction=0):
        """All states of one layer (…, batch, time, hidden_size) from what `project` returned."""
        suffix = self._suffixes()[layer * self.directions + direction]
        return self.recurrence(projected, getattr(self, "weight_hh_" + suffix), getattr(self, "bias_hh_" + suffix, None), start,
                               lengths=lengths, reverse=direction == 1)

    @staticmethod
    def last(states, direction=0):
        """The state after the last step: where a row has ended, its state stayed."""
        return states[..., 0 if direction else -1, :]

    def _suffixes(self):
        """Of the parameters' names: l0, l0_reverse, l1 …"""
        return [f"l{layer}{reverse}" for layer in range(self.num_layers) for reverse in ("", "_reverse")[:self.directions]]


class GRU(Recurrent):
    """Gated recurrent units (Cho et al. 2014); parameters are named and shaped as in torch.nn.GRU. See `Recurrent`."""

    gates, recurrence = 3, staticmethod(gru)

    @staticmethod
    def outputs(states):
        """What the layer shows of its states: all."""
        return states

    _unpacked, _packed = staticmethod(list), staticmethod(stack)


class LSTM(Recurrent):
    """Long short-term memory (Hochreiter and Schmidhuber 1997); parameters are named and shaped as in torch.nn.LSTM. See `Recurrent`."""

    gates, recurrence = 4, staticmethod(lstm)

    @staticmethod
    def outputs(states):
        """What the layer shows of its states: h, not the cells."""
        return states[0]

    @staticmethod
    def _unpacked(start):
        return [stack([h, c]) for h, c in zip(*start, strict=True)]

    @staticmethod
    def _packed(last):
        return tuple(stack([state[i] for state in last]) for i in range(2))
