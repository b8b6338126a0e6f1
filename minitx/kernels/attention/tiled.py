"""FlashAttention in float32 (Dao et al. 2022): the forward pass, and what it shares with `tiled_backward.py`.

A block has 64 queries of a head and goes over the keys in tiles of 64. Its 128 threads are 16 groups of 8 lanes. A group has
4 of the queries: rows row … row + 3 of the tile; of their scores a lane has those of 8 keys, columns 4·lane … 4·lane + 3 and
the same 32 further on; of their means, features 4·lane … 4·lane + 3 of each slice of 32.

Both products are made from the `stage` in shared memory, two halves of 64 rows and 32 features, read 16 bytes at a time:
12 such loads for 128 multiplications and additions. In row r the 16 bytes that are chunk c lie at place c ^ (r / 4 mod 8).
The 8 lanes of a group, which read rows 4 apart, then find them in 8 different groups of banks.
"""
import numpy as np
from numba import cuda

from ..runtime.cuda import architecture, kernel
from ..runtime.intrinsics import ALL, LOWEST, ONE, ZERO, exp2, log2
from .tiles_cuda import (BITS, HALF, LN_2, LOG2_E, STAGE, STAGES, STEP, TILE, WIDTH, _0, all_seen, corner, drop, dropout_bits, float32, for_slices,
                         hide, mask_bits, multiply, multiply_transposed, put, reach, write)
from .work_cuda import THREADS, forward, forward_kinds, length_of, place_of_row, statistic, this_block


def attention(q, k, v, heads, *arguments, **options):
    """See reference.attention, of what this version `takes`."""
    return forward(kernel_of(_attention, q, heads), TILE, 4, q, k, v, heads, *arguments, **options)


def takes(q, heads):
    """Whether the tiles serve heads of such queries."""
    d = q.shape[2] // max(1, heads)
    return q.dtype == np.float32 and d % 4 == 0 and 0 < d <= (128 if architecture() >= 80 else 64)


def kernel_of(kernels, q, heads):
    """Of the kernels for so many slices of 32 features, with and without asynchronous copies, the one that serves q."""
    slices = -(-q.shape[2] // heads // 32)
    return kernels[architecture() >= 80, 4 if slices > 2 else slices]


def _forward(slices, copies):
    """The kernel for heads of so many slices of 32 features."""
    size, early, late = 16 * slices, min(2, slices), slices - 2
    copy, copy_wide, wait = copies[:3]

    @kernel(forward_kinds, threads=THREADS, blocks=min(copies.blocks, 3 if slices < 4 else 2), since=copies.since,
            variant=f"{32 * slices}{copies.suffix}")
    def attention(q, q_rows, k, k_rows, v, v_rows, lengths, mask, work, out, log_sum_exp):
        stage, weights = cuda.shared.array(STAGES, float32, alignment=16), cuda.shared.array(STAGE, float32, alignment=16)
        scores, mean = cuda.local.array(32, float32), cuda.local.array(size, float32)
        largest, total = cuda.local.array(4, float32), cuda.local.array(4, float32)
        batch, head, tile, tiles = this_block(TILE, work.tq)
        first = np.int32((tiles - 1 - tile) * TILE)  # with `causal` the last tile has the most to do: it begins first
        lane, row = cuda.threadIdx.x % 8, cuda.threadIdx.x // 8 * 4
        busy = first + row // 16 * 16 < work.tq  # whether the warp has any queries
        length, column = np.int32(length_of(batch, lengths, work)), head // work.group * work.d
        start, stop = reach(first, length, work)
        q_at = corner(q_rows, batch, first, head * work.d)
        k_at, v_at = corner(k_rows, batch, start, column), corner(v_rows, batch, start, column)
        factor = work.scale * LOG2_E
        for e in range(size):
            mean[e] = ZERO
        for i in range(4):
            largest[i], total[i] = LOWEST, ZERO
        now = _0  # where the stage that is read begins; the next one is filled meanwhile
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
                    copy_wide(v, v_at, v_rows.time, length - left, work.d, early, stage, STAGE - now)
                if busy:
                    multiply_transposed(stage, now, row, lane, min(8, (work.d - c) // 4), scores)
                now = np.int32(STAGE - now)
            if busy:
                if work.masked or not all_seen(first, left, length, work):
                    hide(scores, first + row, left + 4 * lane, length, shown, work, False)
                for i in range(4):
                    new = largest[i]
                    for j in range(8):
                        new = max(new, scores[8 * i + j])
                    new = max(new, cuda.shfl_xor_sync(ALL, new, 1))
                    new = max(new, cuda.shfl_xor_sync(ALL, new, 2))
                    new = max(new, cuda.shfl_xor_sync(ALL, new, 4))
                    shift = ZERO if new == LOWEST else new * factor
                    shrink = exp2(largest[i] * factor - shift)
                    largest[i] = new
                    total[i] *= shrink
                    for j in range(8):
                        scores[8 * i + j] = exp2(scores[8 * i + j] * factor - shift)
                        total[i] += scores[8 * i + j]
                    for c in range(slices):
                        for e in range(4):
                            mean[16 * c + 4 * i + e] *= shrink
                if work.threshold > 0:
                    drop(scores, kept, work)
                put(scores, weights, row, lane)
            keys = min(16, (stop - left + 3) // 4)  # in fours
            k_at += TILE * k_rows.time
            wait()
            cuda.syncthreads()
            if slices > 2:
                copy_wide(v, v_at + 64, v_rows.time, length - left, work.d - 64, late, stage, STAGE - now)
                if busy:
                    multiply(weights, stage, now, row, lane, keys, early, mean, 0, False)
                now = np.int32(STAGE - now)
                wait()
                cuda.syncthreads()
            v_at += TILE * v_rows.time
            if left + TILE < stop:
                copy(q, q_at, q_rows.time, work.tq - first, work.d, stage, STAGE - now)
                copy(k, k_at, k_rows.time, length - left - TILE, work.d, stage, STAGE - now + HALF)
            if busy:
                if slices > 2:
                    multiply(weights, stage, now, row, lane, keys, late, mean, 32, False)
                else:
                    multiply(weights, stage, now, row, lane, keys, early, mean, 0, False)
            now = np.int32(STAGE - now)
        wait()  # where there was no key at all, for the first copies
        for i in range(4):
            total[i] += cuda.shfl_xor_sync(ALL, total[i], 1)
            total[i] += cuda.shfl_xor_sync(ALL, total[i], 2)
            total[i] += cuda.shfl_xor_sync(ALL, total[i], 4)
            query = first + row + i
            if query < work.tq:
                inverse = ZERO if total[i] == ZERO else ONE / total[i]
                write(mean, i, slices, inverse, out, place_of_row(batch, head, query, work) + 4 * lane, lane, work)
                if lane == 0:
                    place = np.uint64(statistic(batch, head, query, work))
                    log_sum_exp[place] = LOWEST if total[i] == ZERO else LN_2 * (largest[i] * factor + log2(total[i]))

    return attention


_attention = for_slices(_forward)
