"""How attention on the CPU is cut into work: the part of the arguments that its forward and backward kernels share."""
import functools
from typing import NamedTuple

import numpy as np
from numba import boolean, int64, types, uint64

from ..dropout import philox
from ..runtime import launch

# The options of what a thread runs: a function of its own, since Numba analyses the body of a prange several times.
WORKER = {"fastmath": launch.OPTIONS["fastmath"], "error_model": "numpy", "nogil": True,
          "no_cpython_wrapper": True, "no_cfunc_wrapper": True}

_TILE = 1 << 19  # query_block · key_block · d: up to 10⁶, OpenBLAS multiplies without packing the matrices first
_FEW_HEADS = 8  # fewer (sequence, head) pairs than this are cut further, for the threads to have something to share
_FEW_QUERIES = 16  # to transpose the keys for fewer costs more than it gains
_NO_MASK = np.empty((0, 0, 0, 0), bool)


class Work(NamedTuple):
    """What forward and backward are to do, and how it is cut. It enters compiled code as a plain tuple of `kinds`, whose arrays Numba converts."""

    heads: int
    causal: bool
    lengths: np.ndarray  # (batch,) int32: how many keys are real
    mask: np.ndarray  # (batch, heads, tq, tk) booleans, or without elements
    drop: bool  # whether weights are dropped at all
    threshold: int  # of random numbers, under which one is; see philox
    kept: float  # what those that stay are multiplied by
    key: int  # of the random numbers
    query_block: int  # rows of a tile of scores
    key_block: int  # columns of a tile of scores
    chunks: int  # into how many the query blocks of a head are dealt out, one to each in turn, where there are few heads
    groups: int  # how many share the work; each has scratch memory of its own
    transposed: bool  # whether a head has queries enough to lay its keys out transposed first
    kv_heads: int
    window: int  # how many keys a query sees, up to its own


def readable(x):
    """`x` (batch, time, features) itself where its rows can be read in place, otherwise a copy in which they can: an axis of a single element may have any
    stride, which NumPy calls contiguous and BLAS does not take."""
    return x if x.strides[2] == x.itemsize and x.strides[1] >= x.shape[2] * x.itemsize else x.copy()


def work(q, k, heads, causal, lengths, p, key, mask, kv_heads, window):
    """The `Work` of these arguments of `attention`."""
    (batch, tq, width), tk = q.shape, k.shape[1]
    lengths = _full(batch, tk) if lengths is None else np.minimum(np.maximum(lengths, 0), tk).astype(np.int32)
    mask = _NO_MASK if mask is None else np.broadcast_to(mask, (batch, heads, tq, tk))
    threshold, kept = philox.split(p)
    query_block = 32 if causal else 64  # where a causal block ends, half of its scores are of keys not seen
    key_block = max(32, min(128, _TILE // (query_block * max(1, width // heads)) // 32 * 32))
    chunks = max(1, min(-(-tq // query_block), _FEW_HEADS // max(1, batch * kv_heads)))
    groups = max(1, min(batch * heads * chunks, 32))
    transposed = tq >= _FEW_QUERIES
    window = tq + tk if window is None else min(window, tq + tk)  # as many as there are
    return Work(heads, causal, lengths, mask, p > 0, threshold, kept, key, query_block, key_block, chunks, groups,
                transposed, kv_heads, window)


def kinds(real):
    """The Numba types of a `Work`, for attention in the scalar type `real`."""
    lengths, mask = types.Array(types.int32, 1, "C", readonly=True), types.Array(types.boolean, 4, "A", readonly=True)
    return types.Tuple((int64, boolean, lengths, mask, boolean, uint64, real, uint64,
                        int64, int64, int64, int64, boolean, int64, int64))


@functools.lru_cache(maxsize=64)
def _full(batch, tk):
    return np.full(batch, tk, np.int32)
