"""The gated recurrent unit on CUDA: at each step a product by cuBLAS, then one kernel for all that is done element by element, a thread for each.

The steps wait for each other, so this is a chain of small launches. Nobody waits for the GPU: rows that have ended run on to the last step, and keep
their state.
"""
from numba import cuda
from numba.cuda import types

from ..gelu.cuda import logistic
from ..runtime.columns import column_sums
from ..runtime.cuda import array, contiguous, empty, filled, kernel, zeros
from ..runtime.elements import THREADS
from ..runtime.intrinsics import ONE, ZERO, tanh
from .reference import check


def gru(projected, weight, bias=None, start=None, lengths=None, reverse=False, needs_gradient=True):
    """See reference.gru."""
    check("gru", 3, projected, weight, bias, start, lengths)
    (batch, time, _), hidden = projected.shape, weight.shape[1]
    states = empty(projected, (batch, time, hidden))
    if time == 0:
        return states, None
    gates = empty(projected, (batch, time if needs_gradient else 1, 4 * hidden))
    if states.size > 0:
        h, lengths = first_state(start, projected, (batch, hidden)), full_lengths(lengths, projected)
        arrays = contiguous(projected), filled(3 * hidden, 0, projected.dtype) if bias is None else contiguous(bias)
        for t in range(time)[::-1 if reverse else 1]:
            _gru[blocks(h), THREADS](*arrays, h @ weight.T, lengths, t, t if needs_gradient else 0, h, states, gates)
    return states, gates if needs_gradient else None


@kernel(lambda real: (array(real, 3), array(real, 1), array(real, 2), array(types.int32, 1), types.int64, types.int64, array(real, 2),
                      array(real, 3), array(real, 3)), threads=THREADS)
def _gru(projected, bias, product, lengths, t, place, h, states, gates):
    """From h_{t−1} to h_t, in place; `product` is that of h_{t−1} and the weight, `place` where its gates are kept."""
    hidden = h.shape[1]
    i, j = cuda.grid(1) // hidden, cuda.grid(1) % hidden
    if i < h.shape[0]:
        r = logistic(projected[i, t, j] + product[i, j] + bias[j])
        z = logistic(projected[i, t, hidden + j] + product[i, hidden + j] + bias[hidden + j])
        u = product[i, 2 * hidden + j] + bias[2 * hidden + j]
        n = tanh(projected[i, t, 2 * hidden + j] + r * u)
        gates[i, place, j], gates[i, place, hidden + j], gates[i, place, 2 * hidden + j], gates[i, place, 3 * hidden + j] = r, z, n, u
        if t < lengths[i]:
            h[i, j] = (ONE - z) * n + z * h[i, j]
        states[i, t, j] = h[i, j]


def gru_backward(g, states, gates, weight, start=None, lengths=None, reverse=False):
    """See reference.gru_backward."""
    batch, time, hidden = states.shape
    dprojected, dh = zeros(states, (batch, time, 3 * hidden)), zeros(states, (batch, hidden))
    if states.size == 0:
        return dprojected, zeros(weight, weight.shape), zeros(weight, 3 * hidden), dh
    du, previous = empty(states, (time, batch, 3 * hidden)), empty(states, (time, batch, hidden))  # a step lies together
    arrays = *map(contiguous, (g, states, gates)), first_state(start, states, (batch, hidden)), full_lengths(lengths, states)
    for t in range(time)[::1 if reverse else -1]:
        _gru_backward[blocks(dh), THREADS](*arrays, t, t + 1 if reverse else t - 1, dh, du, previous, dprojected)
        dh += du[t] @ weight
    du, previous = du.reshape(-1, 3 * hidden), previous.reshape(-1, hidden)
    return dprojected, du.T @ previous, column_sums(du), dh


@kernel(lambda real: (array(real, 3), array(real, 3), array(real, 3), array(real, 2), array(types.int32, 1), types.int64, types.int64, array(real, 2),
                      array(real, 3), array(real, 3), array(real, 3)), threads=THREADS)
def _gru_backward(g, states, gates, start, lengths, t, before, dh, du, previous, dprojected):
    """From ∂L/∂h_t to its direct part at t − 1, in place, with the gradients of a_t and u_t; `before` is the step t − 1 if there is one."""
    hidden, time = dh.shape[1], states.shape[1]
    i, j = cuda.grid(1) // hidden, cuda.grid(1) % hidden
    if i < dh.shape[0]:
        h = states[i, before, j] if 0 <= before < time else start[i, j]
        r, z, n, u = gates[i, t, j], gates[i, t, hidden + j], gates[i, t, 2 * hidden + j], gates[i, t, 3 * hidden + j]
        whole, dr, dz, dn = dh[i, j] + g[i, t, j], ZERO, ZERO, ZERO
        if t < lengths[i]:
            dn = whole * (ONE - z) * (ONE - n * n)
            dz = whole * (h - n) * z * (ONE - z)
            dr = dn * u * r * (ONE - r)
            whole *= z
        dh[i, j], previous[t, i, j] = whole, h
        dprojected[i, t, j], dprojected[i, t, hidden + j], dprojected[i, t, 2 * hidden + j] = dr, dz, dn
        du[t, i, j], du[t, i, hidden + j], du[t, i, 2 * hidden + j] = dr, dz, dn * r


def blocks(h):
    """Blocks that have a thread for each element."""
    return -(-h.size // THREADS)


def first_state(start, like, shape):
    """The state before the first step, in an array that may be changed."""
    return zeros(like, shape) if start is None else start.copy()


def full_lengths(lengths, like):
    """How many steps of each row are real, int32 (batch,)."""
    batch, time = like.shape[-3:-1]
    return filled(batch, time, "int32") if lengths is None else contiguous(lengths.astype("int32"))
