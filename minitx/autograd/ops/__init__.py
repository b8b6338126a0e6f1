"""Plain operations, and which NumPy function each one answers to.

elementwise  one formula per element          reduction  sums, means, maxima over axes
shape        axes, joining, cutting           indexing   slices, index arrays, diagonals
linalg       matmul, einsum
"""
import numpy as np
from scipy import special as _special

from .elementwise import (abs, add, astype, ceil, clip, copy, cos, divide, equal, erf, exp, expm1, floor, floor_divide, gelu, greater,  # noqa: F401
                          greater_equal, identity, isfinite, isinf, isnan, less, less_equal, log, log1p, logical_and, logical_not, logical_or,
                          maximum, minimum, mod, multiply, negative, not_equal, power, relu, round, sigmoid, sign, silu, sin, softplus, sqrt,
                          square, subtract, tanh, to_device, where)
from .indexing import (argsort, diag, diagonal, getitem, scatter, sort, take, take_along_axis, trace, tril, triu)  # noqa: F401
from .linalg import dot, einsum, inner, matmul, outer, tensordot, vdot  # noqa: F401
from .reduction import (all, any, argmax, argmin, cumsum, logsumexp, max, mean, min, norm, prod, std, sum, var)  # noqa: F401
from .shape import (broadcast_to, concatenate, expand_dims, flip, moveaxis, pad, ravel, repeat, reshape, roll, split, squeeze, stack,  # noqa: F401
                    swapaxes, tile, transpose)

_SAME_NAME = """
    add subtract multiply divide negative power square sqrt exp expm1 log log1p abs sin cos tanh maximum minimum clip where copy sign floor ceil round
    equal not_equal less less_equal greater greater_equal logical_and logical_or logical_not isnan isinf isfinite floor_divide mod
    sum mean max min prod cumsum var std argmax argmin any all
    reshape transpose broadcast_to roll flip pad concatenate stack split swapaxes moveaxis expand_dims squeeze ravel tile repeat
    take take_along_axis argsort sort tril triu diagonal diag trace matmul einsum tensordot outer dot inner vdot
""".split()

# `np.exp(tensor)` arrives here through NumPy's protocols. np.abs, np.max and np.min are other names of absolute, amax and amin.
NUMPY = {getattr(np, name): globals()[name] for name in _SAME_NAME}
NUMPY[np.linalg.norm] = lambda x, ord=None, axis=None, keepdims=False: norm(x, axis=axis, keepdims=keepdims) if ord in (None, 2) else _refuse_norm(ord)
NUMPY[np.positive] = lambda x: x
NUMPY[np.float_power] = power
NUMPY[np.true_divide] = divide
NUMPY[_special.erf] = erf
NUMPY[np.ones_like] = lambda x, **options: np.ones_like(x.data, **options)
NUMPY[np.zeros_like] = lambda x, **options: np.zeros_like(x.data, **options)
NUMPY[np.empty_like] = lambda x, **options: np.empty_like(x.data, **options)
NUMPY[np.full_like] = lambda x, value, **options: np.full_like(x.data, value, **options)
NUMPY[np.shape] = lambda x: x.shape
NUMPY[np.ndim] = lambda x: x.ndim
NUMPY[np.size] = lambda x: x.size
NUMPY[np.isneginf] = lambda x: np.isneginf(x.data)
NUMPY[np.allclose] = lambda x, y, **options: np.allclose(np.asarray(x), np.asarray(y), **options)
NUMPY[np.array_equal] = lambda x, y, **options: np.array_equal(np.asarray(x), np.asarray(y), **options)
NUMPY_REDUCE = {np.add: sum, np.multiply: prod, np.maximum: max, np.minimum: min}


def _refuse_norm(ord):
    raise ValueError(f"norm: ord={ord!r} is not offered; only the Euclidean norm (None or 2) is")
