"""Layer normalisation on CUDA, in the simulator: all versions against the reference, with weights that are not 1 and masks that are the CPU's."""
import numpy as np
import pytest

from minitx.kernels.layer_norm import cuda, naive, reference

from ..kernels.checks import DTYPES, assert_close, awkward, normal

KEY = 0x123456789ABCDEF0
# a warp's row (4, 8, 16, 32 elements a thread), a block's, not a multiple of 4, more rows than fit a block
SHAPES = [(3, 8), (2, 3, 132), (9, 260), (2, 1020), (2, 1028), (1, 1), (2, 3, 17), (5,), (0, 6), (2, 33)]
UNITS = 16


def vectors(n, dtype, weight=True, bias=True):
    return (normal(n, seed=8, dtype=dtype) + dtype(1) if weight else None,
            normal(n, seed=9, dtype=dtype) if bias else None)


def wide(*arrays):
    return [None if array is None else array.astype(np.float64) for array in arrays]


@DTYPES
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("with_weight, with_bias", [(True, True), (False, False)])
@pytest.mark.parametrize("version", [cuda, naive], ids=["cuda", "naive"])
def test_layer_norm_agrees_with_the_reference(version, shape, with_weight, with_bias, dtype):
    x, g = normal(*shape, dtype=dtype) + dtype(2), normal(*shape, seed=1, dtype=dtype)
    weight, bias = vectors(shape[-1], dtype, with_weight, with_bias)
    expected = reference.layer_norm(*wide(x, weight, bias), 1e-3)
    out, mean, rstd = version.layer_norm(x, weight, bias, 1e-3)
    assert out.dtype == mean.dtype == rstd.dtype == dtype
    for actual, right in zip((out, mean, rstd), expected):
        assert_close(actual, right, UNITS)
    gradients = version.layer_norm_backward(g, x, weight, mean, rstd)
    for actual, right in zip(gradients, reference.layer_norm_backward(*wide(g, x, weight), *expected[1:])):
        assert (actual is None) == (right is None)
        if right is not None and shape[-1] > 1:
            assert_close(actual, right, 4 * UNITS)


@pytest.mark.parametrize("shape", [(3, 8), (2, 3, 132), (5, 516), (2, 33), (1, 1)])
@pytest.mark.parametrize("p", [0.0, 0.4])
@pytest.mark.parametrize("goes_on", [True, False])
def test_add_layer_norm_agrees_with_the_reference(shape, p, goes_on):
    dtype = np.float32
    x, residual, g = (normal(*shape, seed=seed, dtype=dtype) for seed in range(3))
    g_total = normal(*shape, seed=3, dtype=dtype) if goes_on else None
    weight, bias = vectors(shape[-1], dtype)
    expected = reference.add_layer_norm(*wide(x, residual, weight, bias), 1e-3, p, KEY)
    results = cuda.add_layer_norm(x, residual, weight, bias, 1e-3, p, KEY)
    for actual, right in zip(results, expected):
        assert_close(actual, right, UNITS)
    expected = reference.add_layer_norm_backward(*wide(g, g_total), expected[1], *wide(weight), *expected[2:], p, KEY)
    gradients = cuda.add_layer_norm_backward(g, g_total, results[1], weight, *results[2:], p, KEY)
    for actual, right in zip(gradients, expected):
        if shape[-1] > 1:
            assert_close(actual, right, 4 * UNITS)
    assert (gradients[0] is gradients[1]) == (p == 0)


@pytest.mark.parametrize("columns", [8, 9])
def test_sums_over_more_rows_than_blocks(columns, monkeypatch):
    monkeypatch.setattr(cuda, "PARTS", 2)
    x, g = normal(21, columns, dtype=np.float32), normal(21, columns, seed=1, dtype=np.float32)
    weight, _ = vectors(columns, np.float32)
    _, mean, rstd = reference.layer_norm(x, weight)
    for actual, right in zip(cuda.layer_norm_backward(g, x, weight, mean, rstd), reference.layer_norm_backward(*wide(g, x, weight, mean, rstd))):
        assert_close(actual, right, 4 * UNITS)


@pytest.mark.parametrize("columns", [64, 65])
def test_a_large_mean_costs_no_digits(columns):
    x = normal(4, columns, dtype=np.float32) + np.float32(1000)
    out, _, rstd = cuda.layer_norm(x)
    expected, _, right = reference.layer_norm(x.astype(np.float64))
    assert_close(rstd, right, UNITS)
    assert_close(out, expected, 1000)  # x itself is only known to 1000 epsilons of its spread


def test_layout_does_not_matter():
    x, g, residual = (normal(6, 32, seed=seed, dtype=np.float32) for seed in range(3))
    weight, bias = vectors(32, np.float32)
    results = cuda.add_layer_norm(x, residual, weight, bias)
    strided = cuda.add_layer_norm(awkward(x), awkward(residual), awkward(weight), awkward(bias))
    gradients = cuda.layer_norm_backward(g, results[1], weight, *results[2:])
    total, mean, rstd = (awkward(result) for result in results[1:])
    strided += cuda.layer_norm_backward(awkward(g), total, awkward(weight), mean, rstd)
    for a, b in zip(results + gradients, strided):
        np.testing.assert_array_equal(a, b)
