"""Models on "cuda" without a GPU: CuPy's stand-in, and in the place of the CUDA kernels those of the CPU, which reach into its memory."""
import numpy as np
import pytest

from minitx.kernels.runtime import registry, threads

from . import standin


@pytest.fixture
def cupy(monkeypatch):
    """`import cupy` gives the stand-in, and its arrays have kernels."""
    find = registry._find

    def serve(package, chosen, name):
        threads.start()
        return find(package, chosen, name) if chosen != "cuda" else _reaching(find(package, "cpu", name), name)

    monkeypatch.setattr(registry, "_find", serve)
    with standin.installed() as library:
        yield library


def _reaching(kernel, name):
    def call(*args, **options):
        arrays = [arg for arg in (*args, *options.values()) if isinstance(arg, standin.ndarray)]
        assert not any(isinstance(arg, np.ndarray) for arg in args), f"{name}: an array is in main memory"
        plain = [_reached(arg) for arg in args]
        results = kernel(*plain, **{option: _reached(value) for option, value in options.items()})
        several = isinstance(results, tuple)
        wrapped = [_wrapped(result, arrays) for result in (results if several else (results,))]
        return tuple(wrapped) if several else wrapped[0]

    return call


def _reached(arg):
    """The memory of an array; the number of one that has no axes, as only numbers of the optimizer have none."""
    return arg if not isinstance(arg, standin.ndarray) else arg.simulated if arg.ndim else arg.simulated[()]


def _wrapped(result, arrays):
    """An array for a result: the one that was given to be filled, or a new one. Numbers stay on the GPU, too."""
    if result is None:
        return None
    result = np.asarray(result, arrays[0].dtype) if isinstance(result, (float, np.generic)) else result
    return next((array for array in arrays if array.simulated is result), standin.wrap(result))
