"""SwiGLU on CUDA, in the simulator."""
import numpy as np
import pytest

from minitx.kernels.swiglu import cuda, reference

from ..kernels.checks import DTYPES, assert_close, awkward, normal

UNITS = 16


@DTYPES
@pytest.mark.parametrize("shape", [(3, 8), (2, 3, 264), (5, 10), (2,), (0, 4), (3, 0), (9, 2)])
def test_agrees_with_the_reference(shape, dtype):
    x, g = 3 * normal(*shape, dtype=dtype), normal(*shape[:-1], shape[-1] // 2, seed=1, dtype=dtype)
    out, dx = cuda.swiglu(x), cuda.swiglu_backward(g, x)
    assert out.dtype == dx.dtype == dtype
    assert_close(out, reference.swiglu(x.astype(np.float64)), UNITS)
    assert_close(dx, reference.swiglu_backward(g.astype(np.float64), x.astype(np.float64)), UNITS)
    np.testing.assert_array_equal(cuda.swiglu(awkward(x)), out)
    np.testing.assert_array_equal(cuda.swiglu_backward(awkward(g), awkward(x)), dx)


@DTYPES
def test_far_from_zero(dtype):
    x = np.array([[-1e4, -100, -20, 0, 20, 100, 1e4, np.nan] + [1.0] * 8], dtype)
    np.testing.assert_allclose(cuda.swiglu(x), reference.swiglu(x.astype(np.float64)), rtol=1e-6, atol=1e-6)
    x[0, 7] = 0
    np.testing.assert_allclose(cuda.swiglu_backward(np.ones((1, 8), dtype), x), reference.swiglu_backward(np.ones((1, 8)), x.astype(np.float64)), atol=1e-6)


def test_wrong_inputs_are_named():
    with pytest.raises(ValueError, match="an even number"):
        cuda.swiglu(np.zeros((2, 3)))
