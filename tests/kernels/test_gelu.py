"""GELU: its value and its gradient against the reference, far from zero, and where a value is missing."""
import numpy as np
import pytest

from minitx.kernels.gelu import cpu, reference

from .checks import DTYPES, assert_close, assert_same_bits, awkward, normal

UNITS = 8
SHAPES = pytest.mark.parametrize("shape", [(1,), (3, 5), (0, 4), (), (2, 3, 7), (70_001,)])


@DTYPES
@SHAPES
def test_agrees_with_the_reference(shape, dtype):
    x, g = np.asarray(3 * normal(*shape), dtype), np.asarray(normal(*shape), dtype)
    out, dx = cpu.gelu(x), cpu.gelu_backward(g, x)
    assert out.dtype == dx.dtype == dtype and out.shape == dx.shape == shape
    assert_close(out, reference.gelu(x.astype(np.float64)), UNITS)
    assert_close(dx, reference.gelu_backward(g.astype(np.float64), x.astype(np.float64)), UNITS)


def test_the_gradient_is_that_of_the_value():
    x, step = np.linspace(-6, 6, 101), 1e-5
    slope = (reference.gelu(x + step) - reference.gelu(x - step)) / (2 * step)
    np.testing.assert_allclose(reference.gelu_backward(np.ones(101), x), slope, atol=1e-9)


@DTYPES
def test_far_from_zero_and_missing_values(dtype):
    x = np.array([-100.0, -20.0, -5.0, -0.0, 5.0, 20.0, 100.0, np.nan, np.inf], dtype)
    np.testing.assert_allclose(cpu.gelu(x), reference.gelu(x.astype(np.float64)), rtol=1e-5, atol=1e-6)
    x = x[:-1]
    np.testing.assert_allclose(cpu.gelu_backward(np.ones_like(x), x), reference.gelu_backward(np.ones(8), x.astype(np.float64)), rtol=1e-5, atol=2e-6)
    x = np.array([-1e38, -1e18, 1e18, 1e38], dtype)
    np.testing.assert_allclose(cpu.gelu_backward(np.ones_like(x), x), [0, 0, 1, 1], atol=1e-30)


def test_layout_and_threads_do_not_matter():
    x, g = normal(300, 401).astype(np.float32), normal(300, 401).astype(np.float32)
    np.testing.assert_array_equal(cpu.gelu(awkward(x)), cpu.gelu(x))
    np.testing.assert_array_equal(cpu.gelu_backward(awkward(g), awkward(x)), cpu.gelu_backward(g, x))
    assert_same_bits(lambda: (cpu.gelu(x), cpu.gelu_backward(g, x)))


def test_whole_numbers_are_refused():
    for file in (cpu, reference):
        with pytest.raises(TypeError, match="gelu: x is int64, expected float32 or float64"):
            file.gelu(np.arange(3))
