"""GELU on CUDA, in the simulator."""
import numpy as np
import pytest

from minitx.kernels.gelu import cuda, reference

from ..kernels.checks import DTYPES, assert_close, awkward, normal

UNITS = 8


@DTYPES
@pytest.mark.parametrize("shape", [(1,), (3, 5), (0, 4), (), (2, 3, 7), (1030,)])
def test_agrees_with_the_reference(shape, dtype):
    x, g = np.asarray(3 * normal(*shape), dtype), np.asarray(normal(*shape, seed=1), dtype)
    out, dx = cuda.gelu(x), cuda.gelu_backward(g, x)
    assert out.dtype == dx.dtype == dtype and out.shape == dx.shape == shape
    assert_close(out, reference.gelu(x.astype(np.float64)), UNITS)
    assert_close(dx, reference.gelu_backward(g.astype(np.float64), x.astype(np.float64)), UNITS)
    np.testing.assert_array_equal(cuda.gelu(awkward(x)), out)
    np.testing.assert_array_equal(cuda.gelu_backward(awkward(g), awkward(x)), dx)


@DTYPES
def test_far_from_zero_and_missing_values(dtype):
    x = np.array([-100.0, -20.0, -5.0, -0.0, 5.0, 20.0, 100.0, np.nan, np.inf], dtype)
    np.testing.assert_allclose(cuda.gelu(x), reference.gelu(x.astype(np.float64)), rtol=1e-5, atol=1e-6)
    x = x[:-1]
    np.testing.assert_allclose(cuda.gelu_backward(np.ones_like(x), x), reference.gelu_backward(np.ones(8), x.astype(np.float64)), rtol=1e-5, atol=2e-6)


def test_whole_numbers_are_refused():
    with pytest.raises(TypeError, match="gelu: x is int64"):
        cuda.gelu(np.arange(3))
