"""Elementary functions that LLVM turns into vector code, for loops inside kernels: `exp`, `sigmoid`, `tanh`, the normal distribution's `cdf`, `maximum`.

`math.exp` is a scalar call in Numba as installed from PyPI, and it is what a softmax spends its time in. The polynomial below becomes vector
code; its relative error stays under 1.2e-7 in float32; in float64, where gradients are checked, `math.exp` itself is used.
"""
import math

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload, register_jitable

_f = np.float32


def exp(x):
    """eˣ of a float32 or float64 scalar, inside compiled code. float32: below −87 the result is e⁻⁸⁷ ≈ 1.6e-38, never subnormal."""
    return math.exp(x)


@overload(exp, inline="always")
def _exp(x):
    return _exp32 if x == types.float32 else (lambda x: math.exp(x))


@intrinsic
def _as_float32(typingctx, bits):
    """The float32 whose bits are those of an int32."""

    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), codegen


@register_jitable
def _exp32(x):
    x = min(max(x, _f(-87.0)), _f(88.0))
    n = np.floor(x * _f(1.44269504) + _f(0.5))  # not math.floor, which goes through int64 and costs a third more
    r = x - n * _f(0.693359375) + n * _f(2.12194440e-4)  # x − n ln 2, with ln 2 in two parts so that nothing is lost
    p = _f(1.9875691500e-4)  # the polynomial of Cephes' expf on |r| ≤ ln 2 / 2
    p = p * r + _f(1.3981999507e-3)
    p = p * r + _f(8.3334519073e-3)
    p = p * r + _f(4.1665795894e-2)
    p = p * r + _f(1.6666665459e-1)
    p = p * r + _f(5.0000001201e-1)
    return (p * r * r + r + _f(1.0)) * _as_float32((np.int32(n) + np.int32(127)) << np.int32(23))


def normal_cdf(x, density):
    """Φ(x), the standard normal distribution function, given `density` = exp(−x²/2), which the caller needs anyway.

    float32: Abramowitz and Stegun 7.1.26, absolute error under 1e-7; float64: math.erfc.
    """
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


@overload(normal_cdf, inline="always")
def _normal_cdf(x, density):
    return _cdf32 if x == types.float32 else (lambda x, density: 0.5 * math.erfc(-x * 0.7071067811865476))


@register_jitable
def _cdf32(x, density):
    t = _f(1.0) / (_f(1.0) + _f(0.3275911 * 0.7071067811865476) * abs(x))
    p = _f(1.061405429)
    p = p * t + _f(-1.453152027)
    p = p * t + _f(1.421413741)
    p = p * t + _f(-0.284496736)
    p = p * t + _f(0.254829592)
    tail = _f(0.5) * p * t * density  # Φ(−|x|)
    return tail if x < _f(0.0) else _f(1.0) - tail


@intrinsic
def maximum(typingctx, a, b):
    """The larger of two scalars of one real type, NaN if either is, as np.maximum.

    Python's `max` in a loop over a row stays scalar code, 0.3 to 0.5 ns per element: LLVM does not know where a NaN would end up. This says so.
    """

    def codegen(context, builder, signature, arguments):
        real = arguments[0].type
        return builder.call(builder.module.declare_intrinsic("llvm.maximum", [real], ir.FunctionType(real, [real, real])), arguments)

    return a(a, a), codegen


def sigmoid(x):
    """1 / (1 + e⁻ˣ) of a scalar; float32: relative error under 2.5e-7 above −87, where it ends."""
    return 1.0 / (1.0 + math.exp(-x))


@overload(sigmoid, inline="always")
def _sigmoid(x):
    return (lambda x: _f(1.0) / (_f(1.0) + _exp32(-x))) if x == types.float32 else _sigmoid64


@register_jitable
def _sigmoid64(x):
    return 1.0 / (1.0 + math.exp(-x))


def tanh(x):
    """The hyperbolic tangent of a scalar; float32: relative error under 3e-7."""
    return math.tanh(x)


@overload(tanh)
def _tanh(x):
    return _tanh32 if x == types.float32 else (lambda x: math.tanh(x))


@register_jitable
def _tanh32(x):
    # Near 0 the quotient loses its digits, so there it is a polynomial (Cephes' tanhf). Both are computed, which keeps a loop vector code.
    square = x * x
    p = _f(-5.70498872745e-3)
    p = p * square + _f(2.06390887954e-2)
    p = p * square + _f(-5.37397155531e-2)
    p = p * square + _f(1.33314422036e-1)
    p = p * square + _f(-3.33332819422e-1)
    far = _f(1.0) - _f(2.0) / (_exp32(x + x) + _f(1.0))
    return p * square * x + x if abs(x) < _f(0.625) else far
