"""PyTorch's side on a GPU: the operations of `against_torch.py` on its device, timed by events as ours are. TF32 is off, as PyTorch has it."""
import numpy as np
import torch
from torch.nn import functional as F

from . import against_torch
from .against_torch import serving, set_threads  # noqa: F401
from .cases import KERNELS, inputs_of
from .on_cuda import OnCuda, WholeSteps


def open_subject(spec):
    """The `Subject` that a request's "spec" describes."""
    if spec["kind"] != "kernel":
        return {"training": TrainingSubject, "decoding": DecodingSubject}[spec["kind"]](spec)
    kernel = KERNELS[spec["name"]]
    return (OptimizerSubject if kernel.updates else Bfloat16Subject if kernel.only_cuda else KernelSubject)(spec)


class Stopwatch:
    """As on_cuda.Stopwatch, in PyTorch's stream."""

    def mark(self):
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(self, first, second):
        return first.elapsed_time(second) / 1e3

    def wait(self):
        torch.cuda.synchronize()

    def held(self):
        return torch.cuda.max_memory_reserved()

    def busy(self, seconds):
        if not hasattr(self, "filler"):
            self.filler = [torch.zeros(1 << 26, device="cuda") for _ in range(2)]
        for _ in range(int(seconds / 5e-5) + 1):
            self.filler[0].copy_(self.filler[1])


class Timed(OnCuda):
    """A subject that is timed by PyTorch's events."""

    def clock(self):
        return Stopwatch()


class KernelSubject(Timed, against_torch.KernelSubject):
    """An operation of `cases.KERNELS`."""


class OptimizerSubject(Timed, against_torch.OptimizerSubject):
    """A step of fused AdamW."""


class Bfloat16Subject(Timed):
    """Causal attention in bfloat16, forward."""

    def __init__(self, spec):
        inputs = inputs_of(spec["name"], spec["shape"])
        parts = torch.from_numpy(inputs["qkv"]).to(self.device, torch.bfloat16).chunk(3, -1)
        self.q, self.k, self.v = (against_torch._heads(part, inputs["heads"]) for part in parts)

    @torch.no_grad()
    def step(self):
        return F.scaled_dot_product_attention(self.q, self.k, self.v, is_causal=True)

    def outputs(self):
        return {"out": against_torch._merged(self.step()).float().cpu().numpy().astype(np.float32)}


class TrainingSubject(Timed, WholeSteps, against_torch.TrainingSubject):
    """A training step of a workload."""


class DecodingSubject(Timed, WholeSteps, against_torch.DecodingSubject):
    """Greedy decoding of a batch."""
