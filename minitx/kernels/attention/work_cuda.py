"""What attention's kernels on CUDA take and how they are launched: the arguments that naive and fast versions share.

An array comes to a kernel as one row of memory, with `Rows` to find its rows in it: the heads of a packed projection are
read, and their gradients written, where they lie.
"""
import math
from typing import NamedTuple

import numpy as np
from numba import cuda
from numba.cuda import types

from ..dropout import philox
from ..dropout.philox_cuda import words
from ..runtime.cuda import SIMULATED, address, array, contiguous, device, empty, filled, flat, span
from .reference import check

THREADS = 128  # of a block, in every version


class Rows(NamedTuple):
    """How many elements lie from one sequence to the next and from one row to the next, and before the first."""

    batch: int
    time: int
    start: int = 0


class Work(NamedTuple):
    """The numbers that every kernel takes."""

    heads: int
    group: int  # heads of queries that share a head of keys and values
    tq: int
    tk: int
    d: int
    causal: bool
    window: int  # the most keys that a query sees, 0 for any number
    padded: bool  # whether the sequences have lengths of their own
    masked: bool
    mask_batch: int  # elements of the mask from one to the next along an axis, 0 where it is broadcast
    mask_head: int
    mask_query: int
    mask_key: int
    threshold: int  # of dropout, see philox.split; 0 where nothing is dropped
    key: int
    kept: float
    scale: float  # of the scores: 1/√d


_COUNT, _STEP, _WORD, _FLAG = types.int32, types.int64, types.uint64, types.boolean
_ROWS = types.NamedUniTuple(_STEP, 3, Rows)
_1, _2, _3, _4 = np.uint32(1), np.uint32(2), np.uint32(3), np.uint32(4)


def forward_kinds(real, sums=None):
    """The types of q, k and v, each with its Rows; lengths, mask, work; out and log_sum_exp, whose type is `sums` where it is not `real`."""
    x, sums = array(real, 1), sums or real
    work = types.NamedTuple((_COUNT, _COUNT, _COUNT, _COUNT, _COUNT, _FLAG, _COUNT, _FLAG, _FLAG,
                             _STEP, _STEP, _STEP, _STEP, _WORD, _WORD, sums, sums), Work)
    return x, _ROWS, x, _ROWS, x, _ROWS, array(types.int32, 1), array(types.boolean, 1), work, x, array(sums, 1)


def dq_kinds(real, sums=None):
    """The types of what a forward kernel takes; g, delta, dq with its Rows. This kernel comes first, and writes delta."""
    x = array(real, 1)
    return *forward_kinds(real, sums), x, array(sums or real, 1), x, _ROWS


def dkv_kinds(real, sums=None):
    """The types of what a forward kernel takes; g, delta, dk and dv, each with its Rows."""
    return *dq_kinds(real, sums), array(real, 1), _ROWS


def forward(kernel, tile, multiple, q, k, v, heads, causal=False, lengths=None, p=0.0, key=0, mask=None, kv_heads=None,
            window=None):
    """reference.attention by `kernel`, a block of which works on `tile` queries of a head; for `multiple` see `_memory`."""
    kv_heads = check(q, k, v, heads, lengths, mask, False, causal, kv_heads, window)
    out, log_sum_exp = empty(q, q.shape), empty(q, (q.shape[0], heads, q.shape[1]))
    if k.size == 0:
        out[...], log_sum_exp[...] = 0, -np.inf
    elif q.size > 0:
        arguments = shared_arguments(q, k, v, heads, causal, lengths, p, key, mask, kv_heads, window, multiple)
        kernel[grid(q, tile, heads), THREADS](*arguments, out.reshape(-1), log_sum_exp.reshape(-1))
    return out, log_sum_exp


def backward(dq_kernel, dkv_kernel, tile, multiple, g, q, k, v, out, log_sum_exp, heads, causal=False, lengths=None, p=0.0,
             key=0, mask=None, packed=False, kv_heads=None, window=None):
    """reference.attention_backward: one kernel goes over tiles of queries, then the other over tiles of keys."""
    kv_heads = check(q, k, v, heads, lengths, mask, packed, causal, kv_heads, window)
    return launch_backward(dq_kernel, dkv_kernel, tile, multiple, g, q, k, v, out, log_sum_exp, heads, causal, lengths, p, key, mask, packed, kv_heads, window)


def launch_backward(dq_kernel, dkv_kernel, tile, multiple, g, q, k, v, out, log_sum_exp, heads, causal, lengths, p, key, mask, packed, kv_heads, window):
    """`backward` of arguments that have been checked."""
    dq, dk, dv, columns, result = _gradients(q, k, packed)
    if q.size == 0 or k.size == 0:
        for gradient in (dq, dk, dv):
            gradient[...] = 0
        return result
    g, out, log_sum_exp = flat(g, q.dtype), flat(out, q.dtype), contiguous(log_sum_exp).reshape(-1)
    delta = empty(log_sum_exp, log_sum_exp.shape)
    arguments = (*shared_arguments(q, k, v, heads, causal, lengths, p, key, mask, kv_heads, window, multiple), out, log_sum_exp, g,
                 delta)
    dq, dk, dv = ((x.reshape(-1), Rows(x.shape[1] * x.shape[2], x.shape[2], column))
                  for x, column in zip((dq, dk, dv), columns))
    dq_kernel[grid(q, tile, heads), THREADS](*arguments, *dq)
    dkv_kernel[grid(k, tile, kv_heads), THREADS](*arguments, *dk, *dv)
    return result


def shared_arguments(q, k, v, heads, causal, lengths, p, key, mask, kv_heads, window, multiple):
    """The first nine arguments of every kernel; rows begin at multiples of `multiple` elements."""
    (batch, tq, width), tk = q.shape, k.shape[1]
    padded, masked, steps = lengths is not None, mask is not None, (0, 0, 0, 0)
    if padded:
        lengths = contiguous(_on_the_gpu("lengths", lengths).astype(np.int32, copy=False))
    if masked:
        mask = contiguous(_on_the_gpu("mask", mask))
        mask = mask.reshape((1,) * (4 - mask.ndim) + mask.shape)
        steps = [0 if extent == 1 else stride for extent, stride in zip(mask.shape, mask.strides)]  # a bool is a byte
    threshold, kept = philox.split(p)
    work = Work(heads, heads // kv_heads, tq, tk, width // heads, causal, min(window or 0, tq + tk), padded, masked, *steps, threshold, int(key), kept,
                1 / math.sqrt(width // heads))
    rows = [part for x in (q, k, v) for part in _memory(x, multiple)]
    return (*rows, lengths if padded else filled(1, 0, "int32"), mask.reshape(-1) if masked else filled(1, True, "bool"), work)


def _memory(x, multiple):
    """The memory of x (batch, time, features) and its Rows; of a copy, where rows overlap or lie askew."""
    batch, time, feature = (stride // x.itemsize for stride in x.strides)
    pointer = address(x)
    askew = (batch | time | pointer // x.itemsize) % multiple
    if feature != 1 or time < x.shape[2] or batch < 0 or askew:
        x = _copy(x)
        batch, time = x.shape[1] * x.shape[2], x.shape[2]
    return span(x), Rows(batch, time)


def _copy(x):
    return x.copy()


def _gradients(q, k, packed):
    """dq, dk and dv, where some may be one array; the column in which each begins; and what the caller returns of them."""
    width, other = q.shape[2], k.shape[2]
    if packed == "kv":
        dq, dkv = empty(q, q.shape), empty(q, (*k.shape[:2], 2 * other))
        return dq, dkv, dkv, (0, 0, other), (dq, dkv)
    if packed:
        dqkv = empty(q, (*q.shape[:2], width + 2 * other))
        return dqkv, dqkv, dqkv, (0, width, width + other), dqkv
    dq, dk, dv = empty(q, q.shape), empty(q, k.shape), empty(q, k.shape)
    return dq, dk, dv, (0, 0, 0), (dq, dk, dv)


def grid(x, tile, heads):
    """A block for each tile of x (batch, time, features) and each head."""
    return -(-x.shape[1] // tile) * x.shape[0], heads


def _on_the_gpu(name, x):
    if not SIMULATED and isinstance(x, np.ndarray):
        raise TypeError(f"attention: {name} is in main memory but query is on the GPU; move it with .to('cuda')")
    return x


@device
def this_block(size, time):
    """(batch, head, tile, tiles): what the calling block works on, where each sequence has tiles of `size` out of `time`."""
    tiles = np.uint32((time + size - 1) // size)
    batch, tile = np.uint32(cuda.blockIdx.x) // tiles, np.uint32(cuda.blockIdx.x) % tiles
    return np.int32(batch), np.int32(cuda.blockIdx.y), np.int32(tile), np.int32(tiles)


@device
def at(rows, batch, time, column):
    """The index of a feature of a row."""
    return rows.start + batch * rows.batch + time * rows.time + column


@device
def place_of_row(batch, head, query, work):
    """The index of the first feature of a head in `out` or `g`."""
    return ((batch * work.tq + query) * work.heads + head) * work.d


@device
def statistic(batch, head, query, work):
    """The index of a query in `log_sum_exp` or `delta`."""
    return (batch * work.heads + head) * work.tq + query


@device
def length_of(batch, lengths, work):
    """How many keys of a sequence are there to be seen."""
    return min(max(lengths[np.uint64(batch)], 0), work.tk) if work.padded else work.tk


@device
def seen_by(query, length, work):
    """The keys that a query sees, but for the mask: from the first number to before the second."""
    low, high = 0, length
    if work.causal:
        last = query + work.tk - work.tq
        high = min(length, last + 1)
        if work.window > 0:
            low = max(0, last + 1 - work.window)
    return low, high


@device
def unmasked(batch, head, query, key, mask, work):
    """What the mask says of a query and a key; the last ones speak for any beyond."""
    query, key = min(query, work.tq - 1), min(key, work.tk - 1)
    return mask[np.uint64(batch * work.mask_batch + head * work.mask_head + query * work.mask_query + key * work.mask_key)]


@device
def kept_of_four(batch, head, query, key, work):
    """Bit e is 1 where dropout keeps the weight that a query gives to key + e, for e = 0 … 3."""
    element = np.uint64(((batch * work.heads + head) * work.tq + query) * work.tk + key)
    group, offset = element // np.uint64(4), np.uint32(element % np.uint64(4))
    bits = _kept_of_group(group, work)
    if offset > 0:
        bits |= _kept_of_group(group + np.uint64(1), work) << _4
    return bits >> offset & np.uint32(15)


@device
def _kept_of_group(group, work):
    a, b, c, d = words(group, work.key)
    return (np.uint32(a >= work.threshold) | np.uint32(b >= work.threshold) << _1
            | np.uint32(c >= work.threshold) << _2 | np.uint32(d >= work.threshold) << _3)
