"""RMS norm: cpu against reference, gradients against differences with a weight that is not 1."""
import numpy as np
import pytest

from minitx.kernels.rms_norm import cpu, reference

from .checks import DTYPES, assert_close, assert_same_bits, awkward, differences, normal

SHAPES = [(3, 8), (1, 1), (2, 3, 17), (64, 33), (5,), (0, 6), (300, 64)]  # the last is more than one block
UNITS = 16  # a mean of squares over a row, and for the backward pass sums over rows of products of three


def inputs(shape, dtype, with_weight=True):
    """x, g, weight."""
    weight = normal(shape[-1], seed=8, dtype=dtype) + dtype(1) if with_weight else None
    return normal(*shape, dtype=dtype) + dtype(2), normal(*shape, seed=1, dtype=dtype), weight


def exact(*arrays):
    return [None if array is None else array.astype(np.float64) for array in arrays]


@DTYPES
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("with_weight", [True, False])
def test_agrees_with_the_reference(shape, with_weight, dtype):
    x, g, weight = inputs(shape, dtype, with_weight)
    expected, expected_rstd = reference.rms_norm(*exact(x, weight), 1e-3)
    out, rstd = cpu.rms_norm(x, weight, 1e-3)
    assert out.dtype == rstd.dtype == dtype and rstd.shape == shape[:-1]
    assert_close(out, expected, UNITS)
    assert_close(rstd, expected_rstd, UNITS)
    dx, dweight = cpu.rms_norm_backward(g, x, weight, rstd)
    expected_dx, expected_dweight = reference.rms_norm_backward(*exact(g, x, weight), expected_rstd)
    assert (dweight is None) == (expected_dweight is None) == (not with_weight)
    if with_weight:
        assert_close(dweight, expected_dweight, 4 * UNITS)
    if shape[-1] > 1:
        assert_close(dx, expected_dx, 4 * UNITS)
    else:  # a row of one element is always normalised to about 1: what is left are ε and rounding errors
        assert abs(dx - expected_dx).max() <= 8 * np.finfo(dtype).eps


def test_reference_backward_is_the_derivative():
    x, g, weight = inputs((3, 6), np.float64)
    gradients = reference.rms_norm_backward(g, x, weight, reference.rms_norm(x, weight, 0.1)[1])
    np.testing.assert_allclose(gradients[0], differences(lambda x: np.sum(g * reference.rms_norm(x, weight, 0.1)[0]), x), atol=1e-8)
    np.testing.assert_allclose(gradients[1], differences(lambda weight: np.sum(g * reference.rms_norm(x, weight, 0.1)[0]), weight), atol=1e-8)


@DTYPES
@pytest.mark.parametrize("file", [cpu, reference])
def test_a_row_of_zeros_stays_zero(file, dtype):
    """What is divided by is √ε then."""
    x, g, weight = inputs((2, 8), dtype)
    x[1] = 0
    out, rstd = file.rms_norm(x, weight, 1e-6)
    dx, dweight = file.rms_norm_backward(g, x, weight, rstd)
    assert (out[1] == 0).all() and rstd[1] == pytest.approx(1e3, rel=1e-6)
    np.testing.assert_allclose(dx[1], 1e3 * g[1] * weight, rtol=1e-5)
    assert_close(dweight, exact(g[0] * out[0] / weight)[0], UNITS)


def test_a_nan_stays_in_its_row():
    x, _, weight = inputs((4, 9), np.float32)
    x[2, 5] = np.nan
    out, _ = cpu.rms_norm(x, weight)
    assert np.isnan(out[2]).all() and np.isfinite(np.delete(out, 2, axis=0)).all()


def test_layout_does_not_matter():
    x, g, weight = inputs((6, 30), np.float32)
    out, rstd = cpu.rms_norm(x, weight)
    results = out, rstd, *cpu.rms_norm_backward(g, x, weight, rstd)
    again = (*cpu.rms_norm(awkward(x), awkward(weight)), *cpu.rms_norm_backward(*map(awkward, (g, x, weight, rstd))))
    for a, b in zip(results, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_same_bits_on_any_number_of_threads():
    x, g, weight = inputs((1001, 128), np.float32)

    def run():
        out, rstd = cpu.rms_norm(x, weight)
        return out, rstd, *cpu.rms_norm_backward(g, x, weight, rstd)

    assert_same_bits(run)


@pytest.mark.parametrize("file", [cpu, reference])
def test_wrong_inputs_are_named(file):
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"weight has shape \(4,\) but rows have 3 elements"):
        file.rms_norm(x, np.ones(4, np.float32))
    with pytest.raises(ValueError, match="at least one element"):
        file.rms_norm(np.zeros((2, 0), np.float32))
    with pytest.raises(TypeError, match="int64"):
        file.rms_norm(np.zeros((2, 3), np.int64))
    with pytest.raises(ValueError, match=r"g has shape \(3, 2\) but the input \(2, 3\)"):
        file.rms_norm_backward(np.zeros((3, 2), np.float32), x, None, np.ones(2, np.float32))


def test_two_dtypes_are_refused():
    with pytest.raises(TypeError, match="rms_norm: x is float64, weight float32; make them the same with .astype"):
        cpu.rms_norm(np.ones((2, 3)), np.ones(3, np.float32))
