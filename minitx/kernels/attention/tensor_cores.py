"""FlashAttention-2 on tensor cores (Dao 2023), forward: inputs and output in bfloat16, sums in float32. For GPUs since sm_80.

A block has 64 queries of a head, 16 for each of its 4 warps, and goes over the keys in tiles of 64. A warp holds its queries in registers, multiplies
them with the keys, turns the scores into weights where they are, and multiplies these with the values: what comes out of one product lies as the other
takes it in, see `fragments_cuda.py`. V is copied while the first product runs, and the next K while the second does.

A weight is rounded to 8 bits before it multiplies a value; weights are summed, and log_sum_exp is made, before that.
"""
import numpy as np
from numba import cuda
from numba.cuda import types

from ..runtime.cuda import empty, kernel
from ..runtime.intrinsics import ALL, LOWEST, ONE, ZERO, exp2, log2
from ..runtime.ptx import afresh, wait_for_copies
from .fragments_cuda import bfloat16, bit, check_bfloat16, float32, fragments, kept_bits, rounded, seen_bits, version_of, write
from .tensor_cores_backward import attention_backward
from .tiles_cuda import LN_2, LOG2_E, STEP, TILE, all_seen, reach
from .work_cuda import THREADS, at, forward_kinds, grid, length_of, place_of_row, shared_arguments, statistic, this_block

__all__ = ["attention", "attention_backward", "bfloat16", "float32"]


def attention(q, k, v, heads, causal=False, lengths=None, p=0.0, key=0, mask=None, kv_heads=None, window=None):
    """See reference.attention; q, k, v and out in bfloat16, see `bfloat16`; log_sum_exp in float32."""
    kv_heads = check_bfloat16(q, k, v, heads, lengths, mask, False, causal, kv_heads, window)
    out, log_sum_exp = empty(q, q.shape), empty(q, (q.shape[0], heads, q.shape[1]), np.float32)
    if k.size == 0:
        out[...], log_sum_exp[...] = 0, -np.inf
    elif q.size > 0:
        arguments = shared_arguments(q, k, v, heads, causal, lengths, p, key, mask, kv_heads, window, 8)
        version_of(_versions, q, heads)[grid(q, TILE, heads), THREADS](*arguments, out.reshape(-1), log_sum_exp.reshape(-1))
    return out, log_sum_exp


def _forward(slices):
    """The kernel for heads of so many slices of 32 features."""
    width, area, size, fragment = 32 * slices, TILE * 32 * slices, 16 * slices, 8 * slices
    copy, load, multiply_transposed, _, multiply = fragments(slices)

    @kernel(lambda real: forward_kinds(real, types.float32), threads=THREADS, blocks=2, variant=width, since=80)
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
        copy(q, at(q_rows, batch, first, head * work.d), q_rows.time, work.tq - first, work.d, queries, 0, TILE)
        copy(k, at(k_rows, batch, start, features), k_rows.time, length - start, work.d, keys, 0, TILE)
        for e in range(size):
            mean[e] = ZERO
        for i in range(2):
            largest[i], total[i] = LOWEST, ZERO
        wait_for_copies()
        cuda.syncthreads()
        if busy:
            load(a, queries, corner, lane)
        for left in range(np.int32(start), np.int32(stop), STEP):
            copy(v, at(v_rows, batch, left, features), v_rows.time, length - left, work.d, values, 0, TILE)
            if busy:
                for e in range(32):
                    scores[e] = ZERO
                here = afresh(lane)
                for j in range(4):
                    multiply_transposed(scores, 8 * j, a, keys, 16 * j, here)
                if work.masked or not all_seen(first, left, length, work):
                    seen = seen_bits(batch, head, query, left + column, length, mask, work, 8, False)
                    for e in range(32):
                        scores[e] = scores[e] if seen & bit(e) else LOWEST
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
                    for j in range(4 * slices):
                        mean[4 * j + 2 * i] *= shrink
                        mean[4 * j + 2 * i + 1] *= shrink
                if work.threshold > 0:
                    kept = kept_bits(batch, head, query, left, lane, work, 8)
                    for e in range(32):
                        scores[e] = scores[e] * work.kept if kept & bit(e) else ZERO
            wait_for_copies()
            cuda.syncthreads()
            if left + TILE < stop:
                copy(k, at(k_rows, batch, left + TILE, features), k_rows.time, length - left - TILE, work.d, keys, 0, TILE)
            if busy:
                here = afresh(lane)
                for j in range(4):
                    rounded(weights, scores, 8 * j)
                    multiply(mean, weights, values, 16 * j, here)
            wait_for_copies()
            cuda.syncthreads()
        for i in range(2):
            total[i] += cuda.shfl_xor_sync(ALL, total[i], 1)
            total[i] += cuda.shfl_xor_sync(ALL, total[i], 2)
            if query + 8 * i < work.tq:
                inverse = ZERO if total[i] == ZERO else ONE / total[i]
                write(mean, i, inverse, out, place_of_row(batch, head, query + 8 * i, work) + column, work)
                if lane % 4 == 0:
                    statistics = np.uint64(statistic(batch, head, query + 8 * i, work))
                    log_sum_exp[statistics] = LOWEST if total[i] == ZERO else LN_2 * (largest[i] * factor + log2(total[i]))

    return attention


_versions = {slices: _forward(slices) for slices in (1, 2, 4)}
