"""Dropout in plain NumPy; it runs on Tensors as well."""
import numpy as np

from . import philox


def dropout(x, p, key):
    """x (any shape, float32 or float64) with each element dropped with probability `p`, the rest multiplied by 1/(1 −
    p).

    `key`, an integer of 64 bits, decides which: the same key, p and shape drop the same elements. The backward pass is
    dropout(g, p, key).
    """
    check(x)
    threshold, scale = philox.split(p)
    size = int(np.prod(x.shape))
    words = np.stack(philox.words(np.arange(-(-size // 4), dtype=np.uint64), np.uint64(key)), axis=-1)  # (groups, 4)
    mask = np.where(words.reshape(-1)[:size] >= threshold, scale, 0.0).astype(x.dtype)
    return x * mask.reshape(x.shape)


def check(x):
    """Raise TypeError with what was expected and the likely fix."""
    if x.dtype.char not in "fd":
        raise TypeError(f"dropout: x is {x.dtype}, expected float32 or float64; use .astype(np.float32)")
