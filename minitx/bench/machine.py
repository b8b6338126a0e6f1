"""What the machine can do, measured in the same run: how fast it copies and how fast it multiplies matrices, on one thread and on all.

Both are kernels of ours on our pool of threads, with nothing else around them: what any other kernel can reach at best.
"""
import numpy as np
from numba import njit, prange

from ..kernels.runtime import blas, launch
from .measure import Subject

_PIECE = 1 << 16  # elements that one thread copies at a time
_COPIED = 1 << 26  # bytes of the array that is copied: beyond any cache
_ROWS = 256  # of a product that one thread computes at a time
_SIZES = ((2048, 2048, 2048), (4096, 512, 512), (1024, 1024, 1024))  # rows, columns and inner size of the products tried


class CopySubject(Subject):
    """Copies a large array; `bytes` counts what is read and what is written."""

    def __init__(self, spec):
        size = spec.get("bytes", _COPIED) // 4
        self.source, self.target = np.ones(size, np.float32), np.zeros(size, np.float32)
        self.bytes = 2 * self.source.nbytes

    def step(self):
        _copy(self.source, self.target)


class ProductSubject(Subject):
    """One large matrix product; `operations` counts multiplications and additions."""

    def __init__(self, spec):
        rows, columns, inner = spec["shape"]
        generator = np.random.default_rng(0)
        self.a, self.b = generator.standard_normal((rows, inner), dtype=np.float32), generator.standard_normal((inner, columns), dtype=np.float32)
        self.c = np.zeros((rows, columns), np.float32)
        self.operations = 2 * rows * columns * inner

    def step(self):
        _product(self.a, self.b, self.c)

    def outputs(self):
        self.step()
        return {"c": self.c}


def measure(worker, threads, seconds=0.3, quick=False):
    """{"copy": {threads: bytes/s}, "product": {threads: operations/s}} on one thread and on `threads`, the best of several tries each.

    `worker` is minitx's `Worker`.
    """
    found = {"copy": {}, "product": {}}
    counts, seconds = sorted({1, threads}), max(seconds, 0.5) if not quick else seconds  # the first copies meet pages that the system has not given yet
    size = _COPIED >> (8 if quick else 0)
    worker.ask("open", spec={"kind": "copy", "bytes": size})
    for count in counts:
        found["copy"][str(count)] = 2 * size / min(worker.timer(count)(seconds))
    for shape in ((64, 64, 64),) if quick else _SIZES:
        worker.ask("open", spec={"kind": "product", "shape": shape})
        for count in counts:
            rate = 2 * shape[0] * shape[1] * shape[2] / min(worker.timer(count)(seconds / len(_SIZES)))
            found["product"][str(count)] = max(rate, found["product"].get(str(count), 0.0))
    return found


@njit(**launch.OPTIONS)
def _copy(source, target):
    for piece in prange(-(-source.size // _PIECE)):
        start, stop = piece * _PIECE, min(source.size, (piece + 1) * _PIECE)
        read, written = source[start:stop], target[start:stop]
        for i in range(written.size):
            written[i] = read[i]


@njit(**launch.OPTIONS)
def _product(a, b, c):
    one, zero = a.dtype.type(1), a.dtype.type(0)
    rows, columns, inner = c.shape[0], c.shape[1], a.shape[1]
    for piece in prange(-(-rows // _ROWS)):
        top = piece * _ROWS
        blas.gemm(False, False, min(_ROWS, rows - top), columns, inner, one, a[top:], inner, b, columns, zero, c[top:], columns)
