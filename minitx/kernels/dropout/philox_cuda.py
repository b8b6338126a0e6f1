"""The random words of `philox.py` in a CUDA kernel: the same key drops the same elements as on the CPU."""
import numpy as np

from ..runtime.cuda import device
from ..runtime.intrinsics import ZERO
from . import philox

_LOW, _32, _NONE = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(0)
_rounds = device(philox.philox)


@device
def words(group, key):
    """The words of elements 4·group … 4·group + 3, each in a uint64."""
    group = np.uint64(group)
    return _rounds(group & _LOW, group >> _32, _NONE, _NONE, key & _LOW, key >> _32)


@device
def factors(element, key, threshold, scale):
    """What elements element … element + 3 of the flattened array are multiplied by, 0 or `scale`; `element` a multiple of 4."""
    a, b, c, d = words(element // 4, key)
    return (scale if a >= threshold else ZERO, scale if b >= threshold else ZERO, scale if c >= threshold else ZERO,
            scale if d >= threshold else ZERO)


@device
def factor(element, key, threshold, scale):
    """What one element is multiplied by: three of four words are thrown away."""
    a, b, c, d = words(element // 4, key)
    rest = element % 4
    word = a if rest == 0 else b if rest == 1 else c if rest == 2 else d
    return scale if word >= threshold else ZERO


@device
def mask(keep, element, key, threshold, scale):
    """Fill the local array `keep`, of 4 or 1, with what elements from `element` on are multiplied by; of 4, `element` is a multiple."""
    if keep.size == 4:
        keep[0], keep[1], keep[2], keep[3] = factors(element, key, threshold, scale)
    else:
        for k in range(keep.size):
            keep[k] = factor(element + k, key, threshold, scale)
