"""Rotary positions on CUDA, in the simulator: every element turned or copied, wherever the sequences begin."""
import numpy as np
import pytest

from minitx.kernels.rotary import cuda, reference

from ..kernels.checks import DTYPES, awkward, normal


def tables(positions, half, dtype):
    angles = np.arange(positions)[:, None] * 10.0 ** -np.arange(half)
    return np.cos(angles).astype(dtype), np.sin(angles).astype(dtype)


@DTYPES
@pytest.mark.parametrize("heads, half, rest", [(1, 4, 0), (3, 8, 24), (2, 3, 5), (2, 4, 3), (2, 1, 4), (0, 4, 8), (40, 4, 132)])
@pytest.mark.parametrize("start", [None, [0, 3], [2, 1]])
def test_agrees_with_the_reference(heads, half, rest, start, dtype):
    x, (cos, sin) = normal(2, 3, heads * 2 * half + rest, dtype=dtype), tables(6, half, dtype)
    for begin in (start,) if start is None else (np.array(start), np.array(start, np.int32)):
        out = cuda.rotary(x, cos, sin, heads, begin)
        assert out.dtype == dtype
        np.testing.assert_allclose(out, reference.rotary(x, cos, sin, heads, begin), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(cuda.rotary(awkward(x), awkward(cos), awkward(sin), heads, begin), out)
        np.testing.assert_allclose(cuda.rotary(out, cos, -sin, heads, begin), x, atol=1e-6)


@pytest.mark.parametrize("half", [3, 4])
def test_a_position_beyond_the_tables_makes_nan_and_touches_nothing_else(no_nan, half):
    x, (cos, sin) = normal(2, 3, 2 * half + 4, dtype=np.float32), tables(4, half, np.float32)
    for start in ([0, 2], [0, -1]):
        out = cuda.rotary(x, cos, sin, 1, np.array(start))
        wrong = [t for t in range(3) if not 0 <= start[1] + t < 4]
        assert np.isnan(out[1, wrong, :2 * half]).all() and np.isnan(out).sum() == len(wrong) * 2 * half


def test_wrong_inputs_are_named():
    x, (cos, sin) = np.zeros((2, 3, 8), np.float32), tables(4, 4, np.float32)
    for arguments, message in [((x[0], cos, sin, 1), "x has shape"), ((x, cos, sin, 2), "do not fit"), ((x, cos, sin, 1, np.zeros(3, int)), "start has shape")]:
        with pytest.raises(ValueError, match=message):
            cuda.rotary(*arguments)
