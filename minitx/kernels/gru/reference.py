"""The gated recurrent unit in plain NumPy, step by step; `gru` runs on Tensors as well."""
import numpy as np


def gru(projected, weight, bias=None, start=None, lengths=None, reverse=False, needs_gradient=True):
    """The states h_1 … h_time of each row.

    projected (batch, time, 3·hidden): the inputs times weight_ih, plus its bias; weight (3·hidden, hidden), bias
    (3·hidden,) or None; start (batch, hidden): h_0, by default zeros; gates in the order reset, update, new.
    lengths (batch,): only the first so many steps of a row are real; the others leave its state as it is.
    reverse: from the last step to the first.
    Returns states (batch, time, hidden) and the gates (batch, time, 4·hidden), or None if there is to be no backward
    pass (`needs_gradient`).
    """
    check("gru", 3, projected, weight, bias, start, lengths)
    (batch, time, _), hidden = projected.shape, weight.shape[1]
    if time == 0:
        return projected[:, :, :hidden], None
    lengths = full_lengths(lengths, batch, time)
    h = np.zeros((batch, hidden), projected.dtype) if start is None else start
    states, gates = [None] * time, [None] * time
    for t in range(time)[::-1 if reverse else 1]:
        a, u = projected[:, t], h @ np.swapaxes(weight, 0, 1)  # (batch, 3 · hidden)
        if bias is not None:
            u = u + bias
        r = sigmoid(a[:, :hidden] + u[:, :hidden])
        z = sigmoid(a[:, hidden:2 * hidden] + u[:, hidden:2 * hidden])
        u_n = u[:, 2 * hidden:]
        n = np.tanh(a[:, 2 * hidden:] + r * u_n)
        h = np.where((t < lengths)[:, None], (1 - z) * n + z * h, h)
        states[t], gates[t] = h, (r, z, n, u_n)
    states = np.stack(states, axis=1)
    return states, np.stack([np.concatenate(step, axis=1) for step in gates], axis=1) if needs_gradient else None


def gru_backward(g, states, gates, weight, start=None, lengths=None, reverse=False):
    """dprojected, dweight, dbias, dstart from g = ∂L/∂states and what `gru` took and returned."""
    batch, time, hidden = states.shape
    lengths = full_lengths(lengths, batch, time)
    first = np.zeros((batch, hidden), states.dtype) if start is None else start
    dprojected = np.zeros((batch, time, 3 * hidden), states.dtype)
    dweight, dbias, dh = np.zeros_like(weight), np.zeros(3 * hidden, states.dtype), np.zeros_like(first)
    order = range(time)[::-1 if reverse else 1]
    for t, before in zip(order[::-1], [*order[:-1][::-1], None]):
        previous = first if before is None else states[:, before]
        r, z, n, u_n = np.split(gates[:, t], 4, axis=1)
        dh = dh + g[:, t]
        real = (t < lengths)[:, None]
        dn = np.where(real, dh * (1 - z) * (1 - n * n), 0)
        dz = np.where(real, dh * (previous - n) * z * (1 - z), 0)
        dr = dn * u_n * r * (1 - r)
        dprojected[:, t] = np.concatenate([dr, dz, dn], axis=1)
        du = np.concatenate([dr, dz, dn * r], axis=1)
        dweight += du.T @ previous
        dbias += du.sum(axis=0)
        dh = np.where(real, dh * z, dh) + du @ weight
    return dprojected, dweight, dbias, dh


def sigmoid(x):
    """1 / (1 + e⁻ˣ), which never overflows when written so."""
    return 0.5 * (1 + np.tanh(0.5 * x))


def full_lengths(lengths, batch, time):
    """How many steps of each row are real, int64 (batch,)."""
    return np.full(batch, time, np.int64) if lengths is None else np.minimum(np.asarray(lengths, np.int64), time)


def check(name, gates, projected, weight, bias, start, lengths):
    """Raise ValueError or TypeError with what is wrong, what was expected and the likely fix; there are `gates` of them."""
    if len(weight.shape) != 2 or weight.shape[0] != gates * weight.shape[1]:
        raise ValueError(f"{name}: weight has shape {weight.shape}; expected ({gates} · hidden, hidden), the {gates} gates below each other")
    width, hidden = weight.shape
    if len(projected.shape) != 3 or projected.shape[2] != width:
        raise ValueError(f"{name}: projected has shape {projected.shape}; with weight {weight.shape} it must be (batch, time, {width}), "
                         "the inputs times weight_ih")
    if bias is not None and bias.shape != (width,):
        raise ValueError(f"{name}: bias has shape {bias.shape}; expected ({width},), one per row of weight")
    batch = projected.shape[0]
    expected = (batch, hidden) if name == "gru" else (2, batch, hidden)
    if start is not None and start.shape != expected:
        raise ValueError(f"{name}: start has shape {start.shape}; expected {expected}, the state of each row before the first step")
    if lengths is not None and np.shape(lengths) != (batch,):
        raise ValueError(f"{name}: lengths has shape {np.shape(lengths)}; expected ({batch},), the number of real steps of each row")
    for what, array in {"weight": weight, "bias": bias, "start": start}.items():
        if array is not None and array.dtype != projected.dtype:
            raise TypeError(f"{name}: projected is {projected.dtype} but {what} {array.dtype}; make them one with .astype")
    if projected.dtype.char not in "fd":
        raise TypeError(f"{name}: projected is {projected.dtype}, expected float32 or float64; use .astype(np.float32)")
