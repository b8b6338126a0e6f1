"""Plain operations, and which NumPy function each one answers to.

elementwise  one formula per element          reduction  sums, means, maxima over axes
shape        axes, joining, cutting           indexing   slices, index arrays, diagonals
linalg       matmul, einsum
"""
import numpy as np

from .elementwise import (_values, abs, add, astype, bitwise_and, bitwise_or, bitwise_xor, ceil, clip, copy, cos, divide, equal, erf, exp, expm1,  # noqa: F401
                          floor, floor_divide, greater, greater_equal, identity, invert, isfinite, isinf, isnan, less, less_equal, log, log1p,
                          logical_and, logical_not, logical_or, maximum, minimum, mod, multiply, negative, not_equal, power, relu, rint, round, sigmoid,
                          sign, silu, sin, softplus, sqrt, square, subtract, tanh, to_device, trunc, where)
from .indexing import (argsort, diag, diagonal, getitem, scatter, sort, take, take_along_axis, trace, tril, triu)  # noqa: F401
from .linalg import dot, einsum, inner, matmul, outer, tensordot, vdot  # noqa: F401
from .reduction import (all, any, argmax, argmin, cumsum, logsumexp, max, mean, min, norm, prod, std, sum, var)  # noqa: F401
from .shape import (broadcast_to, concatenate, expand_dims, flip, moveaxis, pad, ravel, repeat, reshape, roll, split, squeeze, stack,  # noqa: F401
                    swapaxes, tile, transpose)

_SAME_NAME = """
    add subtract multiply divide negative power square sqrt exp expm1 log log1p abs sin cos tanh maximum minimum clip where copy sign floor ceil trunc rint round
    equal not_equal less less_equal greater greater_equal logical_and logical_or logical_not isnan isinf isfinite floor_divide mod
    bitwise_and bitwise_or bitwise_xor invert sum mean max min prod cumsum var std argmax argmin any all
    reshape transpose broadcast_to roll flip pad concatenate stack split swapaxes moveaxis expand_dims squeeze ravel tile repeat
    take take_along_axis argsort sort tril triu diagonal diag trace matmul einsum tensordot outer dot inner vdot
""".split()

# What `minitx` offers under its own name.
__all__ = [*_SAME_NAME, "astype", "erf", "logsumexp", "norm", "relu", "sigmoid", "silu", "softplus"]

# `np.exp(tensor)` arrives here through NumPy's protocols; SciPy's functions by name, as importing them takes longer than all of minitx.
NUMPY = {getattr(np, name): globals()[name] for name in _SAME_NAME}
NUMPY.update({np.amax: max, np.amin: min, np.around: round, np.float_power: power, np.positive: lambda x: x, "erf": erf, "expit": sigmoid})
NUMPY_REDUCE = {np.add: sum, np.multiply: prod, np.maximum: max, np.minimum: min}


def _of_values(function):
    """A NumPy function with nothing to differentiate, given arrays in the place of Tensors."""
    return lambda *args, **options: function(*map(_values, args), **{name: _values(value) for name, value in options.items()})


NUMPY.update((getattr(np, name), _of_values(getattr(np, name))) for name in (
    "shape ndim size ones_like zeros_like empty_like full_like isneginf isposinf isclose allclose array_equal nonzero argwhere count_nonzero "
    "iscomplexobj result_type may_share_memory").split())


def _numpy_norm(x, ord=None, axis=None, keepdims=False):
    vectors = isinstance(axis, (int, np.integer)) or axis is None and x.ndim == 1  # for a matrix, 2 would be the largest singular value
    if ord not in (None, 2 if vectors else "fro"):
        raise ValueError(f"norm: ord={ord!r} is not offered here; only the Euclidean norm is (None; 2 for vectors, 'fro' for matrices)")
    return norm(x, axis=axis, keepdims=keepdims)


NUMPY[np.linalg.norm] = _numpy_norm
