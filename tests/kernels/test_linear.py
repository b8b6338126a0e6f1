"""The linear layer: cpu against reference, dropout in its epilogue, gradients against differences."""
import numpy as np
import pytest

from minitx.kernels.dropout.reference import dropout
from minitx.kernels.linear import cpu, reference

from .checks import DTYPES, assert_close, assert_same_bits, awkward, differences, normal

ACTIVATIONS = pytest.mark.parametrize("activation", reference.ACTIVATIONS)
GELUS = pytest.mark.parametrize("activation", ["gelu", "gelu_tanh"])
SHAPES = [  # of x, and the number of outputs: one block, odd sizes, blocks of rows, of columns, of a large gradient
    ((3, 4), 5), ((1, 1), 1), ((7,), 3), ((2, 3, 17), 33), ((0, 4), 5), ((700, 24), 40), ((1100, 31), 7),
    ((40, 64), 1025), ((64, 520), 1030)]
UNITS = 16  # a dot product of n terms is good to about √n epsilons of the largest result; GELU's Φ in float32 to 2


def parameters(x_shape, n_out, dtype):
    weight = (normal(n_out, x_shape[-1]) / x_shape[-1] ** 0.5).astype(dtype)
    g = normal(*x_shape[:-1], n_out, seed=1, dtype=dtype)
    return normal(*x_shape, dtype=dtype), weight, normal(n_out, dtype=dtype), g


def exact(*arrays):
    return [array.astype(np.float64) for array in arrays]


@DTYPES
@ACTIVATIONS
@pytest.mark.parametrize("x_shape, n_out", SHAPES)
def test_agrees_with_the_reference(x_shape, n_out, activation, dtype):
    x, weight, bias, g = parameters(x_shape, n_out, dtype)
    expected, _ = reference.linear(*exact(x, weight, bias), activation)
    out, saved = cpu.linear(x, weight, bias, activation)
    assert out.dtype == dtype
    assert_close(out, expected, UNITS)
    kept = None if saved is None else saved.astype(np.float64)
    expected = reference.linear_backward(*exact(g, x, weight), kept, activation)
    for actual, right in zip(cpu.linear_backward(g, x, weight, saved, activation), expected, strict=True):
        assert actual.dtype == dtype
        assert_close(actual, right, UNITS)


@DTYPES
@ACTIVATIONS
@pytest.mark.parametrize("x_shape, n_out", [((1, 1), 1), ((4, 17), 33), ((8, 30), 800), ((9, 30), 800), ((700, 24), 40), ((64, 520), 1030), ((0, 4), 5)])
def test_weights_stored_transposed_are_used_in_place(x_shape, n_out, activation, dtype):
    """As GPT-2's are stored: (in, out)."""
    x, weight, bias, g = parameters(x_shape, n_out, dtype)
    stored = np.asfortranarray(weight)
    expected, _ = reference.linear(*exact(x, weight, bias), activation)
    out, saved = cpu.linear(x, stored, bias, activation)
    assert_close(out, expected, UNITS)
    kept = None if saved is None else saved.astype(np.float64)
    expected = reference.linear_backward(*exact(g, x, weight), kept, activation)
    for actual, right in zip(cpu.linear_backward(g, x, stored, saved, activation), expected, strict=True):
        assert_close(actual, right, UNITS)


@DTYPES
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("rows", [*range(1, 10), 16, 17])
def test_few_rows(rows, order, dtype, monkeypatch):
    monkeypatch.setattr(cpu, "_PACKED", 0)  # as for large weights
    for n_in, n_out in ((1, 3), (37, 21), (64, 1025), (300, 400)):
        x, weight, bias, _ = parameters((rows, n_in), n_out, dtype)
        for bias in (bias, None):
            out, _ = cpu.linear(x, np.asarray(weight, order=order), bias)
            assert_close(out, reference.linear(*exact(x, weight), None if bias is None else exact(bias)[0])[0], UNITS)


@DTYPES
@GELUS
def test_what_gelu_keeps_is_its_slope(activation, dtype):
    x, weight, bias, _ = parameters((50, 24), 40, dtype)
    _, expected = reference.linear(*exact(x * 3, weight, bias), activation)
    # 1 − σ(2u), good to an epsilon of 1, is multiplied by 2 z u′(z), here up to 200
    assert_close(cpu.linear(x * 3, weight, bias, activation)[1], expected, UNITS if activation == "gelu" else 200)


@DTYPES
@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu_tanh"])
@pytest.mark.parametrize("p", [0.25, 1.0])
def test_dropout_drops_what_dropout_drops(activation, p, dtype):
    x, weight, bias, g = parameters((300, 5), 261, dtype)
    out, saved = cpu.linear(x, weight, bias, activation, p, key=11)
    plain, _ = cpu.linear(x, weight, bias, activation)
    assert_close(out, dropout(plain, p, 11), 1)
    expected, kept = reference.linear(*exact(x, weight, bias), activation, p, 11)
    expected = reference.linear_backward(*exact(g, x, weight), kept, activation, p)
    for actual, right in zip(cpu.linear_backward(g, x, weight, saved, activation, p), expected, strict=True):
        assert_close(actual, right, UNITS)


@DTYPES
def test_relu_of_few_rows_and_wide_output_is_cut_into_columns(dtype):
    x, weight, bias, _ = parameters((3, 8), 3000, dtype)
    out, _ = cpu.linear(x, weight, bias, "relu", 0.5, key=3)
    assert_close(out, reference.linear(*exact(x, weight, bias), "relu", 0.5, 3)[0], UNITS)


@ACTIVATIONS
def test_without_a_backward_pass_nothing_is_kept(activation):
    x, weight, bias, _ = parameters((20, 6), 9, np.float32)
    for file in (cpu, reference):
        p = 0.0 if activation == "none" else 0.2
        out, saved = file.linear(x, weight, bias, activation, p, 3, needs_gradient=False)
        assert saved is None
        assert_close(out, file.linear(x, weight, bias, activation, p, 3)[0], 4)


@ACTIVATIONS
def test_only_what_is_needed_is_computed(activation):
    x, weight, bias, g = parameters((20, 6), 9, np.float64)
    _, saved = cpu.linear(x, weight, bias, activation)
    everything = cpu.linear_backward(g, x, weight, saved, activation)
    for number in range(8):
        needs = tuple(bool(number >> i & 1) for i in range(3))
        for file in (cpu, reference):
            gradients = file.linear_backward(g, x, weight, saved, activation, needs=needs)
            for need, gradient, right in zip(needs, gradients, everything, strict=True):
                assert (gradient is not None) == need
                if need:
                    assert_close(gradient, right, UNITS)


@ACTIVATIONS
def test_layout_does_not_matter(activation):
    x, weight, bias, g = parameters((3, 50, 24), 40, np.float32)
    out, saved = cpu.linear(x, weight, bias, activation)
    np.testing.assert_array_equal(cpu.linear(awkward(x), awkward(weight), awkward(bias), activation)[0], out)
    gradients = cpu.linear_backward(g, x, weight, saved, activation)
    saved = None if saved is None else awkward(saved)
    again = cpu.linear_backward(awkward(g), awkward(x), awkward(weight), saved, activation)
    for left, right in zip(gradients, again, strict=True):
        np.testing.assert_array_equal(left, right)


@DTYPES
@ACTIVATIONS
def test_nan_and_infinity_stay_visible(activation, dtype):
    x, weight, bias, _ = parameters((40, 24), 40, dtype)
    x[3, 5] = np.nan
    out, _ = cpu.linear(x, np.abs(weight), bias, activation)
    assert np.isnan(out[3]).all() and np.isfinite(np.delete(out, 3, axis=0)).all()
    x[3, 5] = np.inf
    assert (cpu.linear(x, np.abs(weight), bias, activation)[0][3] == np.inf).all()


@DTYPES
@GELUS
def test_gelu_far_from_zero(activation, dtype):
    pre = np.array([[-100.0], [-20.0], [-5.0], [-0.0], [5.0], [20.0], [100.0]], dtype)
    out, slope = cpu.linear(pre, np.ones((1, 1), dtype), None, activation)
    expected, _ = reference.linear(pre.astype(np.float64), np.ones((1, 1)), None, activation)
    np.testing.assert_allclose(out, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(slope[[0, 1, 5, 6], 0], [0, 0, 1, 1], atol=1e-6)
    _, slope = cpu.linear(np.array([[-1e18], [-1e13], [1e13], [1e18]], dtype), np.ones((1, 1), dtype), None, activation)
    np.testing.assert_allclose(slope[:, 0], [0, 0, 1, 1], atol=1e-30)


@ACTIVATIONS
@pytest.mark.parametrize("p", [0.0, 0.3])
def test_reference_backward_is_the_derivative(activation, p):
    if activation == "none":
        p = 0.0
    x, weight, bias, g = parameters((2, 3, 4), 5, np.float64)
    _, saved = reference.linear(x, weight, bias, activation, p, 5)
    gradients = reference.linear_backward(g, x, weight, saved, activation, p)
    for position, gradient in enumerate(gradients):
        def loss(changed):
            arguments = [x, weight, bias]
            arguments[position] = changed
            return np.sum(g * reference.linear(*arguments, activation, p, 5)[0])
        np.testing.assert_allclose(gradient, differences(loss, (x, weight, bias)[position]), atol=1e-8)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("x_shape, n_out", [((1000, 33), 65), ((300, 520), 1030), ((5, 16), 2000), ((100, 40), 2000), ((6, 700), 2000)])
def test_same_bits_on_any_number_of_threads(x_shape, n_out, order):
    x, weight, bias, g = parameters(x_shape, n_out, np.float32)
    weight = np.asarray(weight, order=order)

    def everything():
        out, slope = cpu.linear(x, weight, bias, "gelu", 0.2, 9)
        return out, slope, *cpu.linear_backward(g, x, weight, slope, "gelu", 0.2)

    assert_same_bits(everything)


def test_wrong_inputs_are_named():
    x, weight, bias = np.zeros((2, 3), np.float32), np.zeros((5, 3), np.float32), np.zeros(5, np.float32)
    for arguments, message in [
        ((x, weight.T, None), r"takes 5 features.*transposed"),
        ((x, weight[0], None), r"weight has shape \(3,\)"),
        ((x, weight, bias[:4]), r"bias has shape \(4,\); expected \(5,\)"),
        ((x.astype(np.float64), weight, bias), r"x is float64, weight float32.*astype"),
        ((x.astype(np.int64), weight.astype(np.int64), None), r"float32 or float64"),
        ((x, weight, bias, "tanh"), r"'tanh' is not one of none, relu, gelu"),
        ((x, weight, bias, "relu", 1.5), r"p is 1.5"),
        ((x, weight, bias, "none", 0.5), r"with an activation only"),
    ]:
        for file in (cpu, reference):
            with pytest.raises(TypeError if "float" in message else ValueError, match=message):
                file.linear(*arguments)
