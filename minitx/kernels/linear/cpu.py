"""The linear layer on the CPU: a BLAS product per block of rows, its elementwise part done while that is in cache.

Work is cut by the shape alone, and partial sums are added in the order of the blocks: the bits do not depend on the
number of threads.
"""
import numpy as np
from numba import boolean, int64, prange, uint64
from numba.extending import register_jitable

from ..dropout import philox
from ..runtime import launch, vector
from ..runtime.blas import gemm
from ..runtime.compiled import compiled, reads, writes
from ..runtime.memory import empty
from . import few_rows
from .reference import ACTIVATIONS, check

_ACTIVATION = {name: number for number, name in enumerate(ACTIVATIONS)}
_RELU, _GELU = 1, 2
_FEW = 16  # rows: for more, the weights are no longer what a product waits for
_LARGE = 1 << 20  # weights: as many do not stay in the caches
_PACKED = 10 ** 6  # multiplications: for more, OpenBLAS first copies the weights into an order of its own
_ROWS = 256  # per block: a product of 256 rows reaches 95 % of the speed of one of 2,000, one of 32 rows two thirds
_PARTS = 8  # sums that dweight is the sum of, at most
_PART_ELEMENTS = 1 << 19  # a dweight as large as this has products enough to share out, and is summed in one piece
_MULTIPLICATIONS = 64  # as many take the time of one element of a loop over memory, by which launch.share measures work
_ABSENT = {np.dtype(kind): np.empty((0, 0), kind) for kind in (np.float32, np.float64)}


def linear(x, weight, bias=None, activation="none", p=0.0, key=0, needs_gradient=True):
    """See reference.linear."""
    check(x, weight, bias, activation, p)
    absent = _ABSENT[x.dtype]
    (n_out, n_in), (weight, transposed) = weight.shape, _as_stored(weight)
    x, out = np.ascontiguousarray(x), empty(x.shape[:-1] + (n_out,), x.dtype)
    saved = None
    if needs_gradient and activation != "none":
        saved = out if activation == "relu" else empty(out.shape, x.dtype)
    threshold, scale = philox.split(p)
    x, out_rows = x.reshape(-1, n_in), out.reshape(-1, n_out)
    row_blocks, column_blocks = _blocks(len(x), n_out)
    few = len(x) <= _FEW and (weight.size > _LARGE or len(x) * weight.size // column_blocks > _PACKED)
    bias = absent.reshape(0) if bias is None else np.ascontiguousarray(bias)
    slope = absent if saved is None or saved is out else saved.reshape(-1, n_out)
    if few:
        few_rows.product(x, weight, transposed, bias, column_blocks, out_rows)
    if not few or activation != "none":
        _linear(x, weight, transposed, few, bias, _ACTIVATION[activation], p > 0, threshold, scale, key, row_blocks,
                column_blocks, out_rows, slope)
    return out, saved


def _blocks(rows, n_out):
    """Into how many blocks of rows and of columns to cut: by columns where that cuts evenly, since a product of fewer rows is slower."""
    column_blocks = next((count for count in (8, 4, 2) if n_out >= 192 * count), 1)
    if rows <= _ROWS and column_blocks > 1:
        return 1, column_blocks
    return _row_blocks(rows), _up_to(8 // _row_blocks(rows), n_out // 256)


def _as_stored(weight):
    """The matrix as it lies in memory, and whether that is the transpose of `weight`, which BLAS multiplies by as well."""
    if not weight.flags.c_contiguous and weight.flags.f_contiguous:
        return weight.T, True
    return np.ascontiguousarray(weight), False


@compiled(lambda real: (reads(real, 2, "C"), reads(real, 2, "C"), boolean, boolean, reads(real, 1, "C"), int64, boolean,
                        uint64, real, uint64, int64, int64, writes(real, 2), writes(real, 2)), **launch.OPTIONS)
def _linear(x, weight, transposed, multiplied, bias, activation, drop, threshold, scale, key, row_blocks, column_blocks,
            out, slope):
    """`multiplied`: x Wᵀ + bias is in `out` already."""
    (rows, n_in), n_out = x.shape, out.shape[1]
    zero, one = x.dtype.type(0), x.dtype.type(1)
    numbers, step = weight.reshape(-1), n_out if transposed else n_in  # of the weights, and between their rows as stored
    threads = launch.share(0 if multiplied else rows * n_in * n_out // _MULTIPLICATIONS)
    for block in prange(row_blocks * column_blocks):
        row_block, column_block = block // column_blocks, block % column_blocks
        top, bottom = row_block * rows // row_blocks, (row_block + 1) * rows // row_blocks
        left, right = column_block * n_out // column_blocks, (column_block + 1) * n_out // column_blocks
        if not multiplied:
            for i in range(top, bottom if bias.size > 0 else top):  # BLAS adds to it, at no cost: it would have set it to 0
                _copy(out[i, left:right], bias[left:right])
            gemm(False, not transposed, bottom - top, right - left, n_in, one, x[top:], n_in,
                 numbers[left if transposed else left * n_in:], step, one if bias.size > 0 else zero, out[top:, left:],
                 n_out)
        mask = np.empty(right - left + 8, x.dtype)
        for i in range(top, bottom if activation > 0 else top):
            row = out[i, left:right]
            if activation == _RELU:
                _relu(row)
            elif activation == _GELU and slope.size > 0:
                _gelu_and_slope(row, slope[i, left:right])
            elif activation == _GELU:
                _gelu(row)
            else:
                _gelu_tanh_and_slope(row, slope[i, left:right] if slope.size > 0 else mask)
            if drop:
                offset = philox.factors(mask, i * n_out + left, right - left, key, threshold, scale)
                _multiply(row, mask[offset:])
                if slope.size > 0:
                    _multiply(slope[i, left:right], mask[offset:])
    launch.restore(threads)


@register_jitable
def _copy(row, other):
    for j in range(row.size):
        row[j] = other[j]


@register_jitable
def _add(row, other):
    for j in range(row.size):
        row[j] += other[j]


@register_jitable
def _multiply(row, other):
    for j in range(row.size):
        row[j] *= other[j]


@register_jitable
def _relu(row):
    zero = row.dtype.type(0)
    for j in range(row.size):
        row[j] = zero if row[j] < zero else row[j]  # NaN stays


@register_jitable
def _gelu(row):
    half = row.dtype.type(0.5)
    for j in range(row.size):
        pre = row[j]
        row[j] = pre * vector.normal_cdf(pre, vector.exp(-half * pre * pre))


@register_jitable
def _gelu_and_slope(row, slope):
    half, peak = row.dtype.type(0.5), row.dtype.type(0.3989422804014327)  # the density at 0 is 1/√(2π)
    flat = row.dtype.type(20)  # beyond which the density is none
    for j in range(row.size):
        pre = row[j]
        density = vector.exp(-half * pre * pre)
        cdf = vector.normal_cdf(pre, density)
        row[j] = pre * cdf
        slope[j] = cdf + min(max(pre, -flat), flat) * density * peak


@register_jitable
def _gelu_tanh_and_slope(row, slope):
    one, cubic, root = row.dtype.type(1), row.dtype.type(0.044715), row.dtype.type(-1.5957691216057308)  # −2 √(2/π)
    three, flat = row.dtype.type(3), row.dtype.type(20)  # beyond which the slope is 0 or 1
    for j in range(row.size):
        pre = row[j]
        near = min(max(pre, -flat), flat)
        share = one / (one + vector.exp(root * (pre + cubic * pre * pre * pre)))
        row[j] = pre * share
        slope[j] = share - near * share * (one - share) * root * (one + three * cubic * near * near)


def linear_backward(g, x, weight, saved, activation="none", p=0.0, needs=(True, True, True), dweight=None):
    """See reference.linear_backward."""
    g, x = np.ascontiguousarray(g), np.ascontiguousarray(x)
    (n_out, n_in), (weight, transposed), dtype, absent = weight.shape, _as_stored(weight), x.dtype, _ABSENT[x.dtype]
    needs_x, needs_weight, needs_bias = needs
    dx = empty(x.shape, dtype) if needs_x else None
    if dweight is None and needs_weight:
        dweight = empty((n_out, n_in), dtype)
    dbias = empty(n_out, dtype) if needs_bias else None
    g, x = g.reshape(-1, n_out), x.reshape(-1, n_in)
    if activation == "none":
        saved, dpre_written, dpre = absent, absent, g
    else:
        saved = np.ascontiguousarray(saved).reshape(-1, n_out)
        dpre_written = dpre = empty(g.shape, dtype)
    row_blocks = _row_blocks(len(x))
    parts, blocks_out, blocks_in = min(row_blocks, _PARTS), 1, 1
    if weight.size > _PART_ELEMENTS:
        parts, blocks_out, blocks_in = 1, _up_to(4, n_out // 256), _up_to(4, n_in // 256)
    dweight_parts = empty((parts if needs_weight and parts > 1 else 0, n_out, n_in), dtype)
    dbias_parts = empty((row_blocks if needs_bias else 0, n_out), dtype)
    _linear_backward(
        g, x, weight, transposed, saved, _ACTIVATION[activation], philox.split(p)[1], row_blocks, parts, blocks_out, blocks_in,
        dpre_written, dpre, dx.reshape(-1, n_in) if needs_x else absent, dweight if needs_weight else absent,
        dbias if needs_bias else absent.reshape(0), dweight_parts, dbias_parts)
    return dx, dweight, dbias


@compiled(lambda real: (reads(real, 2, "C"), reads(real, 2, "C"), reads(real, 2, "C"), boolean, reads(real, 2, "C"),
                        int64, real, int64, int64, int64, int64, writes(real, 2), reads(real, 2, "C"), writes(real, 2),
                        writes(real, 2), writes(real, 1), writes(real, 3), writes(real, 2)), **launch.OPTIONS)
def _linear_backward(g, x, weight, transposed, saved, activation, scale, row_blocks, parts, blocks_out, blocks_in,
                     dpre_written, dpre, dx, dweight, dbias, dweight_parts, dbias_parts):
    """`dpre_written` and `dpre` are the same memory, or without an activation nothing and g."""
    (rows, n_in), n_out = x.shape, g.shape[1]
    zero, one = x.dtype.type(0), x.dtype.type(1)
    threads = launch.share(rows * n_in * n_out // _MULTIPLICATIONS)
    for block in prange(row_blocks):
        top, bottom = block * rows // row_blocks, (block + 1) * rows // row_blocks
        for i in range(top, bottom):
            if activation == _RELU:
                _multiply_where_positive(dpre_written[i], g[i], saved[i], scale)
            elif activation > 0:
                _product(dpre_written[i], g[i], saved[i])
        if dbias.size > 0:
            dbias_part = dbias_parts[block]
            _clear(dbias_part)
            for i in range(top, bottom):
                _add(dbias_part, dpre[i])
        if dx.size > 0:
            gemm(False, transposed, bottom - top, n_in, n_out, one, dpre[top:], n_out, weight,
                 n_out if transposed else n_in, zero, dx[top:], n_in)
    if dweight.size > 0:
        for piece in prange(parts * blocks_out * blocks_in):
            part, a, b = piece // (blocks_out * blocks_in), piece // blocks_in % blocks_out, piece % blocks_in
            top, bottom = part * rows // parts, (part + 1) * rows // parts
            first, last = a * n_out // blocks_out, (a + 1) * n_out // blocks_out
            left, right = b * n_in // blocks_in, (b + 1) * n_in // blocks_in
            into = dweight if parts == 1 else dweight_parts[part]
            gemm(True, False, last - first, right - left, bottom - top, one, dpre[top:, first:], n_out, x[top:, left:],
                 n_in, zero, into[first:, left:], n_in)
        if parts > 1:
            for i in prange(n_out):
                row = dweight[i]
                _clear(row)
                for part in range(parts):
                    _add(row, dweight_parts[part, i])
    _clear(dbias)
    for block in range(dbias_parts.shape[0]):
        _add(dbias, dbias_parts[block])
    launch.restore(threads)


@register_jitable
def _clear(row):
    for j in range(row.size):
        row[j] = row.dtype.type(0)


@register_jitable
def _product(row, g, slope):
    for j in range(row.size):
        row[j] = g[j] * slope[j]


@register_jitable
def _multiply_where_positive(row, g, out, scale):
    zero = row.dtype.type(0)
    for j in range(row.size):
        row[j] = g[j] * scale if out[j] > zero else zero


def _row_blocks(rows):
    """How many blocks `rows` rows are cut into: even, so that two threads have the same to do."""
    return 1 if rows < 32 else 2 * -(-rows // (2 * _ROWS))


def _up_to(limit, count):
    return max(1, min(limit, count))
