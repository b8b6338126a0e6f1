"""Dropout on CUDA, in the simulator: the elements that the CPU drops."""
import numpy as np
import pytest

from minitx.kernels.dropout import cuda, naive, philox, philox_cuda, reference

from ..kernels.checks import DTYPES, awkward, normal

KEY = 0xFEDCBA9876543210
VERSIONS = pytest.mark.parametrize("version", [cuda, naive], ids=["cuda", "naive"])


@DTYPES
@pytest.mark.parametrize("shape", [(1,), (3, 5), (0, 4), (), (2, 3, 7), (1030,)])
@VERSIONS
def test_drops_what_the_reference_drops(version, shape, dtype):
    x = np.asarray(normal(*shape), dtype)
    out = version.dropout(x, 0.3, KEY)
    assert out.dtype == dtype and out.shape == shape
    np.testing.assert_array_equal(out, reference.dropout(x, 0.3, KEY))
    np.testing.assert_array_equal(version.dropout(awkward(x), 0.3, KEY), out)
    np.testing.assert_array_equal(version.dropout(x, 0.0, KEY), x)
    assert (version.dropout(x, 1.0, KEY) == 0).all()


def test_memory_may_begin_anywhere():
    whole = normal(64, dtype=np.float32)
    for start in range(4):
        np.testing.assert_array_equal(cuda.dropout(whole[start:], 0.3, KEY), reference.dropout(whole[start:], 0.3, KEY))


def test_the_words_of_elements_beyond_four_thousand_million_are_those_of_the_cpu():
    for group in (2**32 - 1, 2**32, 2**40 + 5):
        assert philox_cuda.words(group, np.uint64(KEY)) == philox.words(np.uint64(group), np.uint64(KEY))


@VERSIONS
def test_wrong_inputs_are_named(version):
    with pytest.raises(TypeError, match="dropout: x is int64"):
        version.dropout(np.arange(3), 0.5, 1)
    with pytest.raises(ValueError, match="p is 1.5"):
        version.dropout(np.zeros(3), 1.5, 1)
