"""Batch norm: cpu against reference, gradients against differences, and rows of padding that count for nothing."""
import numpy as np
import pytest

from minitx.kernels.batch_norm import cpu, reference

from .checks import DTYPES, assert_close, assert_same_bits, awkward, differences, normal

SHAPES = [(3, 8), (2, 3, 17), (64, 33), (0, 6), (4, 70, 64)]  # the last is more than one block
UNITS = 16
RAGGED = pytest.mark.parametrize("ragged", [False, True])


def inputs(shape, dtype, ragged):
    """x far from 0, weight, bias, a gradient of the output, and which rows are real."""
    x, g = normal(*shape, dtype=dtype) + dtype(2), normal(*shape, seed=1, dtype=dtype)
    weight, bias = normal(shape[-1], seed=8, dtype=dtype) + dtype(1), normal(shape[-1], seed=9, dtype=dtype)
    return x, weight, bias, g, np.random.default_rng(5).random(shape[:-1]) < 0.7 if ragged else None


def exact(*arrays):
    return [array.astype(np.float64) for array in arrays]


@DTYPES
@RAGGED
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_agrees_with_the_reference(shape, ragged, dtype):
    x, weight, bias, g, real = inputs(shape, dtype, ragged)
    expected_moments, found = reference.moments(*exact(x), real), cpu.moments(x, real)
    for one, other in zip(found, expected_moments, strict=True):
        assert one.dtype == dtype
        assert_close(one, other, UNITS)
    expected = reference.batch_norm(*exact(x, weight, bias), *expected_moments, real, 1e-3)
    assert_close(cpu.batch_norm(x, weight, bias, *found, real, 1e-3), expected, UNITS)
    gradients = cpu.batch_norm_backward(g, x, weight, *found, real, 1e-3)
    for one, other in zip(gradients, reference.batch_norm_backward(*exact(g, x, weight), *expected_moments, real, 1e-3), strict=True):
        assert one.dtype == dtype
        assert_close(one, other, 4 * UNITS)


@RAGGED
def test_reference_backward_is_the_derivative(ragged):
    x, weight, bias, g, real = inputs((2, 4, 3), np.float64, ragged)

    def loss(x, weight, bias):
        return np.sum(g * reference.batch_norm(x, weight, bias, *reference.moments(x, real), real, 0.1))

    given = [x, weight, bias]
    for position, gradient in enumerate(reference.batch_norm_backward(g, x, weight, *reference.moments(x, real), real, 0.1)):
        expected = differences(lambda array: loss(*given[:position], array, *given[position + 1:]), given[position])
        np.testing.assert_allclose(gradient, expected, atol=1e-8)


@pytest.mark.parametrize("file", [cpu, reference], ids=["cpu", "reference"])
def test_padding_counts_for_nothing_whatever_stands_there(file):
    x, weight, bias, g, real = inputs((3, 5, 4), np.float64, True)
    moments = file.moments(x[real])
    for place, junk in ((x, np.nan), (g, np.inf)):
        place[~real] = junk
    for one, other in zip(file.moments(x, real), moments):
        np.testing.assert_allclose(one, other, rtol=1e-14)
    out = file.batch_norm(x, weight, bias, *moments, real)
    np.testing.assert_allclose(out[real], file.batch_norm(x[real], weight, bias, *moments), rtol=1e-14)
    dx, *rest = file.batch_norm_backward(g, x, weight, *moments, real)
    dx_alone, *rest_alone = file.batch_norm_backward(g[real], x[real], weight, *moments)
    np.testing.assert_allclose(dx[real], dx_alone, rtol=1e-13)
    for one, other in zip(rest, rest_alone):
        np.testing.assert_allclose(one, other, rtol=1e-13)
    assert not out[~real].any() and not dx[~real].any()


@pytest.mark.parametrize("file", [cpu, reference], ids=["cpu", "reference"])
def test_a_batch_without_a_real_row_gives_zeros(file):
    x, weight, bias, g, _ = inputs((3, 4), np.float32, False)
    real = np.zeros(3, bool)
    mean, variance = file.moments(x, real)
    arrays = mean, variance, file.batch_norm(x, weight, bias, mean, variance, real), *file.batch_norm_backward(g, x, weight, mean, variance, real)
    assert not any(array.any() for array in arrays)


def test_a_feature_far_from_zero_keeps_its_digits():
    """A variance from the difference of two large sums would be off by all of it."""
    x = normal(1000, 4, dtype=np.float32) + np.float32(1e4)
    _, variance = cpu.moments(x)
    np.testing.assert_allclose(variance, x.astype(np.float64).var(axis=0), rtol=1e-4)


def test_layout_does_not_matter():
    x, weight, bias, g, real = inputs((4, 5, 6), np.float32, True)
    moments = cpu.moments(x, real)
    np.testing.assert_array_equal(cpu.moments(awkward(x), awkward(real)), moments)
    np.testing.assert_array_equal(cpu.batch_norm(*map(awkward, (x, weight, bias, *moments, real))), cpu.batch_norm(x, weight, bias, *moments, real))
    for one, other in zip(cpu.batch_norm_backward(*map(awkward, (g, x, weight, *moments, real))), cpu.batch_norm_backward(g, x, weight, *moments, real)):
        np.testing.assert_array_equal(one, other)


def test_same_bits_on_any_number_of_threads():
    x, weight, bias, g, real = inputs((40, 30, 64), np.float32, True)

    def run():
        moments = cpu.moments(x, real)
        return *moments, cpu.batch_norm(x, weight, bias, *moments, real), *cpu.batch_norm_backward(g, x, weight, *moments, real)

    assert_same_bits(run)


@pytest.mark.parametrize("changes, error, said", [
    (dict(x=np.zeros(4)), ValueError, r"x has shape \(4,\); expected \(..., features\)"),
    (dict(x=np.zeros((3, 4), int)), TypeError, "x is int64"),
    (dict(weight=np.zeros(3)), ValueError, r"weight has shape \(3,\) but x has 4 features"),
    (dict(bias=np.zeros(3)), ValueError, r"bias has shape \(3,\)"),
    (dict(real=np.ones(2, bool)), ValueError, r"expected booleans \(3,\)"),
    (dict(real=np.ones(3)), ValueError, r"real is float64 \(3,\); expected booleans"),
])
def test_wrong_inputs_are_named(changes, error, said):
    given = dict(x=np.zeros((3, 4)), weight=np.ones(4), bias=np.zeros(4), mean=np.zeros(4), variance=np.ones(4), real=None) | changes
    with pytest.raises(error, match=said):
        cpu.batch_norm(*given.values())
