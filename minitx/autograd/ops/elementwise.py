"""Elementwise operations: one forward line, one gradient rule each.

A rule returns the gradient in the broadcast shape of the output; `backward` sums it back to each input's shape. Where a function has a kink or a tie the
convention is PyTorch's: abs, relu and sign have gradient 0 at 0; maximum and minimum share it equally between equal inputs; clip passes it on its bounds.
"""
import numpy as np

from ...kernels.runtime import devices
from ..graph import op


@op
def add(x, y):
    """x + y."""
    return x + y


add.vjp(lambda g: (g, g))


@op
def subtract(x, y):
    """x − y."""
    return x - y


subtract.vjp(lambda g, needs: (g, -g if needs[1] else None))


@op
def multiply(x, y):
    """x · y, element by element."""
    return x * y


multiply.vjp(lambda g, x, y, needs: (g * y if needs[0] else None, g * x if needs[1] else None))


@op
def divide(x, y):
    """x / y."""
    return x / y


@divide.vjp
def _(g, y, out, needs):
    gx = g / y
    return gx, -gx * out if needs[1] else None


@op
def negative(x):
    """−x."""
    return -x


negative.vjp(lambda g: -g)


@op
def power(x, y):
    """x ** y. At 0 ** 0 the gradient of x is 0, and where x is 0 that of y is 0 (never NaN); for x < 0 that of y is NaN, as the logarithm is."""
    return x ** y


@power.vjp
def _(g, x, y, out, needs):
    # 0 ** 0 = 1 is constant in x, and 0 ** y = 0 is constant in y: neither may become 0 · inf
    gx = g * (y * x ** (y - (_values(y) != 0))) if needs[0] else None
    gy = g * out * np.log(np.where((_values(x) == 0) & (_values(y) >= 0), 1, x)) if needs[1] else None
    return gx, gy


@op
def square(x):
    """x²."""
    return x * x


square.vjp(lambda g, x: g * (2.0 * x))


@op
def sqrt(x):
    """√x. Its gradient at 0 is infinite."""
    return np.sqrt(x)


sqrt.vjp(lambda g, out: g / (2.0 * out))


@op
def exp(x):
    """eˣ."""
    return np.exp(x)


exp.vjp(lambda g, out: g * out)


@op
def expm1(x):
    """eˣ − 1, exact near 0."""
    return np.expm1(x)


expm1.vjp(lambda g, out: g * (out + 1.0))


@op
def log(x):
    """The natural logarithm."""
    return np.log(x)


log.vjp(lambda g, x: g / x)


@op
def log1p(x):
    """log(1 + x), exact near 0."""
    return np.log1p(x)


log1p.vjp(lambda g, x: g / (1.0 + x))


@op
def abs(x):
    """|x|. Its gradient at 0 is 0."""
    return np.abs(x)


abs.vjp(lambda g, x: g * np.sign(x))


@op
def sin(x):
    """The sine of x in radians."""
    return np.sin(x)


sin.vjp(lambda g, x: g * np.cos(x))


@op
def cos(x):
    """The cosine of x in radians."""
    return np.cos(x)


cos.vjp(lambda g, x: -g * np.sin(x))


@op
def tanh(x):
    """The hyperbolic tangent."""
    return np.tanh(x)


tanh.vjp(lambda g, out: g * (1.0 - out * out))


@op
def sigmoid(x):
    """σ(x) = 1 / (1 + e⁻ˣ), without overflow."""
    return devices.special(x).expit(x)


sigmoid.vjp(lambda g, out: g * (out * (1.0 - out)))


@op
def erf(x):
    """The error function 2/√π ∫₀ˣ exp(−t²) dt."""
    return devices.special(x).erf(x)


erf.vjp(lambda g, x: g * (2.0 / np.pi ** 0.5) * np.exp(-x * x))


@op
def relu(x):
    """max(x, 0). Its gradient at 0 is 0."""
    return np.maximum(x, 0)


relu.vjp(lambda g, out: np.where(_values(out) > 0, g, g.dtype.type(0)))  # not g · 0, which is NaN where g is infinite


@op
def silu(x):
    """x σ(x), the "swish" of Ramachandran et al. 2017."""
    return x * sigmoid(x)


@silu.vjp
def _(g, x):
    s = sigmoid(x)
    return g * (s * (1.0 + x * (1.0 - s)))


@op
def softplus(x):
    """log(1 + eˣ), without overflow."""
    return np.logaddexp(x, 0)


softplus.vjp(lambda g, x: g * sigmoid(x))


@op
def _clip(x, *, low=None, high=None):
    return np.clip(x, low, high)


@_clip.vjp
def _(g, x, low, high):
    x = _values(x)
    inside = True if low is None else x >= low
    return np.where(inside if high is None else inside & (x <= high), g, g.dtype.type(0))


def clip(x, a_min=None, a_max=None, *, min=None, max=None):
    """x, but not under `a_min` nor over `a_max` (or `min=`, `max=`); a bound that requires a gradient receives that of what it replaced."""
    low, high = (bound.item() if isinstance(bound, np.generic) else bound for bound in (a_min if min is None else min, a_max if max is None else max))
    if getattr(low, "requires_grad", False) or getattr(high, "requires_grad", False):
        x = x if low is None else where(x < low, low, x)
        return x if high is None else where(x > high, high, x)
    return _clip(x, low=_values(low), high=_values(high))


@op
def where(condition, x, y):
    """x where `condition` holds, y elsewhere; `condition` has no gradient."""
    return np.where(condition, x, y)


@where.vjp
def _(g, condition):
    condition = _values(condition)
    zero = g.dtype.type(0)
    return None, np.where(condition, g, zero), np.where(condition, zero, g)


@op
def identity(x):
    """x itself, one step further in the graph, on the same memory."""
    return x.view()


identity.vjp(lambda g: g)


@op
def copy(x):
    """A copy of x."""
    return x.copy()


copy.vjp(lambda g: g)


@op
def astype(x, *, dtype):
    """x with another dtype."""
    return x.astype(dtype)


astype.vjp(lambda g: g)  # the dtype of the input is restored once for every edge, in backward


@op
def _to_device(x, *, device, source):
    return devices.host(x) if device == "cpu" else devices.library(device).asarray(x)


_to_device.vjp(lambda g, device, source: _to_device(g, device=source, source=device))


def to_device(x, device):
    """x in the memory of "cpu" or "cuda"; itself if it is there already."""
    source = devices.of(_values(x))
    return x if source == device else _to_device(x, device=device, source=source)


def _as_numpy(function, operation, about):
    """The operation under the name of NumPy's function, and what it says `about` itself."""
    operation.name = operation.__name__ = function.__name__
    operation.__doc__ = f"As `np.{function.__name__}`{about}"
    return operation


def _winner(function, wins):
    """An op that gives one of its two inputs, which then receives all of the gradient: maximum, minimum."""
    operation = _as_numpy(function, op(lambda x, y: function(x, y)), ". Where x and y are equal each receives half of the gradient.")
    operation.vjp(lambda g, x, y: (_where_won(g, wins, _values(x), _values(y)), _where_won(g, wins, _values(y), _values(x))))
    return operation


def _where_won(g, wins, one, other):
    return np.where(wins(one, other), g, np.where(one == other, g * 0.5, g.dtype.type(0)))


def _piecewise_constant(function):
    """An op whose gradient is zero wherever it has one: sign, floor, ceil."""
    operation = op((lambda x: function(x)) if function.nin == 1 else (lambda x, y: function(x, y)))
    operation.vjp(lambda g: (np.where(False, g, g.dtype.type(0)),) * function.nin)  # zeros of the kind of g, a Tensor under create_graph
    return _as_numpy(function, operation, ". Its gradient is 0 everywhere, at the jumps too.")


def _without_gradient(function):
    """An op that nothing flows through: comparisons and logic."""
    operation = op((lambda x: function(x)) if function.nin == 1 else (lambda x, y: function(x, y)), differentiable=False)
    return _as_numpy(function, operation, "; without gradient.")


maximum, minimum = _winner(np.maximum, np.greater), _winner(np.minimum, np.less)
sign, floor, ceil, trunc, rint, floor_divide = map(_piecewise_constant, (np.sign, np.floor, np.ceil, np.trunc, np.rint, np.floor_divide))
equal, not_equal, less, less_equal, greater, greater_equal = map(
    _without_gradient, (np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal))
logical_and, logical_or, logical_not, isnan, isinf, isfinite = map(
    _without_gradient, (np.logical_and, np.logical_or, np.logical_not, np.isnan, np.isinf, np.isfinite))
bitwise_and, bitwise_or, bitwise_xor, invert = map(_without_gradient, (np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert))


@op
def round(x, *, decimals=0):
    """To `decimals` places, halves to the even neighbour. Its gradient is 0 everywhere."""
    return np.round(x, decimals)


round.vjp(lambda g: np.where(False, g, g.dtype.type(0)))


@op
def mod(x, y):
    """x − y ⌊x / y⌋, with the sign of y. At the jumps the gradients are those of the branch to the right."""
    return x % y


mod.vjp(lambda g, x, y, needs: (g, -g * np.floor(_values(x) / _values(y)) if needs[1] else None))


def _values(x):
    """The plain array of what a mask is made of; masks have no gradient."""
    return x.data if hasattr(x, "requires_grad") else x
