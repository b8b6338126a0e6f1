"""One pool of threads for everything: Numba's, with BLAS called inside it on one thread each.

Two pools on the same cores spin against each other and cost a factor of ten. `start` runs at the first kernel call: it limits SciPy's copy of
OpenBLAS (which only our kernels call) to one thread for this process, and leaves NumPy's own copy as it was found.
"""
import os
import threading
from pathlib import Path

_started = False
_guard = threading.Lock()
lock = None  # held around each kernel where the threading layer cannot run two at once (workqueue)


def start():
    """Choose Numba's threading layer and limit SciPy's BLAS; only the first call does anything."""
    global _started, lock
    with _guard:
        if _started:
            return
        # A waiting thread that spins for a whole time slice ruins a machine where another program holds a core. Read when the pool starts.
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")
        import numba

        if "NUMBA_THREADING_LAYER" not in os.environ:
            numba.config.THREADING_LAYER = "default"
            numba.config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]
        _limit_scipy_blas()
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)  # starts the pool
        if numba.threading_layer() == "workqueue":
            lock = threading.RLock()
        _started = True


def set_threads(count):
    """Use `count` threads in kernels called from this thread from now on; 0 means all there are."""
    import numba

    start()
    limit = numba.config.NUMBA_NUM_THREADS
    if not 0 <= count <= limit:
        raise ValueError(f"threads: {count} is not between 0 (all) and {limit}, the number of threads of this process")
    numba.set_num_threads(count or limit)


def get_threads():
    """The number of threads that kernels called from this thread use."""
    import numba

    start()
    return numba.get_num_threads()


def describe():
    """What the kernels run on: a dictionary of plain values for `minitx info`."""
    import numba

    start()
    layer = numba.threading_layer()
    reasons = {
        "omp": "OpenMP: quick to start a kernel, and found on this machine",
        "tbb": "Intel TBB: OpenMP's library was not found",
        "workqueue": "Numba's own: neither OpenMP nor TBB was found; kernels of two threads take turns",
    }
    chosen_by_user = os.environ.get("NUMBA_THREADING_LAYER")
    return {
        "cores": os.cpu_count(),
        "threads": numba.get_num_threads(),
        "threading_layer": layer,
        "why": f"NUMBA_THREADING_LAYER={chosen_by_user}" if chosen_by_user else reasons.get(layer, layer),
        "blas": _scipy_blas_name(),
        "cache": numba.config.CACHE_DIR or "beside the kernels (__pycache__)",
    }


def _scipy_blas():
    """The controllers of the BLAS that SciPy brings; empty where SciPy uses the system's (Accelerate on macOS)."""
    import scipy.linalg.cython_blas  # noqa: F401
    from threadpoolctl import ThreadpoolController

    controller = ThreadpoolController()
    # Wheels keep it in scipy.libs (Linux, Windows) or scipy/.dylibs (macOS). NumPy's own copy is a file called libscipy_openblas, too.
    paths = [info["filepath"] for info in controller.info() if info["user_api"] == "blas" and {"scipy", "scipy.libs"} & set(Path(info["filepath"]).parts)]
    return controller.select(filepath=paths)


def _limit_scipy_blas():
    _scipy_blas().limit(limits=1)


def _scipy_blas_name():
    info = _scipy_blas().info()
    return f"{info[0]['internal_api']} {info[0]['version']} ({info[0].get('architecture')}), from SciPy" if info else "the system's, through SciPy"
