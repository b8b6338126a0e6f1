"""Runs a CUDA kernel as plain Python: each of its threads a greenlet, warps and blocks meeting where the kernel says so.

It is stricter than a GPU, where the following often go unnoticed, and are errors here that name the place:

- a barrier that not all threads of a block reach, or a shuffle that not all lanes of its mask reach;
- two threads at one element of memory, one of them writing, with no barrier between them (syncwarp counts within a warp);
- an element of shared memory read before any thread of the block wrote it; an index outside an array, a negative one too.

Local arrays start as FRESH, which is NaN. numba-cuda's own simulator starts an operating-system thread for every CUDA thread, seventy times as slow, and has no shuffles.
"""
import contextvars
import itertools
import math
from collections import namedtuple

import greenlet
import numpy as np
from numba import cuda

from minitx.kernels.runtime import cuda as kernels

Index = namedtuple("Index", "x y z")
Address = namedtuple("Address", "data")
Access = namedtuple("Access", "who block thread warp epoch warp_epoch atomic", defaults=[False])
WARP = 32


class Race(AssertionError):
    """Two threads met at an element of memory with no barrier between them."""


class Divergence(AssertionError):
    """Some threads wait where others will never come."""


def launch(function, grid, block, arguments):
    """Run `function` over the grid, one block after the other, on NumPy arrays; what numba.cuda's names mean is set on its module."""
    grid, block = _index(grid), _index(block)
    if block.x * block.y * block.z > 1024:
        raise ValueError(f"{function.__name__}: a block of {tuple(block)} has more than 1024 threads")
    arguments = [_memory(argument, "global") if isinstance(argument, np.ndarray) else argument for argument in arguments]
    with np.errstate(all="ignore"):
        for z, y, x in itertools.product(range(grid.z), range(grid.y), range(grid.x)):
            Block(function, arguments, grid, block, Index(x, y, z)).run()


class Block:
    """The threads of one block, and what they share."""

    current = now = None  # the block that is running, and the `Access` of its thread that is

    def __init__(self, function, arguments, grid, block, place):
        self.name, self.place, self.shape = function.__name__, place, block
        self.id = place.x + grid.x * (place.y + grid.y * place.z)
        self.shared, self.epoch = [], 0
        self.threads = [Thread(self, number, Index(x, y, z), function, arguments) for number, (z, y, x) in enumerate(
            itertools.product(range(block.z), range(block.y), range(block.x)))]
        self.warps = [self.threads[first:first + WARP] for first in range(0, len(self.threads), WARP)]
        _offer(gridDim=grid, blockDim=block, blockIdx=place)

    def run(self):
        """Let every thread run to where it waits, release those whose meeting is complete, and so on until all have ended."""
        Block.current, self.hub = self, greenlet.getcurrent()
        while not all(thread.ended for thread in self.threads):
            for thread in self.threads:
                if not thread.ended and thread.waits is None:
                    self.active, Block.now = thread, thread.access()
                    _offer(threadIdx=thread.index, laneid=thread.number % WARP)
                    thread.greenlet.switch()
            if not self._release():
                raise Divergence(f"{self.name}, block {tuple(self.place)}: " + ", ".join(
                    f"{sum(1 for thread in self.threads if thread.state == state)} threads {state}"
                    for state in sorted({thread.state for thread in self.threads})))
        self.threads, self.warps = (), ()  # they know this block: nothing is left for the garbage collector

    def _release(self):
        released = False
        for warp in self.warps:
            for mask in {thread.mask for thread in warp if thread.waits == "at a shuffle"}:
                met = [thread for thread in warp if mask >> thread.number % WARP & 1]
                if all(thread.waits == "at a shuffle" and thread.mask == mask for thread in met):
                    values = {thread.number % WARP: thread.value for thread in met}
                    for thread in met:
                        thread.met, thread.waits, released = values, None, True
                        thread.warp_epoch += thread.orders
        if all(thread.waits == "at a barrier" for thread in self.threads):
            self.epoch += 1
            for thread in self.threads:
                thread.waits = None
            released = True
        return released or all(thread.ended for thread in self.threads)


class Thread:
    """One thread of a block, and what it waits for."""

    def __init__(self, block, number, index, function, arguments):
        self.block, self.number, self.index = block, number, index
        self.waits, self.met, self.value, self.mask = None, None, None, 0
        self.warp_epoch, self.orders, self.n_shared, self.postponed = 0, False, 0, []
        self.greenlet = greenlet.greenlet(lambda: function(*arguments))
        self.greenlet.gr_context = contextvars.copy_context()  # where NumPy keeps which errors it tells of

    ended = property(lambda self: self.greenlet.dead)
    state = property(lambda self: "ended" if self.ended else self.waits or "running")

    def wait(self, where):
        self.waits = where
        self.block.hub.switch()

    def exchange(self, mask, value, orders=False):
        """{lane: value} of the lanes in `mask`, when all have come; `orders`: what they did before is visible to each other after."""
        self.mask, self.value, self.orders = mask & 0xFFFFFFFF, value, orders
        self.wait("at a shuffle")
        return self.met

    def access(self):
        return Access(self.block.id << 10 | self.number, self.block.id, self.number, self.number // WARP, self.block.epoch, self.warp_epoch)


class Memory:
    """A contiguous array of global or shared memory, or a part of one, whose `cells` know who wrote and who read each of its elements."""

    __slots__ = "cells", "start", "shape", "ndim", "size"

    def __init__(self, cells, start, shape):
        self.cells, self.start, self.shape, self.ndim, self.size = cells, start, shape, len(shape), math.prod(shape)

    dtype = property(lambda self: self.cells.values.dtype)
    strides = property(lambda self: tuple(self.dtype.itemsize * math.prod(self.shape[axis + 1:]) for axis in range(self.ndim)))
    ctypes = property(lambda self: Address(self.cells.address + self.start * self.dtype.itemsize))

    def reshape(self, *shape):
        shape = (self.size,) if shape == (-1,) else shape
        return self if shape == self.shape else Memory(self.cells, self.start, shape)

    def __len__(self):
        return self.shape[0]

    def __iter__(self):
        if self.ndim > 1:
            return (self[i] for i in range(len(self)))
        return iter([self.cells.read(place) for place in range(self.start, self.start + self.size)])

    def __getitem__(self, index):
        start, shape = self._find(index)
        return Memory(self.cells, start, shape) if shape else self.cells.read(start)

    def __setitem__(self, index, value):
        start, shape = self._find(index)
        if not shape:
            self.cells.write(start)
            self.cells.values[start] = value
            return
        stop = start + math.prod(shape)
        for place in range(start, stop):
            self.cells.write(place)
        self.cells.values[start:stop].reshape(shape)[...] = value

    def update(self, index, function):
        """An atomic change; returns the old value."""
        start, _ = self._find(index)
        self.cells.write(start, atomic=True)
        old = self.cells.values[start]
        self.cells.values[start] = function(old)
        return old

    def _find(self, index):
        """Where the part that an index means begins, and its shape: () for an element. A slice stands alone, so that what it means is contiguous."""
        start, step = self.start, self.size
        if type(index) is slice:
            first, stop = int(index.start or 0), len(self) if index.stop is None else int(index.stop)
            if index.step is not None or first < 0 or stop > len(self):
                raise self._outside(index)
            return start + first * (step // len(self)), (stop - first, *self.shape[1:])
        index = index if type(index) is tuple else (index,)
        for part, extent in zip(index, self.shape):
            part = int(part)
            if part < 0 or part >= extent:
                raise self._outside(index)
            step //= extent
            start += part * step
        return start, self.shape[len(index):]

    def _outside(self, index):
        index = index[0] if isinstance(index, tuple) and len(index) == 1 else index
        return IndexError(f"{Block.current.name}, {_who()}: index {index} is outside {self.cells.space} memory of shape {self.shape}")


class Cells:
    """The elements of an array, and for each who wrote it last and who has read it since."""

    def __init__(self, values, space):
        self.values, self.space, self.address = values.reshape(-1), space, values.ctypes.data
        self.written, self.readers = [None] * values.size, [None] * values.size

    def read(self, place):
        now, before = Block.now, self.written[place]
        if before is not now:
            if before is None:
                if self.space == "shared":
                    raise Race(f"{Block.current.name}, {_who()}: reads element {place} of shared memory, which nobody has written")
            elif _conflict(before, now):
                raise Race(self._message("reads", place, "written", before))
        readers = self.readers[place]
        if readers is None:
            self.readers[place] = {now.who: now}
        else:
            readers[now.who] = now
        return self.values[place]

    def write(self, place, atomic=False):
        now, before = Block.now, self.written[place]
        if atomic:
            now = now._replace(atomic=True)
        if before is not None and before is not now and _conflict(before, now) and not (atomic and before.atomic):
            raise Race(self._message("writes", place, "written", before))
        readers = self.readers[place]
        if readers:
            for reader in readers.values():
                if reader is not now and _conflict(reader, now):
                    raise Race(self._message("writes", place, "read", reader))
            self.readers[place] = None
        self.written[place] = now

    def _message(self, does, place, done, other):
        return (f"{Block.current.name}, {_who()}: {does} element {place} of {self.space} memory, which thread {other.thread} of block {other.block} "
                f"has {done} with no barrier between them")


def _memory(values, space):
    return Memory(Cells(values, space), 0, values.shape)


def _who():
    return f"thread {Block.current.active.number} of block {Block.current.id}"


def _conflict(before, now):
    """Whether the order of two accesses is left to chance. Nothing orders blocks; a barrier orders a block, syncwarp a warp."""
    if before.block != now.block:
        return True
    if before.thread == now.thread or before.epoch < now.epoch:
        return False
    return before.warp != now.warp or before.warp_epoch == now.warp_epoch


def exchange(value, mask=0xFFFFFFFF):
    """{lane: value} over the warp of the thread that calls: what the twins of warp-wide instructions are written with."""
    return Block.current.active.exchange(mask, value)


def _syncwarp(mask=0xFFFFFFFF):
    Block.current.active.exchange(mask, None, orders=True)


def _postpone(action):
    """What an asynchronous instruction does is done when the thread waits for it, and not before."""
    Block.current.active.postponed.append(action)


def _perform():
    postponed = Block.current.active.postponed
    while postponed:
        postponed.pop(0)()


def _shuffle(source):
    def shuffle(mask, value, operand, width=WARP):
        lane = Block.current.active.number % WARP
        values = exchange(value, mask)
        first = lane // width * width
        other = source(lane, operand, first, width)
        return values[other] if first <= other < first + width and other in values else value

    return shuffle


def _vote(judge):
    return lambda mask, value: judge(exchange(bool(value), mask))


class _Shared:
    def array(self, shape, dtype, alignment=None):
        """The n-th shared array that a thread asks for is the n-th of its block."""
        thread, block = Block.current.active, Block.current
        if thread.n_shared == len(block.shared):
            block.shared.append(_memory(np.empty(shape, _numpy_dtype(dtype)), "shared"))
        thread.n_shared += 1
        return block.shared[thread.n_shared - 1]


class _Local:
    def array(self, shape, dtype, alignment=None):
        dtype = _numpy_dtype(dtype)
        return np.full(shape, kernels.FRESH if dtype.kind == "f" else 12345, dtype)


class _Atomic:
    def add(self, memory, index, value):
        return memory.update(index, lambda old: old + value)

    def max(self, memory, index, value):
        return memory.update(index, lambda old: max(old, value))


def _numpy_dtype(dtype):
    return np.dtype(getattr(dtype, "name", dtype))


def _index(shape):
    shape = shape if isinstance(shape, tuple) else (shape,)
    return Index(*(int(n) for n in shape), *(1,) * (3 - len(shape)))


def _grid(ndim):
    place = [getattr(cuda.blockIdx, axis) * getattr(cuda.blockDim, axis) + getattr(cuda.threadIdx, axis) for axis in "xyz"[:ndim]]
    return place[0] if ndim == 1 else tuple(place)


def _gridsize(ndim):
    size = [getattr(cuda.gridDim, axis) * getattr(cuda.blockDim, axis) for axis in "xyz"[:ndim]]
    return size[0] if ndim == 1 else tuple(size)


def _offer(**names):
    for name, value in names.items():
        setattr(cuda, name, value)


_offer(
    syncthreads=lambda: Block.current.active.wait("at a barrier"),
    syncwarp=_syncwarp,
    shfl_sync=_shuffle(lambda lane, source, first, width: first + source % width),
    shfl_xor_sync=_shuffle(lambda lane, distance, first, width: lane ^ distance),
    shfl_up_sync=_shuffle(lambda lane, distance, first, width: lane - distance),
    shfl_down_sync=_shuffle(lambda lane, distance, first, width: lane + distance),
    any_sync=_vote(lambda votes: any(votes.values())),
    all_sync=_vote(lambda votes: all(votes.values())),
    ballot_sync=_vote(lambda votes: sum(vote << lane for lane, vote in votes.items())),
    threadfence=lambda: None, threadfence_block=lambda: None, warpsize=WARP,
    grid=_grid, gridsize=_gridsize, exchange=exchange, postpone=_postpone, perform=_perform, shared=_Shared(), local=_Local(), atomic=_Atomic())
