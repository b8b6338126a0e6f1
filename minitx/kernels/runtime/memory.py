"""`empty`: NumPy arrays in memory that is used again.

A fresh array of more than a few hundred kilobytes costs a page fault per 4 KB, which for cross-entropy over a large vocabulary was three
quarters of the time. Here the memory of an array goes back to a pool when its last reference goes, and the next array of about that size takes it.
"""
import contextlib
import mmap

import numpy as np

_SMALL = 1 << 15  # below this the C library's own allocator already keeps its memory
_LARGE = 1 << 22  # from here on, huge pages pay
_ALIGNMENT = 64  # a cache line, and the widest vector register
_free: dict[int, list] = {}  # (memory, offset of its first aligned byte) not in use, by size; appending to a list is atomic, and so is popping


class _Lease(np.ndarray):
    """What a pooled array keeps as its base: it returns the memory when the array, and every view of it, is gone."""

    def __del__(self):
        if _free is not None:  # at interpreter exit, globals may be gone already
            _free.setdefault(self.nbytes, []).append(self.block)


def empty(shape, dtype=np.float32):
    """An uninitialised, C-contiguous array like `np.empty`, from the pool when it is large. Its data is aligned to 64 bytes."""
    dtype = np.dtype(dtype)
    size = dtype.itemsize
    for extent in shape if isinstance(shape, tuple) else (shape,):
        size *= int(extent)
    if size < _SMALL:
        return np.empty(shape, dtype)
    rounded = _round_up(size + _ALIGNMENT)
    try:
        block = _free[rounded].pop()
    except (KeyError, IndexError):
        memory = bytearray(rounded) if rounded < _LARGE else _on_huge_pages(rounded)
        block = memory, -np.frombuffer(memory, np.uint8).ctypes.data % _ALIGNMENT
    lease = _Lease(rounded, np.uint8, block[0])
    lease.block = block
    return np.ndarray(shape, dtype, lease, block[1])


def empty_like(array):
    """`empty` with the shape and dtype of `array`."""
    return empty(array.shape, array.dtype)


def owns(array):
    """Whether an array has its memory for itself and may be written, as fresh ones and unlike views."""
    if type(array) is np.ndarray:
        return (array.base is None or type(array.base) is _Lease) and array.flags.writeable
    return not isinstance(array, np.generic) and getattr(array, "base", array) is None  # CuPy's have a base, too; Tensors none


def _on_huge_pages(size):
    """Memory that costs a page fault per 2 MB, where the system has such pages: a quarter of the time until all of it has been touched."""
    memory = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def _round_up(size):
    """The next of four sizes per power of two, so that batches of slightly different shapes share their memory."""
    step = 1 << max(size.bit_length() - 3, 0)
    return -(-size // step) * step
