"""What is told of a GPU: the driver is asked itself, so a stand-in for its library is enough to see every answer."""
import json

import pytest

from minitx import cli
from minitx.kernels.runtime import gpu

EVERYTHING = {"numba-cuda": "0.30.4", "cupy-cuda13x": "14.2.0", "cuda-toolkit": "13.0.3"}


class Library:
    """The driver's functions, which write to what is passed by reference and return 0."""

    def __init__(self, version=13000, gpus=(("NVIDIA H200", 9, 0),), init=0):
        self.version, self.gpus, self.init = version, gpus, init

    def cuDriverGetVersion(self, number):
        number._obj.value = self.version
        return 0

    def cuInit(self, flags):
        return self.init

    def cuDeviceGetCount(self, number):
        number._obj.value = len(self.gpus)
        return 0

    def cuDeviceGet(self, device, place):
        device._obj.value = place
        return 0

    def cuDeviceGetName(self, name, size, device):
        name.value = self.gpus[device.value][0].encode()
        return 0

    def cuDeviceTotalMem_v2(self, memory, device):
        memory._obj.value = 139 * 2**30
        return 0

    def cuDeviceGetAttribute(self, value, which, device):
        value._obj.value = {75: self.gpus[device.value][1], 76: self.gpus[device.value][2], 16: 132}[which]
        return 0


@pytest.fixture
def machine(monkeypatch):
    """Sets up a machine with this driver (None for no driver) and these packages."""
    def set_up(library, packages):
        def load():
            if library is None:
                raise OSError("libcuda.so.1: cannot open shared object file")
            return library

        gpu.find_driver.cache_clear()
        monkeypatch.setattr(gpu, "_library", load)
        monkeypatch.setattr(gpu, "version", lambda name: packages[name] if name in packages else _absent(name))

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield set_up
    gpu.find_driver.cache_clear()


def _absent(name):
    raise gpu.PackageNotFoundError(name)


def test_nothing_is_missing_where_everything_is_there(machine):
    machine(Library(), EVERYTHING)
    assert gpu.missing() is None
    facts = gpu.describe()
    assert facts["cuda"] == "yes"
    assert facts["gpu 0"] == "NVIDIA H200, compute capability 9.0, 139 GB, 132 multiprocessors"
    assert facts["driver"].endswith("for CUDA up to 13.0")
    assert (facts["cuda toolkit"], facts["numba-cuda"], facts["cupy"]) == ("13.0.3", "0.30.4", "14.2.0")


@pytest.mark.parametrize(
    "library, packages, said",
    [
        (None, {}, ["no NVIDIA driver", "numba-cuda and CuPy with pip install 'minitx[cuda13]'"]),
        (None, EVERYTHING, ["no NVIDIA driver", "sudo ubuntu-drivers install"]),
        (Library(), {}, ["numba-cuda and CuPy are not installed: pip install 'minitx[cuda13]'"]),
        (Library(version=12040), {}, ["pip install 'minitx[cuda12]'"]),
        (Library(), {"cupy-cuda13x": "14.2.0"}, ["numba-cuda is not installed: pip install 'minitx[cuda13]'"]),
        (Library(version=12080), EVERYTHING, ["CUDA up to 12.8", "pip uninstall cupy-cuda13x", "minitx[cuda12]"]),
        (Library(init=999), EVERYTHING, ["does not start (cuInit gives 999)", "nvidia-smi"]),
        (Library(gpus=()), EVERYTHING, ["shows no GPU"]),
        (Library(gpus=(("Tesla V100", 7, 0),)), EVERYTHING, ["Tesla V100 has compute capability 7.0", "7.5"]),
    ],
)
def test_what_is_missing_is_told_in_a_line_with_the_command_that_helps(machine, library, packages, said):
    machine(library, packages)
    why = gpu.missing()
    assert all(part in why for part in said), why
    assert "\n" not in why
    assert gpu.describe()["cuda"] == f"no: {why}"


def test_hidden_gpus_are_named(machine, monkeypatch):
    machine(Library(gpus=()), EVERYTHING)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert "CUDA_VISIBLE_DEVICES=-1 may hide it" in gpu.missing()


def test_info_tells_of_the_gpu(machine, capfd):
    machine(Library(), EVERYTHING)
    assert cli.main(["info", "--json"]) == 0
    facts = json.loads(capfd.readouterr().out)
    assert "NVIDIA H200" in facts["gpu 0"] and facts["cupy"] == "14.2.0"
    assert cli.main(["info"]) == 0
    assert "gpu 0             NVIDIA H200" in capfd.readouterr().out
