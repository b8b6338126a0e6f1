"""What attention on tensor cores is made of: tiles of bfloat16 in shared memory, and products and scores that the 32 lanes of a warp hold together.

Of 16 rows of scores lane l has rows l / 4 and l / 4 + 8, and of every 8 columns numbers 2·(l mod 4) and one more; element 4·j + 2·i + e is row i, column
8·j + e, and in a word of bits 16·i + 2·j + e. Rows are queries and columns keys, or in the backward pass, where it is `turned`, the reverse.

NumPy has no bfloat16: `bfloat16` makes uint16 arrays of the upper halves of float32, and `float32` the reverse.
"""
from typing import NamedTuple

import numpy as np
from numba import cuda

from ..runtime.cuda import architecture, contiguous, device
from ..runtime.intrinsics import ALL
from ..runtime.ptx import afresh, copy16, load_matrices, load_matrices_transposed, multiply_add, pack, store_pair
from .reference import check
from .tiles_cuda import TILE
from .work_cuda import THREADS, kept_of_four, unmasked

ALL_BITS = np.uint32(0xFFFFFFFF)
_1, _3 = np.uint32(1), np.uint32(3)


class Fragments(NamedTuple):
    """What works on tiles of one width."""

    copy: object
    load: object
    multiply_transposed: object
    multiply_tiles: object
    multiply: object


def fragments(slices):
    """`Fragments` for tiles of so many slices of 32 features.

    The 16 bytes that are chunk c of row r lie at place c ^ (r mod 8), so that the same chunk of 8 rows is in 8 different groups of banks; of rows with
    4 chunks, two of which fill the banks, at c ^ (r / 2 mod 4).
    """
    width, chunks, steps = 32 * slices, 4 * slices, 2 * slices

    @device
    def place(row, chunk):
        return width * row + 8 * (chunk ^ (row // 2 % 4 if chunks == 4 else row % 8))

    @device
    def copy(x, start, step, rows, features, tile, top, count):
        """Begin to copy `count` rows of x, the first from `start` on, into those from `top` on; zeros beyond `rows` and `features`."""
        thread = afresh(np.int32(cuda.threadIdx.x))
        row, chunk = np.int32(thread // chunks), np.int32(thread % chunks)
        for i in range(count * chunks // THREADS):
            r = np.int32(row + THREADS // chunks * i)
            copy16(tile, place(top + r, chunk), x, start + r * step + 8 * chunk, (r < np.int32(rows)) & (np.int32(8 * chunk) < np.int32(features)))

    @device
    def load(a, tile, row, lane):
        """16 rows of a tile as the left side of a product."""
        for c in range(steps):
            a[4 * c], a[4 * c + 1], a[4 * c + 2], a[4 * c + 3] = load_matrices(tile, place(row + lane % 16, 2 * c + lane // 16))

    @device
    def multiply_transposed(product, i, a, tile, row, lane):
        """product[i …] += 16 rows in `a` · 16 rows of a tile: (16, 16)."""
        for c in range(steps):
            b_0, b_1, b_2, b_3 = load_matrices(tile, place(row + lane % 8 + lane // 16 * 8, 2 * c + lane // 8 % 2))
            _accumulate(product, i, a, 4 * c, b_0, b_1)
            _accumulate(product, i + 4, a, 4 * c, b_2, b_3)

    @device
    def multiply_tiles(product, i, a, left_tile, left_row, tile, row, lane):
        """The same of 16 rows of another tile, of which registers `a` have room for 16 columns only."""
        for c in range(steps):
            a[0], a[1], a[2], a[3] = load_matrices(left_tile, place(left_row + lane % 16, 2 * c + lane // 16))
            b_0, b_1, b_2, b_3 = load_matrices(tile, place(row + lane % 8 + lane // 16 * 8, 2 * c + lane // 8 % 2))
            _accumulate(product, i, a, 0, b_0, b_1)
            _accumulate(product, i + 4, a, 0, b_2, b_3)

    @device
    def multiply(product, a, tile, row, lane):
        """product += (16, 16) in `a`, see `rounded`, times 16 rows of a tile: (16, features)."""
        for c in range(steps):
            b_0, b_1, b_2, b_3 = load_matrices_transposed(tile, place(row + lane % 16, 2 * c + lane // 16))
            _accumulate(product, 8 * c, a, 0, b_0, b_1)
            _accumulate(product, 8 * c + 4, a, 0, b_2, b_3)

    return Fragments(copy, load, multiply_transposed, multiply_tiles, multiply)


@device
def _accumulate(product, i, a, j, b_0, b_1):
    """product[i …] += A B, for A in a[j …]."""
    product[i], product[i + 1], product[i + 2], product[i + 3] = multiply_add(
        a[j], a[j + 1], a[j + 2], a[j + 3], b_0, b_1, product[i], product[i + 1], product[i + 2], product[i + 3])


@device
def rounded(a, scores, first):
    """16 columns of scores, from element `first` on, in bfloat16, as the left side of a product."""
    for e in range(4):
        a[e] = pack(scores[first + 2 * e], scores[first + 2 * e + 1])


@device
def write(product, i, factor, into, place, work):
    """Row i of a thread's part of a product, times `factor`, into memory."""
    for j in range(product.size // 4):
        if 8 * j < work.d:
            store_pair(into, place + 8 * j, product[4 * j + 2 * i] * factor, product[4 * j + 2 * i + 1] * factor)


@device
def bit(e):
    """The bit of element e."""
    return np.uint32(1 << e % 4 // 2 * 16 + e // 4 * 2 + e % 2)


@device
def seen_bits(batch, head, query, key, length, mask, work, count, turned):
    """Which queries see which keys, in `count` times 8 columns; the thread's first are `query` and `key`."""
    distance, end = np.int32(key - query - (work.tk - work.tq)), np.int32(length - key)
    seen = np.uint32(0)
    for i in range(2):
        if turned:
            low = distance + 8 * i if work.causal else 0
            high = (low + work.window if work.window > 0 else TILE) if 8 * i < end else low
        else:
            low = 8 * i - distance - work.window + 1 if work.window > 0 else 0
            high = min(end, 8 * i - distance + 1) if work.causal else end
        seen |= (_below(high) & ~_below(low)) << np.uint32(16 * i)
    if work.masked:
        shown = np.uint32(0)
        for j in range(min(count, ((work.tq - query if turned else work.tk - key) + 7) // 8)):
            for i in range(2):
                for e in range(2):
                    to_query, to_key = (8 * j + e, 8 * i) if turned else (8 * i, 8 * j + e)
                    shown |= np.uint32(unmasked(batch, head, query + to_query, key + to_key, mask, work)) << np.uint32(16 * i + 2 * j + e)
        seen &= shown
    return seen


@device
def _below(n):
    """The bits of one row's columns that are less than n further on than the first."""
    n = min(max(n, 0), TILE)
    return (_1 << np.uint32(n // 8 * 2 + min(n % 8, 2))) - _1


@device
def kept_bits(batch, head, query, left, lane, work, count):
    """What dropout keeps. Two neighbouring lanes have the same four keys, of two queries: each asks for one query, and tells the other."""
    kept, shift = np.uint32(0), np.uint32(2 * (lane % 2))
    for j in range(min(count, (work.tk - left + 7) // 8)):
        mine = np.int32(kept_of_four(batch, head, query + 8 * (lane % 2), left + 8 * j + lane % 4 // 2 * 4, work))
        other = cuda.shfl_xor_sync(ALL, mine, 1)
        one, two = (mine, other) if lane % 2 == 0 else (other, mine)
        kept |= (np.uint32(one) >> shift & _3) << np.uint32(2 * j) | (np.uint32(two) >> shift & _3) << np.uint32(16 + 2 * j)
    return kept


@device
def kept_bits_turned(batch, head, first, key, lane, work, count):
    """The same where rows are keys, the warp's first is `key`, and columns queries from `first` on.

    Four lanes have neighbouring keys, and the 8 further on, of the same two queries: each asks for four keys of one query, and tells the others.
    """
    kept, number = np.uint32(0), np.int32(lane // 4 % 4)
    for j in range(min(count, (work.tq - first + 7) // 8)):
        mine = np.int32(kept_of_four(batch, head, first + 8 * j + 2 * (lane % 4) + number % 2, key + 8 * (number // 2) + 4 * (lane // 16), work))
        for i in range(2):
            for e in range(2):
                told = np.uint32(cuda.shfl_sync(ALL, mine, lane // 16 * 16 + 4 * (2 * i + e) + lane % 4))
                kept |= (told >> np.uint32(number) & _1) << np.uint32(16 * i + 2 * j + e)
    return kept


def check_bfloat16(q, k, v, heads, lengths, mask, packed, causal, kv_heads, window):
    """Refuse what tensor cores do not take; return kv_heads."""
    if architecture() < 80:
        raise NotImplementedError(f"attention: this GPU is sm_{architecture()}; tensor cores take bfloat16 from sm_80 on, use float32")
    if q.dtype != np.uint16:
        raise ValueError(f"attention: query is {q.dtype}, expected bfloat16 in a uint16 array; make one with tensor_cores.bfloat16")
    kv_heads = check(q, k, v, heads, lengths, mask, packed, causal, kv_heads, window, ("uint16",))
    d = q.shape[2] // heads
    if d % 8 or not 0 < d <= 128:
        raise ValueError(f"attention: heads have {d} features, expected a multiple of 8 up to 128 on tensor cores; use float32")
    return kv_heads


def version_of(versions, q, heads):
    """Of {slices: kernel} the one that serves heads of such queries."""
    slices = -(-q.shape[2] // heads // 32)
    return versions[4 if slices > 2 else slices]


def bfloat16(x):
    """float32 rounded to bfloat16, to nearest and ties to even: uint16 arrays of the upper halves."""
    bits = contiguous(x.astype(np.float32, copy=False)).view(np.uint32)
    halves = (bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & _1)) >> np.uint32(16)
    halves[np.isnan(x)] = 0x7FFF
    return halves.astype(np.uint16)


def float32(x):
    """What `bfloat16` rounded to."""
    return (x.astype(np.uint32) << np.uint32(16)).view(np.float32)
