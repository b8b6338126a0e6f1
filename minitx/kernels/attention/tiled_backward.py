"""FlashAttention in float32, the backward pass: the weights of a tile again from log_sum_exp, and nothing added by atomics.

Two kernels: the first goes like the forward pass, with 64 queries over the tiles of keys, and computes dQ; the second has 64
keys, and goes over the tiles of queries for dK and dV. Each makes the scores S and the slopes dP anew, which is 7 products
of a tile in place of 5. One kernel that adds its part of dQ to memory from many blocks would save two of them, and
give other bits each time.
"""
import numpy as np
from numba import cuda

from ..runtime.cuda import device, kernel
from ..runtime.intrinsics import ALL, LOWEST, ZERO, exp2, load4
from .tiled import kernel_of
from .tiles_cuda import (BITS, HALF, LOG2_E, ONE_BY_ONE, STAGE, STAGES, STEP, TILE, WIDTH, _0, all_seen, corner, corner_of_row, drop, dropout_bits,
                         float32, for_slices, hide, mask_bits, multiply, multiply_transposed, offset, put, reach, reached_by, sign, times_weights, write)
from .work_cuda import THREADS, at, backward, dkv_kinds, dq_kinds, length_of, place_of_row, statistic, this_block

HIGHEST = np.float32(np.inf)


def attention_backward(g, q, k, v, out, log_sum_exp, heads, *arguments, **options):
    """See reference.attention_backward, of what `tiled.takes`."""
    kernels = kernel_of(_dq, q, heads), kernel_of(_dkv, q, heads)
    return backward(*kernels, TILE, 4, g, q, k, v, out, log_sum_exp, heads, *arguments, **options)


def _queries(slices, copies):
    """The kernel for dQ of heads of so many slices of 32 features."""
    size, early, late = 16 * slices, min(2, slices), slices - 2
    copy, copy_wide, wait = copies[:3]

    @kernel(dq_kinds, threads=THREADS, blocks=min(copies.blocks, 3 if slices < 4 else 2), since=copies.since,
            variant=f"{32 * slices}{copies.suffix}")
    def dq(q, q_rows, k, k_rows, v, v_rows, lengths, mask, work, out, log_sum_exp, g, delta, dq, dq_rows):
        stage, weights = cuda.shared.array(STAGES, float32, alignment=16), cuda.shared.array(STAGE, float32, alignment=16)
        scores, slopes, gradient = cuda.local.array(32, float32), cuda.local.array(32, float32), cuda.local.array(size, float32)
        shifts, deltas = cuda.local.array(4, float32), cuda.local.array(4, float32)
        batch, head, tile, tiles = this_block(TILE, work.tq)
        first = np.int32((tiles - 1 - tile) * TILE)
        lane, row = cuda.threadIdx.x % 8, cuda.threadIdx.x // 8 * 4
        busy = first + row // 16 * 16 < work.tq
        length, column, step = np.int32(length_of(batch, lengths, work)), head // work.group * work.d, work.heads * work.d
        start, stop = reach(first, length, work)
        q_at, g_at = corner(q_rows, batch, first, head * work.d), corner_of_row(batch, head, first, work)
        k_at, v_at = corner(k_rows, batch, start, column), corner(v_rows, batch, start, column)
        for e in range(size):
            gradient[e] = ZERO
        for i in range(4):
            deltas[i] = delta_of(g, out, batch, head, first + row + i, lane, slices, work)
            shifts[i] = shift_of(log_sum_exp, batch, head, first + row + i, work)
            if lane == 0 and first + row + i < work.tq:
                delta[np.uint64(statistic(batch, head, first + row + i, work))] = deltas[i]
        now = _0
        copy(q, q_at, q_rows.time, work.tq - first, work.d, stage, 0)
        copy(k, k_at, k_rows.time, length - start, work.d, stage, HALF)
        for left in range(np.int32(start), np.int32(stop), STEP):
            shown, kept = BITS, BITS
            if busy and work.masked:
                shown = mask_bits(batch, head, first + row, left + 4 * lane, mask, work, False)
            if busy and work.threshold > 0:
                kept = dropout_bits(batch, head, first + row, left + 4 * lane, work, False)
            for e in range(32):
                scores[e] = ZERO
            for c in range(_0, work.d, WIDTH):
                wait()
                cuda.syncthreads()
                if c + 32 < work.d:
                    copy(q, q_at + c + 32, q_rows.time, work.tq - first, work.d - c - 32, stage, STAGE - now)
                    copy(k, k_at + c + 32, k_rows.time, length - left, work.d - c - 32, stage, STAGE - now + HALF)
                else:
                    copy(g, g_at, step, work.tq - first, work.d, stage, STAGE - now)
                    copy(v, v_at, v_rows.time, length - left, work.d, stage, STAGE - now + HALF)
                if busy:
                    multiply_transposed(stage, now, row, lane, min(8, (work.d - c) // 4), scores)
                now = np.int32(STAGE - now)
            if busy:
                if work.masked or not all_seen(first, left, length, work):
                    hide(scores, first + row, left + 4 * lane, length, shown, work, False)
                for e in range(32):
                    scores[e] = exp2(scores[e] * (work.scale * LOG2_E) - shifts[e // 8])
                put(scores, weights, row, lane)
            for e in range(32):
                slopes[e] = ZERO
            for c in range(_0, work.d, WIDTH):
                wait()
                cuda.syncthreads()
                if c + 32 < work.d:
                    copy(g, g_at + c + 32, step, work.tq - first, work.d - c - 32, stage, STAGE - now)
                    copy(v, v_at + c + 32, v_rows.time, length - left, work.d - c - 32, stage, STAGE - now + HALF)
                else:
                    copy_wide(k, k_at, k_rows.time, length - left, work.d, early, stage, STAGE - now)
                if busy:
                    multiply_transposed(stage, now, row, lane, min(8, (work.d - c) // 4), slopes)
                now = np.int32(STAGE - now)
            if busy:
                if work.threshold > 0:
                    drop(slopes, kept, work)
                for e in range(32):
                    slopes[e] -= deltas[e // 8]
                times_weights(slopes, weights, row, lane)
                put(slopes, weights, row, lane)
            keys = min(16, (stop - left + 3) // 4)
            v_at += TILE * v_rows.time
            wait()
            cuda.syncthreads()
            if slices > 2:
                copy_wide(k, k_at + 64, k_rows.time, length - left, work.d - 64, late, stage, STAGE - now)
                if busy:
                    multiply(weights, stage, now, row, lane, keys, early, gradient, 0, False)
                now = np.int32(STAGE - now)
                wait()
                cuda.syncthreads()
            k_at += TILE * k_rows.time
            if left + TILE < stop:
                copy(q, q_at, q_rows.time, work.tq - first, work.d, stage, STAGE - now)
                copy(k, k_at, k_rows.time, length - left - TILE, work.d, stage, STAGE - now + HALF)
            if busy:
                if slices > 2:
                    multiply(weights, stage, now, row, lane, keys, late, gradient, 32, False)
                else:
                    multiply(weights, stage, now, row, lane, keys, early, gradient, 0, False)
            now = np.int32(STAGE - now)
        wait()  # where there was no key at all, for the first copies
        for i in range(4):
            if first + row + i < work.tq:
                write(gradient, i, slices, work.scale, dq, at(dq_rows, batch, first + row + i, head * work.d + 4 * lane), lane, work)

    return dq


def _keys(slices, copies):
    """The kernel for dK and dV of heads of so many slices of 32 features; rows of a tile are keys, and columns queries."""
    size, early, late = 16 * slices, min(2, slices), slices - 2
    copy, copy_wide, wait = copies[:3]

    @kernel(dkv_kinds, threads=THREADS, blocks=min(copies.blocks, 3 if slices < 2 else 2), since=copies.since,
            variant=f"{32 * slices}{copies.suffix}")
    def dkv(q, q_rows, k, k_rows, v, v_rows, lengths, mask, work, out, log_sum_exp, g, delta, dk, dk_rows, dv, dv_rows):
        stage, weights = cuda.shared.array(STAGES, float32, alignment=16), cuda.shared.array(STAGE, float32, alignment=16)
        scores, slopes = cuda.local.array(32, float32), cuda.local.array(32, float32)
        gradient, gradient_v = cuda.local.array(size, float32), cuda.local.array(size, float32)
        batch, shared_head, tile, _ = this_block(TILE, work.tk)
        left = np.int32(tile * TILE)
        lane, row = cuda.threadIdx.x % 8, cuda.threadIdx.x // 8 * 4
        length, column, step = np.int32(length_of(batch, lengths, work)), shared_head * work.d, work.heads * work.d
        busy = left + row // 16 * 16 < length
        k_at, v_at = corner(k_rows, batch, left, column), corner(v_rows, batch, left, column)
        for e in range(size):
            gradient[e], gradient_v[e] = ZERO, ZERO
        start, stop = reached_by(left, length, work)
        now = _0
        for head in range(np.int32(shared_head * work.group), np.int32((shared_head + 1) * work.group), ONE_BY_ONE):
            for first in range(np.int32(start), np.int32(stop), STEP):
                rows = np.int32(work.tq - first)
                q_at, g_at = corner(q_rows, batch, first, head * work.d), corner_of_row(batch, head, first, work)
                copy(k, k_at, k_rows.time, length - left, work.d, stage, now)
                copy(q, q_at, q_rows.time, rows, work.d, stage, now + HALF)
                kept = BITS
                if busy and work.threshold > 0:
                    kept = dropout_bits(batch, head, first + 4 * lane, left + row, work, True)
                place, room = np.uint64(statistic(batch, head, first + 4 * lane, work)), np.int32(rows - 4 * lane)
                for e in range(32):
                    scores[e] = ZERO
                for c in range(_0, work.d, WIDTH):
                    wait()
                    cuda.syncthreads()
                    if c + 32 < work.d:
                        copy(k, k_at + c + 32, k_rows.time, length - left, work.d - c - 32, stage, STAGE - now)
                        copy(q, q_at + c + 32, q_rows.time, rows, work.d - c - 32, stage, STAGE - now + HALF)
                    else:
                        copy_wide(g, g_at, step, rows, work.d, early, stage, STAGE - now)
                    if busy:
                        multiply_transposed(stage, now, row, lane, min(8, (work.d - c) // 4), scores)
                    now = np.int32(STAGE - now)
                if busy:
                    if work.masked or not all_seen(first, left, length, work):
                        shown = mask_bits(batch, head, first + 4 * lane, left + row, mask, work, True) if work.masked else BITS
                        hide(scores, first + 4 * lane, left + row, length, shown, work, True)
                    for j in range(8):
                        shift = log_sum_exp[place + np.uint64(offset(j))] * LOG2_E if offset(j) < room else HIGHEST
                        shift = HIGHEST if shift == LOWEST else shift
                        for i in range(4):
                            scores[8 * i + j] = exp2(scores[8 * i + j] * (work.scale * LOG2_E) - shift)
                    if work.threshold > 0:
                        sign(scores, kept)
                    put(scores, weights, row, lane)
                queries = min(16, (rows + 3) // 4)
                wait()
                cuda.syncthreads()
                if slices > 2:
                    copy_wide(g, g_at + 64, step, rows, work.d - 64, late, stage, STAGE - now)
                    if busy:
                        multiply(weights, stage, now, row, lane, queries, early, gradient_v, 0, work.threshold > 0)
                    now = np.int32(STAGE - now)
                    wait()
                    cuda.syncthreads()
                copy(v, v_at, v_rows.time, length - left, work.d, stage, STAGE - now)
                copy(g, g_at, step, rows, work.d, stage, STAGE - now + HALF)
                if busy:
                    if slices > 2:
                        multiply(weights, stage, now, row, lane, queries, late, gradient_v, 32, work.threshold > 0)
                    else:
                        multiply(weights, stage, now, row, lane, queries, early, gradient_v, 0, work.threshold > 0)
                now = np.int32(STAGE - now)
                for e in range(32):
                    slopes[e] = ZERO
                for c in range(_0, work.d, WIDTH):
                    wait()
                    cuda.syncthreads()
                    if c + 32 < work.d:
                        copy(v, v_at + c + 32, v_rows.time, length - left, work.d - c - 32, stage, STAGE - now)
                        copy(g, g_at + c + 32, step, rows, work.d - c - 32, stage, STAGE - now + HALF)
                    else:
                        copy_wide(q, q_at, q_rows.time, rows, work.d, early, stage, STAGE - now)
                    if busy:
                        multiply_transposed(stage, now, row, lane, min(8, (work.d - c) // 4), slopes)
                    now = np.int32(STAGE - now)
                if busy:
                    if work.threshold > 0:
                        drop(slopes, kept, work)
                    for j in range(8):
                        center = delta[place + np.uint64(offset(j))] if offset(j) < room else ZERO
                        for i in range(4):
                            slopes[8 * i + j] -= center
                    times_weights(slopes, weights, row, lane)
                    put(slopes, weights, row, lane)
                wait()
                cuda.syncthreads()
                if slices > 2:
                    copy_wide(q, q_at + 64, q_rows.time, rows, work.d - 64, late, stage, STAGE - now)
                    if busy:
                        multiply(weights, stage, now, row, lane, queries, early, gradient, 0, False)
                    now = np.int32(STAGE - now)
                    wait()
                    cuda.syncthreads()
                if busy:
                    if slices > 2:
                        multiply(weights, stage, now, row, lane, queries, late, gradient, 32, False)
                    else:
                        multiply(weights, stage, now, row, lane, queries, early, gradient, 0, False)
                now = np.int32(STAGE - now)
        for i in range(4):
            if left + row + i < work.tk:
                write(gradient, i, slices, work.scale, dk, at(dk_rows, batch, left + row + i, column + 4 * lane), lane, work)
                write(gradient_v, i, slices, work.kept, dv, at(dv_rows, batch, left + row + i, column + 4 * lane), lane, work)

    return dkv


@device
def delta_of(g, out, batch, head, query, lane, slices, work):
    """Σ g · out of a query, which the 8 lanes of a group sum together."""
    total = ZERO
    for c in range(slices):
        if query < work.tq and 32 * c + 4 * lane < work.d:
            place = place_of_row(batch, head, query, work) + 32 * c + 4 * lane
            a_0, a_1, a_2, a_3 = load4(g, place)
            b_0, b_1, b_2, b_3 = load4(out, place)
            total += a_0 * b_0 + a_1 * b_1 + a_2 * b_2 + a_3 * b_3
    total += cuda.shfl_xor_sync(ALL, total, 1)
    total += cuda.shfl_xor_sync(ALL, total, 2)
    total += cuda.shfl_xor_sync(ALL, total, 4)
    return total


@device
def shift_of(log_sum_exp, batch, head, query, work):
    """What to subtract from the scores of a query, in powers of 2, before they are weights; ∞ where it sees no key."""
    shift = log_sum_exp[np.uint64(statistic(batch, head, min(query, work.tq - 1), work))]
    return shift * LOG2_E if query < work.tq and shift > LOWEST else HIGHEST


_dq, _dkv = for_slices(_queries), for_slices(_keys)
