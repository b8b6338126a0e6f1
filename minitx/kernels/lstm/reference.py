"""The long short-term memory in plain NumPy, step by step; `lstm` runs on Tensors as well."""
import numpy as np

from ..gru.reference import check, full_lengths, sigmoid


def lstm(projected, weight, bias=None, start=None, lengths=None, reverse=False, needs_gradient=True):
    """The states h_1 … h_time and the cells c_1 … c_time of each row.

    projected (batch, time, 4·hidden): the inputs times weight_ih, plus its bias; weight (4·hidden, hidden), bias
    (4·hidden,) or None; start (2, batch, hidden): h_0 and c_0, by default zeros; gates in the order input, forget, cell, output.
    lengths (batch,): only the first so many steps of a row are real; the others leave its state as it is.
    reverse: from the last step to the first.
    Returns states (2, batch, time, hidden), the h before the c, and the gates (batch, time, 4·hidden), or None if there
    is to be no backward pass (`needs_gradient`).
    """
    check("lstm", 4, projected, weight, bias, start, lengths)
    (batch, time, _), hidden = projected.shape, weight.shape[1]
    if time == 0:
        return np.stack([projected[:, :, :hidden]] * 2), None
    lengths = full_lengths(lengths, batch, time)
    h, c = np.zeros((2, batch, hidden), projected.dtype) if start is None else start
    states, cells, gates = [None] * time, [None] * time, [None] * time
    for t in range(time)[::-1 if reverse else 1]:
        s = projected[:, t] + h @ np.swapaxes(weight, 0, 1)  # (batch, 4 · hidden)
        if bias is not None:
            s = s + bias
        i, f, o = (sigmoid(s[:, gate * hidden:(gate + 1) * hidden]) for gate in (0, 1, 3))
        g = np.tanh(s[:, 2 * hidden:3 * hidden])
        real = (t < lengths)[:, None]
        c = np.where(real, f * c + i * g, c)
        h = np.where(real, o * np.tanh(c), h)
        states[t], cells[t], gates[t] = h, c, (i, f, g, o)
    states = np.stack([np.stack(states, axis=1), np.stack(cells, axis=1)])
    return states, np.stack([np.concatenate(step, axis=1) for step in gates], axis=1) if needs_gradient else None


def lstm_backward(g, states, gates, weight, start=None, lengths=None, reverse=False):
    """dprojected, dweight, dbias, dstart from g = ∂L/∂states and what `lstm` took and returned."""
    _, batch, time, hidden = states.shape
    lengths = full_lengths(lengths, batch, time)
    first = np.zeros((2, batch, hidden), states.dtype) if start is None else start
    dprojected = np.zeros((batch, time, 4 * hidden), states.dtype)
    dweight, dbias = np.zeros_like(weight), np.zeros(4 * hidden, states.dtype)
    dh, dc = np.zeros_like(first)
    order = range(time)[::-1 if reverse else 1]
    for t, before in zip(order[::-1], [*order[:-1][::-1], None]):
        h_before, c_before = first if before is None else states[:, :, before]
        i, f, candidate, o = np.split(gates[:, t], 4, axis=1)
        dh, dc = dh + g[0, :, t], dc + g[1, :, t]
        real, seen = (t < lengths)[:, None], np.tanh(states[1, :, t])
        through = dc + dh * o * (1 - seen * seen)
        da = np.concatenate([through * candidate * i * (1 - i), through * c_before * f * (1 - f),
                             through * i * (1 - candidate * candidate), dh * seen * o * (1 - o)], axis=1)
        dprojected[:, t] = da = np.where(real, da, 0)
        dweight += da.T @ h_before
        dbias += da.sum(axis=0)
        dc = np.where(real, through * f, dc)
        dh = np.where(real, 0, dh) + da @ weight
    return dprojected, dweight, dbias, np.stack([dh, dc])
