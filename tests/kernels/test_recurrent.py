"""GRU and LSTM over time: cpu against reference, gradients against differences, rows that end early, both directions."""
import numpy as np
import pytest

from minitx.kernels.gru import cpu as gru_cpu, reference as gru_reference
from minitx.kernels.lstm import cpu as lstm_cpu, reference as lstm_reference

from .checks import DTYPES, assert_close, assert_same_bits, awkward, differences, normal

SHAPES = [(3, 5, 4), (1, 1, 1), (40, 7, 33), (9, 3, 128), (70, 1, 20), (4, 0, 6), (0, 3, 4)]  # (batch, time, hidden)
UNITS = 32  # some steps of products and of functions that are good to 3 epsilons each
CELLS = pytest.mark.parametrize("cell", ["gru", "lstm"])
BOTH_WAYS = pytest.mark.parametrize("reverse", [False, True])
GATES = {"gru": 3, "lstm": 4}


def forward(cell, where):
    return getattr({"gru": (gru_reference, gru_cpu), "lstm": (lstm_reference, lstm_cpu)}[cell][where == "cpu"], cell)


def backward(cell, where):
    return getattr({"gru": (gru_reference, gru_cpu), "lstm": (lstm_reference, lstm_cpu)}[cell][where == "cpu"], cell + "_backward")


def inputs(cell, batch, time, hidden, dtype=np.float64):
    """projected, weight, bias, start, lengths and a gradient of the states."""
    gates, lead = GATES[cell], (2,) if cell == "lstm" else ()
    weight = normal(gates * hidden, hidden, seed=1, dtype=dtype) / dtype(hidden ** 0.5)
    lengths = np.random.default_rng(5).integers(0, time + 1, batch)
    return (normal(batch, time, gates * hidden, dtype=dtype), weight, normal(gates * hidden, seed=2, dtype=dtype),
            normal(*lead, batch, hidden, seed=3, dtype=dtype), lengths, normal(*lead, batch, time, hidden, seed=4, dtype=dtype))


def wide(*arrays):
    return [None if array is None else array.astype(np.float64) for array in arrays]


@DTYPES
@CELLS
@BOTH_WAYS
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cpu_agrees_with_the_reference(cell, shape, reverse, dtype):
    projected, weight, bias, start, lengths, g = inputs(cell, *shape, dtype)
    states, gates = forward(cell, "cpu")(projected, weight, bias, start, lengths, reverse)
    right, right_gates = forward(cell, "reference")(*wide(projected, weight, bias, start), lengths, reverse)
    assert states.dtype == dtype
    assert_close(states, right, UNITS)
    if shape[1] == 0:
        return
    gradients = backward(cell, "cpu")(g, states, gates, weight, start, lengths, reverse)
    expected = backward(cell, "reference")(*wide(g), right, right_gates, *wide(weight, start), lengths, reverse)
    for actual, wanted in zip(gradients, expected, strict=True):
        assert actual.dtype == dtype
        assert_close(actual, wanted, 4 * UNITS)


@CELLS
@pytest.mark.parametrize("shape", [(33, 2, 300), (3, 2, 520), (115, 1, 202), (32, 2, 651)], ids=str)  # of the last two, pieces must not become empty
def test_products_too_large_for_one_piece_are_made_of_several(cell, shape):
    projected, weight, bias, start, lengths, g = inputs(cell, *shape, np.float32)
    states, gates = forward(cell, "cpu")(projected, weight, bias, start)
    right, right_gates = forward(cell, "reference")(*wide(projected, weight, bias, start))
    assert_close(states, right, UNITS)
    gradients = backward(cell, "cpu")(g, states, gates, weight, start)
    for actual, wanted in zip(gradients, backward(cell, "reference")(*wide(g), right, right_gates, *wide(weight, start)), strict=True):
        assert_close(actual, wanted, 4 * UNITS)


@CELLS
@pytest.mark.parametrize("where", ["reference", "cpu"])
def test_without_bias_start_and_lengths_they_are_zero_zero_and_all(cell, where):
    projected, weight, bias, start, lengths, g = inputs(cell, 3, 4, 5)
    plain, gates = forward(cell, where)(projected, weight)
    full, same_gates = forward(cell, where)(projected, weight, 0 * bias, 0 * start, np.full(3, 4))
    np.testing.assert_array_equal(plain, full)
    for one, other in zip(backward(cell, where)(g, plain, gates, weight), backward(cell, where)(g, full, same_gates, weight, 0 * start, np.full(3, 4))):
        np.testing.assert_array_equal(one, other)


@CELLS
@BOTH_WAYS
def test_reference_backward_is_the_derivative(cell, reverse):
    projected, weight, bias, start, _, g = inputs(cell, 3, 4, 2)
    lengths = np.array([4, 0, 2])

    def loss(*arrays):
        return np.sum(g * forward(cell, "reference")(*arrays, lengths, reverse)[0])

    given = [projected, weight, bias, start]
    states, gates = forward(cell, "reference")(*given, lengths, reverse)
    for position, gradient in enumerate(backward(cell, "reference")(g, states, gates, weight, start, lengths, reverse)):
        expected = differences(lambda array: loss(*given[:position], array, *given[position + 1:]), given[position])
        np.testing.assert_allclose(gradient, expected, atol=1e-8)


@CELLS
@BOTH_WAYS
@pytest.mark.parametrize("where", ["reference", "cpu"])
def test_a_row_that_has_ended_keeps_its_state_and_reads_nothing(cell, where, reverse):
    projected, weight, bias, start, _, _ = inputs(cell, 3, 5, 4)
    lengths, changed = np.array([3, 0, 5]), projected.copy()
    changed[0, 3:] = changed[1] = 1e3
    states = forward(cell, where)(projected, weight, bias, start, lengths, reverse)[0]
    np.testing.assert_array_equal(forward(cell, where)(changed, weight, bias, start, lengths, reverse)[0], states)
    alone = forward(cell, where)(projected[:1, :3], weight, bias, start[..., :1, :], None, reverse)[0]
    np.testing.assert_allclose(states[..., :1, :3, :], alone, rtol=1e-13)
    ended = start[..., 0, :] if reverse else states[..., 0, 2, :]  # from the right, a row has not begun
    np.testing.assert_array_equal(states[..., 0, 3, :], ended)
    np.testing.assert_array_equal(states[..., 0, 4, :], ended)
    np.testing.assert_array_equal(states[..., 1, 4, :], start[..., 1, :])


@CELLS
@pytest.mark.parametrize("where", ["reference", "cpu"])
def test_without_a_backward_pass_no_gates_are_kept(cell, where):
    projected, weight, bias, start, lengths, _ = inputs(cell, 3, 4, 5)
    kept, gates = forward(cell, where)(projected, weight, bias, start, lengths)
    states, none = forward(cell, where)(projected, weight, bias, start, lengths, needs_gradient=False)
    assert gates is not None and none is None
    np.testing.assert_array_equal(states, kept)


@CELLS
def test_layout_does_not_matter(cell):
    projected, weight, bias, start, lengths, g = inputs(cell, 9, 4, 12, np.float32)
    states, gates = forward(cell, "cpu")(projected, weight, bias, start, lengths)
    np.testing.assert_array_equal(forward(cell, "cpu")(*map(awkward, (projected, weight, bias, start, lengths)))[0], states)
    plain = backward(cell, "cpu")(g, states, gates, weight, start, lengths)
    for one, other in zip(plain, backward(cell, "cpu")(*map(awkward, (g, states, gates, weight, start, lengths)))):
        np.testing.assert_array_equal(one, other)


@CELLS
def test_same_bits_on_any_number_of_threads(cell):
    projected, weight, bias, start, lengths, g = inputs(cell, 50, 9, 64, np.float32)

    def run():
        states, gates = forward(cell, "cpu")(projected, weight, bias, start, lengths)
        return states, *backward(cell, "cpu")(g, states, gates, weight, start, lengths)

    assert_same_bits(run)


@CELLS
def test_extreme_inputs_saturate_the_gates_and_nothing_else(cell):
    projected, weight, bias, start, _, g = inputs(cell, 2, 3, 4, np.float32)
    states, gates = forward(cell, "cpu")(np.sign(projected) * np.float32(1e30), weight, bias, start)
    assert np.isfinite(states).all()
    assert all(np.isfinite(array).all() for array in backward(cell, "cpu")(g, states, gates, weight, start))
    projected[0, 1, 0] = np.nan
    assert np.isnan(forward(cell, "cpu")(projected, weight, bias, start)[0]).any()


@CELLS
@pytest.mark.parametrize("changes, said", [
    (dict(weight=np.zeros((7, 2))), r"weight has shape \(7, 2\); expected \(. · hidden, hidden\)"),
    (dict(projected=np.zeros((3, 4, 5))), r"projected has shape \(3, 4, 5\)"),
    (dict(bias=np.zeros(2)), r"bias has shape \(2,\)"),
    (dict(start=np.zeros((3, 9))), r"start has shape \(3, 9\)"),
    (dict(lengths=np.zeros(5, int)), r"lengths has shape \(5,\); expected \(3,\)"),
    (dict(bias=np.float32), "projected is float64 but bias float32"),
    (dict(projected=np.int64, weight=np.int64, bias=np.int64, start=np.int64), "projected is int64, expected float32 or float64"),
])
def test_wrong_inputs_are_named(cell, changes, said):
    projected, weight, bias, start, lengths, _ = inputs(cell, 3, 4, 2)
    given = dict(projected=projected, weight=weight, bias=bias, start=start, lengths=lengths)
    for name, change in changes.items():
        given[name] = given[name].astype(change) if isinstance(change, type) else change
    with pytest.raises(TypeError if "float" in said else ValueError, match=said):
        forward(cell, "cpu")(*given.values())
