"""The k largest of each row: cpu against reference, equals, −∞, and what a search relies on."""
import numpy as np
import pytest

from minitx.kernels.top_k import cpu, reference

from .checks import DTYPES, assert_close, assert_same_bits, awkward, normal

SHAPES = [(1, 1, 1, 0), (3, 5, 5, 0), (3, 7, 2, 3), (0, 4, 1, 0), (2, 4, 0, 4), (5, 300, 17, 3), (40, 1000, 5, 3), (2, 129, 126, 3)]


@DTYPES
@pytest.mark.parametrize("rows, columns, k, first", SHAPES)
def test_agrees_with_the_reference(rows, columns, k, first, dtype):
    logits = normal(rows, columns, dtype=dtype) * 4
    for got, expected in zip(cpu.top_k(logits, k, first)[:2], reference.top_k(logits, k, first)[:2]):
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)
    assert_close(cpu.top_k(logits, k, first)[2], reference.top_k(logits.astype(np.float64), k, first)[2], 8)


@DTYPES
@pytest.mark.parametrize("k", [1, 2, 5, 20, 400])
def test_of_equals_the_first_comes_first(k, dtype):
    logits = np.random.default_rng(0).integers(0, 4, (30, 500)).astype(dtype)
    logits[0] = 1
    columns, values, _ = cpu.top_k(logits, k, 3)
    np.testing.assert_array_equal(columns, reference.top_k(logits, k, 3)[0])
    np.testing.assert_array_equal(values, np.take_along_axis(logits, columns, axis=1))


@DTYPES
def test_what_is_masked_is_never_among_the_largest(dtype):
    logits = normal(3, 200, dtype=dtype)
    logits[0, 5:] = -np.inf  # fewer than k are left
    logits[1, ::2] = -np.inf
    columns, values, log_sum_exp = cpu.top_k(logits, 8)
    np.testing.assert_array_equal(values, reference.top_k(logits, 8)[1])
    np.testing.assert_array_equal(columns[0, :5], reference.top_k(logits, 5)[0][0])
    assert (values[0, 5:] == -np.inf).all() and (columns[1] % 2 == 1).all() and np.isfinite(log_sum_exp).all()


def test_log_probabilities_are_those_of_the_whole_row():
    logits = normal(4, 50, dtype=np.float64)
    logits[:, 0] += 30  # not a candidate, but nearly certain
    _, values, log_sum_exp = cpu.top_k(logits, 3, first=1)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.exp(values - log_sum_exp[:, None]), np.sort(chances[:, 1:], axis=1)[:, :-4:-1], rtol=1e-12)


def test_layout_and_threads_do_not_matter():
    logits = normal(300, 700, dtype=np.float32)
    for got, expected in zip(cpu.top_k(awkward(logits), 5, 3), cpu.top_k(logits, 5, 3)):
        np.testing.assert_array_equal(got, expected)
    assert_same_bits(lambda: cpu.top_k(logits, 5, 3))


def test_mistakes_are_named():
    logits = normal(2, 5, dtype=np.float32)
    for call, message in ((lambda: cpu.top_k(logits, 3, 3), "k is 3 but 2 columns are candidates"), (lambda: cpu.top_k(logits[0], 1), "shape"),
                          (lambda: cpu.top_k(logits, 1, 9), "0 columns are candidates")):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match="int64"):
        cpu.top_k(np.zeros((2, 2), int), 1)
