"""The long short-term memory on CUDA: at each step a product by cuBLAS and one kernel, as of the gated recurrent unit."""
from numba import cuda
from numba.cuda import types

from ..gelu.cuda import logistic
from ..gru.cuda import blocks, first_state, full_lengths
from ..gru.reference import check
from ..runtime.columns import column_sums
from ..runtime.cuda import array, contiguous, empty, filled, kernel, zeros
from ..runtime.elements import THREADS
from ..runtime.intrinsics import ONE, ZERO, tanh


def lstm(projected, weight, bias=None, start=None, lengths=None, reverse=False, needs_gradient=True):
    """See reference.lstm."""
    check("lstm", 4, projected, weight, bias, start, lengths)
    (batch, time, _), hidden = projected.shape, weight.shape[1]
    states = empty(projected, (2, batch, time, hidden))
    if time == 0:
        return states, None
    gates = empty(projected, (batch, time if needs_gradient else 1, 4 * hidden))
    if states.size > 0:
        h, lengths = first_state(start, projected, (2, batch, hidden)), full_lengths(lengths, projected)
        arrays = contiguous(projected), filled(4 * hidden, 0, projected.dtype) if bias is None else contiguous(bias)
        for t in range(time)[::-1 if reverse else 1]:
            _lstm[blocks(h[0]), THREADS](*arrays, h[0] @ weight.T, lengths, t, t if needs_gradient else 0, h, states, gates)
    return states, gates if needs_gradient else None


@kernel(lambda real: (array(real, 3), array(real, 1), array(real, 2), array(types.int32, 1), types.int64, types.int64, array(real, 3),
                      array(real, 4), array(real, 3)), threads=THREADS)
def _lstm(projected, bias, product, lengths, t, place, h, states, gates):
    """From h_{t−1} and c_{t−1} in h[0] and h[1] to h_t and c_t, in place; `product` is that of h_{t−1} and the weight, `place` where its gates are kept."""
    hidden = h.shape[2]
    row, j = cuda.grid(1) // hidden, cuda.grid(1) % hidden
    if row < h.shape[1]:
        i = logistic(projected[row, t, j] + product[row, j] + bias[j])
        f = logistic(projected[row, t, hidden + j] + product[row, hidden + j] + bias[hidden + j])
        g = tanh(projected[row, t, 2 * hidden + j] + product[row, 2 * hidden + j] + bias[2 * hidden + j])
        o = logistic(projected[row, t, 3 * hidden + j] + product[row, 3 * hidden + j] + bias[3 * hidden + j])
        gates[row, place, j], gates[row, place, hidden + j] = i, f
        gates[row, place, 2 * hidden + j], gates[row, place, 3 * hidden + j] = g, o
        if t < lengths[row]:
            h[1, row, j] = f * h[1, row, j] + i * g
            h[0, row, j] = o * tanh(h[1, row, j])
        states[0, row, t, j], states[1, row, t, j] = h[0, row, j], h[1, row, j]


def lstm_backward(g, states, gates, weight, start=None, lengths=None, reverse=False):
    """See reference.lstm_backward."""
    _, batch, time, hidden = states.shape
    dprojected, dstates = zeros(states, (batch, time, 4 * hidden)), zeros(states, (2, batch, hidden))
    if states.size == 0:
        return dprojected, zeros(weight, weight.shape), zeros(weight, 4 * hidden), dstates
    da, previous = empty(states, (time, batch, 4 * hidden)), empty(states, (time, batch, hidden))  # a step lies together
    arrays = *map(contiguous, (g, states, gates)), first_state(start, states, (2, batch, hidden)), full_lengths(lengths, states)
    for t in range(time)[::1 if reverse else -1]:
        _lstm_backward[blocks(dstates[0]), THREADS](*arrays, t, t + 1 if reverse else t - 1, dstates, da, previous, dprojected)
        dstates[0] += da[t] @ weight
    da, previous = da.reshape(-1, 4 * hidden), previous.reshape(-1, hidden)
    return dprojected, da.T @ previous, column_sums(da), dstates


@kernel(lambda real: (array(real, 4), array(real, 4), array(real, 3), array(real, 3), array(types.int32, 1), types.int64, types.int64, array(real, 3),
                      array(real, 3), array(real, 3), array(real, 3)), threads=THREADS)
def _lstm_backward(g, states, gates, start, lengths, t, before, dstates, da, previous, dprojected):
    """From ∂L/∂h_t and ∂L/∂c_t to their direct parts at t − 1, in place, with the gradient of a_t; `before` is the step t − 1 if there is one."""
    hidden, time = dstates.shape[2], states.shape[2]
    row, j = cuda.grid(1) // hidden, cuda.grid(1) % hidden
    if row < dstates.shape[1]:
        there = 0 <= before < time
        previous[t, row, j] = states[0, row, before, j] if there else start[0, row, j]
        c = states[1, row, before, j] if there else start[1, row, j]
        i, f, candidate, o = gates[row, t, j], gates[row, t, hidden + j], gates[row, t, 2 * hidden + j], gates[row, t, 3 * hidden + j]
        dh, dc = dstates[0, row, j] + g[0, row, t, j], dstates[1, row, j] + g[1, row, t, j]
        di, df, dg, do = ZERO, ZERO, ZERO, ZERO
        if t < lengths[row]:
            seen = tanh(states[1, row, t, j])
            dc += dh * o * (ONE - seen * seen)
            di, df = dc * candidate * i * (ONE - i), dc * c * f * (ONE - f)
            dg, do = dc * i * (ONE - candidate * candidate), dh * seen * o * (ONE - o)
            dh, dc = ZERO, dc * f
        dstates[0, row, j], dstates[1, row, j] = dh, dc
        da[t, row, j], da[t, row, hidden + j], da[t, row, 2 * hidden + j], da[t, row, 3 * hidden + j] = di, df, dg, do
        dprojected[row, t, j], dprojected[row, t, hidden + j] = di, df
        dprojected[row, t, 2 * hidden + j], dprojected[row, t, 3 * hidden + j] = dg, do
