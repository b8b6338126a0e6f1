"""What the recurrent kernels have in common. Rows of a batch know nothing of each other, so a block of them goes through all time steps on one thread,
and threads meet only at the end."""
import numpy as np
from numba.extending import register_jitable

from .blas import gemm

_ROWS = 16  # of a block
_WHOLE = 64  # of a block that takes a single step
_SMALL = 1_000_000  # multiplications up to which OpenBLAS multiplies at once; beyond, it first copies both matrices
_COLUMNS = 64  # of a piece, or a multiple


def blocks(rows, time):
    """How many blocks a batch is cut into: even, so that two threads have the same to do; a number of the shape alone."""
    return 1 if rows < 8 else 2 * -(-rows // (2 * (_ROWS if time > 1 else _WHOLE)))


@register_jitable
def multiply(rows, n, k, a, lda, b, c):
    """c[rows, n] += a[rows, k] @ b[k, n] for few rows, piece by piece. With 16 rows and a square b of 256: 115 GFLOP/s instead of 55."""
    one = a.dtype.type(1)
    parts = -(-rows * k * _COLUMNS // _SMALL)
    step = max(_COLUMNS, _SMALL // max(1, rows * (-(-k // parts))) // _COLUMNS * _COLUMNS)
    for part in range(parts):
        first, last = part * k // parts, (part + 1) * k // parts
        for left in range(0, n, step):
            gemm(False, False, rows, min(step, n - left), last - first, one, a[:, first:], lda, b[first:, left:], n, one, c[:, left:], n)


def both_ways(weight, time):
    """The weight and its transpose, which is faster to multiply by; for a single step nothing in its place."""
    weight = np.ascontiguousarray(weight)
    return weight, np.ascontiguousarray(weight.T) if time > 1 else np.empty((0, 0), weight.dtype)


def zeros_if_none(array, shape, dtype):
    """`array`, contiguous, or zeros where there is none."""
    return np.zeros(shape, dtype) if array is None else np.ascontiguousarray(array)


@register_jitable
def copy(row, other):
    """row = other, element by element."""
    for j in range(row.size):
        row[j] = other[j]


@register_jitable
def add(row, other):
    """row += other."""
    for j in range(row.size):
        row[j] += other[j]


@register_jitable
def clear(row):
    """row = 0."""
    for j in range(row.size):
        row[j] = row.dtype.type(0)
