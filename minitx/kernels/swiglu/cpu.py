"""SwiGLU on the CPU: one pass over memory, with a vectorised exponential."""
from numba import int64, prange

from ..runtime import launch, vector
from ..runtime.compiled import compiled, reads, writes
from ..runtime.memory import empty
from .reference import check


def swiglu(x):
    """See reference.swiglu."""
    check("swiglu", x)
    n = x.shape[-1] // 2
    out = empty(x.shape[:-1] + (n,), x.dtype)
    if n:
        _swiglu(launch.rows(x, x.dtype), launch.blocks(out.size // n, n), out.reshape(-1, n))
    return out


@compiled(lambda real: (reads(real, 2, "C"), int64, writes(real, 2)), **launch.OPTIONS)
def _swiglu(x, blocks, out):
    (rows, n), one = out.shape, x.dtype.type(1)
    threads = launch.share(out.size)
    for block in prange(blocks):
        for i in range(block * rows // blocks, (block + 1) * rows // blocks):
            gate, value, result = x[i, :n], x[i, n:], out[i]
            for j in range(n):
                result[j] = gate[j] / (one + vector.exp(-gate[j])) * value[j]
    launch.restore(threads)


def swiglu_backward(g, x):
    """See reference.swiglu_backward."""
    check("swiglu_backward", x, g)
    dx, n = empty(x.shape, x.dtype), g.shape[-1]
    if n:
        _swiglu_backward(launch.rows(x, x.dtype), launch.rows(g, x.dtype), launch.blocks(g.size // n, n),
                         dx.reshape(-1, 2 * n))
    return dx


@compiled(lambda real: (reads(real, 2, "C"), reads(real, 2, "C"), int64, writes(real, 2)), **launch.OPTIONS)
def _swiglu_backward(x, g, blocks, dx):
    (rows, n), one = g.shape, x.dtype.type(1)
    threads = launch.share(2 * g.size)
    for block in prange(blocks):
        for i in range(block * rows // blocks, (block + 1) * rows // blocks):
            gate, value, arriving, dgate, dvalue = x[i, :n], x[i, n:], g[i], dx[i, :n], dx[i, n:]
            for j in range(n):
                share = one / (one + vector.exp(-gate[j]))
                dgate[j] = arriving[j] * value[j] * share * (one + gate[j] * (one - share))
                dvalue[j] = arriving[j] * gate[j] * share
    launch.restore(threads)
