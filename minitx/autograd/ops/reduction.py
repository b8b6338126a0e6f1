"""Reductions over any axes, with NumPy's names and arguments. Equal maxima share the gradient equally."""
import numpy as np

from ..graph import op
from .elementwise import _as_numpy, _values, square


@op
def sum(x, *, axis=None, keepdims=False):
    """The sum over `axis` (a number, a tuple, or None for all)."""
    return np.sum(x, axis=axis, keepdims=keepdims)


sum.vjp(lambda g, shapes, axis, keepdims: np.broadcast_to(_keep(g, shapes[0], axis, keepdims), shapes[0]))


@op
def mean(x, *, axis=None, keepdims=False):
    """The mean over `axis`."""
    return np.mean(x, axis=axis, keepdims=keepdims)


@mean.vjp
def _(g, shapes, axis, keepdims):
    shape = shapes[0]
    return np.broadcast_to(_keep(g, shape, axis, keepdims) * (1.0 / max_(_count(shape, axis), 1)), shape)


max_ = max  # Python's own, before this module's namesake


@op
def max(x, *, axis=None, keepdims=False):
    """The largest element over `axis`; equal ones share the gradient equally."""
    return np.max(x, axis=axis, keepdims=keepdims)


@op
def min(x, *, axis=None, keepdims=False):
    """The smallest element over `axis`; equal ones share the gradient equally."""
    return np.min(x, axis=axis, keepdims=keepdims)


def _extremum_rule(g, x, out, axis, keepdims):
    is_extreme = _values(x) == _values(_keep(out, x.shape, axis, keepdims))
    share = is_extreme / np.sum(is_extreme, axis=axis, keepdims=True, dtype=g.dtype)
    return _keep(g, x.shape, axis, keepdims) * share.astype(g.dtype)


max.vjp(_extremum_rule)
min.vjp(_extremum_rule)


@op
def prod(x, *, axis=None, keepdims=False):
    """The product over `axis`; its gradient is exact where elements are 0."""
    return np.prod(x, axis=axis, keepdims=keepdims)


@prod.vjp
def _(g, x, out, axis, keepdims):
    g = _keep(g, x.shape, axis, keepdims)
    if np.all(_values(x) != 0):
        return g * (_keep(out, x.shape, axis, keepdims) / x)
    return g * _product_of_the_others(x, axis)


def _product_of_the_others(x, axis):
    """For every element the product of all others along `axis`; division by x would fail at its zeros."""
    axes = _axes(x.ndim, axis)
    order = [i for i in range(x.ndim) if i not in axes] + list(axes)
    moved = np.transpose(x, order)
    flat = np.reshape(moved, moved.shape[:x.ndim - len(axes)] + (-1,))
    n = flat.shape[-1]
    before, after = [np.ones_like(flat[..., 0])], [np.ones_like(flat[..., 0])]
    for i in range(n - 1):
        before.append(before[-1] * flat[..., i])
        after.append(after[-1] * flat[..., n - 1 - i])
    others = np.stack([b * a for b, a in zip(before, reversed(after))], axis=-1)
    return np.transpose(np.reshape(others, moved.shape), list(np.argsort(order)))


@op
def cumsum(x, *, axis=None):
    """Running sums along `axis`; of the flattened array without one."""
    return np.cumsum(x, axis=axis)


@cumsum.vjp
def _(g, shapes, axis):
    along = 0 if axis is None else axis
    return np.reshape(np.flip(np.cumsum(np.flip(g, along), axis=along), along), shapes[0])


@op
def logsumexp(x, *, axis=None, keepdims=False):
    """log Σ exp(x), without overflow; −inf where all inputs are −inf."""
    top = np.max(x, axis=axis, keepdims=True) if x.size else np.sum(x, axis=axis, keepdims=True) - np.inf
    top = np.where(np.isfinite(top), top, 0).astype(x.dtype)
    with np.errstate(divide="ignore"):
        out = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return out if keepdims else np.squeeze(out, tuple(_axes(x.ndim, axis)))


@logsumexp.vjp
def _(g, x, out, axis, keepdims):
    total = _keep(out, x.shape, axis, keepdims)
    total = np.where(np.isneginf(_values(total)), x.dtype.type(0), total)  # −inf − (−inf) would be NaN; exp(−inf) = 0 is the gradient
    return _keep(g, x.shape, axis, keepdims) * np.exp(x - total)


@op
def norm(x, *, axis=None, keepdims=False):
    """The Euclidean norm over `axis` (all axes by default); its gradient at 0 is 0."""
    return np.sqrt(np.sum(x * x, axis=axis, keepdims=keepdims))


@norm.vjp
def _(g, x, out, axis, keepdims):
    length = _keep(out, x.shape, axis, keepdims)
    return _keep(g, x.shape, axis, keepdims) * (x / np.where(_values(length) == 0, x.dtype.type(np.inf), length))


def var(x, axis=None, *, ddof=0, keepdims=False):
    """The variance; `ddof=1` gives the unbiased estimate (PyTorch's default; NumPy's is 0)."""
    n = _count(x.shape, axis)
    return mean(square(x - mean(x, axis=axis, keepdims=True)), axis=axis, keepdims=keepdims) * (n / max_(n - ddof, 0) if n > ddof else np.nan)


def std(x, axis=None, *, ddof=0, keepdims=False):
    """The standard deviation, the square root of `var`; its gradient is 0 where all elements are alike."""
    return norm(x - mean(x, axis=axis, keepdims=True), axis=axis, keepdims=keepdims) / max_(_count(x.shape, axis) - ddof, 0) ** 0.5


def _indices(function):
    operation = op(lambda x, *, axis=None, keepdims=False: function(x, axis=axis, keepdims=keepdims), differentiable=False)
    return _as_numpy(function, operation, " over `axis`; without gradient.")


argmax, argmin, any, all = map(_indices, (np.argmax, np.argmin, np.any, np.all))


def _axes(ndim, axis):
    axes = range(ndim) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    return sorted(a % ndim if ndim else a for a in axes)


def _count(shape, axis):
    return int(np.prod([shape[a] for a in _axes(len(shape), axis)]))


def _keep(reduced, shape, axis, keepdims):
    """Put the reduced axes back with extent 1, so that `reduced` broadcasts against `shape`."""
    if keepdims or not shape:
        return reduced
    axes = _axes(len(shape), axis)
    return np.reshape(reduced, tuple([1 if i in axes else n for i, n in enumerate(shape)]))
