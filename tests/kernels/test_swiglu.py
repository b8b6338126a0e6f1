"""SwiGLU: cpu against reference, the backward pass against differences, gates far from zero."""
import numpy as np
import pytest

from minitx.kernels.swiglu import cpu, reference

from .checks import DTYPES, assert_close, assert_same_bits, awkward, differences, normal

SHAPES = [(3, 8), (1, 2), (2, 3, 34), (6,), (0, 6), (4, 0), (700, 50)]  # of x; the last is more than one block
UNITS = 8  # an exponential good to 2 epsilons, a division, products


def inputs(shape, dtype):
    """x, g."""
    return 3 * normal(*shape, dtype=dtype), normal(*shape[:-1], shape[-1] // 2, seed=1, dtype=dtype)


@DTYPES
@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_the_reference(shape, dtype):
    x, g = inputs(shape, dtype)
    out, dx = cpu.swiglu(x), cpu.swiglu_backward(g, x)
    assert out.dtype == dx.dtype == dtype
    assert_close(out, reference.swiglu(x.astype(np.float64)), UNITS)
    assert_close(dx, reference.swiglu_backward(g.astype(np.float64), x.astype(np.float64)), UNITS)


def test_reference_is_the_formula_and_its_backward_the_derivative():
    x, g = inputs((2, 3, 8), np.float64)
    np.testing.assert_allclose(reference.swiglu(x), x[..., :4] / (1 + np.exp(-x[..., :4])) * x[..., 4:], rtol=1e-12)
    np.testing.assert_allclose(reference.swiglu_backward(g, x), differences(lambda x: np.sum(g * reference.swiglu(x)), x), atol=1e-8)


@DTYPES
@pytest.mark.parametrize("file", [cpu, reference])
def test_a_gate_far_from_zero_is_open_or_shut(file, dtype):
    x = np.array([[-2e4, 3], [-100, 3], [-0.0, 3], [100, 3], [2e4, 3]], dtype)
    g = np.full((5, 1), 2, dtype)
    np.testing.assert_allclose(file.swiglu(x)[:, 0], [0, 0, 0, 300, 6e4], rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(file.swiglu_backward(g, x), [[0, 0], [0, 0], [3, 0], [6, 200], [6, 4e4]], rtol=1e-6, atol=1e-30)


@DTYPES
def test_a_nan_stays_where_it_is(dtype):
    x, _ = inputs((5, 12), dtype)
    x[1, 2], x[3, 11] = np.nan, np.nan
    out = cpu.swiglu(x)
    assert np.argwhere(np.isnan(out)).tolist() == [[1, 2], [3, 5]]


def test_layout_does_not_matter():
    x, g = inputs((6, 30), np.float32)
    np.testing.assert_array_equal(cpu.swiglu(awkward(x)), cpu.swiglu(x))
    np.testing.assert_array_equal(cpu.swiglu_backward(awkward(g), awkward(x)), cpu.swiglu_backward(g, x))


def test_same_bits_on_any_number_of_threads():
    x, g = inputs((1001, 130), np.float32)
    assert_same_bits(lambda: (cpu.swiglu(x), cpu.swiglu_backward(g, x)))


@pytest.mark.parametrize("file", [cpu, reference])
def test_wrong_inputs_are_named(file):
    with pytest.raises(ValueError, match=r"x has shape \(2, 3\).*even"):
        file.swiglu(np.zeros((2, 3), np.float32))
    with pytest.raises(TypeError, match="x is int64"):
        file.swiglu(np.zeros((2, 4), np.int64))
    with pytest.raises(ValueError, match=r"g has shape \(2, 4\) but x \(2, 4\); g must be \(2, 2\)"):
        file.swiglu_backward(np.zeros((2, 4), np.float32), np.zeros((2, 4), np.float32))
