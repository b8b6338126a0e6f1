"""Embedding: rows out, sums of gradients back, whatever the ids are."""
import numpy as np
import pytest

from minitx.kernels.embedding import cpu, reference

from .checks import DTYPES, assert_close, assert_same_bits, awkward, differences, normal

IDS = [[0, 2, 2, 1], [], [[4, 4, 4], [0, 4, 4]], 3, np.arange(5)]


@DTYPES
@pytest.mark.parametrize("ids", IDS)
@pytest.mark.parametrize("d", [1, 17])
def test_agrees_with_the_reference(ids, d, dtype):
    weight, ids = normal(5, d, dtype=dtype), np.asarray(ids, np.int32)
    out = cpu.embedding(weight, ids)
    assert out.dtype == dtype and out.shape == ids.shape + (d,)
    np.testing.assert_array_equal(out, reference.embedding(weight, ids))
    g = normal(*out.shape, dtype=dtype)
    dweight = cpu.embedding_backward(g, ids, 5)
    assert_close(dweight, reference.embedding_backward(g.astype(np.float64), ids, 5), 4)  # sums of at most five terms
    assert (np.delete(dweight, ids.reshape(-1), axis=0) == 0).all()


def test_many_repeated_ids_in_the_order_of_the_text():
    ids, g = np.random.default_rng(0).integers(0, 9, (40, 50)) ** 2, normal(40, 50, 12, dtype=np.float32)
    expected = np.zeros((80, 12), np.float32)
    for i, row in zip(ids.reshape(-1), g.reshape(-1, 12)):
        expected[i] += row
    np.testing.assert_array_equal(cpu.embedding_backward(g, ids, 80), expected)


def test_reference_backward_is_the_derivative():
    weight, ids, g = normal(5, 2), np.array([[0, 2], [2, 1]]), normal(2, 2, 2)
    expected = differences(lambda w: np.sum(g * reference.embedding(w, ids)), weight)
    np.testing.assert_allclose(reference.embedding_backward(g, ids, 5), expected, atol=1e-8)


def test_layout_does_not_matter():
    weight, ids, g = normal(5, 6, dtype=np.float32), np.array([[0, 2], [2, 1]]), normal(2, 2, 6, dtype=np.float32)
    np.testing.assert_array_equal(cpu.embedding(awkward(weight), awkward(ids)), weight[ids])
    dweight = cpu.embedding_backward(g, ids, 5)
    np.testing.assert_array_equal(cpu.embedding_backward(awkward(g), awkward(ids), 5), dweight)


def test_same_bits_on_any_number_of_threads():
    weight, ids = normal(1000, 128, dtype=np.float32), np.random.default_rng(0).integers(0, 1000, 3000)
    g = normal(3000, 128, dtype=np.float32)
    assert_same_bits(lambda: (cpu.embedding(weight, ids), cpu.embedding_backward(g, ids, 1000)))


def test_wrong_inputs_are_named():
    weight = np.zeros((5, 2), np.float32)
    with pytest.raises(IndexError, match="ids run from 0 to 5 but the table has 5 rows"):
        cpu.embedding(weight, np.array([0, 5]))
    with pytest.raises(IndexError, match="from -1 to 0"):
        cpu.embedding_backward(weight[:2], np.array([0, -1]), 5)
    with pytest.raises(TypeError, match="ids are float64"):
        cpu.embedding(weight, np.array([0.0]))
    with pytest.raises(ValueError, match="g has shape"):
        cpu.embedding_backward(weight, np.array([0, 1]), 5)


@pytest.mark.parametrize("kernel", [cpu.embedding, reference.embedding])
def test_rows_are_written_where_the_caller_wants_them(kernel):
    weight, ids = normal(5, 3, dtype=np.float32), np.array([[4, 0], [4, 1]])
    out = np.full((2, 2, 3), np.nan, np.float32)
    assert kernel(weight, ids, out) is out
    np.testing.assert_array_equal(out, weight[ids])
