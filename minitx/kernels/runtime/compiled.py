"""`compiled`: a Numba function that is compiled once per dtype, whatever the memory layout of its arrays.

Numba would compile anew for read-only arrays and for strided ones, seconds each. With the signature written out, a contiguous or writable array
is passed as the strided, read-only one that the function was compiled for.
"""
import functools
import importlib
import os
import pathlib
import subprocess
import sys
import threading

import numpy as np
from numba import njit, types

_guard = threading.RLock()
_REAL = {np.dtype(np.float32): types.float32, np.dtype(np.float64): types.float64}
_kernels = []  # every compiled function of the modules imported so far
_PACKAGE = "minitx.kernels."
_COMMON = ("linear", "attention", "cross_entropy", "embedding", "dropout", "adam", "softmax")  # folders of what every model needs


def compiled(signature, **options):
    """Decorate a function with `njit(**options)`, compiled at its first call for the dtype of its first argument.

    `signature(real)` gives the Numba types of the arguments for the scalar type `real` (types.float32 or types.float64).
    """

    def decorate(function):
        try:
            dispatcher = njit(**options)(function)
        except RuntimeError:  # neither this folder nor the user's own can be written: compiled anew in every process
            dispatcher = njit(**options | {"cache": False})(function)
        ready = set()

        def prepare(dtype):
            with _guard:
                if dtype not in ready and hasattr(dispatcher, "compile"):  # under NUMBA_DISABLE_JIT it is the plain function
                    dispatcher.disable_compile(False)
                    dispatcher.compile(signature(_REAL[dtype]))
                    dispatcher.disable_compile()  # only then are arguments converted to the signature
                ready.add(dtype)

        @functools.wraps(function)
        def call(*args):
            dtype = args[0].dtype
            if dtype not in ready:
                prepare(dtype)
            return dispatcher(*args)

        call.dispatcher, call.prepare = dispatcher, prepare
        call.title = f"{function.__module__.removeprefix(_PACKAGE).split('.')[0]}: {function.__name__.strip('_')}"
        if function.__module__.startswith(_PACKAGE):  # a user's own kernel is compiled at its first call, without ado
            _kernels.append(call)
        return call

    return decorate


def missing(dtype, folders=("layer_norm",)):
    """Titles of the kernels that this machine has not compiled for `dtype` yet: those that every model needs, and those in `folders`."""
    return [title for title, kernel in _kernels_in(*_COMMON, *folders).items() if dtype != "float32" or not _is_cached(kernel)]


def compile_in_two(titles, dtype):
    """Compile kernels in two processes that leave them in the disk cache, and load them from there; yields each title when it is compiled.

    Never in this process: Numba's code as just compiled and as loaded from the cache may differ in how it orders a sum, and the first run shall have
    the bits of all later ones. (Unless nothing can be written anywhere, and there are no later ones to agree with.)
    """
    if not titles:
        return
    kernels = _kernels_of(titles)
    if not all(map(_cache_folder, kernels)):
        for title, kernel in zip(titles, kernels):
            kernel.prepare(np.dtype(dtype))
            yield title
        return
    reader, writer = os.pipe()
    command = [sys.executable, "-m", __name__, dtype]
    helpers = [subprocess.Popen([*command, *half], stdout=writer, stderr=subprocess.DEVNULL) for half in (titles[::2], titles[1::2]) if half]
    os.close(writer)
    try:
        with open(reader, encoding="utf-8") as lines:
            for line in lines:
                yield line.strip()
        for kernel in kernels:
            kernel.prepare(np.dtype(dtype))  # what the helpers could not write to the cache is compiled here
    finally:
        for helper in helpers:
            helper.kill()
            helper.wait()


def _kernels_in(*folders):
    """{title: kernel} of these folders."""
    for folder in folders:
        importlib.import_module(f"{_PACKAGE}{folder}.cpu")
    return {kernel.title: kernel for kernel in _kernels if kernel.title.split(":")[0] in folders and hasattr(kernel.dispatcher, "stats")}


def _kernels_of(titles):
    known = _kernels_in(*dict.fromkeys(title.split(":")[0] for title in titles))
    return [known[title] for title in titles]


def _is_cached(kernel):
    """Whether the disk cache holds something for this function: a guess for the progress line; compiling itself looks closer."""
    folder = _cache_folder(kernel)
    return folder is not None and any(pathlib.Path(folder).glob(f"*.{kernel.__wrapped__.__name__}-*.nbi"))


def _cache_folder(kernel):
    """Where the disk cache of a kernel is, or None where there is none."""
    return kernel.dispatcher.stats.cache_path


def reads(real, ndim, layout="A"):
    """The type of an array that is only read: by default with any strides, and read-only or not."""
    return types.Array(real, ndim, layout, readonly=True)


def writes(real, ndim):
    """The type of a C-contiguous array that is written."""
    return types.Array(real, ndim, "C")


if __name__ == "__main__":
    from minitx.kernels.runtime import compiled as _this, threads  # the module that the kernels register with, which is not __main__

    threads.start()
    for _kernel in _this._kernels_of(sys.argv[2:]):
        _kernel.prepare(np.dtype(sys.argv[1]))
        print(_kernel.title, flush=True)
