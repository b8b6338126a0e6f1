"""Recurrent layers: the ops on the tape, stacks of layers, both directions, rows of different length."""
import numpy as np
import pytest

from minitx import gradcheck, no_grad, random, tensor
from minitx.nn import GRU, LSTM
from minitx.nn.recurrent import gru, lstm

GENERATOR = np.random.default_rng(0)
X, LENGTHS = GENERATOR.normal(size=(3, 4, 5)), np.array([4, 1, 3])
KINDS = pytest.mark.parametrize("kind", [GRU, LSTM])


def layers(kind, **options):
    return kind(5, 6, generator=np.random.default_rng(1), **options).to("float64")


@pytest.mark.parametrize("op, gates, lead", [(gru, 3, ()), (lstm, 4, (2,))])
@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_of_any_order(op, gates, lead, reverse):
    inputs = [GENERATOR.normal(size=size) for size in ((3, 3, 2 * gates), (2 * gates, 2), 2 * gates, (*lead, 3, 2))]
    lengths = np.array([3, 0, 2])
    assert gradcheck(lambda *xs: op(*xs, lengths=lengths, reverse=reverse), inputs, order=2)


@pytest.mark.parametrize("op, gates", [(gru, 3), (lstm, 4)])
def test_what_is_absent_gets_no_gradient(op, gates):
    projected, weight = (tensor(GENERATOR.normal(size=size), requires_grad=True) for size in ((2, 3, 2 * gates), (2 * gates, 2)))
    op(projected, weight).sum().backward()
    assert projected.grad.shape == projected.shape and weight.grad.shape == weight.shape


@KINDS
def test_parameters_are_named_and_shaped_as_in_pytorch(kind):
    rows = kind.gates * 6
    shapes = {name: array.shape for name, array in layers(kind, num_layers=2, bidirectional=True).state_dict().items()}
    expected = {}
    for layer, width in ((0, 5), (1, 12)):
        for reverse in ("", "_reverse"):
            suffix = f"l{layer}{reverse}"
            expected |= {f"weight_ih_{suffix}": (rows, width), f"weight_hh_{suffix}": (rows, 6), f"bias_ih_{suffix}": (rows,), f"bias_hh_{suffix}": (rows,)}
    assert shapes == expected
    assert list(layers(kind, bias=False).state_dict()) == ["weight_ih_l0", "weight_hh_l0"]


@KINDS
def test_a_row_alone_is_read_as_in_a_batch(kind):
    module = layers(kind, num_layers=2, bidirectional=True)
    with no_grad():
        outs, last = module(X, lengths=LENGTHS)
        for row, length in enumerate(LENGTHS):
            out, alone = module(X[row:row + 1, :length])
            np.testing.assert_allclose(outs.data[row, :length], out.data[0], rtol=1e-12)
            assert not outs.data[row, length:].any()
            for one, other in zip(last, alone) if kind is LSTM else [(last, alone)]:
                np.testing.assert_allclose(one.data[:, row], other.data[:, 0], rtol=1e-12)


@KINDS
def test_a_sequence_in_two_parts_is_the_sequence(kind):
    module = layers(kind, num_layers=2)
    with no_grad():
        whole, end = module(X)
        first, middle = module(X[:, :2])
        second, last = module(X[:, 2:], middle)
    np.testing.assert_allclose(np.concatenate([first.data, second.data], axis=1), whole.data, rtol=1e-12)
    for one, other in zip(end, last):
        np.testing.assert_allclose(one.data, other.data, rtol=1e-12)


@KINDS
def test_the_reverse_direction_reads_from_the_right(kind):
    module = layers(kind, bidirectional=True)
    with no_grad():
        out = module(X)[0].data
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):  # exchange the directions
            one, other = getattr(module, name + "_l0"), getattr(module, name + "_l0_reverse")
            one.data[...], other.data[...] = other.data.copy(), one.data.copy()
        mirrored = module(X[:, ::-1])[0].data[:, ::-1]
    np.testing.assert_allclose(np.concatenate([mirrored[..., 6:], mirrored[..., :6]], axis=-1), out, rtol=1e-12)


@KINDS
def test_dropout_is_between_the_layers_in_training_only(kind):
    two, one = layers(kind, num_layers=2, dropout=0.5), layers(kind, dropout=0.5)
    random.seed(0)
    assert not np.array_equal(two(X)[0].data, two(X)[0].data)
    assert np.array_equal(one(X)[0].data, one(X)[0].data)
    two.eval()
    assert np.array_equal(two(X)[0].data, two(X)[0].data)


@KINDS
def test_as_many_states_begin_as_there_are_layers(kind):
    start = tensor(np.zeros((2, 3, 6)))
    start = start if kind is GRU else (start, start)
    for options in ({}, {"num_layers": 2, "bidirectional": True}):
        with pytest.raises(ValueError, match="start: there are 2 states, but"):
            layers(kind, **options)(tensor(X), start)
