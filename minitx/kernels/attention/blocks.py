"""How attention on the CPU is cut into work, and the arguments that its forward and backward kernels share."""
import functools

import numpy as np
from numba import boolean, int64, types, uint64

from ..dropout import philox

_TILE = 1 << 19  # query_block · key_block · d: OpenBLAS multiplies matrices of up to 10⁶ without packing them first, at full speed
CHUNKS = 10  # the position of `chunks` among the arguments
_FEW_QUERIES = 16
_NO_MASK = np.empty((0, 0, 0, 0), bool)


def readable(x):
    """`x` (batch, time, features) itself where its rows can be read in place, otherwise a contiguous copy."""
    return x if x.strides[2] == x.itemsize and x.strides[1] >= x.shape[2] * x.itemsize else np.ascontiguousarray(x)


def arguments(q, k, heads, causal, lengths, p, key, mask):
    """The shared arguments, in the order of `kinds`."""
    (batch, tq, width), tk = q.shape, k.shape[1]
    d = width // heads
    lengths = _full(batch, tk) if lengths is None else np.clip(lengths, 0, tk).astype(np.int32)
    mask = _NO_MASK if mask is None else np.broadcast_to(mask, (batch, heads, tq, tk))
    threshold, kept = philox.split(p)
    query_block = 32 if causal else 64  # a causal block computes half a block of scores too many per query
    key_block = max(32, min(256, _TILE // (query_block * max(d, 1)) // 32 * 32))
    query_blocks = -(-tq // query_block)
    chunks = max(1, min(query_blocks, 8 // max(1, batch * heads)))
    groups = max(1, min(batch * heads * chunks, 32))
    return heads, causal, lengths, mask, p > 0, threshold, kept, key, query_block, key_block, chunks, groups, tq >= _FEW_QUERIES


def kinds(real):
    """The Numba types of `arguments`.

    query_block, key_block: rows and columns of a tile of scores. chunks: into how many the query blocks of a head are dealt out, one to each in
    turn, where there are few heads. groups: how many share the (head, chunk) pairs, and scratch memory within each. transposed: whether enough
    query blocks use the keys of a head to lay them out transposed first.
    """
    return (int64, boolean, types.Array(types.int32, 1, "C", readonly=True), types.Array(types.boolean, 4, "A", readonly=True),
            boolean, uint64, real, uint64, int64, int64, int64, int64, boolean)


@functools.lru_cache(maxsize=64)
def _full(batch, tk):
    return np.full(batch, tk, np.int32)
