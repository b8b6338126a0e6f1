"""The long short-term memory on the CPU, cut and multiplied as the gated recurrent unit: see gru/cpu.py."""
import numpy as np
from numba import boolean, int64, prange
from numba.extending import register_jitable

from ..linear.cpu import linear_backward
from ..runtime import launch, recurrence, vector
from ..runtime.blas import gemm
from ..runtime.compiled import compiled, reads, writes
from ..runtime.memory import empty
from .reference import check, full_lengths


def lstm(projected, weight, bias=None, start=None, lengths=None, reverse=False, needs_gradient=True):
    """See reference.lstm."""
    check("lstm", 4, projected, weight, bias, start, lengths)
    (batch, time, _), hidden, dtype = projected.shape, weight.shape[1], projected.dtype
    states = empty((2, batch, time, hidden), dtype)
    gates = empty((batch, time, 4 * hidden) if needs_gradient else (0, 0, 0), dtype)
    start = recurrence.zeros_if_none(start, (2, batch, hidden), dtype)
    blocks = recurrence.blocks(batch, time)
    _lstm(np.ascontiguousarray(projected), *recurrence.both_ways(weight, time), recurrence.zeros_if_none(bias, 4 * hidden, dtype),
          start, full_lengths(lengths, batch, time), reverse, blocks, states, gates)
    return states, gates if needs_gradient else None


@compiled(lambda real: (reads(real, 3, "C"), reads(real, 2, "C"), reads(real, 2, "C"), reads(real, 1, "C"), reads(real, 3, "C"),
                        reads(int64, 1, "C"), boolean, int64, writes(real, 4), writes(real, 3)),
          **launch.OPTIONS)
def _lstm(projected, weight, turned, bias, start, lengths, reverse, blocks, states, gates):
    """`turned`: the transposed weight, or nothing where one step is not worth the turning."""
    _, batch, time, hidden = states.shape
    one = states.dtype.type(1)
    threads = launch.share(batch * time * 4 * hidden * (hidden // 64 + 3))
    for block in prange(blocks):
        top, bottom = block * batch // blocks, (block + 1) * batch // blocks
        h, c = np.empty((bottom - top, hidden), states.dtype), np.empty((bottom - top, hidden), states.dtype)
        s = np.empty((bottom - top, 4 * hidden), states.dtype)
        longest = int64(0)
        for i in range(bottom - top):
            recurrence.copy(h[i], start[0, top + i])
            recurrence.copy(c[i], start[1, top + i])
            longest = max(longest, lengths[top + i])
        for step in range(time):
            t = time - 1 - step if reverse else step
            if t < longest:
                for i in range(bottom - top):
                    recurrence.copy(s[i], projected[top + i, t])
                    recurrence.add(s[i], bias)
                if turned.size > 0:
                    recurrence.multiply(bottom - top, 4 * hidden, hidden, h, hidden, turned, s)
                else:
                    gemm(False, True, bottom - top, 4 * hidden, hidden, one, h, hidden, weight, hidden, one, s, 4 * hidden)
            for i in range(bottom - top):
                if t < lengths[top + i]:
                    _step(s[i], h[i], c[i])
                    if gates.size > 0:
                        recurrence.copy(gates[top + i, t], s[i])
                recurrence.copy(states[0, top + i, t], h[i])
                recurrence.copy(states[1, top + i, t], c[i])
    launch.restore(threads)


@register_jitable
def _step(s, h, c):
    """From h_{t−1} and c_{t−1} to h_t and c_t, in place, s becoming the gates i, f, g and o."""
    hidden = h.size
    i, f, g, o = s[:hidden], s[hidden:2 * hidden], s[2 * hidden:3 * hidden], s[3 * hidden:]
    for j in range(2 * hidden):
        s[j] = vector.sigmoid(s[j])
    for j in range(hidden):
        g[j] = vector.tanh(g[j])
    for j in range(hidden):
        o[j] = vector.sigmoid(o[j])
    for j in range(hidden):
        c[j] = f[j] * c[j] + i[j] * g[j]
    for j in range(hidden):
        h[j] = o[j] * vector.tanh(c[j])


def lstm_backward(g, states, gates, weight, start=None, lengths=None, reverse=False):
    """See reference.lstm_backward."""
    (_, batch, time, hidden), dtype = states.shape, states.dtype
    dprojected, previous = empty((batch, time, 4 * hidden), dtype), empty((batch, time, hidden), dtype)
    dstart = empty((2, batch, hidden), dtype)
    start = recurrence.zeros_if_none(start, (2, batch, hidden), dtype)
    blocks = recurrence.blocks(batch, time)
    _lstm_backward(np.ascontiguousarray(g), np.ascontiguousarray(states), np.ascontiguousarray(gates), np.ascontiguousarray(weight),
                   start, full_lengths(lengths, batch, time), reverse, blocks,
                   dprojected, previous, dstart)
    _, dweight, dbias = linear_backward(dprojected, previous, weight, None, needs=(False, True, True))
    return dprojected, dweight, dbias, dstart


@compiled(lambda real: (reads(real, 4, "C"), reads(real, 4, "C"), reads(real, 3, "C"), reads(real, 2, "C"), reads(real, 3, "C"),
                        reads(int64, 1, "C"), boolean, int64, writes(real, 3), writes(real, 3), writes(real, 3)), **launch.OPTIONS)
def _lstm_backward(g, states, gates, weight, start, lengths, reverse, blocks, dprojected, previous, dstart):
    """`previous`: room for h_{t−1} of every step, by which dprojected is multiplied afterwards."""
    _, batch, time, hidden = states.shape
    dh, dc = dstart[0], dstart[1]
    threads = launch.share(batch * time * 4 * hidden * (hidden // 64 + 3))
    for block in prange(blocks):
        top, bottom = block * batch // blocks, (block + 1) * batch // blocks
        carried, longest = dh[top:bottom], int64(0)
        scratch = np.empty(2 * hidden, states.dtype)
        seen, c_before = scratch[:hidden], scratch[hidden:]
        for i in range(top, bottom):
            recurrence.clear(dh[i])
            recurrence.clear(dc[i])
            longest = max(longest, lengths[i])
        for step in range(time):
            t = step if reverse else time - 1 - step
            before = t + 1 if reverse else t - 1
            for i in range(top, bottom):
                if 0 <= before < time:
                    recurrence.copy(previous[i, t], states[0, i, before])
                    recurrence.copy(c_before, states[1, i, before])
                else:
                    recurrence.copy(previous[i, t], start[0, i])
                    recurrence.copy(c_before, start[1, i])
                recurrence.add(dh[i], g[0, i, t])
                recurrence.add(dc[i], g[1, i, t])
                if t < lengths[i]:
                    recurrence.copy(seen, states[1, i, t])
                    _step_backward(dh[i], dc[i], gates[i, t], seen, c_before, dprojected[i, t])
                else:
                    recurrence.clear(dprojected[i, t])
            if t < longest:
                recurrence.multiply(bottom - top, hidden, 4 * hidden, dprojected[top:, t], time * 4 * hidden, weight, carried)
    launch.restore(threads)


@register_jitable
def _step_backward(dh, dc, gates, seen, c_before, da):
    """From ∂L/∂h_t and ∂L/∂c_t to their direct parts at t − 1, in place, with the gradient of a_t. `seen`: c_t, which becomes tanh(c_t)."""
    zero, one, hidden = dh.dtype.type(0), dh.dtype.type(1), dh.size
    i, f, g, o = gates[:hidden], gates[hidden:2 * hidden], gates[2 * hidden:3 * hidden], gates[3 * hidden:]
    di, df, dg, do = da[:hidden], da[hidden:2 * hidden], da[2 * hidden:3 * hidden], da[3 * hidden:]
    for j in range(hidden):
        seen[j] = vector.tanh(seen[j])
    for j in range(hidden):
        do[j] = dh[j] * seen[j] * o[j] * (one - o[j])
    for j in range(hidden):
        dc[j] += dh[j] * o[j] * (one - seen[j] * seen[j])
        dh[j] = zero
    for j in range(hidden):
        di[j] = dc[j] * g[j] * i[j] * (one - i[j])
    for j in range(hidden):
        df[j] = dc[j] * c_before[j] * f[j] * (one - f[j])
    for j in range(hidden):
        dg[j] = dc[j] * i[j] * (one - g[j] * g[j])
    for j in range(hidden):
        dc[j] *= f[j]
