"""The GPU's side of the bench without one: CuPy's stand-in, the CPU's kernels behind it, and a clock that the test sets. No time here is a GPU's."""
import itertools
import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from minitx import cli
from minitx.bench import kernels, on_cuda, pictures, report, training, worker
from minitx.bench.cases import KERNELS
from minitx.kernels.attention import attention
from minitx.kernels.runtime import gpu, registry

from ..device.conftest import cupy  # noqa: F401

class Clock:
    """A stopwatch by which every step on the GPU takes 2 ms, and that knows for how long the GPU was kept busy."""

    filled = []

    def __init__(self):
        self.times = itertools.count(step=0.002)

    def mark(self):
        return next(self.times)

    def between(self, first, second):
        return second - first

    def wait(self):
        """There is nothing to wait for."""

    def busy(self, seconds):
        self.filled.append(seconds)

    def held(self):
        return 7_000_000


class TensorCores:
    """What stands for kernels/attention/tensor_cores.py, whose bfloat16 is float32 here."""

    bfloat16 = float32 = staticmethod(lambda x: x)
    attention = staticmethod(attention)


@pytest.fixture
def device(cupy, monkeypatch):  # noqa: F811
    """A GPU whose naive kernels are those of the CPU, too."""
    find = registry._find
    monkeypatch.setattr(registry, "_find", lambda package, chosen, name: find(package, "cuda" if chosen == "naive" else chosen, name))
    monkeypatch.setattr(on_cuda, "tensor_cores", lambda: TensorCores)


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(on_cuda, "Stopwatch", Clock)
    monkeypatch.setattr(Clock, "filled", [])
    return Clock


def test_rows_say_what_the_gpu_did(inside, device, clock):
    result = kernels.run(devices=("cpu", "cuda"), threads=2, seconds=0.001, quick=True)
    machine = result["machine"]["gpu"]
    assert set(machine) == {"name", "copy", "product", "product16"} and machine["copy"] == pytest.approx(2 * ((1 << 30) >> 18) / 0.002)
    assert [row["kernel"] for row in result["rows"] if not row["correct"]] == []
    assert {row["kernel"] for row in result["rows"]} == set(KERNELS)
    for row in result["rows"]:
        there = ["CUDA"] if KERNELS[row["kernel"]].only_cuda else ["CUDA", "CUDA, naive"]
        assert set(row["error"]) == {"minitx", *there} and [row["seconds"][side] for side in there] == pytest.approx([0.002] * len(there))
        assert row["gpu"]["limit"] == max(row["bytes"] / machine["copy"], row["operations"] / machine["product16" if len(there) == 1 else "product"])
        assert row["gpu"]["share"]["CUDA"] == row["gpu"]["limit"] / row["seconds"]["CUDA"] and row["gpu"]["launch"]["CUDA"] > 0
    assert json.loads(json.dumps(result)) == result


def test_the_gpu_is_kept_busy_for_longer_than_a_row_of_launches_takes(clock):
    class Step:
        def step(self):
            """Takes no time."""

    times, launch = on_cuda.sample(Step(), Clock(), 0)
    assert times == pytest.approx([0.002] * on_cuda._ROW) and launch >= 0 and clock.filled[0] >= on_cuda._ROW * 2 * 1e-9


def test_a_wrong_kernel_of_the_gpu_is_found_out(inside, device, clock, monkeypatch):
    monkeypatch.setattr(on_cuda.KernelSubject, "_found", lambda self: {"out": np.float32(1.001) * self.step().numpy()})
    [row] = kernels.run(only=("softmax",), devices=("cpu", "cuda"), threads=1, seconds=0.001, quick=True)["rows"][:1]
    assert not row["correct"] and row["error"]["minitx"] < 1e-6 < row["error"]["CUDA"]


@pytest.mark.parametrize("devices", [("cpu", "cuda"), ("cuda",)], ids="+".join)
def test_whole_steps_on_both_devices_and_on_the_gpu_alone(inside, device, clock, devices):
    result = training.run(devices=devices, threads=1, seconds=0.001, rounds=1, quick=True)
    assert [row["name"] for row in result["rows"]] == ["W1", "W2", "W3", "W4", "W5"]
    for row in result["rows"]:
        here = {"minitx", "products"} if "cpu" in devices and row["name"] != "W5" else set()
        assert set(row["seconds"]) == {"CUDA", *here} and row["correct"] and row["error"]["CUDA"] < 1e-5
        assert row["peak"]["CUDA"] == 7_000_000 and row["gpu"]["limit"] == row["operations"] / result["machine"]["gpu"]["product"]
        assert row["gpu"]["share"]["CUDA"] == row["gpu"]["limit"] / row["seconds"]["CUDA"] and 0 < row["gpu"]["launch"]["CUDA"] <= row["seconds"]["CUDA"]
    assert json.loads(json.dumps(result)) == result


def test_a_step_of_the_gpu_that_is_wrong_is_found_out(inside, device, clock, monkeypatch):
    gradients = on_cuda.TrainingSubject._gradients
    monkeypatch.setattr(on_cuda.TrainingSubject, "_gradients", lambda self, batch: gradients(self, batch) * 1.01)
    [row] = training.run(only=("W1",), devices=("cuda",), threads=1, seconds=0.001, rounds=1, quick=True)["rows"]
    assert not row["correct"]


@pytest.fixture
def on_a_gpu(monkeypatch):
    """The names of scripts/on_a_gpu.py, where a GPU and all that it needs seems to be."""
    script = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "on_a_gpu.py"))
    monkeypatch.setitem(script["main"].__globals__, "lacking", lambda: None)
    monkeypatch.setattr(gpu, "describe", lambda: {"gpu 0": "NVIDIA H200, compute capability 9.0"})
    return script["main"].__globals__


def test_one_command_tests_measures_and_writes(inside, device, clock, on_a_gpu, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(on_a_gpu, "tests", lambda: {"passed": 2, "skipped": 0, "failed": []})
    monkeypatch.setattr(on_a_gpu["importlib"].util, "find_spec", lambda name: None)  # PyTorch finds no GPU
    for part in on_a_gpu["PARTS"]:
        assert on_a_gpu["main"](["--quick", "--only", part, "--out", str(tmp_path)]) == 0
    written = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(written) == {"result.json", "time.png", "roofline.png", "roofline-gpu.png", "steps.png", "steps-gpu.png"} and max(written.values()) < 1_000_000
    result = json.loads((tmp_path / "result.json").read_text("utf-8"))
    assert result["gpu"].startswith("NVIDIA H200") and result["tests"]["passed"] == 2 and "numpy" in result["versions"]
    assert {row["kernel"] for row in result["kernels"]["rows"]} == set(KERNELS) and result["kernels"]["machine"]["gpu"]["copy"] > 0
    assert [row["name"] for row in result["training"]["rows"]] == ["W1", "W2", "W3", "W4", "W5"]


def test_what_fails_is_told_and_fails_the_command(on_a_gpu, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(on_a_gpu, "tests", lambda: {"passed": 1, "skipped": 0, "failed": ["tests.gpu.test_kernels::bad"]})
    assert on_a_gpu["main"](["--only", "tests", "--out", str(tmp_path)]) == 1
    assert "failed: tests.gpu.test_kernels::bad" in capsys.readouterr().err and (tmp_path / "result.json").exists()
    rows = {"kernels": {"rows": [{"kernel": "softmax", "shape": [1], "pass": "forward", "correct": False}]}, "training": {"rows": [{"name": "W5", "correct": False}]}}
    assert on_a_gpu["failures"](rows) == ["softmax [1] forward", "W5"]


def row_of(size, cpu, gpu_, launch, **more):
    return {"kernel": "softmax", "shape": [size, 1], "axes": "rows × columns", "pass": "forward + backward", "bytes": 40 * size, "operations": 9 * size,
            "seconds": {"reference": 9 * cpu, "1 thread": 2 * cpu, "2 threads": cpu, "CUDA": gpu_, "CUDA, naive": 4 * gpu_, "torch, CUDA": 2 * gpu_},
            "spread": {}, "error": {"minitx": 1e-7}, "correct": True, "limit": cpu / 2, "share": 0.5,
            "gpu": {"limit": gpu_ / 2, "share": {"CUDA": 0.5}, "launch": {"CUDA": launch, "CUDA, naive": launch, "torch, CUDA": launch}}, **more}


RESULT = {"bench": "kernels", "threads": 2, "rows": [row_of(1000, 1e-5, 2e-6, 4e-5), row_of(100_000, 1e-3, 1e-5, 4e-5)],
          "machine": {"copy": {"1": 1e10, "2": 2e10}, "product": {"1": 1e11, "2": 2e11},
                      "gpu": {"name": "a GPU", "copy": 4e12, "product": 5e13, "product16": 8e14}}}


def test_a_table_and_pictures_of_both_devices(capsys, tmp_path):
    report.show(RESULT)
    out = capsys.readouterr().out
    assert "a GPU: 4,000 GB/s copied, 50.0 TFLOP/s multiplied in float32, 800 in 16 bits" in out
    line = next(line for line in out.splitlines() if "100000×1" in line and "40.0 µs" in line)
    assert line.split() == "softmax 100000×1 both 10.0 µs 40.0 µs 20.0 µs 2.00 100.0 40.0 µs 50%".split()
    names = [path.name for path in pictures.draw(RESULT, tmp_path)]
    assert names == ["time.png", "roofline.png", "roofline-gpu.png"]


def test_the_crossing_counts_the_launch():
    curves = {side: [(row["operations"], pictures._of_a_call(row, side)) for row in RESULT["rows"]] for side in ("1 thread", "2 threads", "CUDA")}
    size, seconds = pictures.crossing(curves)
    assert seconds == pytest.approx(4e-5) and size == pytest.approx(9 * 4000, rel=1e-6)  # the CPU's 10 ns an element meet a launch of 40 µs
    assert pictures.crossing({"2 threads": [(1, 2.0), (2, 3.0)], "CUDA": [(1, 1.0), (2, 1.0)]}) is None


def test_a_table_and_a_picture_of_whole_steps(capsys, tmp_path):
    gpu_ = {"limit": 0.01, "share": {"CUDA": 0.5, "torch, CUDA": 0.4}, "launch": {"CUDA": 0.004, "torch, CUDA": 0.002}}
    sides = {"CUDA": 0.02, "torch, CUDA": 0.025}
    large = {"name": "W5", "title": "a large step", "seconds": sides, "spread": dict.fromkeys(sides, 0.01), "peak": dict.fromkeys(sides, 5e9), "operations": 4e12,
             "error": dict.fromkeys(sides, 1e-6), "correct": True, "gpu": gpu_}
    both = {"minitx": 0.3, "CUDA": 0.02, "torch, CUDA": 0.025, "products": 0.2}
    small = large | {"name": "W1", "seconds": both, "spread": dict.fromkeys(both, 0.01), "error": dict.fromkeys(both, 1e-6), "peak": {"minitx": 1e8, **large["peak"]}}
    result = {"bench": "training", "threads": 2, "text": False, "rows": [small, large], "machine": {"gpu": RESULT["machine"]["gpu"]}}
    report.show(result)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0][:4] == "a GPU: 4,000 GB/s".split()
    assert lines.count("CUDA 20.0 ms 1% 2.00 1.00 5,000 MB 1e-06 4.00 ms".split()) == 2
    assert "torch, CUDA 25.0 ms 1% 2.50 1.25 5,000 MB 1e-06 2.00 ms".split() in lines and "minitx 300 ms 1% 1.50 1.00 100 MB 1e-06".split() in lines
    assert [path.name for path in pictures.draw(result, tmp_path)] == ["steps.png", "steps-gpu.png"]
    assert [path.name for path in pictures.draw(result | {"rows": [large]}, tmp_path)] == ["steps-gpu.png"]


@pytest.mark.parametrize("arguments, said", [
    (["--device", "gpu"], "is not one of cpu, cuda and cpu,cuda"), (["--device", "cuda"], "take --device cpu,cuda"),
    (["scaling", "--device", "cpu,cuda"], "leave it out for scaling"), (["training", "--device", "cuda", "--losses", "5"], "compared on the CPU"),
    (["training", "--only", "W5"], "W5 is for a GPU"), (["--device", "cpu,cuda"], "no GPU today"), (["training", "--device", "cuda"], "no GPU today")])
def test_what_cannot_be_measured_is_refused(monkeypatch, capfd, arguments, said):
    monkeypatch.setattr(gpu, "missing", lambda: "no GPU today")
    assert cli.main(["bench", *arguments]) == 2
    assert said in capfd.readouterr().err


def test_pytorch_on_the_gpu_has_a_side():
    assert worker.MODULES["torch-cuda"] == "torch_on_cuda" and set(worker.GPU_SIDES) < set(worker.MODULES)
