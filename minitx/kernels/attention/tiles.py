"""What forward and backward pass do to a tile of scores, a row at a time, and how a head is laid out for BLAS.

A tile has a row per query and a column per key. Its rows are processed up to a multiple of 8 columns, so that no loop
ends in scalar code: 13 exponentials take longer than 16. All functions are for use in compiled code.
"""
import numpy as np
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic, register_jitable

from ..runtime import vector


@register_jitable
def transpose(x, batch, column, d, count, into):
    """into[:, :count] = x[batch, :count, column : column + d]ᵀ.

    A block of queries times this needs no transposition in BLAS, whose small products are then 1.4 times as fast.
    """
    whole = count // 4 * 4
    for j in range(0, whole, 4):
        row_0, row_1 = _neighbours(x[batch, j, column:]), _neighbours(x[batch, j + 1, column:])
        row_2, row_3 = _neighbours(x[batch, j + 2, column:]), _neighbours(x[batch, j + 3, column:])
        for c in range(d):
            into[c, j] = row_0[c]
            into[c, j + 1] = row_1[c]
            into[c, j + 2] = row_2[c]
            into[c, j + 3] = row_3[c]
    for j in range(whole, count):
        for c in range(d):
            into[c, j] = x[batch, j, column + c]


@intrinsic
def _neighbours(typingctx, row):
    """The same array, known to the compiler to have its elements side by side in memory (`readable` saw to it)."""

    def codegen(context, builder, signature, arguments):
        return impl_ret_borrowed(context, builder, signature.return_type, arguments[0])

    return row.copy(layout="C")(row), codegen


@register_jitable
def seen_by_block(work, tq, tk, length, first, count):
    """(start, stop): the keys that any of the `count` queries from `first` on sees. Query i is aligned with key i + tk − tq."""
    if not work.causal:
        return 0, length
    return max(0, first + 1 + tk - tq - work.window), min(length, first + count + tk - tq)


@register_jitable
def seen_by_row(work, tq, tk, query, left, columns):
    """(start, stop): the columns that this query sees of a tile of so many, whose first key is `left`; the mask apart."""
    if not work.causal:
        return 0, columns
    stop = max(0, min(columns, query + tk - tq + 1 - left))
    return min(stop, max(0, query + tk - tq + 1 - work.window - left)), stop


@register_jitable
def padded(columns, scores):
    """`columns` rounded up to a multiple of 8, where the tile is as wide."""
    return min((columns + 7) // 8 * 8, scores.shape[1])


@register_jitable
def hide(scores, i, begin, seen, columns, mask, batch, head, query, first_key):
    """Set row i to −inf where its query sees no key: outside of columns begin … seen − 1, and where the mask is false."""
    for j in range(begin):
        scores[i, j] = -np.inf
    for j in range(seen, columns):
        scores[i, j] = -np.inf
    if mask.size > 0:
        for j in range(begin, seen):
            if not mask[batch, head, query, first_key + j]:
                scores[i, j] = -np.inf


@register_jitable
def forget(tile, i, begin, seen, columns, mask, batch, head, query, first_key):
    """Set row i to 0 where its query sees no key: the exponential of −inf was small, but not 0."""
    for j in range(begin):
        tile[i, j] = tile.dtype.type(0)
    for j in range(seen, columns):
        tile[i, j] = tile.dtype.type(0)
    if mask.size > 0:
        for j in range(begin, seen):
            if not mask[batch, head, query, first_key + j]:
                tile[i, j] = tile.dtype.type(0)


@register_jitable
def largest_of(scores, i, columns):
    """The largest of the first `columns` of row i; −inf of none."""
    largest = scores.dtype.type(-np.inf)
    for j in range(columns):
        largest = vector.maximum(largest, scores[i, j])
    return largest


@register_jitable
def exponentiate(scores, i, columns, shift):
    """Row i = exp(row i − shift); return the sum."""
    total = scores.dtype.type(0)
    for j in range(columns):
        e = vector.exp(scores[i, j] - shift)
        scores[i, j] = e
        total += e
    return total


@register_jitable
def softmax_backward(scores, dweights, i, columns, log_sum_exp, delta):
    """Of row i: scores becomes the weights P, dweights becomes dS = P (dP − δ)."""
    for j in range(columns):
        weight = vector.exp(scores[i, j] - log_sum_exp)
        scores[i, j] = weight
        dweights[i, j] = weight * (dweights[i, j] - delta)


@register_jitable
def multiply(tile, i, factors, first, count):
    """Row i *= factors[first : first + count]."""
    for j in range(count):
        tile[i, j] *= factors[first + j]


@register_jitable
def clear(tile, i, first, last):
    """Row i = 0 in columns first … last − 1."""
    for j in range(first, last):
        tile[i, j] = tile.dtype.type(0)


@register_jitable
def scale(row, factor):
    """row *= factor."""
    for j in range(row.size):
        row[j] *= factor


@register_jitable
def dot(a, b):
    """Σ a b."""
    total = a.dtype.type(0)
    for j in range(a.size):
        total += a[j] * b[j]
    return total
