"""Operations that move elements and compute nothing: shapes, axes, joining and cutting."""
import builtins

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ..graph import op


@op
def reshape(x, *, shape):
    """The same elements in another shape; one extent may be −1."""
    return np.reshape(x, shape)


reshape.vjp(lambda g, shapes: np.reshape(g, shapes[0]))


@op
def transpose(x, *, axes=None):
    """The axes in another order; reversed by default."""
    return np.transpose(x, axes)


@transpose.vjp
def _(g, axes):
    return np.transpose(g, None if axes is None else tuple(np.argsort([a % g.ndim for a in axes])))


@op
def broadcast_to(x, *, shape):
    """x repeated along axes of extent 1, and new ones in front, to `shape`; nothing is copied."""
    return np.broadcast_to(x, shape)


broadcast_to.vjp(lambda g: g)  # backward sums over what was repeated


@op
def roll(x, *, shift, axis=None):
    """Elements moved on by `shift` along `axis`; those that fall off the end come in at the start."""
    return np.roll(x, shift, axis)


@roll.vjp
def _(g, shift, axis):
    return np.roll(g, tuple(-s for s in shift) if isinstance(shift, (tuple, list)) else -shift, axis)


@op
def flip(x, *, axis=None):
    """Elements in reverse order along `axis` (all axes by default)."""
    return np.flip(x, axis)


flip.vjp(lambda g, axis: np.flip(g, axis))


@op
def _pad(x, *, widths, value=0):
    return np.pad(x, widths, constant_values=value)


_pad.vjp(lambda g, shapes, widths: g[tuple(slice(before, before + n) for (before, _), n in zip(widths, shapes[0]))])


def pad(x, pad_width, mode="constant", *, constant_values=0):
    """x with constant values around it; `pad_width` as in NumPy: a number, (before, after), or one such pair per axis."""
    if mode != "constant" or getattr(constant_values, "requires_grad", False):
        raise ValueError(f"pad: mode {mode!r} has no gradient here; only 'constant' has, and by x alone, not by the values around it")
    widths = tuple((int(a), int(b)) for a, b in np.broadcast_to(pad_width, (x.ndim, 2)))
    return _pad(x, widths=widths, value=constant_values)


@op
def _concatenate(*xs, axis=0):
    return np.concatenate(xs, axis)


@_concatenate.vjp
def _(g, shapes, axis):
    sizes = [int(np.prod(shape)) if axis is None else shape[axis] for shape in shapes]
    ends = list(np.cumsum(sizes))
    axis_ = 0 if axis is None else axis % len(shapes[0])
    parts = [g[(slice(None),) * axis_ + (slice(int(end) - size, int(end)),)] for size, end in zip(sizes, ends)]
    return tuple(np.reshape(part, shape) for part, shape in zip(parts, shapes))


def concatenate(tensors, axis=0):
    """Tensors joined along an existing axis."""
    return _concatenate(*tensors, axis=axis)


@op
def _stack(*xs, axis=0):
    return np.stack(xs, axis)


@_stack.vjp
def _(g, shapes, axis):
    moved = np.moveaxis(g, axis, 0)
    return tuple(moved[i] for i in range(len(shapes)))


def stack(tensors, axis=0):
    """Tensors of one shape joined along a new axis."""
    return _stack(*tensors, axis=axis)


def split(x, indices_or_sections, axis=0):
    """A list of parts: that many equal ones, or cut before the given indices."""
    (axis,) = normalize_axis_tuple(axis, x.ndim, "split")
    n = x.shape[axis]
    if isinstance(indices_or_sections, (int, np.integer)):
        if indices_or_sections < 1 or n % indices_or_sections:
            raise ValueError(f"split: {n} elements along axis {axis} do not divide into {indices_or_sections} equal parts; pass the cutting indices")
        cuts = [n // indices_or_sections * i for i in range(1, indices_or_sections)]
    else:
        cuts = list(indices_or_sections)
    before = (slice(None),) * axis
    return [x[before + (slice(start, stop),)] for start, stop in zip([0, *cuts], [*cuts, n])]


def swapaxes(x, axis1, axis2):
    """Two axes exchanged."""
    axes = list(range(x.ndim))
    axes[axis1], axes[axis2] = axes[axis2], axes[axis1]
    return transpose(x, axes=tuple(axes))


def moveaxis(x, source, destination):
    """Axes moved to other places, the rest in their order."""
    sources, destinations = (normalize_axis_tuple(axes, x.ndim, "moveaxis") for axes in (source, destination))
    order = [a for a in range(x.ndim) if a not in sources]
    for place, axis in sorted(zip(destinations, sources)):
        order.insert(place, axis)
    return transpose(x, axes=tuple(order))


def expand_dims(x, axis):
    """New axes of extent 1 at the given places of the result."""
    ndim = x.ndim + np.size(axis)
    new = normalize_axis_tuple(axis, ndim, "expand_dims")
    extents = iter(x.shape)
    return reshape(x, shape=tuple([1 if i in new else next(extents) for i in range(ndim)]))


def squeeze(x, axis=None):
    """Without axes of extent 1: all of them, or the given ones."""
    axes = None if axis is None else normalize_axis_tuple(axis, x.ndim, "squeeze")
    for a in axes or ():
        if x.shape[a] != 1:
            raise ValueError(f"squeeze: axis {a} of shape {x.shape} has extent {x.shape[a]}, not 1")
    return reshape(x, shape=tuple([n for i, n in enumerate(x.shape) if (n != 1 if axes is None else i not in axes)]))


def ravel(x):
    """All elements along one axis."""
    return reshape(x, shape=(-1,))


def tile(x, reps):
    """x repeated as a whole, `reps` times along each axis."""
    reps = tuple(map(int, np.atleast_1d(reps)))
    ndim = builtins.max(x.ndim, len(reps))
    shape, reps = (1,) * (ndim - x.ndim) + x.shape, (1,) * (ndim - len(reps)) + reps
    once = reshape(x, shape=tuple(e for n in shape for e in (1, n)))  # (1, n0, 1, n1, ...)
    many = broadcast_to(once, shape=tuple(e for r, n in zip(reps, shape) for e in (r, n)))
    return reshape(many, shape=tuple(r * n for r, n in zip(reps, shape)))


def repeat(x, repeats, axis=None):
    """Each element repeated in place, `repeats` times (a number, or one per element along `axis`)."""
    if axis is None:
        x, axis = ravel(x), 0
    (axis,) = normalize_axis_tuple(axis, x.ndim, "repeat")
    if not isinstance(repeats, (int, np.integer)):
        return x[(slice(None),) * axis + (np.repeat(np.arange(x.shape[axis]), repeats),)]
    shape = x.shape
    wide = broadcast_to(expand_dims(x, axis + 1), shape=shape[:axis + 1] + (int(repeats),) + shape[axis + 1:])
    return reshape(wide, shape=shape[:axis] + (shape[axis] * int(repeats),) + shape[axis + 1:])
