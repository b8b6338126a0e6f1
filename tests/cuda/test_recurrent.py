"""GRU and LSTM on CUDA, in the simulator: both ways through time, rows that end early or at once."""
import numpy as np
import pytest

from minitx.kernels.gru import cuda as gru_cuda, reference as gru_reference
from minitx.kernels.lstm import cuda as lstm_cuda, reference as lstm_reference

from ..kernels.checks import DTYPES, assert_close, awkward
from ..kernels.test_recurrent import BOTH_WAYS, CELLS, UNITS, inputs, wide

FILES = {"gru": (gru_cuda, gru_reference), "lstm": (lstm_cuda, lstm_reference)}


def functions(cell, position):
    """Forward and backward of the file at this position."""
    return tuple(getattr(FILES[cell][position], name) for name in (cell, f"{cell}_backward"))


@DTYPES
@CELLS
@BOTH_WAYS
@pytest.mark.parametrize("shape", [(3, 5, 4), (1, 1, 1), (9, 2, 33), (4, 0, 6), (0, 3, 4)], ids=str)
def test_agrees_with_the_reference(cell, shape, reverse, dtype):
    (forward, backward), (right_forward, right_backward) = functions(cell, 0), functions(cell, 1)
    projected, weight, bias, start, lengths, g = inputs(cell, *shape, dtype)
    states, gates = forward(projected, weight, bias, start, lengths, reverse)
    right, right_gates = right_forward(*wide(projected, weight, bias, start), lengths, reverse)
    assert states.dtype == dtype
    assert_close(states, right, UNITS)
    if shape[1] == 0:
        return
    expected = right_backward(*wide(g), right, right_gates, *wide(weight, start), lengths, reverse)
    for actual, wanted in zip(backward(g, states, gates, weight, start, lengths, reverse), expected, strict=True):
        assert actual.dtype == dtype
        assert_close(actual, wanted, 4 * UNITS)


@CELLS
def test_what_is_left_out_is_zero_or_whole(cell):
    forward, backward = functions(cell, 0)
    projected, weight, bias, start, _, g = inputs(cell, 2, 3, 4, np.float32)
    lengths = np.array([3, 3])
    states, gates = forward(projected, weight)
    for actual, expected in zip((states, gates), forward(projected, weight, 0 * bias, 0 * start, lengths)):
        np.testing.assert_array_equal(actual, expected)
    for actual, expected in zip(backward(g, states, gates, weight), backward(g, states, gates, weight, 0 * start, lengths)):
        np.testing.assert_array_equal(actual, expected)
    states_alone, nothing = forward(projected, weight, needs_gradient=False)
    assert nothing is None
    np.testing.assert_array_equal(states_alone, states)


@CELLS
def test_layout_does_not_matter_and_nothing_given_changes(cell):
    forward, backward = functions(cell, 0)
    projected, weight, bias, start, lengths, g = given = inputs(cell, 2, 3, 4, np.float32)
    before = [array.copy() for array in given]
    states, gates = forward(projected, weight, bias, start, lengths)
    gradients = backward(g, states, gates, weight, start, lengths)
    strange = [awkward(array) for array in given]
    for actual, expected in zip(forward(*strange[:5]), (states, gates)):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)  # NumPy's product differs
    for actual, expected in zip(backward(strange[5], awkward(states), awkward(gates), strange[1], *strange[3:5]), gradients):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    for array, was in zip(given, before):
        np.testing.assert_array_equal(array, was)
