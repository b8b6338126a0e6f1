"""What the tiles of attention in float32 on CUDA are made and multiplied with; `tiled.py` says how a tile is laid out.

In the backward pass the rows of a tile of scores may be keys and its columns queries: such a tile is `turned`.
"""
from typing import NamedTuple

import numpy as np
from numba import cuda
from numba.cuda import types

from ..runtime.cuda import device
from ..runtime.intrinsics import LOWEST, ZERO, load4, store4
from ..runtime.ptx import copy16, wait_for_copies
from .work_cuda import at, kept_of_four, place_of_row, unmasked

TILE = 64
HALF, STAGE, STAGES = 2048, 4096, 8192  # elements
LOG2_E, LN_2 = np.float32(1.4426950408889634), np.float32(0.6931471805599453)
BITS = np.uint32(0xFFFFFFFF)
_1 = np.uint32(1)
_0, WIDTH, STEP, ONE_BY_ONE = np.int32(0), np.int32(32), np.int32(TILE), np.int32(1)  # a range of int32 takes fewer registers than one of int64
float32 = types.float32


class Copies(NamedTuple):
    """How tiles come to shared memory."""

    copy: object
    copy_wide: object
    wait: object  # for what was begun
    since: int  # the first architecture that has these instructions
    blocks: int  # that a multiprocessor of it has room for, at 48 KB of shared memory each
    suffix: str  # of the names of the kernels


@device
def reach(first, length, work):
    """The keys that queries of the tile from `first` on see: from the start of a tile of keys to before the second number."""
    diagonal = work.tk - work.tq
    start, stop = 0, length
    if work.causal:
        stop = min(length, first + TILE + diagonal)
        if work.window > 0:
            start = max(0, first + diagonal + 1 - work.window) // TILE * TILE
    return start, stop


@device
def all_seen(first, left, length, work):
    """Whether the queries of a tile see all keys of a tile, as far as there is no mask."""
    distance = left - first - (work.tk - work.tq)  # of the first key from the last that the first query sees
    return left + TILE <= length and not (work.causal and distance + TILE > 1) and not (work.window > 0 and distance - TILE + 1 <= -work.window)


@device
def corner(rows, batch, time, column):
    """The index where the calling thread begins to copy rows from `time` on, columns from `column` on."""
    return at(rows, batch, time + cuda.threadIdx.x // 8 * 4, column + cuda.threadIdx.x % 8 * 4)


def _copies(copy16, *others):
    """`Copies` with a function that copies 16 bytes."""
    @device
    def copy(x, place, step, rows, features, stage, start):
        """64 rows of 32 features of x into half a stage, the thread's from `place` on; zeros beyond `rows` and `features`."""
        lane, row = cuda.threadIdx.x % 8, cuda.threadIdx.x // 8 * 4
        rows, inside = np.int32(rows), np.int32(4 * lane) < np.int32(features)
        for i in range(4):
            copy16(stage, start + 32 * (row + i) + 4 * (lane ^ row // 4 % 8), x, place, inside & (np.int32(row + i) < rows))
            place += step

    @device
    def copy_wide(x, place, step, rows, features, halves, stage, start):
        """The same of 32 or 64 features, into one half or both."""
        for h in range(halves):
            copy(x, place + 32 * h, step, rows, features - 32 * h, stage, start + HALF * h)

    return Copies(copy, copy_wide, *others)


@device
def _copy16(target, place, source, index, there):
    a, b, c, d = ZERO, ZERO, ZERO, ZERO
    if there:
        a, b, c, d = load4(source, index)
    store4(target, place, a, b, c, d)


@device
def _no_wait():
    pass


def for_slices(make):
    """{(whether copies are asynchronous, slices): kernel}, from a function of slices and copies."""
    now, later = _copies(_copy16, _no_wait, 75, 1, ", sm_75"), _copies(copy16, wait_for_copies, 80, 3, "")
    return {(False, 1): make(1, now), (False, 2): make(2, now), **{(True, n): make(n, later) for n in (1, 2, 4)}}


@device
def multiply_transposed(stage, now, row, lane, chunks, product):
    """product[8·i + j] += row `row` + i of the first half · row of the second that is column j of the lane, over so many chunks."""
    a = cuda.local.array(16, float32)
    for chunk in range(np.int32(chunks)):
        place = now + 32 * row + 4 * (chunk ^ row // 4 % 8)
        for i in range(4):
            a[4 * i], a[4 * i + 1], a[4 * i + 2], a[4 * i + 3] = load4(stage, place + 32 * i)
        place = now + HALF + 128 * lane + 4 * (chunk ^ lane)
        for j in range(8):
            b_0, b_1, b_2, b_3 = load4(stage, place + 32 * offset(j))
            for i in range(4):
                product[8 * i + j] += a[4 * i] * b_0
            for i in range(4):
                product[8 * i + j] += a[4 * i + 1] * b_1
            for i in range(4):
                product[8 * i + j] += a[4 * i + 2] * b_2
            for i in range(4):
                product[8 * i + j] += a[4 * i + 3] * b_3


@device
def multiply(weights, stage, now, row, lane, chunks, halves, product, start, signed):
    """product[start + 16·h + 4·i + e] += row `row` + i of the weights · column 4·lane + e of half h, over so many chunks.

    signed: a weight below zero is one that dropout drops.
    """
    w = cuda.local.array(16, float32)
    for chunk in range(np.int32(chunks)):
        place = HALF * (chunk // 8) + 32 * row + 4 * (chunk % 8 ^ row // 4 % 8)
        for i in range(4):
            w[4 * i], w[4 * i + 1], w[4 * i + 2], w[4 * i + 3] = load4(weights, place + 32 * i)
        if signed:
            for e in range(16):
                w[e] = ZERO if w[e] < ZERO else w[e]
        place = now + 128 * chunk + 4 * (lane ^ chunk % 8)
        for k in range(4):
            for h in range(halves):
                b_0, b_1, b_2, b_3 = load4(stage, HALF * h + place + 32 * k)
                for i in range(4):
                    e = start + 16 * h + 4 * i
                    product[e] += w[4 * i + k] * b_0
                    product[e + 1] += w[4 * i + k] * b_1
                    product[e + 2] += w[4 * i + k] * b_2
                    product[e + 3] += w[4 * i + k] * b_3


@device
def put(tile, weights, row, lane):
    """What the threads have of a tile of scores into shared memory, as `multiply` reads it."""
    for i in range(4):
        for h in range(2):
            e = 8 * i + 4 * h
            store4(weights, HALF * h + 32 * (row + i) + 4 * (lane ^ row // 4 % 8), tile[e], tile[e + 1], tile[e + 2], tile[e + 3])


@device
def times_weights(tile, weights, row, lane):
    """What the threads have of a tile, times what `put` put there for them, without its signs."""
    for i in range(4):
        for h in range(2):
            e = 8 * i + 4 * h
            w_0, w_1, w_2, w_3 = load4(weights, HALF * h + 32 * (row + i) + 4 * (lane ^ row // 4 % 8))
            tile[e], tile[e + 1] = tile[e] * abs(w_0), tile[e + 1] * abs(w_1)
            tile[e + 2], tile[e + 3] = tile[e + 2] * abs(w_2), tile[e + 3] * abs(w_3)


@device
def write(product, i, slices, factor, into, place, lane, work):
    """Row i of a thread's part of a product, times `factor`, into memory."""
    for c in range(slices):
        if 32 * c + 4 * lane < work.d:
            e = 16 * c + 4 * i
            store4(into, place + 32 * c, product[e] * factor, product[e + 1] * factor, product[e + 2] * factor,
                   product[e + 3] * factor)


@device
def offset(j):
    """How far a thread's column j is from its first."""
    return 32 * (j // 4) + j % 4


@device
def hide(scores, query, key, length, shown, work, turned):
    """−inf where the query does not see the key. The thread's first are `query` and `key`; a bit of `shown` for each score."""
    distance = np.int32(key - query - (work.tk - work.tq))
    end = np.int32(length - key)
    ahead = np.int32(0 - distance if work.causal else TILE)
    behind = np.int32(0 - distance - work.window if work.window > 0 else -TILE)
    seen = np.uint32(0)
    for i in range(4):
        low, high = (i - ahead, i - behind if i < end else i - ahead) if turned else (behind + i + 1, min(end, ahead + i + 1))
        seen |= (columns_below(high) & ~columns_below(low)) << np.uint32(8 * i)
    for e in range(32):
        scores[e] = scores[e] if shown & seen & np.uint32(1 << e) else LOWEST


@device
def columns_below(n):
    """Bit j is 1 where offset(j) < n."""
    return (_1 << np.uint32(min(max(n, 0), 4))) - _1 | (_1 << np.uint32(min(max(n - 32, 0), 4))) - _1 << np.uint32(4)


@device
def drop(tile, kept, work):
    """Dropout on a thread's part of a tile, by the bits of `kept`."""
    for e in range(32):
        tile[e] = tile[e] * work.kept if kept >> np.uint32(e) & _1 else ZERO


@device
def mask_bits(batch, head, query, key, mask, work, turned):
    """Bit 8·i + j is what the mask says of a thread's score in row i and column j."""
    bits = np.uint32(0)
    rows, columns = (work.tk - key, work.tq - query) if turned else (work.tq - query, work.tk - key)
    for j in range(min(8, columns)):  # numbers known here only: many times the text of this loop would take too many registers
        for i in range(min(4, rows)):
            to_key, to_query = (i, offset(j)) if turned else (offset(j), i)
            bits |= np.uint32(unmasked(batch, head, query + to_query, key + to_key, mask, work)) << np.uint32(8 * i + j)
    return bits


@device
def dropout_bits(batch, head, query, key, work, turned):
    """Bit 8·i + j says whether dropout keeps a thread's weight in row i and column j."""
    bits = np.uint32(0)
    if turned:
        for j in range(min(8, work.tq - query)):
            four = kept_of_four(batch, head, query + offset(j), key, work)
            for i in range(4):
                bits |= (four >> np.uint32(i) & _1) << np.uint32(8 * i + j)
    else:
        for i in range(min(4, work.tq - query)):
            for h in range(2):
                bits |= kept_of_four(batch, head, query + i, key + 32 * h, work) << np.uint32(8 * i + 4 * h)
    return bits


@device
def sign(weights, kept):
    """A weight that dropout drops with a minus, so that both what it was and that it is dropped are known from one number."""
    for e in range(32):
        weights[e] = weights[e] if kept >> np.uint32(e) & _1 else -weights[e]


@device
def reached_by(left, length, work):
    """The queries that see keys of the tile from `left` on: from the start of a tile of queries to before the second number."""
    diagonal = work.tk - work.tq
    start, stop = 0, work.tq if left < length else 0
    if work.causal:
        start = max(0, left - diagonal) // TILE * TILE
        if work.window > 0:
            stop = min(stop, left + TILE - 1 - diagonal + work.window)
    return start, stop


@device
def corner_of_row(batch, head, time, work):
    """As `corner`, of what lies like `out`."""
    return place_of_row(batch, head, time + cuda.threadIdx.x // 8 * 4, work) + cuda.threadIdx.x % 8 * 4
