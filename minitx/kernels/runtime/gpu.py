"""What there is of CUDA on this machine, and what is missing: the driver is asked itself, so that this needs none of CUDA's packages."""
import ctypes
import functools
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

OLDEST = (7, 5)  # compute capability for which the kernels are compiled and tested
PACKAGES = {"numba-cuda": ("numba-cuda",), "CuPy": ("cupy-cuda13x", "cupy-cuda12x", "cupy")}  # by the names of their distributions
_CAPABILITY = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
_MULTIPROCESSORS = 16


class Gpu(NamedTuple):
    """A GPU, as its driver describes it."""

    name: str
    capability: tuple[int, int]
    memory: int  # bytes
    multiprocessors: int


class Driver(NamedTuple):
    """NVIDIA's driver: the newest CUDA that it knows, the GPUs it shows, and else what is wrong with it."""

    cuda: tuple[int, int]
    gpus: tuple[Gpu, ...]
    fault: str | None


def missing():
    """Why nothing can be computed on a GPU here, and the command that helps; None where everything is there."""
    driver, absent = find_driver(), [name for name, packages in PACKAGES.items() if _version(*packages) is None]
    series = driver.cuda[0] if driver and driver.cuda else 13
    install = f"pip install 'minitx[cuda{13 if series >= 13 else 12}]'"
    if driver is None:
        also = f", and {' and '.join(absent)} with {install}" if absent else ""
        return f"no NVIDIA driver was found; where there is such a GPU, install it (Ubuntu: sudo ubuntu-drivers install){also}"
    if driver.fault:
        return driver.fault
    if absent:
        return f"{' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} not installed: {install}"
    if _version("cupy-cuda13x") and not _version("cupy-cuda12x", "cupy") and series < 13:
        return f"the driver knows CUDA up to {_dotted(driver.cuda)}, but CuPy is that for CUDA 13: pip uninstall cupy-cuda13x, then {install}"
    if driver.gpus[0].capability < OLDEST:
        return f"{driver.gpus[0].name} has compute capability {_dotted(driver.gpus[0].capability)}, and the kernels need {_dotted(OLDEST)} or newer"
    return None


def describe():
    """What `minitx info` tells of CUDA: a dictionary of plain values."""
    why, driver = missing(), find_driver()
    facts = {"cuda": f"no: {why}" if why else "yes"}
    if driver is not None:
        facts["driver"] = f"{_kernel_module() or 'installed'}, for CUDA up to {_dotted(driver.cuda)}" if driver.cuda else "installed"
        for number, gpu in enumerate(driver.gpus):
            facts[f"gpu {number}"] = (f"{gpu.name}, compute capability {_dotted(gpu.capability)}, {gpu.memory / 2**30:.0f} GB, "
                                      f"{gpu.multiprocessors} multiprocessors")
    facts["cuda toolkit"] = _version("cuda-toolkit") or _installed_toolkit() or "not installed"
    return facts | {name.lower(): _version(*packages) or "not installed" for name, packages in PACKAGES.items()}


@functools.cache
def find_driver():
    """The `Driver`, or None where there is none."""
    try:
        library = _library()
    except OSError:
        return None
    number = ctypes.c_int()
    version = number.value if library.cuDriverGetVersion(ctypes.byref(number)) == 0 else 0
    cuda = (version // 1000, version % 1000 // 10) if version else None
    if code := library.cuInit(0):
        return Driver(cuda, (), f"the NVIDIA driver does not start (cuInit gives {code}): nvidia-smi may say why")
    library.cuDeviceGetCount(ctypes.byref(number))
    gpus = tuple(_gpu(library, place) for place in range(number.value))
    hidden = "CUDA_VISIBLE_DEVICES" in os.environ
    fault = f"the NVIDIA driver shows no GPU{'; CUDA_VISIBLE_DEVICES=' + os.environ['CUDA_VISIBLE_DEVICES'] + ' may hide it' if hidden else ''}"
    return Driver(cuda, gpus, None if gpus else fault)


def _library():
    return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")


def _gpu(library, place):
    device, name, memory = ctypes.c_int(), ctypes.create_string_buffer(256), ctypes.c_size_t()
    library.cuDeviceGet(ctypes.byref(device), place)
    library.cuDeviceGetName(name, len(name), device)
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), device)

    def attribute(which):
        value = ctypes.c_int()
        library.cuDeviceGetAttribute(ctypes.byref(value), which, device)
        return value.value

    return Gpu(name.value.decode(errors="replace"), tuple(map(attribute, _CAPABILITY)), memory.value, attribute(_MULTIPROCESSORS))


def _kernel_module():
    """The driver's own version, which Linux tells."""
    try:
        with open("/proc/driver/nvidia/version", encoding="utf-8") as lines:
            return next((word for word in lines.readline().split() if word[0].isdigit() and "." in word), None)
    except OSError:
        return None


def _installed_toolkit():
    """The folder of a toolkit that was installed without pip."""
    return os.environ.get("CUDA_PATH") or os.environ.get("CUDA_HOME")


def _version(*distributions):
    """That of the first of these that is installed, or None."""
    for name in distributions:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def _dotted(numbers):
    return ".".join(map(str, numbers))
