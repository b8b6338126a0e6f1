"""Where arrays are: NumPy's in main memory, CuPy's on the GPU. Nothing here moves an array unless it is asked to, and nothing imports CuPy without need."""
import functools
import importlib

import numpy as np

from . import memory

DEVICES = ("cpu", "cuda")


def of(array):
    """"cpu" or "cuda"; numbers and lists are in main memory, too."""
    return "cuda" if is_cupy(type(array)) else "cpu"


@functools.cache
def is_cupy(kind):
    """Whether a type is that of CuPy's arrays."""
    return kind.__module__.split(".")[0] == "cupy" and kind.__name__ == "ndarray"


def library(device):
    """NumPy or CuPy; an error says what CuPy lacks."""
    if device == "cpu":
        return np
    if device != "cuda":
        raise ValueError(f"device: {device!r} is not one of {', '.join(DEVICES)}")
    try:
        import cupy
    except ImportError as error:
        from . import gpu

        raise RuntimeError(f"device cuda: {gpu.missing() or error}") from None
    return cupy


def special(array):
    """SciPy's special functions for the memory where `array` is; they take longer to import than all of minitx."""
    return importlib.import_module("scipy.special" if of(array) == "cpu" else "cupyx.scipy.special")


def place(array, like):
    """`array` (or None) in the memory where `like` is: itself, or a copy. From main memory to the GPU nobody waits."""
    if array is None or of(array) == of(like):
        return array
    return library("cuda").asarray(array) if of(like) == "cuda" else array.get()


def host(array):
    """`array` in main memory: itself, or a copy, for which the CPU waits."""
    return array.get() if of(array) == "cuda" else array


def empty(shape, like):
    """An uninitialised array with the dtype of `like`, in its memory."""
    return memory.empty(shape, like.dtype) if of(like) == "cpu" else library("cuda").empty(shape, like.dtype)


def frozen(value):
    """A value that nobody else will change: of an array a copy, unless it is read-only and no look into another; of a list a tuple."""
    if isinstance(value, list):
        return tuple(map(frozen, value))
    changeable = value.flags.writeable or value.base is not None if isinstance(value, np.ndarray) else of(value) == "cuda"
    return value.copy() if changeable else value


def mixed(function, names, arrays):
    """What is wrong with the arguments of a function, if some are in main memory and some on the GPU, and what to do; else None."""
    names = names if len(names) >= len(arrays) else [f"{names[0]}[{place}]" for place in range(len(arrays))]  # those of *xs
    found = {device: [name for name, array in zip(names, arrays) if of(array) == device and getattr(array, "ndim", 0)] for device in DEVICES}
    if not found["cpu"] or not found["cuda"]:
        return None
    here, there = (" and ".join(found[device]) + (" is" if len(found[device]) == 1 else " are") for device in DEVICES)
    return f"{function}: {here} in main memory but {there} on the GPU; move one side, as x.to('cuda') or model.to('cuda') do"
