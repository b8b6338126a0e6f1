"""GELU on CUDA: a thread for four elements that lie together, read and written 16 bytes at a time. It waits for memory, so there is no faster version."""
from numba import cuda

from ..runtime.cuda import array, device, empty, flat, kernel
from ..runtime.elements import THREADS, first_element, over_elements, read, write
from ..runtime.intrinsics import HALF, ONE, erf, exp
from .reference import check

ROOT_HALF, PEAK = 0.5**0.5, 0.3989422804014327  # the normal density at 0 is 1/√(2π)


def gelu(x):
    """See reference.gelu."""
    check(x)
    out = empty(x, x.shape)
    if x.size > 0:
        over_elements(_gelu, (flat(x, x.dtype), out.reshape(-1)))
    return out


@kernel(lambda real: (array(real, 1), array(real, 1)), threads=THREADS)
def _gelu(x, out):
    values, root_half = cuda.local.array(4, x.dtype), x.dtype.type(ROOT_HALF)
    i = first_element()
    if i < x.size:
        read(values, x, i)
        for k in range(4):
            values[k] *= normal_cdf(values[k], root_half)
        write(out, i, values)


def gelu_backward(g, x):
    """See reference.gelu_backward."""
    check(x)
    dx = empty(x, x.shape)
    if x.size > 0:
        over_elements(_gelu_backward, (flat(x, x.dtype), flat(g, x.dtype), dx.reshape(-1)))
    return dx


@kernel(lambda real: (array(real, 1), array(real, 1), array(real, 1)), threads=THREADS)
def _gelu_backward(x, g, dx):
    values, slopes = cuda.local.array(4, x.dtype), cuda.local.array(4, x.dtype)
    root_half, peak = x.dtype.type(ROOT_HALF), x.dtype.type(PEAK)
    i = first_element()
    if i < x.size:
        read(values, x, i)
        read(slopes, g, i)
        for k in range(4):
            slopes[k] *= normal_cdf(values[k], root_half) + values[k] * normal_density(values[k], peak)
        write(dx, i, slopes)


@device
def normal_cdf(x, root_half):
    """Φ(x); `root_half` is √½ in the dtype of x."""
    return HALF * (ONE + erf(x * root_half))


@device
def normal_density(x, peak):
    """φ(x); `peak` is φ(0) in the dtype of x."""
    return peak * exp(-HALF * x * x)


@device
def logistic(x):
    """1 / (1 + e⁻ˣ)."""
    return ONE / (ONE + exp(-x))
