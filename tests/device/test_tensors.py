"""Tensors on "cuda": every operation gives what it gives in main memory, moving is explicit, and mixing is an error that names what is where."""
import copy
import subprocess
import sys

import numpy as np
import pytest

import minitx as mx
from minitx.autograd import Tensor, fused, gradients, ops, tensor
from minitx.kernels.linear import linear
from minitx.kernels.runtime import devices, gpu, memory
from minitx.kernels.top_k import top_k
from minitx.nn import Dropout, Linear

from ..autograd.cases import CASES
from . import standin


def outputs_of(value):
    return [one for one in (value if isinstance(value, (list, tuple)) else [value])]


@pytest.mark.parametrize("case", [case for case in CASES if case.name not in ("where", "to_device")], ids=repr)
def test_operations_and_their_first_and_second_gradients_are_the_same(cupy, case):
    """`where` is asked about a condition in main memory, which would have to be moved."""
    found = []
    for device in ("cpu", "cuda"):
        inputs = [tensor(array, requires_grad=True, device=device) for array in case.arrays()]
        results = outputs_of(case(*inputs))
        steps = list(results)
        for _ in range(2):
            results = [one for one in results if one.requires_grad]
            cotangents = [Tensor(np.cos(one.data)) for one in results]
            results = [one for one in gradients(results, inputs, cotangents, create_graph=True) if one is not None] if results else []
            steps += results
        found.append(steps)
    for here, there in zip(*found, strict=True):
        assert isinstance(there.data, cupy.ndarray) and there.dtype == here.dtype
        np.testing.assert_allclose(there.data.get(), here.data, rtol=1e-12, atol=1e-12)


def test_moving_is_explicit_and_gradients_come_back(cupy):
    x = tensor([1.0, 2.0], requires_grad=True)
    y = x.to("cuda")
    assert (x.device, y.device, y.to("cuda") is y, x.to("cpu") is x) == ("cpu", "cuda", True, True)
    (y * y).sum().backward()
    assert x.grad.device == "cpu" and x.grad.tolist() == [2.0, 4.0]
    assert y.numpy().tolist() == [1.0, 2.0] and y[1].item() == 2.0
    with pytest.raises(TypeError, match="does not become a NumPy array unasked"):
        np.asarray(y)
    assert "device='cuda'" in repr(y) and "1., 2." in repr(y)


def test_tensors_are_made_where_they_are_asked_for(cupy):
    x = tensor([1.0, 2.0], device="cuda", requires_grad=True)
    assert isinstance(x.data, cupy.ndarray) and x.dtype == np.float32
    twin = tensor(x)
    assert twin.device == "cuda" and not np.may_share_memory(twin.data.simulated, x.data.simulated)
    assert tensor(x, device="cpu").device == "cpu"
    assert mx.zeros((2, 3), device="cuda").data.get().tolist() == [[0, 0, 0]] * 2
    other = copy.deepcopy(x)
    assert other.device == "cuda" and other.requires_grad and not np.may_share_memory(other.data.simulated, x.data.simulated)
    with pytest.raises(ValueError, match="device: 'gpu' is not one of cpu, cuda"):
        tensor([1.0], device="gpu")


def test_a_model_moves_whole_and_its_copy_stays(cupy):
    model = Linear(3, 2).to("cuda")
    twin = copy.deepcopy(model)
    assert model.to("cuda") is model and {value.device for value in (*model.parameters(), *twin.parameters())} == {"cuda"}
    model.to("cpu")
    assert {value.device for value in model.parameters()} == {"cpu"} and twin.weight.device == "cuda"


X, W, B = np.ones((2, 3), np.float32), np.ones((4, 3), np.float32), np.ones(4, np.float32)


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda x, w, b: x + b.to("cuda")[:3], ["add: x is in main memory but y is on the GPU"]),
        (lambda x, w, b: x.to("cuda") @ w.T, ["matmul: y is in main memory but x is on the GPU"]),
        (lambda x, w, b: fused.linear(x.to("cuda"), w, b), ["linear: weight and bias are in main memory but x is on the GPU"]),
        (lambda x, w, b: fused.linear(x, w.to("cuda"), b), ["linear: x and bias are in main memory but weight is on the GPU"]),
        (lambda x, w, b: linear(x.to("cuda").data, w.data, None), ["linear: weight is in main memory but x is on the GPU"]),
        (lambda x, w, b: ops.concatenate([x, x.to("cuda")]), ["concatenate: xs[0] is in main memory but xs[1] is on the GPU"]),
        (lambda x, w, b: x.to("cuda") * X, ["multiply: y is in main memory"]),
        (lambda x, w, b: ops.where(X > 0, x.to("cuda"), 0.0), ["where: condition is in main memory but x is on the GPU"]),
    ],
)
def test_mixing_devices_is_an_error_that_says_what_is_where_and_what_to_do(cupy, call, said):
    with pytest.raises(TypeError) as error:
        call(*map(tensor, (X, W, B)))
    assert all(part in str(error.value) for part in [*said, "x.to('cuda')"])


def test_an_optimizer_wants_its_parameters_on_one_device(cupy):
    with pytest.raises(ValueError, match="some parameters are in main memory and some on the GPU"):
        mx.optim.SGD([tensor(X, requires_grad=True), tensor(W, requires_grad=True, device="cuda")])


def test_a_kernel_that_there_is_not_is_named():
    with standin.installed() as library, pytest.raises(NotImplementedError, match="top_k: it has no kernel for the GPU; compute it in main memory"):
        top_k(library.zeros((2, 6)), 2)


def test_what_the_tape_keeps_of_bare_arrays_is_a_copy(cupy):
    weight, ids = tensor(W, requires_grad=True, device="cuda"), cupy.asarray(np.array([0, 1]))
    loss = fused.embedding(weight, ids).sum()
    ids[...] = 3
    loss.backward()
    assert weight.grad.data.get().sum(axis=1).tolist() == [3, 3, 0, 0]


def test_masks_are_those_of_the_cpu(cupy):
    for device in ("cpu", "cuda"):
        mx.random.seed(7)
        dropped = Dropout(0.5)(tensor(np.ones((5, 9), np.float32), device=device)).numpy()
        first = dropped if device == "cpu" else first  # noqa: F821
    np.testing.assert_array_equal(dropped, first)


def test_gradients_do_not_wait_for_the_gpu(cupy):
    x, w = tensor(X, requires_grad=True, device="cuda"), tensor(W, requires_grad=True, device="cuda")
    before = standin.waits
    loss = fused.cross_entropy(mx.tanh(x) @ w.T, cupy.asarray(np.array([0, 1])))
    loss.backward()
    assert standin.waits == before


def test_without_cupy_a_move_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(gpu, "missing", lambda: "CuPy is not installed: pip install 'minitx[cuda13]'")
    with pytest.raises(RuntimeError, match=r"device cuda: CuPy is not installed: pip install 'minitx\[cuda13\]'"):
        tensor(X).to("cuda")


def test_importing_minitx_imports_nothing_of_cuda_nor_what_takes_long():
    code = "import sys, minitx; print(*[name for name in ('cupy', 'numba', 'numba_cuda', 'scipy', 'matplotlib') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""


def test_places_of_arrays(cupy):
    there = cupy.zeros((2,), np.float32)
    assert (devices.of(there), devices.of(X), devices.of([1.0])) == ("cuda", "cpu", "cpu")
    assert devices.place(None, there) is None and devices.place(X, X) is X and devices.place(there, there) is there
    assert isinstance(devices.place(X, there), cupy.ndarray) and isinstance(devices.place(there, X), np.ndarray)
    assert devices.host(X) is X and isinstance(devices.host(there), np.ndarray)
    assert memory.owns(there) and memory.owns(there + 1) and not memory.owns(there[:1]) and not memory.owns(there.reshape(1, 2))
    assert devices.empty((3, 2), there).shape == (3, 2) and devices.empty((3, 2), X).dtype == np.float32
