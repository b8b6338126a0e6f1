"""Which file of a kernel's folder serves a call: decided here, once, by the type of the arrays.

NumPy arrays go to `cpu.py`, CuPy arrays to `cuda.py`. For tests and benchmarks, `with backend("reference")` sends everything to `reference.py`, and
`with backend("naive")` everything on the GPU to the lesson in `naive.py` where there is one, else to `cuda.py`.
A file is imported at its first call, so that importing minitx compiles and loads nothing.
"""
import contextlib
import importlib
import importlib.util
import inspect

import numpy as np

from . import devices, threads

BACKENDS = ("reference", "cpu", "cuda", "naive")
_forced = None


def serve(package, *names):
    """Functions `names` of the kernel folder `package`, each calling its namesake in the file that serves its arrays."""
    return tuple(_dispatcher(package, name) for name in names)


@contextlib.contextmanager
def backend(name):
    """Within the block, every kernel is served by file `name` ("reference", "cpu", "cuda" or "naive"), whatever its arrays are."""
    global _forced
    if name not in BACKENDS:
        raise ValueError(f"backend: {name!r} is not one of {', '.join(BACKENDS)}")
    previous, _forced = _forced, name
    try:
        yield
    finally:
        _forced = previous


def _dispatcher(package, name):
    implementations = {}

    def call(*args, **kwargs):
        chosen = _forced or _device(package, name, args)
        implementation = implementations.get(chosen)
        if implementation is None:
            if chosen == "cpu":
                threads.start()
            implementation = implementations[chosen] = _find(package, chosen, name)
        if threads.lock is None:
            return implementation(*args, **kwargs)
        with threads.lock:
            return implementation(*args, **kwargs)

    def reference(*args, **kwargs):
        return getattr(importlib.import_module(f"{package}.reference"), name)(*args, **kwargs)

    call.reference = reference  # runs on Tensors too, for gradients of gradients
    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"{name} of `{package}.reference`, served by the file that fits the arrays' device."
    return call


def _find(package, chosen, name):
    """Function `name` in the file `chosen` of a kernel's folder."""
    if chosen == "naive":
        known = importlib.util.find_spec(f"{package}.naive") is not None
        found = getattr(importlib.import_module(f"{package}.naive"), name, None) if known else None
        return found or _find(package, "cuda", name)
    try:
        return getattr(importlib.import_module(f"{package}.{chosen}"), name)
    except ModuleNotFoundError as error:
        if error.name != f"{package}.{chosen}":
            raise
        raise NotImplementedError(f"{name}: it has no kernel for the GPU; compute it in main memory, as x.to('cpu') or model.to('cpu') do") from None


def _device(package, name, args):
    """"cpu" or "cuda": where all arrays among `args` are."""
    cpu = cuda = False
    for arg in args:
        if type(arg) is np.ndarray:
            cpu = True
        elif devices.is_cupy(type(arg)):
            cuda = True
    if cpu and cuda:
        parameters = inspect.signature(getattr(importlib.import_module(f"{package}.reference"), name)).parameters
        raise TypeError(devices.mixed(name, tuple(parameters), args))
    return "cuda" if cuda else "cpu"
