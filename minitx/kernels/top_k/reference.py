"""The k largest of each row in plain NumPy."""
import numpy as np


def top_k(logits, k, first=0):
    """The k largest of each row of logits (rows, columns), float32 or float64, of which only the columns from `first` on are candidates.

    Returns their columns (rows, k) int64 and values (rows, k), the largest first and of equals the first, and log Σ exp (rows,) of the whole row.
    Where there are fewer than k above −∞, the rest is −∞.
    """
    check(logits, k, first)
    columns = np.argsort(-logits[:, first:], axis=1, kind="stable")[:, :k] + first
    largest = logits.max(axis=1, keepdims=True)
    log_sum_exp = np.log(np.exp(logits - largest).sum(axis=1)) + largest[:, 0]
    return columns, np.take_along_axis(logits, columns, axis=1), log_sum_exp


def check(logits, k, first):
    """Raise ValueError or TypeError with what is wrong, what was expected and the likely fix."""
    if logits.dtype.char not in "fd":
        raise TypeError(f"top_k: the logits are {logits.dtype}, expected float32 or float64; use .astype(np.float32)")
    if logits.ndim != 2:
        raise ValueError(f"top_k: the logits have shape {logits.shape}; expected (rows, columns)")
    if not 0 <= k <= logits.shape[1] - first:
        raise ValueError(f"top_k: k is {k} but {max(0, logits.shape[1] - first)} columns are candidates; take at most so many")
