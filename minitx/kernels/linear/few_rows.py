"""The product of a few rows, as in generation word by word: each weight is read once, and used for all rows while it is there.

BLAS would first copy the weights into an order of its own, as it would for many rows. Here the time is that of reading them, so what is needed next is
asked for while this is used: the processor alone would wait at the beginning of each row.
"""
from llvmlite import ir
from numba import boolean, int64, prange, types
from numba.extending import intrinsic, register_jitable

from ..runtime import launch
from ..runtime.compiled import compiled, reads, writes

_PART = 256  # of a row at a time: what is read stays in the first level of the cache until the last row of x has used it
_LINE = 16  # numbers from one request to the next: a line of the cache in float32; in float64 every second one is left to the processor


@compiled(lambda real: (reads(real, 2, "C"), reads(real, 2, "C"), boolean, reads(real, 1, "C"), int64, writes(real, 2)), **launch.OPTIONS)
def product(x, weight, transposed, bias, column_blocks, out):
    """out = x Wᵀ + bias, x (rows, in); `weight` is W (out, in), or its transpose (in, out); `bias` may be empty."""
    rows, n_out = out.shape
    for block in prange(column_blocks):
        left, right = block * n_out // column_blocks, (block + 1) * n_out // column_blocks
        for i in range(rows):
            for j in range(left, right):
                out[i, j] = bias[j] if bias.size > 0 else x.dtype.type(0)
        if transposed:
            _add_columns(x, weight, left, right, out)
        else:
            _add_dots(x, weight, left, right, out)


@register_jitable
def _add_dots(x, weight, left, right, out):
    """Three rows of W, as they come, times four rows of x at a time. Fewer rows of x make one long way through W of it, which needs no help."""
    (rows, n), numbers = x.shape, weight.reshape(-1)
    fours = rows // 4
    tiled = left + (right - left) // 3 * 3 if fours else left
    for j in range(left, tiled, 3):
        for start in range(0, n, _PART):
            stop = min(n, start + _PART)
            u, v, w = weight[j, start:stop], weight[j + 1, start:stop], weight[j + 2, start:stop]
            for four in range(fours):
                if j + 6 <= right:
                    ahead, more = (j + 3) * n + 3 * start, 3 * (stop - start)
                    _fetch(numbers, ahead + more * four // fours, ahead + more * (four + 1) // fours)
                i = 4 * four
                sums = _dots(x[i, start:stop], x[i + 1, start:stop], x[i + 2, start:stop], x[i + 3, start:stop], u, v, w)
                for row in range(4):
                    for column in range(3):
                        out[i + row, j + column] += sums[3 * row + column]
            for i in range(4 * fours, rows):
                out[i, j] += _dot(x[i, start:stop], u)
                out[i, j + 1] += _dot(x[i, start:stop], v)
                out[i, j + 2] += _dot(x[i, start:stop], w)
    for j in range(tiled, right):
        for i in range(rows):
            out[i, j] += _dot(x[i], weight[j])


@register_jitable
def _dots(a, b, c, d, u, v, w):
    """Each of a, b, c and d times each of u, v and w."""
    zero = a.dtype.type(0)
    au, av, aw, bu, bv, bw, cu, cv, cw, du, dv, dw = zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero, zero
    for k in range(u.size):
        au += a[k] * u[k]
        av += a[k] * v[k]
        aw += a[k] * w[k]
        bu += b[k] * u[k]
        bv += b[k] * v[k]
        bw += b[k] * w[k]
        cu += c[k] * u[k]
        cv += c[k] * v[k]
        cw += c[k] * w[k]
        du += d[k] * u[k]
        dv += d[k] * v[k]
        dw += d[k] * w[k]
    return au, av, aw, bu, bv, bw, cu, cv, cw, du, dv, dw


@register_jitable
def _dot(a, b):
    total = a.dtype.type(0)
    for k in range(a.size):
        total += a[k] * b[k]
    return total


@register_jitable
def _add_columns(x, weight, left, right, out):
    """Rows of Wᵀ, eight at a time, each times a number of x: out is then read and written an eighth as often."""
    (rows, n), n_out, numbers = x.shape, weight.shape[1], weight.reshape(-1)
    for k in range(0, n - 7, 8):
        a, b, c, d = weight[k, left:right], weight[k + 1, left:right], weight[k + 2, left:right], weight[k + 3, left:right]
        e, f, g, h = weight[k + 4, left:right], weight[k + 5, left:right], weight[k + 6, left:right], weight[k + 7, left:right]
        for i in range(rows):
            for ahead in range(k + 8 + 8 * i // rows, min(n, k + 8 + 8 * (i + 1) // rows)):
                _fetch(numbers, ahead * n_out + left, ahead * n_out + right)
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


@register_jitable
def _fetch(numbers, start, stop):
    for place in range(start, stop, _LINE):
        _fetch_line(numbers, place)


@intrinsic
def _fetch_line(typingctx, array, index):
    """Ask for the memory around array[index], to be brought into the second level of the cache; nobody waits for it."""

    def codegen(context, builder, signature, arguments):
        byte, integer = ir.IntType(8).as_pointer(), ir.IntType(32)
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        kind = ir.FunctionType(ir.VoidType(), [byte, integer, integer, integer])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        builder.call(prefetch, [builder.bitcast(builder.gep(data, [arguments[1]]), byte), integer(0), integer(2), integer(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen
