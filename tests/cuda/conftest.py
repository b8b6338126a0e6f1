"""The CUDA kernels in the simulator, without a GPU: `pytest tests/cuda`, in an environment with numba-cuda and greenlet."""
import os

os.environ["NUMBA_ENABLE_CUDASIM"] = "1"  # before Numba is imported

from minitx.kernels.runtime import cuda  # noqa: E402

from . import simulator  # noqa: E402

cuda.simulate = simulator.launch
