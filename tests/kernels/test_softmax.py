"""Softmax and log-softmax: cpu against reference, masked rows, gradients against differences."""
import numpy as np
import pytest

from minitx.kernels.softmax import cpu, reference

from .checks import DTYPES, assert_close, assert_same_bits, awkward, differences, normal

SHAPES = [(3, 5), (1, 1), (7, 65), (4, 1), (2, 3, 17), (2, 1000), (5,), (0, 4), (3, 0)]
PAIRS = [("softmax", "softmax_backward"), ("log_softmax", "log_softmax_backward")]
# the exponential is good to 1 epsilon, a sum in vector registers to a few, and log_softmax subtracts numbers up to 4
# times the result
UNITS = 8


@DTYPES
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("forward, backward", PAIRS)
def test_agrees_with_the_reference(forward, backward, shape, dtype):
    x, g = normal(*shape, dtype=dtype) * 4, normal(*shape, seed=1, dtype=dtype)
    expected = getattr(reference, forward)(x.astype(np.float64))
    out = getattr(cpu, forward)(x)
    assert out.dtype == dtype
    assert_close(out, expected, UNITS)
    expected = getattr(reference, backward)(g.astype(np.float64), expected)
    # Σ g loses digits with the number of its terms
    assert_close(getattr(cpu, backward)(g, out), expected, 2 * UNITS + shape[-1] / 4)


@DTYPES
@pytest.mark.parametrize("forward, backward", PAIRS)
def test_masked_elements_and_rows(forward, backward, dtype):
    x = normal(5, 40, dtype=dtype)
    x[0, ::2] = -np.inf
    x[1, :] = -np.inf
    x[2, 1:] = -np.inf
    x[3] = 1e30 * x[3]
    x[4, 7] = -1000
    out = getattr(cpu, forward)(x)
    assert_close(out, getattr(reference, forward)(x.astype(np.float64)), UNITS)
    if forward == "softmax":
        assert (out[x == -np.inf] == 0).all() and out[2, 0] == 1
    g = normal(5, 40, seed=1, dtype=dtype)
    dx = getattr(cpu, backward)(g, out)
    assert_close(dx, getattr(reference, backward)(g.astype(np.float64), out.astype(np.float64)), 2 * UNITS)
    assert (dx[1] == 0).all()


@DTYPES
def test_a_nan_stays_visible(dtype):
    x = normal(2, 40, dtype=dtype)
    x[0, 33] = np.nan
    for out in (cpu.softmax(x), cpu.log_softmax(x)):
        assert np.isnan(out[0]).all() and np.isfinite(out[1]).all()


@pytest.mark.parametrize("forward, backward", PAIRS)
def test_layout_does_not_matter(forward, backward):
    x, g = normal(6, 30, dtype=np.float32), normal(6, 30, seed=1, dtype=np.float32)
    out = getattr(cpu, forward)(x)
    np.testing.assert_array_equal(getattr(cpu, forward)(awkward(x)), out)
    np.testing.assert_array_equal(getattr(cpu, backward)(awkward(g), awkward(out)), getattr(cpu, backward)(g, out))


@pytest.mark.parametrize("forward, backward", PAIRS)
def test_reference_backward_is_the_derivative(forward, backward):
    x, g = normal(3, 5), normal(3, 5, seed=1)
    x[0, 2] = -40.0
    expected = differences(lambda x: np.sum(g * getattr(reference, forward)(x)), x)
    np.testing.assert_allclose(getattr(reference, backward)(g, getattr(reference, forward)(x)), expected, atol=1e-8)


@pytest.mark.parametrize("forward, backward", PAIRS)
def test_same_bits_on_any_number_of_threads(forward, backward):
    x = normal(700, 257, dtype=np.float32)
    assert_same_bits(lambda: (getattr(cpu, forward)(x), getattr(cpu, backward)(x, getattr(cpu, forward)(x))))


def test_wrong_inputs_are_named():
    with pytest.raises(ValueError, match="scalar.*reshape"):
        cpu.softmax(np.float32(1.0).reshape(()))
    with pytest.raises(TypeError, match="int64, expected float32 or float64"):
        cpu.log_softmax(np.arange(3))
    with pytest.raises(ValueError, match="g has shape"):
        cpu.softmax_backward(np.zeros((2, 3)), np.zeros((2, 4)))
