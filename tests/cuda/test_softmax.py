"""Softmax and log-softmax on CUDA, in the simulator: all versions against the reference, on rows of a warp, of a block, and too long for registers."""
import numpy as np
import pytest

from minitx.kernels.softmax import cuda, naive, reference

from ..kernels.checks import DTYPES, assert_close, awkward, normal

PAIRS = [("softmax", "softmax_backward"), ("log_softmax", "log_softmax_backward")]
# one warp (a thread has 4, 8, 16, 32 elements), a block of several; not a multiple of 4; nothing at all
SHAPES = [(3, 4), (2, 3, 128), (5, 196), (2, 500), (1, 1020), (2, 1028), (3, 5), (1, 1), (2, 133), (4,), (0, 4), (3, 0)]
UNITS = 8
VERSIONS = pytest.mark.parametrize("version", [cuda, naive], ids=["cuda", "naive"])


@DTYPES
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("forward, backward", PAIRS)
@VERSIONS
def test_agrees_with_the_reference(version, forward, backward, shape, dtype):
    x, g = normal(*shape, dtype=dtype) * 4, normal(*shape, seed=1, dtype=dtype)
    expected = getattr(reference, forward)(x.astype(np.float64))
    out = getattr(version, forward)(x)
    assert out.dtype == dtype
    assert_close(out, expected, UNITS)
    expected = getattr(reference, backward)(g.astype(np.float64), expected)
    assert_close(getattr(version, backward)(g, out), expected, 2 * UNITS + shape[-1] / 4)


@pytest.mark.parametrize("columns", [40, 67])  # in registers, and not
@pytest.mark.parametrize("forward, backward", PAIRS)
@VERSIONS
def test_masked_elements_and_rows(version, forward, backward, columns):
    x = normal(6, columns, dtype=np.float32)
    x[0, ::2] = -np.inf
    x[1, :] = -np.inf
    x[2, 1:] = -np.inf
    x[3] = 1e30 * x[3]
    x[4, 7] = -1000
    x[5, :35] = -np.inf  # the first elements of each thread
    out = getattr(version, forward)(x)
    assert_close(out, getattr(reference, forward)(x.astype(np.float64)), UNITS)
    if forward == "softmax":
        assert (out[x == -np.inf] == 0).all() and out[2, 0] == 1
    g = normal(6, columns, seed=1, dtype=np.float32)
    dx = getattr(version, backward)(g, out)
    assert_close(dx, getattr(reference, backward)(g.astype(np.float64), out.astype(np.float64)), 2 * UNITS)
    assert (dx[1] == 0).all()


@pytest.mark.parametrize("columns", [40, 41])
@VERSIONS
def test_a_nan_stays_visible(version, columns):
    x = normal(2, columns, dtype=np.float32)
    x[0, 33] = np.nan
    for out in (version.softmax(x), version.log_softmax(x)):
        assert np.isnan(out[0]).all() and np.isfinite(out[1]).all()


@pytest.mark.parametrize("forward, backward", PAIRS)
@VERSIONS
def test_layout_does_not_matter(version, forward, backward):
    x, g = normal(6, 32, dtype=np.float32), normal(6, 32, seed=1, dtype=np.float32)
    out = getattr(version, forward)(x)
    np.testing.assert_array_equal(getattr(version, forward)(awkward(x)), out)
    np.testing.assert_array_equal(getattr(version, backward)(awkward(g), awkward(out)), getattr(version, backward)(g, out))
