"""The product of a few rows, as in generation word by word: each weight is read once, and used for all rows while it is there.

BLAS would first copy the weights into an order of its own, as it would for many rows. All functions are for use in compiled code.
"""
from numba.extending import register_jitable


@register_jitable
def add_product(x, weight, transposed, left, right, out):
    """Columns left … right − 1 of out += x Wᵀ, x (rows, in); `weight` is W (out, in), or its transpose (in, out)."""
    if transposed:
        _add_columns(x, weight, left, right, out)
    else:
        _add_dots(x, weight, left, right, out)


@register_jitable
def _add_dots(x, weight, left, right, out):
    """Each row of W, as it comes, times four rows of x at a time."""
    (rows, n), zero = x.shape, x.dtype.type(0)
    for j in range(left, right):
        w = weight[j]
        for i in range(0, rows - 3, 4):
            a, b, c, d = x[i], x[i + 1], x[i + 2], x[i + 3]
            sum_a, sum_b, sum_c, sum_d = zero, zero, zero, zero
            for k in range(n):
                sum_a += a[k] * w[k]
                sum_b += b[k] * w[k]
                sum_c += c[k] * w[k]
                sum_d += d[k] * w[k]
            out[i, j] += sum_a
            out[i + 1, j] += sum_b
            out[i + 2, j] += sum_c
            out[i + 3, j] += sum_d
        for i in range(rows // 4 * 4, rows):
            a, sum_a = x[i], zero
            for k in range(n):
                sum_a += a[k] * w[k]
            out[i, j] += sum_a


@register_jitable
def _add_columns(x, weight, left, right, out):
    """Rows of Wᵀ, eight at a time, each times a number of x: out is then read and written an eighth as often."""
    rows, n = x.shape
    for k in range(0, n - 7, 8):
        a, b, c, d = weight[k, left:right], weight[k + 1, left:right], weight[k + 2, left:right], weight[k + 3, left:right]
        e, f, g, h = weight[k + 4, left:right], weight[k + 5, left:right], weight[k + 6, left:right], weight[k + 7, left:right]
        for i in range(rows):
            row, y = out[i, left:right], x[i, k:]
            for j in range(right - left):
                row[j] += (y[0] * a[j] + y[1] * b[j] + y[2] * c[j] + y[3] * d[j]
                           + y[4] * e[j] + y[5] * f[j] + y[6] * g[j] + y[7] * h[j])
    for k in range(n // 8 * 8, n):
        a = weight[k, left:right]
        for i in range(rows):
            row, y = out[i, left:right], x[i, k]
            for j in range(right - left):
                row[j] += y * a[j]
