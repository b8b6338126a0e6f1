"""Batch norm on CUDA, in the simulator: over the real rows, however many blocks share them."""
import numpy as np
import pytest

from minitx.kernels.batch_norm import cuda, reference

from ..kernels.checks import DTYPES, assert_close, awkward
from ..kernels.test_batch_norm import RAGGED, UNITS, exact, inputs


@DTYPES
@RAGGED
@pytest.mark.parametrize("shape", [(3, 8), (2, 3, 17), (20, 33), (0, 6), (1, 1), (5, 32)], ids=str)
def test_agrees_with_the_reference(shape, ragged, dtype, monkeypatch):
    monkeypatch.setattr(cuda, "PARTS", 4)
    x, weight, bias, g, real = inputs(shape, dtype, ragged)
    expected_moments, found = reference.moments(*exact(x), real), cuda.moments(x, real)
    for one, other in zip(found, expected_moments, strict=True):
        assert one.dtype == dtype
        assert_close(one, other, UNITS)
    expected = reference.batch_norm(*exact(x, weight, bias), *expected_moments, real, 1e-3)
    assert_close(cuda.batch_norm(x, weight, bias, *found, real, 1e-3), expected, UNITS)
    gradients = cuda.batch_norm_backward(g, x, weight, *found, real, 1e-3)
    for one, other in zip(gradients, reference.batch_norm_backward(*exact(g, x, weight), *expected_moments, real, 1e-3), strict=True):
        assert one.dtype == dtype
        if np.abs(other).max(initial=0) > 1e-12:  # of one row, the gradient is 0 in mathematics and a rounding error here
            assert_close(one, other, 4 * UNITS)
        else:
            assert np.abs(one).max(initial=0) < 1e-5


def test_padding_counts_for_nothing_whatever_stands_there():
    x, weight, bias, g, real = inputs((3, 5, 4), np.float32, True)
    right = cuda.moments(x[real])
    x[~real], g[~real] = np.nan, np.inf
    moments = cuda.moments(x, real)
    for actual, expected in zip(moments, right):
        assert_close(actual, expected, UNITS)
    assert (cuda.batch_norm(x, weight, bias, *moments, real)[~real] == 0).all()
    dx, dweight, dbias = cuda.batch_norm_backward(g, x, weight, *moments, real)
    assert (dx[~real] == 0).all() and np.isfinite(dx).all() and np.isfinite(dweight).all() and np.isfinite(dbias).all()


def test_no_real_row_at_all():
    x, weight, bias, g, _ = inputs((2, 3, 4), np.float32, False)
    real = np.zeros((2, 3), bool)
    mean, variance = cuda.moments(x, real)
    assert (mean == 0).all() and (variance == 0).all() and (cuda.batch_norm(x, weight, bias, mean, variance, real) == 0).all()
    assert all((gradient == 0).all() for gradient in cuda.batch_norm_backward(g, x, weight, mean, variance, real))


def test_layout_does_not_matter():
    x, weight, bias, g, real = inputs((6, 9), np.float32, True)
    mean, variance = cuda.moments(x, real)
    for actual, expected in zip(cuda.moments(awkward(x), awkward(real)), (mean, variance)):
        np.testing.assert_array_equal(actual, expected)
    for actual, expected in zip(cuda.batch_norm_backward(*map(awkward, (g, x, weight, mean, variance, real))),
                                cuda.batch_norm_backward(g, x, weight, mean, variance, real)):
        np.testing.assert_array_equal(actual, expected)
