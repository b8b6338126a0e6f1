"""FlashAttention-2 on tensor cores (Dao 2023), the backward pass: inputs and gradients in bfloat16, sums in float32. For GPUs since sm_80.

Two kernels, and nothing added by atomics, as in `tiled_backward.py`: a block of the first has 64 queries, and goes over the keys for dQ; one of the
second has 64 keys, and goes over the queries for dK and dV. A warp has 16 of the 64 rows. Keys and values, or queries and g, come in tiles of 16 to 64
rows, 4,096 numbers of each; the next tile is copied while one is worked on. Of a tile the warp takes 16 rows at a time: the products S and dP, from
them in registers the weights P and the slopes dS, and at once, rounded to bfloat16, these times what they are the gradients of.

The slopes are not yet divided by √d when they are rounded: that and what dropout multiplies by comes last, in float32.
"""
import numpy as np
from numba import cuda
from numba.cuda import types

from ..runtime.cuda import device, kernel
from ..runtime.intrinsics import ALL, ZERO, exp2
from ..runtime.ptx import afresh, load_pair, wait_for_copies
from .fragments_cuda import ALL_BITS, bit, check_bfloat16, fragments, kept_bits, kept_bits_turned, rounded, seen_bits, version_of, write
from .tiled_backward import HIGHEST, shift_of
from .tiles_cuda import LOG2_E, TILE, all_seen, reach, reached_by
from .work_cuda import THREADS, at, dkv_kinds, dq_kinds, launch_backward, length_of, place_of_row, statistic, this_block


def attention_backward(g, q, k, v, out, log_sum_exp, heads, causal=False, lengths=None, p=0.0, key=0, mask=None, packed=False, kv_heads=None, window=None):
    """See reference.attention_backward; all in bfloat16 but log_sum_exp, see tensor_cores.attention."""
    kv_heads = check_bfloat16(q, k, v, heads, lengths, mask, packed, causal, kv_heads, window)
    kernels = version_of(_dq, q, heads), version_of(_dkv, q, heads)
    return launch_backward(*kernels, TILE, 8, g, q, k, v, out, log_sum_exp, heads, causal, lengths, p, key, mask, packed, kv_heads, window)


def _queries(slices):
    """The kernel for dQ of heads of so many slices of 32 features."""
    width, size, fragment, count = 32 * slices, 16 * slices, 8 * slices, 64 // slices
    area, part = TILE * width, 2 * count * width
    step = np.int32(count)
    copy, load, multiply_transposed, _, multiply = fragments(slices)

    @kernel(lambda real: dq_kinds(real, types.float32), threads=THREADS, blocks=2, variant=width, since=80)
    def dq(q, q_rows, k, k_rows, v, v_rows, lengths, mask, work, out, log_sum_exp, g, delta, dq, dq_rows):
        queries, g_tile = cuda.shared.array(area, types.uint16, alignment=16), cuda.shared.array(area, types.uint16, alignment=16)
        keys, values = cuda.shared.array(part, types.uint16, alignment=16), cuda.shared.array(part, types.uint16, alignment=16)
        a, a_g, weights = cuda.local.array(fragment, types.uint32), cuda.local.array(fragment, types.uint32), cuda.local.array(4, types.uint32)
        scores, slopes = cuda.local.array(8, types.float32), cuda.local.array(8, types.float32)
        gradient, shifts, deltas = cuda.local.array(size, types.float32), cuda.local.array(2, types.float32), cuda.local.array(2, types.float32)
        batch, head, tile, tiles = this_block(TILE, work.tq)
        first = np.int32((tiles - 1 - tile) * TILE)
        lane, corner = np.int32(cuda.threadIdx.x % 32), np.int32(cuda.threadIdx.x // 32 * 16)
        query, column = np.int32(first + corner + lane // 4), np.int32(2 * (lane % 4))
        busy = first + corner < work.tq
        length, features = np.int32(length_of(batch, lengths, work)), head // work.group * work.d
        start, stop = reach(first, length, work)
        factor = work.scale * LOG2_E
        copy(q, at(q_rows, batch, first, head * work.d), q_rows.time, work.tq - first, work.d, queries, 0, TILE)
        copy(g, place_of_row(batch, head, first, work), work.heads * work.d, work.tq - first, work.d, g_tile, 0, TILE)
        copy(k, at(k_rows, batch, start, features), k_rows.time, length - start, work.d, keys, 0, count)
        copy(v, at(v_rows, batch, start, features), v_rows.time, length - start, work.d, values, 0, count)
        for e in range(size):
            gradient[e] = ZERO
        for i in range(2):
            deltas[i] = _delta_of(g, out, batch, head, query + 8 * i, column, slices, work)
            shifts[i] = shift_of(log_sum_exp, batch, head, query + 8 * i, work)
            if column == 0 and query + 8 * i < work.tq:
                delta[np.uint64(statistic(batch, head, query + 8 * i, work))] = deltas[i]
        wait_for_copies()
        cuda.syncthreads()
        if busy:
            load(a, queries, corner, lane)
            load(a_g, g_tile, corner, lane)
        now = np.int32(0)  # the row of the stage that is read; the other one is filled meanwhile
        for left in range(np.int32(start), np.int32(stop), step):
            after = np.int32(left + step)
            if after < stop:
                copy(k, at(k_rows, batch, after, features), k_rows.time, length - after, work.d, keys, count - now, count)
                copy(v, at(v_rows, batch, after, features), v_rows.time, length - after, work.d, values, count - now, count)
            if busy:
                seen, kept = ALL_BITS, ALL_BITS
                if work.masked or not all_seen(first, left, length, work):
                    seen = seen_bits(batch, head, query, left + column, length, mask, work, count // 8, False)
                if work.threshold > 0:
                    kept = kept_bits(batch, head, query, left, lane, work, count // 8)
                here = afresh(lane)
                for j in range(count // 16):
                    seen_now, kept_now = seen >> np.uint32(4 * j), kept >> np.uint32(4 * j)
                    for e in range(8):
                        scores[e], slopes[e] = ZERO, ZERO
                    multiply_transposed(scores, 0, a, keys, now + 16 * j, here)
                    multiply_transposed(slopes, 0, a_g, values, now + 16 * j, here)
                    for e in range(8):
                        weight = exp2(scores[e] * factor - shifts[e // 2 % 2]) if seen_now & bit(e) else ZERO
                        slope = slopes[e] * work.kept if kept_now & bit(e) else ZERO
                        slopes[e] = weight * (slope - deltas[e // 2 % 2])
                    rounded(weights, slopes, 0)
                    multiply(gradient, weights, keys, now + 16 * j, here)
            wait_for_copies()
            cuda.syncthreads()
            now = np.int32(count - now)
        for i in range(2):
            if query + 8 * i < work.tq:
                write(gradient, i, work.scale, dq, at(dq_rows, batch, query + 8 * i, head * work.d + column), work)

    return dq


def _keys(slices):
    """The kernel for dK and dV of heads of so many slices of 32 features; rows of a tile are keys, and columns queries."""
    width, size, fragment, count = 32 * slices, 16 * slices, 8 * slices, 64 // slices
    area, part = TILE * width, 2 * count * width
    step = np.int32(count)
    copy, load, multiply_transposed, multiply_tiles, multiply = fragments(slices)
    held = slices < 4  # whether there are registers for the values too

    @kernel(lambda real: dkv_kinds(real, types.float32), threads=THREADS, blocks=2, variant=width, since=80)
    def dkv(q, q_rows, k, k_rows, v, v_rows, lengths, mask, work, out, log_sum_exp, g, delta, dk, dk_rows, dv, dv_rows):
        keys, values = cuda.shared.array(area, types.uint16, alignment=16), cuda.shared.array(area, types.uint16, alignment=16)
        queries, g_tile = cuda.shared.array(part, types.uint16, alignment=16), cuda.shared.array(part, types.uint16, alignment=16)
        a, a_v, weights = cuda.local.array(fragment, types.uint32), cuda.local.array(fragment, types.uint32), cuda.local.array(4, types.uint32)
        scores, slopes = cuda.local.array(8, types.float32), cuda.local.array(8, types.float32)
        gradient, gradient_v = cuda.local.array(size, types.float32), cuda.local.array(size, types.float32)
        batch, shared_head, tile, _ = this_block(TILE, work.tk)
        left = np.int32(tile * TILE)
        lane, corner = np.int32(cuda.threadIdx.x % 32), np.int32(cuda.threadIdx.x // 32 * 16)
        key, column = np.int32(left + corner + lane // 4), np.int32(2 * (lane % 4))
        length, features, row = np.int32(length_of(batch, lengths, work)), shared_head * work.d, work.heads * work.d
        busy = left + corner < length
        start, stop = reached_by(left, length, work)
        factor = work.scale * LOG2_E
        head, first, tiles = np.int32(shared_head * work.group), np.int32(start), np.int32(max(0, stop - start + count - 1) // count * work.group)
        copy(k, at(k_rows, batch, left, features), k_rows.time, length - left, work.d, keys, 0, TILE)
        copy(v, at(v_rows, batch, left, features), v_rows.time, length - left, work.d, values, 0, TILE)
        copy(q, at(q_rows, batch, first, head * work.d), q_rows.time, work.tq - first, work.d, queries, 0, count)
        copy(g, place_of_row(batch, head, first, work), row, work.tq - first, work.d, g_tile, 0, count)
        for e in range(size):
            gradient[e], gradient_v[e] = ZERO, ZERO
        wait_for_copies()
        cuda.syncthreads()
        if busy:
            load(a, keys, corner, lane)
            if held:
                load(a_v, values, corner, lane)
        now = np.int32(0)
        for left_over in range(tiles, np.int32(0), np.int32(-1)):
            next_head, after = head, np.int32(first + step)
            if after >= stop:
                next_head, after = np.int32(head + 1), np.int32(start)
            if left_over > 1:
                copy(q, at(q_rows, batch, after, next_head * work.d), q_rows.time, work.tq - after, work.d, queries, count - now, count)
                copy(g, place_of_row(batch, next_head, after, work), row, work.tq - after, work.d, g_tile, count - now, count)
            if busy:
                seen, kept = ALL_BITS, ALL_BITS
                if work.masked or not all_seen(first, left, length, work):
                    seen = seen_bits(batch, head, first + column, key, length, mask, work, count // 8, True)
                if work.threshold > 0:
                    kept = kept_bits_turned(batch, head, first, left + corner, lane, work, count // 8)
                place, room = np.uint64(statistic(batch, head, first + column, work)), np.int32(work.tq - first - column)
                here = afresh(lane)
                for j in range(count // 16):
                    seen_now, kept_now = seen >> np.uint32(4 * j), kept >> np.uint32(4 * j)
                    for e in range(8):
                        scores[e], slopes[e] = ZERO, ZERO
                    multiply_transposed(scores, 0, a, queries, now + 16 * j, here)
                    if held:
                        multiply_transposed(slopes, 0, a_v, g_tile, now + 16 * j, here)
                    else:
                        multiply_tiles(slopes, 0, a_v, values, corner, g_tile, now + 16 * j, here)
                    for e in range(4):
                        to_query = 16 * j + e // 2 * 8 + e % 2
                        shift, center = HIGHEST, ZERO
                        if to_query < room:
                            shift, center = log_sum_exp[place + np.uint64(to_query)] * LOG2_E, delta[place + np.uint64(to_query)]
                        for i in range(2):
                            n = e // 2 * 4 + 2 * i + e % 2
                            weight = exp2(scores[n] * factor - shift) if seen_now & bit(n) else ZERO
                            there = kept_now & bit(n) != 0
                            scores[n] = weight if there else ZERO
                            slopes[n] = weight * ((slopes[n] * work.kept if there else ZERO) - center)
                    rounded(weights, scores, 0)
                    multiply(gradient_v, weights, g_tile, now + 16 * j, here)
                    rounded(weights, slopes, 0)
                    multiply(gradient, weights, queries, now + 16 * j, here)
            wait_for_copies()
            cuda.syncthreads()
            head, first, now = next_head, after, np.int32(count - now)
        for i in range(2):
            if key + 8 * i < work.tk:
                write(gradient, i, work.scale, dk, at(dk_rows, batch, key + 8 * i, features + column), work)
                write(gradient_v, i, work.kept, dv, at(dv_rows, batch, key + 8 * i, features + column), work)

    return dkv


@device
def _delta_of(g, out, batch, head, query, column, slices, work):
    """Σ g · out of a query, which the 4 lanes of its row sum together."""
    total = ZERO
    for j in range(4 * slices):
        if query < work.tq and 8 * j < work.d:
            place = place_of_row(batch, head, query, work) + 8 * j + column
            g_0, g_1 = load_pair(g, place)
            out_0, out_1 = load_pair(out, place)
            total += g_0 * out_0 + g_1 * out_1
    total += cuda.shfl_xor_sync(ALL, total, 1)
    total += cuda.shfl_xor_sync(ALL, total, 2)
    return total


_dq, _dkv = ({slices: make(slices) for slices in (1, 2, 4)} for make in (_queries, _keys))
