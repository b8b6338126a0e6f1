"""The calls that tests/gpu makes on a GPU, in the simulator at their smallest: so that they are right before a GPU is at hand."""
import importlib
import pathlib

import numpy as np
import pytest

from minitx import kernels
from minitx.bench import on_cuda, ours
from minitx.bench.cases import KERNELS
from minitx.bench.measure import largest_error
from minitx.kernels import softmax as kernels_of_softmax
from minitx.kernels.runtime import registry

from ..device import standin
from ..gpu.cases import CASES, Source
from ..gpu.comparing import compare


@pytest.mark.parametrize("case", [case for case in CASES if case.small], ids=repr)
def test_agrees_with_the_reference(case):
    with registry.backend("cuda"):
        for function, arguments, options in case.calls(Source(), *case.sizes):
            compare(function, arguments, options, np.float32, np.asarray, np.asarray)


def test_every_kernel_for_the_gpu_has_a_case():
    called = {function.__name__ for case in CASES if case.small for function, _, _ in case.calls(Source(), *case.sizes)}
    served = set()
    for path in pathlib.Path(kernels.__file__).parent.glob("*/cuda.py"):
        if path.parent.name != "runtime":
            package = importlib.import_module(f"minitx.kernels.{path.parent.name}")
            served |= {name for name, value in vars(package).items() if hasattr(value, "reference") and callable(value)}
    assert served - {"attention_weights"} == called  # those are NumPy's


def test_the_naive_side_of_the_bench_is_served_by_naive_files():
    for name, file in (("softmax", "naive"), ("gelu", "cuda")):
        assert registry._find(f"minitx.kernels.{name}", "naive", name).__module__ == f"minitx.kernels.{name}.{file}"
    with registry.backend("naive"):
        x = np.array([[0.0, np.log(3.0)]])
        np.testing.assert_allclose(kernels_of_softmax.softmax(x), [[0.25, 0.75]])


@pytest.mark.parametrize("name", KERNELS)
def test_the_gpu_s_side_of_the_bench_computes_what_the_reference_does(name):
    kernel = KERNELS[name]
    spec = {"kind": "kernel", "name": name, "shape": kernel.quick[0], "backward": not kernel.forward_only}
    with ours.serving("reference"):
        expected = ours.open_subject(spec).outputs()
    with standin.installed():
        for side in ("cuda",) if kernel.only_cuda else ("cuda", "cuda-naive"):
            with on_cuda.serving(side):
                error, where = largest_error(on_cuda.open_subject(spec).outputs(), expected)
            assert error < (kernel.tolerance if kernel.only_cuda else 1e-5), f"{side}, {where}"
