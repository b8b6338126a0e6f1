"""Attention on CUDA as the formula says it: a thread for each query of each head, and for each key in the backward pass.

A thread goes over all keys and finds each number that it needs in memory, two for a multiplication and an addition; and as
its neighbours in the warp read other rows, it uses 4 of the 32 bytes that come with a number. But nothing here depends on
the head size or on the dtype: what the fast versions cannot take is served from here too.
"""
from numba import cuda

from ..runtime.cuda import device, kernel
from ..runtime.intrinsics import LOWEST, ZERO, exp, log
from .work_cuda import (THREADS, at, backward, dkv_kinds, dq_kinds, forward, forward_kinds, kept_of_four, length_of,
                        place_of_row, seen_by, statistic, this_block, unmasked)


def attention(*arguments, **options):
    """See reference.attention."""
    return forward(_attention, THREADS, 1, *arguments, **options)


@kernel(forward_kinds, threads=THREADS)
def _attention(q, q_rows, k, k_rows, v, v_rows, lengths, mask, work, out, log_sum_exp):
    batch, head, tile, _ = this_block(THREADS, work.tq)
    query = tile * THREADS + cuda.threadIdx.x
    if query < work.tq:
        q_at, column = at(q_rows, batch, query, head * work.d), head // work.group * work.d
        place = statistic(batch, head, query, work)
        out_at = place_of_row(batch, head, query, work)
        low, high = seen_by(query, length_of(batch, lengths, work), work)
        largest, total = LOWEST, ZERO
        for c in range(work.d):
            out[out_at + c] = ZERO
        for j in range(low, high):
            if not work.masked or unmasked(batch, head, query, j, mask, work):
                largest = max(largest, work.scale * _dot(q, q_at, k, at(k_rows, batch, j, column), work.d))
        for j in range(low, high):
            if not work.masked or unmasked(batch, head, query, j, mask, work):
                weight = exp(work.scale * _dot(q, q_at, k, at(k_rows, batch, j, column), work.d) - largest)
                total += weight
                _add(out, out_at, weight * _factor(batch, head, query, j, work), v, at(v_rows, batch, j, column), work.d)
        for c in range(work.d):
            out[out_at + c] = ZERO if total == ZERO else out[out_at + c] / total
        log_sum_exp[place] = LOWEST if total == ZERO else largest + log(total)


def attention_backward(*arguments, **options):
    """See reference.attention_backward."""
    return backward(_dq, _dkv, THREADS, 1, *arguments, **options)


@kernel(dq_kinds, threads=THREADS)
def _dq(q, q_rows, k, k_rows, v, v_rows, lengths, mask, work, out, log_sum_exp, g, delta, dq, dq_rows):
    batch, head, tile, _ = this_block(THREADS, work.tq)
    query = tile * THREADS + cuda.threadIdx.x
    if query < work.tq:
        q_at, column = at(q_rows, batch, query, head * work.d), head // work.group * work.d
        place = statistic(batch, head, query, work)
        out_at, dq_at = place_of_row(batch, head, query, work), at(dq_rows, batch, query, head * work.d)
        low, high = seen_by(query, length_of(batch, lengths, work), work)
        delta[place] = _dot(g, out_at, out, out_at, work.d)
        for c in range(work.d):
            dq[dq_at + c] = ZERO
        for j in range(low, high):
            if not work.masked or unmasked(batch, head, query, j, mask, work):
                k_at = at(k_rows, batch, j, column)
                weight = exp(work.scale * _dot(q, q_at, k, k_at, work.d) - log_sum_exp[place])
                dweight = _factor(batch, head, query, j, work) * _dot(g, out_at, v, at(v_rows, batch, j, column), work.d)
                _add(dq, dq_at, work.scale * weight * (dweight - delta[place]), k, k_at, work.d)


@kernel(dkv_kinds, threads=THREADS)
def _dkv(q, q_rows, k, k_rows, v, v_rows, lengths, mask, work, out, log_sum_exp, g, delta, dk, dk_rows, dv, dv_rows):
    batch, shared_head, tile, _ = this_block(THREADS, work.tk)
    j = tile * THREADS + cuda.threadIdx.x
    if j < work.tk:
        column, length = shared_head * work.d, length_of(batch, lengths, work)
        k_at, v_at = at(k_rows, batch, j, column), at(v_rows, batch, j, column)
        dk_at, dv_at = at(dk_rows, batch, j, column), at(dv_rows, batch, j, column)
        for c in range(work.d):
            dk[dk_at + c] = dv[dv_at + c] = ZERO
        for head in range(shared_head * work.group, (shared_head + 1) * work.group):
            for query in range(work.tq):
                low, high = seen_by(query, length, work)
                if low <= j and j < high and (not work.masked or unmasked(batch, head, query, j, mask, work)):
                    q_at, out_at = at(q_rows, batch, query, head * work.d), place_of_row(batch, head, query, work)
                    place = statistic(batch, head, query, work)
                    weight = exp(work.scale * _dot(q, q_at, k, k_at, work.d) - log_sum_exp[place])
                    factor = _factor(batch, head, query, j, work)
                    _add(dv, dv_at, weight * factor, g, out_at, work.d)
                    dweight = factor * _dot(g, out_at, v, v_at, work.d)
                    _add(dk, dk_at, work.scale * weight * (dweight - delta[place]), q, q_at, work.d)


@device
def _factor(batch, head, query, j, work):
    """What dropout multiplies a weight by."""
    return work.kept if work.threshold == 0 or kept_of_four(batch, head, query, j, work) % 2 else ZERO


@device
def _dot(a, a_at, b, b_at, d):
    total = ZERO
    for c in range(d):
        total += a[a_at + c] * b[b_at + c]
    return total


@device
def _add(into, into_at, factor, x, x_at, d):
    for c in range(d):
        into[into_at + c] += factor * x[x_at + c]
