"""Sums over the rows of a matrix, in an order that the shape alone decides: what the gradients of weights and biases end with."""
from numba import cuda

from .cuda import array, empty, kernel
from .intrinsics import ZERO

PARTS = 528  # blocks that sum rows, at most: four for each multiprocessor of the largest GPUs, and the same number on every GPU
_SLICES = 8  # threads that share the rows of a column


def column_sums(matrix):
    """Σ over the rows of a contiguous matrix (rows, columns): (columns,)."""
    out = empty(matrix, matrix.shape[1])
    _column_sums[-(-len(out) // 32), (32, _SLICES)](matrix, out)
    return out


@kernel(lambda real: (array(real, 2), array(real, 1)), threads=32 * _SLICES)
def _column_sums(matrix, out):
    sums = cuda.shared.array((_SLICES, 32), matrix.dtype)
    lane, part = cuda.threadIdx.x, cuda.threadIdx.y
    j = cuda.blockIdx.x * 32 + lane
    total = ZERO
    if j < out.size:
        for i in range(part, matrix.shape[0], _SLICES):
            total += matrix[i, j]
    sums[part, lane] = total
    cuda.syncthreads()
    if part == 0 and j < out.size:
        for other in range(1, _SLICES):
            total += sums[other, lane]
        out[j] = total
