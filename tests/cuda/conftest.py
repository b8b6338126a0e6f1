"""The CUDA kernels in the simulator, without a GPU: `pytest tests/cuda`, in an environment with numba-cuda and greenlet."""
import os

os.environ["NUMBA_ENABLE_CUDASIM"] = "1"  # before Numba is imported

import pytest  # noqa: E402

from minitx.kernels.runtime import cuda  # noqa: E402

from . import simulator  # noqa: E402

cuda.simulate = simulator.launch


@pytest.fixture
def no_nan(monkeypatch):
    """Fresh memory is full of a number, so that only what a kernel writes is NaN."""
    monkeypatch.setattr(cuda, "FRESH", 12345.0)
