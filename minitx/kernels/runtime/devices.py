"""Where arrays are: NumPy's in main memory, CuPy's on the GPU. Nothing here moves an array unless it is asked to, and nothing imports CuPy without need."""
import functools
import importlib

import numpy as np

from . import memory


def of(array):
    """"cpu" or "cuda"."""
    return "cuda" if is_cupy(type(array)) else "cpu"


@functools.cache
def is_cupy(kind):
    """Whether a type is that of CuPy's arrays."""
    return kind.__module__.split(".")[0] == "cupy" and kind.__name__ == "ndarray"


def library(device):
    """NumPy or CuPy."""
    return np if device == "cpu" else importlib.import_module("cupy")


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
