"""Rotary positions on the CPU: one pass over memory."""
import numpy as np
from numba import int64, prange

from ..runtime import launch
from ..runtime.compiled import compiled, reads, writes
from ..runtime.memory import empty
from .reference import check


def rotary(x, cos, sin, heads, start=None):
    """See reference.rotary."""
    check(x, cos, sin, heads, start)
    batch, time, width = x.shape
    start = np.zeros(batch, np.int64) if start is None else np.asarray(start).astype(np.int64)
    out = empty(x.shape, x.dtype)
    _rotary(np.ascontiguousarray(x), np.ascontiguousarray(cos), np.ascontiguousarray(sin), heads, start,
            launch.blocks(batch * time, width), out)
    return out


@compiled(lambda real: (reads(real, 3, "C"), reads(real, 2, "C"), reads(real, 2, "C"), int64, reads(int64, 1, "C"),
                        int64, writes(real, 3)), **launch.OPTIONS)
def _rotary(x, cos, sin, heads, start, blocks, out):
    batch, time, width = x.shape
    half, rows = cos.shape[1], batch * time
    threads = launch.share(x.size // 3)
    for block in prange(blocks):
        for row in range(block * rows // blocks, (block + 1) * rows // blocks):
            b, t = row // time, row % time
            c, s = cos[start[b] + t], sin[start[b] + t]
            for h in range(heads):
                middle = (2 * h + 1) * half
                first, second = x[b, t, middle - half:middle], x[b, t, middle:middle + half]
                first_out, second_out = out[b, t, middle - half:middle], out[b, t, middle:middle + half]
                for i in range(half):
                    first_out[i] = first[i] * c[i] - second[i] * s[i]
                    second_out[i] = first[i] * s[i] + second[i] * c[i]
            rest, rest_out = x[b, t, 2 * heads * half:], out[b, t, 2 * heads * half:]
            for i in range(rest.size):
                rest_out[i] = rest[i]
    launch.restore(threads)
