"""Embedding on CUDA, in the simulator: rows out, and sums of gradients back in the order of the text."""
import numpy as np
import pytest

from minitx.kernels.embedding import cuda, naive, reference

from ..kernels.checks import DTYPES, assert_close, awkward, normal

IDS = [[0, 2, 2, 1], [], [[4, 4, 4], [0, 4, 4]], 3, np.arange(5)]
VERSIONS = pytest.mark.parametrize("version", [cuda, naive], ids=["cuda", "naive"])


@DTYPES
@pytest.mark.parametrize("ids", IDS)
@pytest.mark.parametrize("d", [1, 17, 132])
@VERSIONS
def test_agrees_with_the_reference(version, ids, d, dtype):
    weight, ids = normal(5, d, dtype=dtype), np.asarray(ids, np.int32)
    out = version.embedding(weight, ids)
    assert out.dtype == dtype and out.shape == ids.shape + (d,)
    np.testing.assert_array_equal(out, reference.embedding(weight, ids))
    g = normal(*out.shape, dtype=dtype)
    dweight = version.embedding_backward(g, ids, 5)
    assert_close(dweight, reference.embedding_backward(g.astype(np.float64), ids, 5), 4)
    assert (np.delete(dweight, ids.reshape(-1), axis=0) == 0).all()


@VERSIONS
def test_the_gradient_is_written_where_it_is_wanted(version):
    for ids in (np.array([1, 3, 1]), np.zeros(0, int)):
        g, place = normal(len(ids), 4, dtype=np.float32), np.full((5, 4), np.nan, np.float32)
        assert version.embedding_backward(g, ids, 5, place) is place
        np.testing.assert_array_equal(place, version.embedding_backward(g, ids, 5))


@pytest.mark.parametrize("d", [3, 4])
def test_a_text_of_several_tiles(d, monkeypatch):
    monkeypatch.setattr(cuda, "TILE", 32)
    ids, g = np.random.default_rng(0).integers(0, 5, 140) ** 2, normal(140, d, dtype=np.float32)
    assert_close(cuda.embedding_backward(g, ids, 20), reference.embedding_backward(g.astype(np.float64), ids, 20), 16)
    places, ends = cuda._places(ids.astype(np.int32), 20)
    np.testing.assert_array_equal(places, np.argsort(ids, kind="stable"))
    np.testing.assert_array_equal(ends, np.searchsorted(np.sort(ids), np.arange(20), side="right"))


@pytest.mark.parametrize("d", [3, 4])
def test_an_id_that_is_not_in_the_table_makes_nan_and_touches_nothing_else(no_nan, d):
    """Nobody looks at the ids on the CPU: it would have to wait for the GPU."""
    weight, ids = normal(5, d, dtype=np.float32), np.tile([1, -1, 5, 4], 8)
    known, g = np.isin(ids, (1, 4)), normal(32, d, dtype=np.float32)
    for version in (cuda, naive):
        out = version.embedding(weight, ids)
        assert np.isnan(out[~known]).all() and (out[known] == weight[ids[known]]).all()
        np.testing.assert_array_equal(version.embedding_backward(g, ids, 5), reference.embedding_backward(g[known], ids[known], 5))


def test_layout_does_not_matter():
    weight, ids, g = normal(5, 8, dtype=np.float32), np.array([[0, 2], [2, 1]]), normal(2, 2, 8, dtype=np.float32)
    np.testing.assert_array_equal(cuda.embedding(awkward(weight), awkward(ids)), weight[ids])
    np.testing.assert_array_equal(cuda.embedding_backward(awkward(g), awkward(ids), 5), cuda.embedding_backward(g, ids, 5))


def test_wrong_inputs_are_named():
    weight = np.zeros((5, 2), np.float32)
    for function, arguments, message in [(cuda.embedding, (weight, np.array([0.0])), "ids are float64"), (cuda.embedding, (weight[:0], np.array([0])), "no rows"),
                                         (cuda.embedding_backward, (weight, np.array([0, 1]), 5), "g has shape")]:
        with pytest.raises((TypeError, ValueError, IndexError), match=message):
            function(*arguments)
