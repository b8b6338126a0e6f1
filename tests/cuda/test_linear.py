"""The linear layer on CUDA, in the simulator: what comes before and after the products, which are NumPy's here and cuBLAS's on a GPU."""
import numpy as np
import pytest

from minitx.kernels.linear import cuda, naive, reference

from ..kernels.checks import DTYPES, assert_close, awkward, normal

KEY = 0x123456789ABCDEF0
UNITS = 16
VERSIONS = pytest.mark.parametrize("version", [cuda, naive], ids=["cuda", "naive"])
CASES = pytest.mark.parametrize("activation, p", [("none", 0.0), ("relu", 0.0), ("gelu", 0.0), ("gelu_tanh", 0.0), ("relu", 0.3), ("gelu", 0.3)])


def parameters(x_shape, n_out, dtype, bias=True):
    return (normal(*x_shape, dtype=dtype), normal(n_out, x_shape[-1], seed=1, dtype=dtype), normal(n_out, seed=2, dtype=dtype) if bias else None,
            normal(*x_shape[:-1], n_out, seed=3, dtype=dtype))


def wide(*arrays):
    return [None if array is None else array.astype(np.float64) for array in arrays]


@DTYPES
@CASES
@pytest.mark.parametrize("x_shape, n_out", [((2, 3, 4), 8), ((9, 5), 132), ((5, 3), 7), ((3,), 5), ((0, 3), 4), ((1, 1), 1)])
@VERSIONS
def test_agrees_with_the_reference(version, x_shape, n_out, activation, p, dtype):
    for bias in (True, False) if activation in ("none", "relu") else (True,):
        x, weight, bias, g = parameters(x_shape, n_out, dtype, bias)
        out, saved = version.linear(x, weight, bias, activation, p, KEY)
        expected, kept = reference.linear(*wide(x, weight, bias), activation, p, KEY)
        assert out.dtype == dtype
        assert_close(out, expected, UNITS)
        assert (saved is None) == (kept is None)
        gradients = version.linear_backward(g, x, weight, saved, activation, p)
        for actual, right in zip(gradients, reference.linear_backward(*wide(g, x, weight), kept, activation, p)):
            assert actual.dtype == dtype
            assert_close(actual, right, 2 * UNITS)


@CASES
@pytest.mark.parametrize("needs", [(True, False, False), (False, True, False), (False, False, True)])
def test_only_what_is_needed(activation, p, needs):
    x, weight, bias, g = parameters((5, 8), 12, np.float32)
    out, saved = cuda.linear(x, weight, bias, activation, p, KEY, needs_gradient=False)
    assert saved is None
    right, saved = cuda.linear(x, weight, bias, activation, p, KEY)
    np.testing.assert_array_equal(out, right)
    every = cuda.linear_backward(g, x, weight, saved, activation, p)
    for needed, some, all_ in zip(needs, cuda.linear_backward(g, x, weight, saved, activation, p, needs), every):
        assert (some is None) == (not needed)
        if needed:
            np.testing.assert_array_equal(some, all_)


@VERSIONS
def test_the_gradient_of_the_weight_is_written_where_it_is_wanted(version):
    x, weight, bias, g = parameters((5, 8), 12, np.float32)
    expected, place = version.linear_backward(g, x, weight, None)[1], np.full((12, 8), np.nan, np.float32)
    assert version.linear_backward(g, x, weight, None, dweight=place)[1] is place
    np.testing.assert_array_equal(place, expected)


def test_sums_over_more_rows_than_blocks(monkeypatch):
    monkeypatch.setattr(cuda, "PARTS", 2)
    for n_out in (8, 133):
        x, weight, bias, g = parameters((70, 3), n_out, np.float32)
        assert_close(cuda.linear_backward(g, x, weight, None, needs=(False, False, True))[2], g.astype(np.float64).sum(0), UNITS)


@VERSIONS
def test_layout_does_not_matter(version):
    x, weight, bias, g = parameters((6, 8), 12, np.float32)
    out, saved = version.linear(x, weight, bias, "gelu", 0.3, KEY)
    strided, slope = version.linear(awkward(x), awkward(weight), awkward(bias), "gelu", 0.3, KEY)
    np.testing.assert_allclose(strided, out, rtol=1e-5, atol=1e-6)  # NumPy's product differs
    for a, b in zip(version.linear_backward(g, x, weight, saved, "gelu", 0.3),
                    version.linear_backward(awkward(g), awkward(x), awkward(weight), awkward(saved), "gelu", 0.3)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_nan_stays_visible():
    x, weight = np.array([[np.nan], [1.0]], np.float32), np.ones((4, 1), np.float32)
    for activation in ("none", "relu", "gelu"):
        out, _ = cuda.linear(x, weight, np.zeros(4, np.float32), activation)
        assert np.isnan(out[0]).all() and np.isfinite(out[1]).all()


def test_a_bias_may_begin_anywhere():
    x, weight, _, _ = parameters((3, 4), 8, np.float32)
    whole = normal(16, dtype=np.float32)
    for start in range(4):
        bias = whole[start:start + 8]
        np.testing.assert_array_equal(cuda.linear(x, weight, bias)[0], cuda.linear(x, weight, bias.copy())[0])


def test_wrong_inputs_are_named():
    with pytest.raises(ValueError, match="takes 5 features"):
        cuda.linear(np.zeros((2, 3)), np.zeros((3, 5)))
