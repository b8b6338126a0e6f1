"""FlashAttention-2 on tensor cores (Dao 2023), forward: inputs and output in bfloat16, sums in float32. For GPUs since sm_80.

A block has 64 queries of a head, 16 for each of its 4 warps, and goes over the keys in tiles of 64. A warp holds its queries in registers, multiplies
them with the keys, turns the scores into weights where they are, and multiplies these with the values: what comes out of one product lies as the other
takes it in. Lane l has, of a tile of scores, queries l / 4 and l / 4 + 8 of its warp, and of every 8 keys numbers 2·(l mod 4) and one more; element
4·j + 2·i + e is query i, key 8·j + e. V is copied while the first product runs, and the next K while the second does.

NumPy has no bfloat16: `bfloat16` makes uint16 arrays of the upper halves of float32, which `attention` takes and gives, and `float32` the reverse.
A weight is rounded to 8 bits before it multiplies a value; weights are summed, and log_sum_exp is made, before that.
"""
import numpy as np
from numba import cuda
from numba.cuda import types

from ..runtime.cuda import architecture, array, contiguous, device, empty, kernel
from ..runtime.intrinsics import ALL, LOWEST, ONE, ZERO, exp2, log2
from ..runtime.ptx import afresh, copy16, load_matrices, load_matrices_transposed, multiply_add, pack, wait_for_copies
from .reference import check
from .tiles_cuda import LN_2, LOG2_E, STEP, TILE, all_seen, reach
from .work_cuda import (THREADS, at, forward_kinds, grid, kept_of_four, length_of, place_of_row, shared_arguments, statistic, this_block, unmasked)

_1, _3, _2 = np.uint32(1), np.uint32(3), np.uint64(2)


def attention(q, k, v, heads, causal=False, lengths=None, p=0.0, key=0, mask=None, kv_heads=None, window=None):
    """See reference.attention; q, k, v and out in bfloat16, see `bfloat16`; log_sum_exp in float32."""
    if architecture() < 80:
        raise NotImplementedError(f"attention: this GPU is sm_{architecture()}; tensor cores take bfloat16 from sm_80 on, use float32")
    if q.dtype != np.uint16:
        raise ValueError(f"attention: query is {q.dtype}, expected bfloat16 in a uint16 array; make one with tensor_cores.bfloat16")
    kv_heads = check(q, k, v, heads, lengths, mask, False, causal, kv_heads, window, ("uint16",))
    d = q.shape[2] // heads
    if d % 8 or not 0 < d <= 128:
        raise ValueError(f"attention: heads have {d} features, expected a multiple of 8 up to 128 on tensor cores; use float32")
    out, log_sum_exp = empty(q, q.shape), empty(q, (q.shape[0], heads, q.shape[1]), np.float32)
    if k.size == 0:
        out[...], log_sum_exp[...] = 0, -np.inf
    elif q.size > 0:
        arguments = shared_arguments(q, k, v, heads, causal, lengths, p, key, mask, kv_heads, window, 8)
        version = _versions[1 if d <= 32 else 2 if d <= 64 else 4]
        version[grid(q, TILE, heads), THREADS](*arguments, out.reshape(-1).view(np.uint32), log_sum_exp.reshape(-1))
    return out, log_sum_exp


def _kinds(real):
    """The types of what a kernel takes."""
    *arguments, work, _, _ = forward_kinds(real)
    parts = [types.float32 if name in ("kept", "scale") else kind for name, kind in zip(work.fields, work.types)]
    return *arguments, types.NamedTuple(parts, work.instance_class), array(types.uint32, 1), array(types.float32, 1)


def _forward(slices):
    """The kernel for heads of so many slices of 32 features."""
    width, area, steps, size, fragment = 32 * slices, TILE * 32 * slices, 2 * slices, 16 * slices, 8 * slices
    copy_tile, place = _tile(width)

    @kernel(_kinds, threads=THREADS, blocks=2, variant=width, since=80)
    def attention(q, q_rows, k, k_rows, v, v_rows, lengths, mask, work, out, log_sum_exp):
        queries = cuda.shared.array(area, types.uint16, alignment=16)
        keys = cuda.shared.array(area, types.uint16, alignment=16)
        values = cuda.shared.array(area, types.uint16, alignment=16)
        a, scores, mean = cuda.local.array(fragment, types.uint32), cuda.local.array(32, types.float32), cuda.local.array(size, types.float32)
        weights = cuda.local.array(4, types.uint32)
        largest, total = cuda.local.array(2, types.float32), cuda.local.array(2, types.float32)
        batch, head, tile, tiles = this_block(TILE, work.tq)
        first = np.int32((tiles - 1 - tile) * TILE)  # with `causal` the last tile has the most to do: it begins first
        lane, corner = np.int32(cuda.threadIdx.x % 32), np.int32(cuda.threadIdx.x // 32 * 16)
        query, column = np.int32(first + corner + lane // 4), np.int32(2 * (lane % 4))
        busy = first + corner < work.tq  # whether the warp has any queries
        length, features = np.int32(length_of(batch, lengths, work)), head // work.group * work.d
        start, stop = reach(first, length, work)
        factor = work.scale * LOG2_E
        copy_tile(q, at(q_rows, batch, first, head * work.d), q_rows.time, work.tq - first, work.d, queries)
        copy_tile(k, at(k_rows, batch, start, features), k_rows.time, length - start, work.d, keys)
        for e in range(size):
            mean[e] = ZERO
        for i in range(2):
            largest[i], total[i] = LOWEST, ZERO
        wait_for_copies()
        cuda.syncthreads()
        if busy:
            for c in range(steps):
                a[4 * c], a[4 * c + 1], a[4 * c + 2], a[4 * c + 3] = load_matrices(queries, place(corner + lane % 16, 2 * c + lane // 16))
        for left in range(np.int32(start), np.int32(stop), STEP):
            copy_tile(v, at(v_rows, batch, left, features), v_rows.time, length - left, work.d, values)
            if busy:
                for e in range(32):
                    scores[e] = ZERO
                here = afresh(lane)
                for c in range(steps):
                    for j in range(4):
                        b_0, b_1, b_2, b_3 = load_matrices(keys, place(16 * j + here % 8 + here // 16 * 8, 2 * c + here // 8 % 2))
                        accumulate(scores, 8 * j, a, 4 * c, b_0, b_1)
                        accumulate(scores, 8 * j + 4, a, 4 * c, b_2, b_3)
                if work.masked or not all_seen(first, left, length, work):
                    hide(scores, batch, head, query, left + column, length, mask, work)
                for i in range(2):
                    new = largest[i]
                    for j in range(8):
                        new = max(new, max(scores[4 * j + 2 * i], scores[4 * j + 2 * i + 1]))
                    new = max(new, cuda.shfl_xor_sync(ALL, new, 1))
                    new = max(new, cuda.shfl_xor_sync(ALL, new, 2))
                    shift = ZERO if new == LOWEST else new * factor
                    shrink = exp2(largest[i] * factor - shift)
                    largest[i] = new
                    total[i] *= shrink
                    for j in range(8):
                        for e in range(2):
                            scores[4 * j + 2 * i + e] = exp2(scores[4 * j + 2 * i + e] * factor - shift)
                            total[i] += scores[4 * j + 2 * i + e]
                    for j in range(2 * steps):
                        mean[4 * j + 2 * i] *= shrink
                        mean[4 * j + 2 * i + 1] *= shrink
                if work.threshold > 0:
                    drop(scores, batch, head, query, left, lane, work)
            wait_for_copies()
            cuda.syncthreads()
            if left + TILE < stop:
                copy_tile(k, at(k_rows, batch, left + TILE, features), k_rows.time, length - left - TILE, work.d, keys)
            if busy:
                here = afresh(lane)
                for j in range(4):
                    for e in range(4):
                        weights[e] = pack(scores[8 * j + 2 * e], scores[8 * j + 2 * e + 1])
                    for c in range(steps):
                        b_0, b_1, b_2, b_3 = load_matrices_transposed(values, place(16 * j + here % 16, 2 * c + here // 16))
                        accumulate(mean, 8 * c, weights, 0, b_0, b_1)
                        accumulate(mean, 8 * c + 4, weights, 0, b_2, b_3)
            wait_for_copies()
            cuda.syncthreads()
        for i in range(2):
            total[i] += cuda.shfl_xor_sync(ALL, total[i], 1)
            total[i] += cuda.shfl_xor_sync(ALL, total[i], 2)
            if query + 8 * i < work.tq:
                inverse = ZERO if total[i] == ZERO else ONE / total[i]
                word = np.uint64(place_of_row(batch, head, query + 8 * i, work) + column) // _2
                for j in range(4 * slices):
                    if 8 * j < work.d:
                        out[word + np.uint64(4 * j)] = pack(mean[4 * j + 2 * i] * inverse, mean[4 * j + 2 * i + 1] * inverse)
                if lane % 4 == 0:
                    statistics = np.uint64(statistic(batch, head, query + 8 * i, work))
                    log_sum_exp[statistics] = LOWEST if total[i] == ZERO else LN_2 * (largest[i] * factor + log2(total[i]))

    return attention


def _tile(width):
    """(copy, place) for tiles of 64 rows and `width` features: how one comes to shared memory, and where it lies there.

    The 16 bytes that are chunk c of row r lie at place c ^ (r mod 8), so that the same chunk of 8 rows is in 8 different groups of banks; of rows with
    4 chunks, two of which fill the banks, at c ^ (r / 2 mod 4).
    """
    chunks = width // 8

    @device
    def place(row, chunk):
        return width * row + 8 * (chunk ^ (row // 2 % 4 if chunks == 4 else row % 8))

    @device
    def copy(x, start, step, rows, features, tile):
        """Begin to copy rows of x, the first from `start` on; zeros beyond `rows` and `features`."""
        thread = afresh(np.int32(cuda.threadIdx.x))
        row, chunk = np.int32(thread // chunks), np.int32(thread % chunks)
        for i in range(TILE * chunks // THREADS):
            r = np.int32(row + THREADS // chunks * i)
            copy16(tile, place(r, chunk), x, start + r * step + 8 * chunk, (r < np.int32(rows)) & (np.int32(8 * chunk) < np.int32(features)))

    return copy, place


@device
def accumulate(product, i, a, j, b_0, b_1):
    """product[i …] += A B, for A in a[j …]."""
    product[i], product[i + 1], product[i + 2], product[i + 3] = multiply_add(
        a[j], a[j + 1], a[j + 2], a[j + 3], b_0, b_1, product[i], product[i + 1], product[i + 2], product[i + 3])


@device
def hide(scores, batch, head, query, key, length, mask, work):
    """−inf where a query does not see a key; the thread's first are `query` and `key`. Of the bits, 16·i + 2·j + e is query i, key 8·j + e."""
    distance, end = np.int32(key - query - (work.tk - work.tq)), np.int32(length - key)
    seen = np.uint32(0)
    for i in range(2):
        high = min(end, 8 * i - distance + 1) if work.causal else end
        low = 8 * i - distance - work.window + 1 if work.window > 0 else 0
        seen |= (_below(high) & ~_below(low)) << np.uint32(16 * i)
    if work.masked:
        shown = np.uint32(0)
        for j in range(min(8, (work.tk - key + 7) // 8)):
            for i in range(2):
                for e in range(2):
                    shown |= np.uint32(unmasked(batch, head, query + 8 * i, key + 8 * j + e, mask, work)) << np.uint32(16 * i + 2 * j + e)
        seen &= shown
    for e in range(32):
        scores[e] = scores[e] if seen & _bit(e) else LOWEST


@device
def _below(n):
    """The bits of one query's keys that are less than n further on than the first."""
    n = min(max(n, 0), TILE)
    return (_1 << np.uint32(n // 8 * 2 + min(n % 8, 2))) - _1


@device
def _bit(e):
    """The bit of element 4·j + 2·i + e of a thread's scores."""
    return np.uint32(1 << e % 4 // 2 * 16 + e // 4 * 2 + e % 2)


@device
def drop(scores, batch, head, query, left, lane, work):
    """Dropout on a thread's weights. Two neighbouring lanes have the same four keys, of two queries: each asks for one query, and tells the other."""
    kept, shift = np.uint32(0), np.uint32(2 * (lane % 2))
    for j in range(min(8, (work.tk - left + 7) // 8)):
        mine = np.int32(kept_of_four(batch, head, query + 8 * (lane % 2), left + 8 * j + lane % 4 // 2 * 4, work))
        other = cuda.shfl_xor_sync(ALL, mine, 1)
        one, two = (mine, other) if lane % 2 == 0 else (other, mine)
        kept |= (np.uint32(one) >> shift & _3) << np.uint32(2 * j) | (np.uint32(two) >> shift & _3) << np.uint32(16 + 2 * j)
    for e in range(32):
        scores[e] = scores[e] * work.kept if kept & _bit(e) else ZERO


_versions = {slices: _forward(slices) for slices in (1, 2, 4)}


def bfloat16(x):
    """float32 rounded to bfloat16, to nearest and ties to even: uint16 arrays of the upper halves."""
    bits = contiguous(x.astype(np.float32, copy=False)).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & _1)) >> np.uint32(16)
    rounded[np.isnan(x)] = 0x7FFF
    return rounded.astype(np.uint16)


def float32(x):
    """What `bfloat16` rounded to."""
    return (x.astype(np.uint32) << np.uint32(16)).view(np.float32)
