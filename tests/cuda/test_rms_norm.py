"""RMS norm on CUDA, in the simulator: all versions against the reference, with weights that are not 1."""
import numpy as np
import pytest

from minitx.kernels.rms_norm import cuda, naive, reference

from ..kernels.checks import DTYPES, assert_close, awkward, normal

# a warp's row (4, 8, 16, 32 elements a thread), a block's, not a multiple of 4, more rows than fit a block
SHAPES = [(3, 8), (2, 3, 132), (9, 260), (2, 1020), (2, 1028), (1, 1), (2, 3, 17), (5,), (0, 6), (2, 33)]
UNITS = 16


def wide(*arrays):
    return [None if array is None else array.astype(np.float64) for array in arrays]


@DTYPES
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("with_weight", [True, False])
@pytest.mark.parametrize("version", [cuda, naive], ids=["cuda", "naive"])
def test_agrees_with_the_reference(version, shape, with_weight, dtype):
    x, g = normal(*shape, dtype=dtype), normal(*shape, seed=1, dtype=dtype)
    weight = normal(shape[-1], seed=8, dtype=dtype) + dtype(1) if with_weight else None
    out, rstd = version.rms_norm(x, weight, 1e-3)
    expected = reference.rms_norm(*wide(x, weight), 1e-3)
    assert out.dtype == rstd.dtype == dtype
    assert_close(out, expected[0], UNITS)
    assert_close(rstd, expected[1], UNITS)
    for actual, right in zip(version.rms_norm_backward(g, x, weight, rstd), reference.rms_norm_backward(*wide(g, x, weight), expected[1])):
        assert (actual is None) == (right is None)
        if right is not None:
            assert_close(actual, right, 4 * UNITS if shape[-1] > 1 else 1e4)


@pytest.mark.parametrize("columns", [8, 9])
def test_sums_over_more_rows_than_blocks(columns, monkeypatch):
    monkeypatch.setattr(cuda, "PARTS", 2)
    x, g, weight = normal(21, columns, dtype=np.float32), normal(21, columns, seed=1, dtype=np.float32), normal(columns, dtype=np.float32)
    _, rstd = reference.rms_norm(x, weight)
    for actual, right in zip(cuda.rms_norm_backward(g, x, weight, rstd), reference.rms_norm_backward(*wide(g, x, weight, rstd))):
        assert_close(actual, right, 4 * UNITS)


def test_layout_does_not_matter():
    x, g, weight = normal(6, 32, dtype=np.float32), normal(6, 32, seed=1, dtype=np.float32), normal(32, dtype=np.float32)
    out, rstd = cuda.rms_norm(x, weight)
    np.testing.assert_array_equal(cuda.rms_norm(awkward(x), awkward(weight))[0], out)
    for a, b in zip(cuda.rms_norm_backward(g, x, weight, rstd), cuda.rms_norm_backward(awkward(g), awkward(x), awkward(weight), awkward(rstd))):
        np.testing.assert_array_equal(a, b)


def test_a_weight_may_begin_anywhere():
    x, whole = normal(3, 8, dtype=np.float32), normal(16, dtype=np.float32)
    for start in range(4):
        np.testing.assert_array_equal(cuda.rms_norm(x, whole[start:start + 8])[0], cuda.rms_norm(x, whole[start:start + 8].copy())[0])
