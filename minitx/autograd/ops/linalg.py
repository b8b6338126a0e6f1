"""Products: matmul with NumPy's broadcasting, einsum, and what follows from them."""
import math
import string

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ..graph import op
from .elementwise import multiply
from .reduction import sum
from .shape import reshape, transpose


@op
def matmul(x, y):
    """The matrix product, as `np.matmul`: (..., n, k) @ (..., k, m) -> (..., n, m); leading axes broadcast, vectors count as one row or column."""
    return np.matmul(x, y)


@matmul.vjp
def _(g, x, y, needs):
    # A vector is a matrix with one row (left) or one column (right) whose axis is dropped again.
    matrix_x = x[None, :] if x.ndim == 1 else x
    matrix_y = y[:, None] if y.ndim == 1 else y
    if x.ndim == 1:
        g = np.expand_dims(g, -1 if y.ndim == 1 else -2)
    if y.ndim == 1:
        g = np.expand_dims(g, -1)
    gx = gy = None
    if needs[0]:
        gx = g @ np.swapaxes(matrix_y, -1, -2)
        gx = gx[..., 0, :] if x.ndim == 1 else gx
    if needs[1]:
        if y.ndim == 2 and x.ndim > 2:  # one long product instead of a batch of them and a sum
            rows = math.prod(x.shape[:-1])
            gy = np.reshape(matrix_x, (rows, x.shape[-1])).T @ np.reshape(g, (rows, g.shape[-1]))
        else:
            gy = np.swapaxes(matrix_x, -1, -2) @ g
            gy = gy[..., 0] if y.ndim == 1 else gy
    return gx, gy


@op
def _einsum(*xs, labels, out_labels):
    return np.einsum(",".join(labels) + "->" + out_labels, *xs, optimize=len(xs) > 1)


@_einsum.vjp
def _(g, xs, labels, out_labels, needs):
    """∂/∂xᵢ of a sum of products is the same sum with g in the place of xᵢ and xᵢ's labels as the output."""
    results = []
    for i, own in enumerate(labels):
        if not needs[i]:
            results.append(None)
            continue
        operands = [g, *(x for j, x in enumerate(xs) if j != i)]
        names = [out_labels, *(name for j, name in enumerate(labels) if j != i)]
        target, free = "", iter(sorted(set(string.ascii_letters) - set("".join(labels) + out_labels)))
        dtype = xs[i].dtype
        for axis, label in enumerate(own):
            size = xs[i].shape[axis]
            if label in target:  # a repeated label reads a diagonal, so the gradient lives on one
                fresh = next(free)
                operands.append(np.eye(size, dtype=dtype))
                names.append(label + fresh)
                label = fresh
            elif all(n == 1 for x, name in zip(operands, names) for n, other in zip(x.shape, name) if other == label):  # the gradient is the same for all
                operands.append(np.ones(size, dtype))
                names.append(label)
            target += label
        results.append(_einsum(*operands, labels=tuple(names), out_labels=target))
    return tuple(results)


def einsum(subscripts, *operands, optimize=True):
    """Einstein's summation, as `np.einsum` with a subscript string; the ellipsis and implicit output are understood. The order is always optimized."""
    if not isinstance(subscripts, str):
        raise TypeError("einsum: the first argument is the subscript string, like 'ij,jk->ik'")
    left, arrow, right = subscripts.replace(" ", "").partition("->")
    parts = left.split(",")
    if len(parts) != len(operands):
        raise ValueError(f"einsum: {subscripts!r} names {len(parts)} operands but {len(operands)} were given")
    free = "".join(sorted(set(string.ascii_letters) - set(left + right), reverse=True))
    widths = [np.ndim(x) - len(part.replace("...", "")) if "..." in part else 0 for part, x in zip(parts, operands)]
    ellipsis = free[:max(widths, default=0)]
    labels = tuple(part.replace("...", ellipsis[len(ellipsis) - width:]) for part, width in zip(parts, widths))
    if not arrow:
        text = left.replace(",", "").replace(".", "")
        right = ("..." if ellipsis else "") + "".join(sorted(c for c in set(text) if text.count(c) == 1))
    for part, x in zip(labels, operands):
        if len(part) != np.ndim(x):
            raise ValueError(f"einsum: {subscripts!r} gives {len(part)} labels to an operand of shape {np.shape(x)}")
    return _einsum(*operands, labels=labels, out_labels=right.replace("...", ellipsis))


def tensordot(x, y, axes=2):
    """Sum over the last `axes` axes of x and the first of y, or over two given lists of axes."""
    if isinstance(axes, (int, np.integer)):
        axes_x, axes_y = list(range(x.ndim - axes, x.ndim)), list(range(axes))
    else:
        axes_x, axes_y = (normalize_axis_tuple(given, t.ndim, "tensordot") for t, given in zip((x, y), axes))
    if [x.shape[a] for a in axes_x] != [y.shape[a] for a in axes_y]:
        raise ValueError(f"tensordot: axes {axes_x} of shape {x.shape} and {axes_y} of {y.shape} are summed together, so they must be of the same lengths")
    keep_x, keep_y = ([a for a in range(t.ndim) if a not in used] for t, used in ((x, axes_x), (y, axes_y)))
    inner = math.prod(x.shape[a] for a in axes_x)
    left = reshape(transpose(x, axes=(*keep_x, *axes_x)), shape=(int(np.prod([x.shape[a] for a in keep_x])), inner))
    right = reshape(transpose(y, axes=(*axes_y, *keep_y)), shape=(inner, int(np.prod([y.shape[a] for a in keep_y]))))
    return reshape(matmul(left, right), shape=tuple([x.shape[a] for a in keep_x] + [y.shape[a] for a in keep_y]))


def outer(x, y):
    """All products of an element of x with one of y: a matrix."""
    return multiply(reshape(x, shape=(-1, 1)), reshape(y, shape=(1, -1)))


def dot(x, y):
    """As `np.dot`: an inner product of vectors, a product of matrices, a sum over the last axis of x and the last but one of y."""
    if np.ndim(x) == 0 or np.ndim(y) == 0:
        return multiply(x, y)
    if np.ndim(y) > 2:
        return tensordot(x, y, ([x.ndim - 1], [y.ndim - 2]))
    return matmul(x, y)


def inner(x, y):
    """The sum of products over the last axis of both."""
    return tensordot(x, y, ([x.ndim - 1], [y.ndim - 1])) if x.ndim and y.ndim else multiply(x, y)


def vdot(x, y):
    """The inner product of all elements."""
    return matmul(reshape(x, shape=(-1,)), reshape(y, shape=(-1,)))
