"""Reading parts of an array: slices, index arrays, masks, diagonals. Where an index repeats an element, its gradients add up."""
import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ...kernels.runtime import devices
from ..graph import op
from .elementwise import _values, where
from .shape import moveaxis, ravel


@op
def _getitem(x, *, index):
    return x[index]


_getitem.vjp(lambda g, shapes, index: scatter(g, index=index, shape=shapes[0]))


def getitem(x, index):
    """x[index], with any index that NumPy takes."""
    return _getitem(x, index=_frozen(index))


@op
def scatter(x, *, index, shape):
    """Zeros of `shape` to which x was added at `index`: the adjoint of `getitem`."""
    library = devices.library(devices.of(x))
    out = library.zeros(shape, x.dtype)
    if _may_repeat(index):
        library.add.at(out, index, x)
    else:
        out[index] = x
    return out


scatter.vjp(lambda g, index: _getitem(g, index=index))


def take(x, indices, axis=None):
    """Elements at integer `indices` along `axis`; of the flattened array without one."""
    if axis is None:
        x, axis = ravel(x), 0
    (axis,) = normalize_axis_tuple(axis, x.ndim, "take")
    indices = _frozen(indices, inside=True)
    return getitem(x, (slice(None),) * axis + (indices.astype(int) if getattr(indices, "dtype", None) == bool else indices,))


def take_along_axis(x, indices, axis=-1):
    """For each position the element whose place along `axis` is in `indices`, as `np.take_along_axis`."""
    if axis is None:
        x, axis = ravel(x), 0
    (axis,) = normalize_axis_tuple(axis, x.ndim, "take_along_axis")
    if np.ndim(_values(indices)) != x.ndim:
        raise ValueError(f"take_along_axis: indices have {np.ndim(_values(indices))} axes but x has {x.ndim}; they must be alike")
    places = [np.arange(n).reshape([-1 if j == i else 1 for j in range(x.ndim)]) for i, n in enumerate(x.shape)]
    return getitem(x, (*places[:axis], _values(indices), *places[axis + 1:]))


@op(differentiable=False)
def argsort(x, *, axis=-1, kind=None):
    """The indices that sort x along `axis`; equal elements keep their order, whichever `kind` NumPy would take."""
    return np.argsort(x, axis=axis, kind="stable")


def sort(x, axis=-1, kind=None):
    """Elements in ascending order; equal ones keep theirs, and so do their gradients, whichever `kind` NumPy would take."""
    if axis is None:
        x, axis = ravel(x), 0
    return take_along_axis(x, argsort(x, axis=axis), axis)


def tril(x, k=0):
    """The lower triangle, up to the k-th diagonal; zeros above."""
    return where(devices.place(np.tri(x.shape[-2], x.shape[-1], k, dtype=bool), _values(x)), x, x.dtype.type(0))


def triu(x, k=0):
    """The upper triangle, from the k-th diagonal; zeros below."""
    return where(devices.place(np.tri(x.shape[-2], x.shape[-1], k - 1, dtype=bool), _values(x)), x.dtype.type(0), x)


def diagonal(x, offset=0, axis1=0, axis2=1):
    """The elements x[..., i, i + offset] of two axes, along a new last axis."""
    moved = moveaxis(x, (axis1, axis2), (-2, -1))
    rows, columns = moved.shape[-2:]
    i = np.arange(max(0, min(rows, columns - offset) - max(0, -offset))) + max(0, -offset)
    return getitem(moved, (..., i, i + offset))


def diag(x, k=0):
    """A matrix with vector x on its k-th diagonal, or the k-th diagonal of matrix x."""
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ValueError(f"diag: takes a vector or a matrix, and this has shape {x.shape}")
    n = x.shape[0] + abs(k)
    i = np.arange(x.shape[0])
    return scatter(x, index=(i + max(0, -k), i + max(0, k)), shape=(n, n))


def trace(x, offset=0, axis1=0, axis2=1):
    """The sum of a diagonal."""
    return diagonal(x, offset, axis1, axis2).sum(axis=-1)


def _frozen(index, inside=False):
    """The index with Tensors as arrays and arrays copied: the tape keeps it until backward. A list is an array, and so is a tuple inside of the index."""
    if isinstance(index, tuple) and not inside:
        return tuple(_frozen(part, inside=True) for part in index)
    index = _values(index)
    return np.array(index, None if np.size(index) else int) if isinstance(index, (list, tuple)) else devices.frozen(index)


def _may_repeat(index):
    parts = index if isinstance(index, tuple) else (index,)
    return any(getattr(part, "ndim", 0) and part.dtype != bool for part in parts)
