"""Layer normalisation, alone and of a sum with dropout: cpu against reference, gradients against differences with a
weight that is not 1."""
import numpy as np
import pytest

from minitx.kernels.layer_norm import cpu, reference

from .checks import DTYPES, assert_close, assert_same_bits, awkward, differences, normal

KEY = 0x123456789ABCDEF0
SHAPES = [(3, 8), (1, 1), (2, 3, 17), (64, 33), (5,), (0, 6), (300, 64)]  # the last is more than one block
# a mean over a row, its differences, their mean square, and for the backward pass sums over rows of products of three
UNITS = 16


def vectors(n, dtype, weight=True, bias=True):
    return (normal(n, seed=8, dtype=dtype) + dtype(1) if weight else None,
            normal(n, seed=9, dtype=dtype) if bias else None)


def wide(*arrays):
    return [None if array is None else array.astype(np.float64) for array in arrays]


@DTYPES
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("with_weight, with_bias", [(True, True), (True, False), (False, True), (False, False)])
def test_layer_norm_agrees_with_the_reference(shape, with_weight, with_bias, dtype):
    x, g = normal(*shape, dtype=dtype) + dtype(2), normal(*shape, seed=1, dtype=dtype)
    weight, bias = vectors(shape[-1], dtype, with_weight, with_bias)
    expected = reference.layer_norm(*wide(x, weight, bias), 1e-3)
    out, mean, rstd = cpu.layer_norm(x, weight, bias, 1e-3)
    assert out.dtype == mean.dtype == rstd.dtype == dtype
    for actual, right in zip((out, mean, rstd), expected):
        assert_close(actual, right, UNITS)
    gradients = cpu.layer_norm_backward(g, x, weight, mean, rstd)
    for actual, right in zip(gradients, reference.layer_norm_backward(*wide(g, x, weight), *expected[1:])):
        assert (actual is None) == (right is None)
        if right is not None and shape[-1] > 1:
            assert_close(actual, right, 4 * UNITS)
    if shape[-1] == 1:
        # 0, a row of one element being always normalised to 0; rstd is 32
        assert abs(gradients[0]).max() <= 200 * np.finfo(dtype).eps


@DTYPES
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("p", [0.0, 0.4])
@pytest.mark.parametrize("goes_on", [True, False])
def test_add_layer_norm_agrees_with_the_reference(shape, p, goes_on, dtype):
    x, residual, g = (normal(*shape, seed=seed, dtype=dtype) for seed in range(3))
    g_total = normal(*shape, seed=3, dtype=dtype) if goes_on else None
    weight, bias = vectors(shape[-1], dtype)
    expected = reference.add_layer_norm(*wide(x, residual, weight, bias), 1e-3, p, KEY)
    results = cpu.add_layer_norm(x, residual, weight, bias, 1e-3, p, KEY)
    for actual, right in zip(results, expected):
        assert_close(actual, right, UNITS)
    expected = reference.add_layer_norm_backward(*wide(g, g_total), expected[1], *wide(weight), *expected[2:], p, KEY)
    gradients = cpu.add_layer_norm_backward(g, g_total, results[1], weight, *results[2:], p, KEY)
    for actual, right in zip(gradients, expected):
        if shape[-1] > 1:
            assert_close(actual, right, 4 * UNITS)
    assert (gradients[0] is gradients[1]) == (p == 0)


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_reference_backward_is_the_derivative(p):
    x, residual, g, g_total = (normal(3, 6, seed=seed) for seed in range(4))
    weight, bias = vectors(6, np.float64)

    def loss(x, residual, weight, bias):
        out, total, _, _ = reference.add_layer_norm(x, residual, weight, bias, 1e-3, p, KEY)
        return np.sum(g * out) + np.sum(g_total * total)

    inputs = [x, residual, weight, bias]
    _, total, mean, rstd = reference.add_layer_norm(*inputs, 1e-3, p, KEY)
    gradients = reference.add_layer_norm_backward(g, g_total, total, weight, mean, rstd, p, KEY)
    for position, gradient in enumerate(gradients):
        expected = differences(lambda array: loss(*inputs[:position], array, *inputs[position + 1:]), inputs[position])
        np.testing.assert_allclose(gradient, expected, atol=1e-8)


def test_a_large_mean_costs_no_digits():
    x = normal(4, 64, dtype=np.float32) + np.float32(1000)
    out, _, rstd = cpu.layer_norm(x)
    expected, _, right = reference.layer_norm(x.astype(np.float64))
    assert_close(rstd, right, UNITS)
    assert_close(out, expected, 1000)  # x itself is only known to 1000 epsilons of its spread


def test_layout_does_not_matter():
    x, g, residual = (normal(6, 30, seed=seed, dtype=np.float32) for seed in range(3))
    weight, bias = vectors(30, np.float32)
    results = cpu.add_layer_norm(x, residual, weight, bias)
    strided = cpu.add_layer_norm(awkward(x), awkward(residual), awkward(weight), awkward(bias))
    gradients = cpu.layer_norm_backward(g, results[1], weight, *results[2:])
    total, mean, rstd = (awkward(result) for result in results[1:])
    strided += cpu.layer_norm_backward(awkward(g), total, awkward(weight), mean, rstd)
    for a, b in zip(results + gradients, strided):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("p", [0.0, 0.1])
def test_same_bits_on_any_number_of_threads(p):
    x, residual, g = (normal(1001, 128, seed=seed, dtype=np.float32) for seed in range(3))
    weight, bias = vectors(128, np.float32)

    def run():
        results = cpu.add_layer_norm(x, residual, weight, bias, 1e-5, p, KEY)
        return results + cpu.add_layer_norm_backward(g, x, results[1], weight, *results[2:], p, KEY)

    assert_same_bits(run)


def test_wrong_inputs_are_named():
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"weight has shape \(4,\) but rows have 3 elements"):
        cpu.layer_norm(x, np.ones(4, np.float32))
    with pytest.raises(ValueError, match="at least one element"):
        cpu.layer_norm(np.zeros((2, 0), np.float32))
    with pytest.raises(TypeError, match="int64"):
        cpu.layer_norm(np.zeros((2, 3), np.int64))
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(3, 2\)"):
        cpu.add_layer_norm(x, np.zeros((3, 2), np.float32))


def test_two_dtypes_are_refused():
    with pytest.raises(TypeError, match="layer_norm: x is float64, weight float32; make them the same with .astype"):
        cpu.layer_norm(np.ones((2, 3)), np.ones(3, np.float32))
