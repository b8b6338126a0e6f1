"""What the tests of the kernels share: comparison in units of epsilon, central differences, awkward layouts, bits on
one and two threads."""
import numba
import numpy as np
import pytest

from minitx.kernels.runtime import threads

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def normal(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


def assert_close(actual, expected, units):
    """Equal up to `units` epsilons of actual's dtype, relative to the largest finite |expected|; infinities and NaN in
    the same places."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(actual[~finite], expected[~finite].astype(actual.dtype))
    if finite.any():
        error = np.abs(actual[finite] - expected[finite]).max() / (np.abs(expected[finite]).max() or 1.0)
        assert error <= units * np.finfo(actual.dtype).eps, f"off by {error / np.finfo(actual.dtype).eps:.1f} epsilons"


def awkward(array):
    """The same values, as a view that is neither contiguous nor writable."""
    spread = np.zeros((*array.shape, 2), array.dtype)
    spread[..., 0] = array
    view = spread[..., 0]
    view.flags.writeable = False
    return view


def differences(function, x, step=1e-6):
    """∂ function / ∂x by central differences; `function` takes a float64 array like x and returns a number."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        high, low = x.copy(), x.copy()
        high[index] += step
        low[index] -= step
        gradient[index] = (function(high) - function(low)) / (2 * step)
    return gradient


def assert_same_bits(function):
    """`function()` returns an array or a tuple of arrays, with the same bits on one and on two threads."""
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.fail("this test needs two threads; NUMBA_NUM_THREADS or the machine allows only one")
    before = threads.get_threads()
    results = []
    for count in (1, 2, 2):
        threads.set_threads(count)
        result = function()
        arrays = result if isinstance(result, tuple) else (result,)
        results.append([np.asarray(array).tobytes() for array in arrays if array is not None])
    threads.set_threads(before)
    assert results[0] == results[1] == results[2]
