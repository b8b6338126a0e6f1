"""What the compiled kernels have in common: their options, how work is cut into blocks, and work too small to share
between threads."""
import numpy as np
from numba import types
from numba.extending import register_jitable

from . import threads

threads.start()  # the symbols below exist from then on

# The flags of fastmath leave out those that rule out NaN and infinity: a masked logit is −inf.
OPTIONS = {"parallel": True, "nogil": True, "cache": True, "error_model": "numpy",
           "fastmath": {"reassoc", "contract", "arcp", "nsz", "afn"}}

_MOST_BLOCKS = 64
_SMALL = 20_000
# Numba's own functions of these names, without the checks that keep a caller from being cached.
_get_num_threads = types.ExternalFunction("get_num_threads", types.int32())
_set_num_threads = types.ExternalFunction("set_num_threads", types.void(types.int32))


def blocks(rows, row_size, least=1 << 13):
    """How many blocks `rows` rows of `row_size` elements are cut into: a number of the shape alone, so that sums over
    blocks keep their bits."""
    return max(1, min(_MOST_BLOCKS, rows, rows * row_size // least))


def rows(array, dtype):
    """`array` as a contiguous matrix of rows, its leading axes flattened; a row has at least one element."""
    return np.ascontiguousarray(array, dtype).reshape(-1, array.shape[-1])


@register_jitable
def share(nanoseconds):
    """Before a prange over work for about so long on one thread: where that is little, let this thread do all of it.

    Waking a sleeping thread takes 25 to 40 µs. Returns what `restore` takes afterwards.
    """
    before = _get_num_threads()
    if nanoseconds < _SMALL:
        _set_num_threads(1)
    return before


@register_jitable
def restore(before):
    """After the prange: give the threads back."""
    _set_num_threads(before)
