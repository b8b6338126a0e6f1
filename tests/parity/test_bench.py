"""PyTorch's side of the benchmark computes the same: every kernel, and loss and gradients of every workload."""
import pytest
import torch

from minitx.bench.cases import KERNELS
from minitx.bench.kernels import TOLERANCE
from minitx.bench.worker import Server
from minitx.bench.workloads import QUICK, prepare, workload

torch.set_num_threads(1)  # two pools of threads on the same cores hinder each other


def difference(spec, path):
    """The largest relative difference between NumPy's reference and PyTorch."""
    ask(Server("reference"), spec, {"do": "save", "path": str(path)})
    return ask(Server("torch"), spec, {"do": "compare", "path": str(path)})["error"]


def ask(server, spec, request):
    assert server.answer({"do": "open", "spec": spec}) == {"opened": True}
    answer = server.answer(request)
    assert "failed" not in answer, answer
    return answer


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize("name", [name for name, kernel in KERNELS.items() if not kernel.random and not kernel.only_cuda])
def test_a_kernel_is_the_same_operation_in_pytorch(name, backward, tmp_path):
    for shape in KERNELS[name].quick:
        assert difference({"kind": "kernel", "name": name, "shape": shape, "backward": backward}, tmp_path / "truth.npz") < TOLERANCE


@pytest.mark.parametrize("name", QUICK)
def test_a_workload_is_the_same_work_in_pytorch(name, tmp_path):
    work = workload(name, QUICK[name])
    prepare(work, tmp_path)
    kind = "decoding" if work.kind == "decoding" else "training"
    assert difference({"kind": kind, "name": name, "changes": QUICK[name], "folder": str(tmp_path)}, tmp_path / "truth.npz") < 1e-5


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("name", ["W1", "W3"])
def test_losses_agree_step_after_step(name, dtype, tolerance, tmp_path):
    work = workload(name, QUICK[name]).without_dropout()
    prepare(work, tmp_path)
    spec = {"kind": "training", "name": name, "changes": {**QUICK[name], "model": work.model, "dtype": dtype}, "folder": str(tmp_path)}
    ours, theirs = (ask(Server(side), spec, {"do": "losses", "count": 20})["losses"] for side in ("minitx", "torch"))
    assert ours == pytest.approx(theirs, rel=tolerance) and ours[-1] < ours[0]
