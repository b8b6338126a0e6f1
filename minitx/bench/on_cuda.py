"""minitx's sides on a GPU: "cuda", and "cuda-naive" with the lessons of `naive.py` in the place of the fast kernels.

A step on a GPU has two times. The launch is what Python and the driver take to ask for it; the GPU's own is what lies between two events in its stream.
Where the launch takes longer, the GPU waits and events would tell of Python: so each row of steps is asked for while the GPU is kept busy with something
else, and begins when all of it has been asked for. A GPU's figures leave out the launch, which stands beside them.
"""
import contextlib
import importlib
import statistics
import time

import numpy as np

from ..autograd import Tensor, no_grad, tensor, zeros
from ..kernels.runtime import devices, gpu, registry
from . import ours, steps
from .cases import KERNELS, arriving_gradient, inputs_of
from .measure import Subject

_ROW = 8  # steps that are asked for at a time
_COPIED = 1 << 30  # bytes of the array that is copied: beyond the GPU's cache
_SIZES = ((8192, 8192, 8192), (4096, 4096, 4096))  # rows, columns and inner size of the products tried


def open_subject(spec):
    """The `Subject` that a request's "spec" describes."""
    return KINDS[spec["kind"]](spec)


def serving(side):
    """A context in which side "cuda-naive" computes with the naive kernels."""
    return registry.backend("naive") if side == "cuda-naive" else contextlib.nullcontext()


def set_threads(count):
    """A GPU's threads are its own."""


class Stopwatch:
    """Times on the GPU: marks in CuPy's stream, and what lies between them."""

    def __init__(self):
        self.cupy = devices.library("cuda")

    def mark(self):
        """A mark that the GPU passes when it has done what was asked for before."""
        event = self.cupy.cuda.Event()
        event.record()
        return event

    def between(self, first, second):
        """Seconds from one mark to another; both were passed."""
        return self.cupy.cuda.get_elapsed_time(first, second) / 1e3

    def wait(self):
        """Wait for the GPU."""
        self.cupy.cuda.get_current_stream().synchronize()

    def held(self):
        """Bytes of the GPU's memory that the pool has taken so far."""
        return self.cupy.get_default_memory_pool().total_bytes()

    def busy(self, seconds):
        """Keep the GPU busy for at least so long: copies within its memory, each of 256 MB and some 0.1 ms on the fastest."""
        if not hasattr(self, "filler"):
            self.filler = [self.cupy.zeros(1 << 26, np.float32) for _ in range(2)]
        for _ in range(int(seconds / 5e-5) + 1):
            self.filler[0][...] = self.filler[1]


def sample(subject, stopwatch, seconds, most=1000):
    """Seconds that the GPU takes for each step, in rows that take about `seconds` in all, and those of the median launch."""
    for _ in range(2):  # the first compiles, the second finds memory in the pool
        subject.step()
    stopwatch.wait()
    start = time.perf_counter()
    subject.step()
    launch = time.perf_counter() - start
    stopwatch.wait()
    times, launches, stop = [], [], time.perf_counter() + seconds
    while not times or time.perf_counter() < stop and len(times) < most:
        stopwatch.busy(2 * launch * _ROW)
        marks = [stopwatch.mark()]
        for _ in range(_ROW):
            start = time.perf_counter()
            subject.step()
            launches.append(time.perf_counter() - start)
            marks.append(stopwatch.mark())
        stopwatch.wait()
        times += [stopwatch.between(first, second) for first, second in zip(marks, marks[1:])]
        launch = statistics.median(launches)
    return times, launch


class OnCuda(Subject):
    """A subject whose time is the GPU's; after it was timed, its facts tell the launch."""

    device, launch = "cuda", None

    def clock(self):
        """What it is timed with."""
        return Stopwatch()

    def sample(self, seconds):
        """As measure.sample, by the GPU's clock."""
        times, self.launch = sample(self, self.clock(), seconds)
        return times

    def facts(self):
        return {"launch": self.launch}


class KernelSubject(OnCuda, ours.KernelSubject):
    """An operation of `cases.KERNELS` on the GPU."""

    def __init__(self, spec):
        cupy = devices.library("cuda")
        self.kernel, self.backward = KERNELS[spec["name"]], spec["backward"]
        arrays = inputs_of(spec["name"], spec["shape"])
        self.weights = [name for name in self.kernel.trained if name in ("weight", "bias")]
        self.activations = [name for name in self.kernel.trained if name not in self.weights]
        self.inputs = {name: cupy.asarray(value) if isinstance(value, np.ndarray) else value for name, value in arrays.items()}
        for name in self.kernel.trained:
            self.inputs[name] = tensor(self.inputs[name], requires_grad=self.backward)
        for name in self.weights if self.backward else ():
            self.inputs[name].grad_buffer = zeros(self.inputs[name].shape, device="cuda")
        with no_grad():
            shape = self.kernel.run(**self.inputs).shape
        g = arriving_gradient(shape)
        self.g = None if g is None else cupy.asarray(g)

    def outputs(self):
        return {name: array if isinstance(array, np.ndarray) else array.get() for name, array in self._found().items()}

    def _found(self):
        if not self.backward:
            return {"out": self.step().numpy()}
        arrived = dict.fromkeys(self.activations)
        out = self._both(arrived)
        gradients = arrived | {name: self.inputs[name].grad for name in self.weights}
        return {"out": out.numpy(), **{"d" + name: gradient.data if isinstance(gradient, Tensor) else gradient for name, gradient in gradients.items()}}


class OptimizerSubject(OnCuda, ours.OptimizerSubject):
    """A step of AdamW over many parameters on the GPU, gradients given."""


class Bfloat16Subject(OnCuda):
    """Causal attention on tensor cores, forward."""

    def __init__(self, spec):
        inputs = inputs_of(spec["name"], spec["shape"])
        qkv, self.heads = tensor_cores().bfloat16(devices.library("cuda").asarray(inputs["qkv"])), inputs["heads"]
        width = qkv.shape[2] // 3
        self.qkv = [qkv[..., start * width:(start + 1) * width] for start in range(3)]

    def step(self):
        return tensor_cores().attention(*self.qkv, self.heads, causal=True)[0]

    def outputs(self):
        return {"out": devices.host(tensor_cores().float32(self.step()))}


def tensor_cores():
    """The module, which needs numba-cuda."""
    return importlib.import_module("minitx.kernels.attention.tensor_cores")


class WholeSteps(OnCuda):
    """Steps of a workload, by the clock on the wall: the launches of one step run while the GPU does the one before, as in training."""

    def sample(self, seconds):
        """Seconds of a step, the mean of a cycle of them."""
        stopwatch = self.clock()
        for _ in range(self.cycle):  # kernels are compiled, and memory comes to the pool
            self.step()
        stopwatch.wait()
        self.rewind()
        times, launches, stop = [], [], time.perf_counter() + seconds
        while not times or time.perf_counter() < stop:
            begun = time.perf_counter()
            for _ in range(self.cycle):
                start = time.perf_counter()
                self.step()
                launches.append(time.perf_counter() - start)
            stopwatch.wait()
            times.append((time.perf_counter() - begun) / self.cycle)
        self.launch = statistics.median(launches)
        return times

    def facts(self):
        return {"launch": self.launch, "held": self.clock().held()}


class TrainingSubject(WholeSteps, steps.TrainingSubject):
    """A training step of a workload."""


class DecodingSubject(WholeSteps, steps.DecodingSubject):
    """Greedy decoding of a batch, which waits for each word."""


class CopySubject(OnCuda):
    """Copies a large array within the GPU's memory; what is read and what is written count."""

    def __init__(self, spec):
        cupy, size = devices.library("cuda"), spec.get("bytes", _COPIED) // 4
        self.source, self.target = cupy.ones(size, np.float32), cupy.zeros(size, np.float32)

    def step(self):
        self.target[...] = self.source


class ProductSubject(OnCuda):
    """One large matrix product as cuBLAS computes it, in float32 or in the dtype that is asked for."""

    def __init__(self, spec):
        (rows, columns, inner), generator = spec["shape"], np.random.default_rng(0)
        dtype = spec.get("dtype", "float32")
        self.a, self.b = (devices.library("cuda").asarray(generator.standard_normal(shape, dtype=np.float32).astype(dtype))
                          for shape in ((rows, inner), (inner, columns)))

    def step(self):
        self.c = self.a @ self.b


def measure(worker, seconds=0.3, quick=False):
    """{"name": the GPU's, "copy": bytes/s, "product": operations/s in float32, "product16": in float16, which bfloat16 is as quick as}: the best of
    several tries; `worker` is that of side "cuda".
    """
    size = _COPIED >> (18 if quick else 0)
    worker.ask("open", spec={"kind": "copy", "bytes": size})
    found = {"name": gpu.describe().get("gpu 0", "unknown"), "copy": 2 * size / min(worker.timer(None)(seconds)), "product": 0.0, "product16": 0.0}
    for shape in ((64, 64, 64),) if quick else _SIZES:
        for name, dtype in (("product", "float32"), ("product16", "float16")):
            worker.ask("open", spec={"kind": "product", "shape": shape, "dtype": dtype})
            found[name] = max(found[name], 2 * shape[0] * shape[1] * shape[2] / min(worker.timer(None)(seconds)))
    return found


KINDS = {
    "kernel": lambda spec: _kind_of(KERNELS[spec["name"]])(spec),
    "copy": CopySubject,
    "product": ProductSubject,
    "training": TrainingSubject,
    "decoding": DecodingSubject,
}


def _kind_of(kernel):
    return OptimizerSubject if kernel.updates else Bfloat16Subject if kernel.only_cuda else KernelSubject
