"""CUDA from Python: `kernel` compiles a function for the GPU at its first launch and launches it on CuPy's arrays.

    @kernel(lambda real: (array(real, 2), array(real, 2)), threads=256)
    def _double(x, out):
        i = cuda.threadIdx.x
        ...

    _double[blocks, 256](x, out)

Launches go to CuPy's current stream and return at once; nothing here waits for the GPU. Without one, under NUMBA_ENABLE_CUDASIM=1, `simulate`
runs the function as plain Python, thread by thread, on NumPy arrays: this is how the tests run where there is no GPU.
"""
import functools
import hashlib
import threading
from importlib import metadata
from pathlib import Path

import numpy as np
from numba import cuda
from numba.core import config
from numba.cuda import types

from . import devices

SIMULATED = bool(config.ENABLE_CUDASIM)
KERNELS = []  # every kernel of the modules imported so far: what the tests compile for each architecture
simulate = None  # what runs (function, grid, block, arguments) in the simulator; the tests bring it
FRESH = np.nan  # what new memory is full of in the simulator: it shows wherever it is used
_SCALAR = {np.dtype(kind): getattr(types, kind) for kind in ("float32", "float64", "int32", "uint16")}
_MOST = 4096  # views, or launches of a kernel, that are kept
config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # a small grid is what a small model asks for


def kernel(signature, threads, blocks=1, variant=None, since=75, **options):
    """Decorate a CUDA kernel, compiled once for the dtype of its first argument, an array of float32, float64, int32 or uint16.

    Args:
        signature: gives the types of the arguments for the scalar type `real`; see `array`.
        threads: of a block, at most.
        blocks: of so many threads that are to fit on a multiprocessor at once. Both bound the registers, 65,536 / (threads · blocks) a thread.
        since: the first architecture that has its instructions, 80 for sm_80.
        variant: what tells kernels of one name apart, such as the number of elements in registers.
        options: of numba.cuda.jit.
    """
    return lambda function: Kernel(function, signature, threads, blocks, variant, since, options)


def device(function):
    """Decorate a function that kernels call: its body is pasted where it is called."""
    return function if SIMULATED else cuda.jit(device=True, inline="always")(function)


def array(real, ndim):
    """The type of a C-contiguous array."""
    return types.Array(real, ndim, "C")


class Kernel:
    """A function for the GPU: `kernel[grid, block](*arguments)`, with numbers of blocks and of threads in one to three dimensions."""

    def __init__(self, function, signature, threads, blocks, variant, since, options):
        self.function, self.signature, self.threads, self.blocks, self.since, self.options = function, signature, threads, blocks, since, options
        self.name = f"{function.__module__.removeprefix('minitx.kernels.')}.{function.__name__.strip('_')}{'' if variant is None else f'[{variant}]'}"
        self._compiled, self._launches = {}, {}
        self._guard = threading.Lock()
        functools.update_wrapper(self, function)
        KERNELS.append(self)

    def __getitem__(self, shape):
        return functools.partial(self._launch, *shape)

    def _launch(self, grid, block, *arguments):
        dtype = arguments[0].dtype
        if SIMULATED:
            arguments = [getattr(argument, "simulated", argument) for argument in arguments]  # of what stands for CuPy's arrays, the memory
            simulate(self.function, grid, block, _as_compiled(self.name, self.signature(_SCALAR[dtype]), arguments))
            return
        key = dtype, grid, block, _stream()
        launch = self._launches.get(key)
        if launch is None:
            if len(self._launches) >= _MOST:
                self._launches.clear()
            dispatcher = self._compiled.get(dtype) or self._compile(dtype)
            launch = self._launches[key] = type(dispatcher).configure.__wrapped__(dispatcher, *key[1:])  # numba-cuda keeps 128 for all kernels
        launch(*[argument if isinstance(argument, (int, float, tuple)) else _view(argument) for argument in arguments])

    def _compile(self, dtype):
        with self._guard:
            if dtype not in self._compiled:
                dispatcher = self.dispatcher()
                dispatcher.compile(self.signature(_SCALAR[dtype]))
                self._compiled[dtype] = only_one_signature(dispatcher)
        return self._compiled[dtype]

    def dispatcher(self):
        """What numba-cuda makes of the function, with a cache on the disk where one can be written."""
        options = {"launch_bounds": (self.threads, self.blocks), **self.options}
        try:
            dispatcher = cuda.jit(cache=True, **options)(self.function)
        except RuntimeError:  # neither this folder nor the user's own can be written: compiled anew in every process
            return cuda.jit(**options)(self.function)
        # Its own key knows this file but not those of the device functions, and of functions within functions something that differs in every process.
        dispatcher._cache._index_key = lambda signature, codegen: (signature, codegen.magic_tuple(), self.name, _sources())
        return dispatcher


def only_one_signature(dispatcher):
    """The dispatcher, compiled for one signature, as one that is for no other: then numbers are converted to it, those in named tuples too."""
    dispatcher.disable_compile()
    dispatcher._specialized = True  # as cuda.jit(signature) does
    return dispatcher


@functools.cache
def _sources():
    """What the cache of compiled kernels depends on: all kernels' sources, as a device function may be in another file, and the compiler."""
    files = sorted(Path(__file__).parent.parent.rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest(), metadata.version("numba-cuda")


@functools.cache
def architecture():
    """That of the GPU, 90 for sm_90, or in the simulator the newest."""
    if SIMULATED:
        return 90
    major, minor = cuda.get_current_device().compute_capability
    return 10 * major + minor


def empty(like, shape, dtype=None):
    """An uninitialised, C-contiguous array in the memory where `like` is. In the simulator it is full of FRESH, or of absurd integers."""
    dtype = like.dtype if dtype is None else np.dtype(dtype)
    if SIMULATED:
        return _library(like).full(shape, FRESH if dtype.kind == "f" else np.iinfo(dtype).min + 12345 if dtype.kind == "i" else 12345, dtype)
    return _cupy().empty(shape, dtype)


def zeros(like, shape, dtype=None):
    """As `empty`, full of zeros."""
    return _library(like).zeros(shape, like.dtype if dtype is None else dtype)


@functools.cache
def filled(size, value, dtype):
    """An array of one value, made once: what stands for an argument that is absent. Nobody writes to it."""
    return (np if SIMULATED else _cupy()).full(size, value, dtype)


def contiguous(array):
    """The array itself where its elements lie one behind the other, else a copy."""
    return array if array.flags.c_contiguous else array.copy()


def rows(array, dtype):
    """`array` as a contiguous matrix of rows, its leading axes flattened; a row has at least one element."""
    return contiguous(array.astype(dtype, copy=False)).reshape(-1, array.shape[-1])


def flat(array, dtype):
    """`array` as a contiguous row of elements that begins where 16 bytes can be read at a time."""
    array = contiguous(array.astype(dtype, copy=False)).reshape(-1)
    return array if on_16_bytes(array) else array.copy()


def span(array):
    """The memory from the first element of an array to its last, as one row: for kernels that find slices where they lie. No stride is negative."""
    size = 1 + sum((extent - 1) * stride for extent, stride in zip(array.shape, array.strides)) // array.itemsize
    return _library(array).lib.stride_tricks.as_strided(array, (size,), (array.itemsize,))


def on_16_bytes(*arrays):
    """Whether all begin at an address that 16 bytes can be read from and written to at a time."""
    return all(address(array) % 16 == 0 for array in arrays)


def address(array):
    """Where the first element of an array is."""
    return array.ctypes.data if isinstance(array, np.ndarray) else array.data.ptr


def aligned(*arrays):
    """Whether all can be read and written 16 bytes at a time: the rows as well as the whole."""
    return on_16_bytes(*arrays) and all(array.shape[-1] % 4 == 0 for array in arrays)


def _library(like):
    """CuPy, or NumPy for its own arrays, which there are in the simulator only."""
    return devices.library(devices.of(like))


@functools.cache
def _cupy():
    import cupy

    return cupy


_views = {}  # of arrays, by place, shape and dtype: the same ones come back at every step of a training run
_streams = {}


def _view(array):
    """What numba-cuda takes for an array: made once for each place in memory, as it takes longer than a launch."""
    key = array.data.ptr, array.shape, array.dtype.char
    view = _views.get(key)
    if view is None:
        if not array.flags.c_contiguous:
            raise TypeError(f"cuda: an array of shape {array.shape} and strides {array.strides} was not made contiguous for its kernel")
        if len(_views) >= _MOST:
            _views.clear()
        view = _views[key] = cuda.from_cuda_array_interface(
            {"shape": array.shape, "strides": None, "typestr": array.dtype.str, "data": (array.data.ptr, False), "version": 3}, sync=False)
    return view


def _stream():
    """CuPy's current stream, as numba-cuda takes it."""
    pointer = _cupy().cuda.get_current_stream().ptr
    stream = _streams.get(pointer)
    if stream is None:
        stream = _streams[pointer] = cuda.external_stream(pointer) if pointer else cuda.default_stream()
    return stream


def _as_compiled(name, signature, arguments):
    """In the simulator: the arguments as a compiled kernel has them, and an error for those that it would refuse, or take for something else."""
    if len(signature) != len(arguments):
        raise TypeError(f"{name}: {len(arguments)} arguments for a signature of {len(signature)}")
    result = []
    for position, (kind, argument) in enumerate(zip(signature, arguments)):
        if isinstance(kind, types.Array):
            if not isinstance(argument, np.ndarray) or argument.ndim != kind.ndim or argument.dtype.name != kind.dtype.name:
                raise TypeError(f"{name}: argument {position} is {getattr(argument, 'dtype', type(argument))} {np.shape(argument)}, not {kind}")
            if not argument.flags.c_contiguous or 0 in argument.shape:
                raise TypeError(f"{name}: argument {position} of shape {argument.shape} is empty or not contiguous")
        elif isinstance(kind, types.BaseTuple):
            argument = kind.instance_class(*_as_compiled(f"{name}, argument {position}", tuple(kind), argument))
        elif not isinstance(argument, (bool, int, float)):
            raise TypeError(f"{name}: argument {position} is a {type(argument).__name__}, expected a Python number for {kind}")
        result.append(np.dtype(kind.name).type(argument) if isinstance(kind, types.Float) else argument)
    return result
