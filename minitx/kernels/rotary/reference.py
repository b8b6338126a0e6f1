"""Rotary positions in plain NumPy; `rotary` runs on Tensors as well."""
import numpy as np


def rotary(x, cos, sin, heads, start=None):
    """x (batch, time, width), its first `heads` heads turned by their positions, the features behind them as they are.

    cos, sin (positions, d/2), of x's dtype: of the angles of the d/2 planes of a head at each position. x[b, t] stands
    at position start[b] + t, `start` being integers (batch,), or None for zeros. The backward pass is
    rotary(g, cos, −sin, heads, start).
    """
    check(x, cos, sin, heads, start)
    batch, time, width = x.shape
    half = cos.shape[1]
    turned = x[..., :heads * 2 * half].reshape(batch, time, heads, 2 * half)
    first, second = turned[..., :half], turned[..., half:]
    rows = np.arange(time) if start is None else np.asarray(start)[:, None] + np.arange(time)
    cos, sin = cos[rows][..., None, :], sin[rows][..., None, :]  # (batch, time, 1, d/2), for all heads
    turned = np.concatenate((first * cos - second * sin, first * sin + second * cos), axis=-1)
    return np.concatenate((turned.reshape(batch, time, heads * 2 * half), x[..., heads * 2 * half:]), axis=-1)


def check(x, cos, sin, heads, start):
    """Raise ValueError or TypeError with what is wrong, what was expected and the likely fix."""
    check_shapes(x, cos, sin, heads, start)
    least, most = (0, 0) if start is None else (np.min(start, initial=0), np.max(start, initial=0))
    if least < 0 or most + x.shape[1] > cos.shape[0]:
        raise ValueError(f"rotary: positions run from {least} to {most + x.shape[1] - 1} but cos and sin have "
                         f"{cos.shape[0]} rows, from 0")


def check_shapes(x, cos, sin, heads, start):
    """As `check`, without a look at the values of `start`."""
    if len(x.shape) != 3:
        raise ValueError(f"rotary: x has shape {x.shape}; expected (batch, time, heads * d_head)")
    if x.dtype.char not in "fd":
        raise TypeError(f"rotary: x is {x.dtype}, expected float32 or float64; use .astype(np.float32)")
    if not cos.dtype == sin.dtype == x.dtype:
        raise TypeError(f"rotary: x is {x.dtype}, cos {cos.dtype}, sin {sin.dtype}; make them one with .astype")
    if len(cos.shape) != 2 or cos.shape != sin.shape:
        raise ValueError(f"rotary: cos has shape {cos.shape} and sin {sin.shape}; both must be (positions, d_head / 2)")
    if not 0 <= heads * 2 * cos.shape[1] <= x.shape[2]:
        raise ValueError(f"rotary: {heads} heads of {2 * cos.shape[1]} features (twice the columns of cos) do not fit "
                         f"into the {x.shape[2]} features of x")
    if start is not None and np.shape(start) != x.shape[:1]:
        raise ValueError(f"rotary: start has shape {np.shape(start)}; expected ({x.shape[0]},), where each sequence "
                         "begins")
