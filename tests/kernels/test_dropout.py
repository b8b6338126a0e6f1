"""Dropout: Philox's known answers, the same mask for the same key wherever it is computed, the share that is kept."""
import numba
import numpy as np
import pytest

from minitx.kernels.dropout import cpu, philox, reference

from .checks import DTYPES, assert_same_bits, awkward, normal

KEY = 0xFEDCBA9876543210


@pytest.mark.parametrize("counter, key, words", [  # from Random123's kat_vectors
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
     (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
])
def test_philox_known_answers(counter, key, words):
    inputs = [np.uint64(word) for word in counter + key]
    assert philox.philox(*inputs) == words
    assert _compiled_philox(*inputs) == words


@numba.njit
def _compiled_philox(a, b, c, d, key_0, key_1):
    return philox.philox(a, b, c, d, key_0, key_1)


@numba.njit
def _mask(start, count, key, threshold, scale):
    return philox.mask(np.full(count + 6, np.nan), start, count, key, threshold, scale)


@pytest.mark.parametrize("start", [0, 1, 5, 1000, 4 * (2**32 - 3) + 2])
@pytest.mark.parametrize("count", [0, 1, 3, 4, 130])
def test_a_mask_may_start_anywhere(start, count):
    """Element i is decided by word i % 4 of counter i // 4, also where the counter needs more than 32 bits."""
    threshold, scale = philox.split(0.4)
    index = np.arange(start, start + count, dtype=np.uint64)
    (high, low), zero = np.divmod(index // np.uint64(4), np.uint64(2**32)), np.uint64(0)
    words = np.array(philox.philox(low, high, zero, zero, np.uint64(KEY % 2**32), np.uint64(KEY >> 32)))
    kept = words[(index % np.uint64(4)).astype(int), np.arange(count)] >= threshold
    np.testing.assert_array_equal(_mask(start, count, np.uint64(KEY), threshold, scale), np.where(kept, 1 / 0.6, 0))


@DTYPES
@pytest.mark.parametrize("shape", [(1,), (3, 5), (0, 4), (), (2, 3, 7), (5000,), (3, 2048)])
def test_agrees_with_the_reference(shape, dtype):
    x = np.asarray(normal(*shape), dtype)
    out = cpu.dropout(x, 0.3, KEY)
    assert out.dtype == dtype and out.shape == shape
    np.testing.assert_array_equal(out, reference.dropout(x, 0.3, KEY))
    np.testing.assert_array_equal(cpu.dropout(awkward(x), 0.3, KEY), out)


def test_the_share_that_is_kept_and_the_mean():
    n, p = 200_000, 0.3
    out = cpu.dropout(np.ones(n, np.float32), p, 7)
    assert set(np.unique(out)) == {np.float32(0), np.float32(1 / 0.7)}
    assert abs((out == 0).mean() - p) < 4 * (p * (1 - p) / n) ** 0.5  # 4 standard deviations
    kept = (out != 0).astype(float) - (1 - p)
    for distance in (1, 2, 3, 4, 64):
        # neighbours know nothing of each other
        assert abs((kept[distance:] * kept[:-distance]).mean()) < 4 * p * (1 - p) / n**0.5
    other = (cpu.dropout(np.ones(n, np.float32), p, 8) != 0).astype(float) - (1 - p)
    assert abs((kept * other).mean()) < 4 * p * (1 - p) / n**0.5  # nor does the next key


def test_p_of_zero_keeps_all_and_of_one_nothing():
    x = normal(100, dtype=np.float32)
    np.testing.assert_array_equal(cpu.dropout(x, 0.0, 1), x)
    assert (cpu.dropout(x, 1.0, 1) == 0).all()
    with pytest.raises(ValueError, match="p is 1.5"):
        cpu.dropout(x, 1.5, 1)
    with pytest.raises(TypeError, match="int64"):
        cpu.dropout(np.arange(3), 0.5, 1)


def test_it_is_its_own_backward_pass():
    """x ↦ dropout(x) is linear with a diagonal matrix, so ⟨g, dropout(x)⟩ = ⟨dropout(g), x⟩."""
    x, g = normal(1000), normal(1000, seed=1)
    np.testing.assert_allclose(g @ cpu.dropout(x, 0.5, KEY), cpu.dropout(g, 0.5, KEY) @ x, rtol=1e-12)


def test_same_bits_on_any_number_of_threads():
    x = normal(300_001, dtype=np.float32)
    assert_same_bits(lambda: cpu.dropout(x, 0.1, KEY))
