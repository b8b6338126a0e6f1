"""The gated recurrent unit on the CPU: a block of rows goes through all time steps while its state stays in cache.

A step is one product of few rows, in pieces that BLAS multiplies without copying the weight, and one loop for the gates.
Blocks follow from the shape, and the weight's gradient is one product after the loop: the bits do not depend on the
number of threads.
"""
import numpy as np
from numba import boolean, int64, prange
from numba.extending import register_jitable

from ..linear.cpu import linear_backward
from ..runtime import launch, recurrence, vector
from ..runtime.blas import gemm
from ..runtime.compiled import compiled, reads, writes
from ..runtime.memory import empty
from .reference import check, full_lengths


def gru(projected, weight, bias=None, start=None, lengths=None, reverse=False, needs_gradient=True):
    """See reference.gru."""
    check("gru", 3, projected, weight, bias, start, lengths)
    (batch, time, _), hidden, dtype = projected.shape, weight.shape[1], projected.dtype
    states = empty((batch, time, hidden), dtype)
    gates = empty((batch, time, 4 * hidden) if needs_gradient else (0, 0, 0), dtype)
    blocks = recurrence.blocks(batch, time)
    _gru(np.ascontiguousarray(projected), *recurrence.both_ways(weight, time), recurrence.zeros_if_none(bias, 3 * hidden, dtype),
         recurrence.zeros_if_none(start, (batch, hidden), dtype), full_lengths(lengths, batch, time), reverse, blocks,
         states, gates)
    return states, gates if needs_gradient else None


@compiled(lambda real: (reads(real, 3, "C"), reads(real, 2, "C"), reads(real, 2, "C"), reads(real, 1, "C"), reads(real, 2, "C"),
                        reads(int64, 1, "C"), boolean, int64, writes(real, 3), writes(real, 3)), **launch.OPTIONS)
def _gru(projected, weight, turned, bias, start, lengths, reverse, blocks, states, gates):
    """`turned`: the transposed weight, or nothing where one step is not worth the turning."""
    batch, time, hidden = states.shape
    one = states.dtype.type(1)
    threads = launch.share(batch * time * 3 * hidden * (hidden // 64 + 3))
    for block in prange(blocks):
        top, bottom = block * batch // blocks, (block + 1) * batch // blocks
        h, u = np.empty((bottom - top, hidden), states.dtype), np.empty((bottom - top, 3 * hidden), states.dtype)
        scratch = np.empty(0 if gates.size > 0 else 4 * hidden, states.dtype)
        longest = int64(0)
        for i in range(bottom - top):
            recurrence.copy(h[i], start[top + i])
            longest = max(longest, lengths[top + i])
        for step in range(time):
            t = time - 1 - step if reverse else step
            if t < longest:
                for i in range(bottom - top):
                    recurrence.copy(u[i], bias)
                if turned.size > 0:
                    recurrence.multiply(bottom - top, 3 * hidden, hidden, h, hidden, turned, u)
                else:
                    gemm(False, True, bottom - top, 3 * hidden, hidden, one, h, hidden, weight, hidden, one, u, 3 * hidden)
            for i in range(bottom - top):
                if t < lengths[top + i]:
                    _step(projected[top + i, t], u[i], h[i], gates[top + i, t] if gates.size > 0 else scratch)
                recurrence.copy(states[top + i, t], h[i])
    launch.restore(threads)


@register_jitable
def _step(a, u, h, gates):
    """From h_{t−1} to h_t, in place, leaving r, z, n and u_n in `gates`."""
    one, hidden = h.dtype.type(1), h.size
    r, z, n, kept = gates[:hidden], gates[hidden:2 * hidden], gates[2 * hidden:3 * hidden], gates[3 * hidden:]
    for j in range(2 * hidden):
        gates[j] = vector.sigmoid(a[j] + u[j])
    recurrence.copy(kept, u[2 * hidden:])
    proposal = a[2 * hidden:]
    for j in range(hidden):
        n[j] = vector.tanh(proposal[j] + r[j] * kept[j])
    for j in range(hidden):
        h[j] = (one - z[j]) * n[j] + z[j] * h[j]


def gru_backward(g, states, gates, weight, start=None, lengths=None, reverse=False):
    """See reference.gru_backward."""
    (batch, time, hidden), dtype = states.shape, states.dtype
    dprojected, du, previous = (empty((batch, time, n * hidden), dtype) for n in (3, 3, 1))
    dh = empty((batch, hidden), dtype)
    blocks = recurrence.blocks(batch, time)
    _gru_backward(np.ascontiguousarray(g), np.ascontiguousarray(states), np.ascontiguousarray(gates), np.ascontiguousarray(weight),
                  recurrence.zeros_if_none(start, (batch, hidden), dtype), full_lengths(lengths, batch, time), reverse,
                  blocks, dprojected, du, previous, dh)
    _, dweight, dbias = linear_backward(du, previous, weight, None, needs=(False, True, True))
    return dprojected, dweight, dbias, dh


@compiled(lambda real: (reads(real, 3, "C"), reads(real, 3, "C"), reads(real, 3, "C"), reads(real, 2, "C"), reads(real, 2, "C"),
                        reads(int64, 1, "C"), boolean, int64, writes(real, 3), writes(real, 3), writes(real, 3),
                        writes(real, 2)), **launch.OPTIONS)
def _gru_backward(g, states, gates, weight, start, lengths, reverse, blocks, dprojected, du, previous, dh):
    """`previous`: room for h_{t−1} of every step, by which du is multiplied afterwards."""
    batch, time, hidden = states.shape
    threads = launch.share(batch * time * 3 * hidden * (hidden // 64 + 3))
    for block in prange(blocks):
        top, bottom = block * batch // blocks, (block + 1) * batch // blocks
        carried, longest = dh[top:bottom], int64(0)
        for i in range(top, bottom):
            recurrence.clear(dh[i])
            longest = max(longest, lengths[i])
        for step in range(time):
            t = step if reverse else time - 1 - step
            before = t + 1 if reverse else t - 1
            for i in range(top, bottom):
                if 0 <= before < time:
                    recurrence.copy(previous[i, t], states[i, before])
                else:
                    recurrence.copy(previous[i, t], start[i])
                recurrence.add(dh[i], g[i, t])
                if t < lengths[i]:
                    _step_backward(dh[i], gates[i, t], previous[i, t], dprojected[i, t], du[i, t])
                else:
                    recurrence.clear(dprojected[i, t])
                    recurrence.clear(du[i, t])
            if t < longest:
                recurrence.multiply(bottom - top, hidden, 3 * hidden, du[top:, t], time * 3 * hidden, weight, carried)
    launch.restore(threads)


@register_jitable
def _step_backward(dh, gates, previous, da, du):
    """From ∂L/∂h_t to its direct part of ∂L/∂h_{t−1}, in place, with the gradients of a_t and u_t."""
    one, hidden = dh.dtype.type(1), dh.size
    r, z, n, u_n = gates[:hidden], gates[hidden:2 * hidden], gates[2 * hidden:3 * hidden], gates[3 * hidden:]
    dr, dz, dn = da[:hidden], da[hidden:2 * hidden], da[2 * hidden:]
    for j in range(hidden):
        dn[j] = dh[j] * (one - z[j]) * (one - n[j] * n[j])
    for j in range(hidden):
        dz[j] = dh[j] * (previous[j] - n[j]) * z[j] * (one - z[j])
    for j in range(hidden):
        dh[j] *= z[j]
    for j in range(hidden):
        dr[j] = dn[j] * u_n[j] * r[j] * (one - r[j])
    recurrence.copy(du[:2 * hidden], da[:2 * hidden])
    kept = du[2 * hidden:]
    for j in range(hidden):
        kept[j] = dn[j] * r[j]
