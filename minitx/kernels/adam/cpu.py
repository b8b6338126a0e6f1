"""Adam on the CPU: one pass over four arrays, as fast as memory gives and takes them."""
import numpy as np
from numba import boolean, float64, int64, prange

from ..runtime import launch
from ..runtime.compiled import compiled, reads, writes
from .reference import check, scale_to


def adam(parameter, gradient, m, v, learning_rate, beta1, beta2, eps, weight_decay, step, decoupled, scale=1.0):
    """See reference.adam."""
    check(parameter, gradient, m, v, step)
    keep = 1.0 - learning_rate * weight_decay if decoupled else 1.0
    # α m̂ / (√v̂ + ε), with both corrections as factors that are the same for all elements, computed here in float64
    rate, root = learning_rate / (1.0 - beta1**step), (1.0 - beta2**step) ** -0.5
    _adam(parameter.reshape(-1), np.ascontiguousarray(gradient).reshape(-1), m.reshape(-1), v.reshape(-1),
          launch.blocks(parameter.size, 1), scale, 0.0 if decoupled else weight_decay, beta1, 1.0 - beta1, beta2,
          1.0 - beta2, keep, rate, root, eps)


@compiled(lambda real: (writes(real, 1), reads(real, 1, "C"), writes(real, 1), writes(real, 1), int64) + (real,) * 10,
          **launch.OPTIONS)
def _adam(parameter, gradient, m, v, blocks, scale, decay, beta1, rest1, beta2, rest2, keep, rate, root, eps):
    threads = launch.share(parameter.size // 2)
    for block in prange(blocks):
        first, last = block * parameter.size // blocks, (block + 1) * parameter.size // blocks
        # Slices are indexed from 0. An index like first + i might be negative for all LLVM knows, and stays scalar
        # code.
        θ, g, m_, v_ = parameter[first:last], gradient[first:last], m[first:last], v[first:last]
        for i in range(last - first):
            slope = g[i] * scale + decay * θ[i]
            m_[i] = beta1 * m_[i] + rest1 * slope
            v_[i] = beta2 * v_[i] + rest2 * slope * slope
            θ[i] = keep * θ[i] - rate * m_[i] / (root * np.sqrt(v_[i]) + eps)
    launch.restore(threads)


def clipping(gradient, limit):
    """See reference.clipping."""
    blocks = launch.blocks(gradient.size, 1)
    parts = np.empty(blocks)
    _squared_norm(np.ascontiguousarray(gradient).reshape(-1), blocks, parts)
    norm = sum(parts.tolist()) ** 0.5
    return norm, scale_to(limit, norm)


@compiled(lambda real: (reads(real, 1, "C"), int64, writes(float64, 1)), **launch.OPTIONS)
def _squared_norm(x, blocks, parts):
    threads = launch.share(x.size // 16)
    for block in prange(blocks):
        part = x[block * x.size // blocks : (block + 1) * x.size // blocks]
        total = 0.0
        for i in range(part.size):
            total += np.float64(part[i]) * np.float64(part[i])
        parts[block] = total
    launch.restore(threads)
