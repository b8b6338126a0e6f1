"""Philox4x32-10: random words computed from a counter and a key, so that a dropout mask is recomputed and never stored.

Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). Every kernel that drops elements
takes its mask from here: element i of the flattened array is decided by word i % 4 of philox(i // 4, key), so the same
key drops the same elements everywhere.
"""
import numpy as np
from numba.extending import register_jitable

_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_MULTIPLIER_0, _MULTIPLIER_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL_0, _WEYL_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)  # golden ratio and √3 − 1, added to the key each round


def split(p):
    """(threshold, scale) of dropout probability `p`: elements whose word is at least `threshold` stay, scaled."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout: p is {p}, expected a probability between 0 and 1")
    return int(p * 2**32), (1.0 / (1.0 - p) if p < 1.0 else 0.0)


@register_jitable
def mask(scratch, start, count, key, threshold, scale):
    """What elements start … start + count − 1 are multiplied by (0 or `scale`), as a view of `scratch`.

    `scratch` is one-dimensional and contiguous, with room for count + 6 values: only whole groups of four are written,
    so that the loop is vector code throughout (0.5 ns per element on one thread). For the same reason a run of many
    elements costs less per element than a short one.
    """
    offset = factors(scratch, start, count, key, threshold, scale)
    return scratch[offset : offset + count]  # to be indexed from 0: a loop over offset + j would stay scalar code


@register_jitable
def factors(scratch, start, count, key, threshold, scale):
    """Write the whole groups of `mask`; returns the offset of element `start` in them."""
    first = start // 4
    kept, dropped = scratch.dtype.type(scale), scratch.dtype.type(0.0)
    for group in range((start + count + 3) // 4 - first):
        a, b, c, d = words(np.uint64(first + group), key)
        scratch[4 * group] = kept if a >= threshold else dropped
        scratch[4 * group + 1] = kept if b >= threshold else dropped
        scratch[4 * group + 2] = kept if c >= threshold else dropped
        scratch[4 * group + 3] = kept if d >= threshold else dropped
    return start - 4 * first


# Without `forceinline` the two functions below stay calls and the loop above scalar code, seven times as slow.


@register_jitable(forceinline=True)
def words(group, key):
    """The words of elements 4·group … 4·group + 3; `group`, `key` and the words are uint64, scalars or arrays."""
    return philox(group & _LOW, group >> _32, np.uint64(0), np.uint64(0), key & _LOW, key >> _32)


@register_jitable(forceinline=True)
def philox(counter_0, counter_1, counter_2, counter_3, key_0, key_1):
    """Ten rounds, on words of 32 bits each in a uint64: products need no widening, and eight fill a vector register."""
    for _ in range(10):
        product_0, product_1 = _MULTIPLIER_0 * counter_0, _MULTIPLIER_1 * counter_2
        counter_0, counter_1 = (product_1 >> _32) ^ counter_1 ^ key_0, product_1 & _LOW
        counter_2, counter_3 = (product_0 >> _32) ^ counter_3 ^ key_1, product_0 & _LOW
        key_0, key_1 = (key_0 + _WEYL_0) & _LOW, (key_1 + _WEYL_1) & _LOW
    return counter_0, counter_1, counter_2, counter_3
