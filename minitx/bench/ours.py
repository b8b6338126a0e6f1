"""minitx's side of every comparison, and NumPy's: the same operations served by the references."""
import contextlib

import numpy as np

from ..autograd import no_grad, tensor
from ..kernels.runtime import registry, threads
from ..optim import AdamW
from . import machine
from .cases import KERNELS, arriving_gradient, inputs_of
from .measure import Subject


def open_subject(spec):
    """The `Subject` that a request's "spec" describes."""
    return KINDS[spec["kind"]](spec)


def serving(side):
    """A context in which side "reference" computes in plain NumPy."""
    return registry.backend("reference") if side == "reference" else contextlib.nullcontext()


def set_threads(count):
    """Compute with `count` threads from now on."""
    threads.set_threads(count)


class KernelSubject(Subject):
    """An operation of `cases.KERNELS`, forward or forward and backward, as a program would call it: on Tensors."""

    def __init__(self, spec):
        self.kernel, self.backward = KERNELS[spec["name"]], spec["backward"]
        arrays = inputs_of(spec["name"], spec["shape"])
        self.inputs = {name: tensor(value, requires_grad=self.backward) if name in self.kernel.trained else value for name, value in arrays.items()}
        with no_grad():
            shape = self.kernel.run(**self.inputs).shape
        self.g = arriving_gradient(shape)

    def step(self):
        if not self.backward:
            with no_grad():
                return self.kernel.run(**self.inputs)
        for name in self.kernel.trained:
            self.inputs[name].grad = None
        out = self.kernel.run(**self.inputs)
        out.backward(self.g)
        return out

    def outputs(self):
        found = {"out": self.step().numpy()}
        if self.backward:
            found |= {"d" + name: self.inputs[name].grad.numpy() for name in self.kernel.trained}
        return found


class OptimizerSubject(Subject):
    """A step of AdamW over many parameters, gradients given."""

    def __init__(self, spec):
        arrays = inputs_of(spec["name"], spec["shape"])
        self.parameters = [tensor(array, requires_grad=True) for name, array in arrays.items() if name.startswith("parameter")]
        self.optimizer = AdamW(self.parameters, 1e-3, weight_decay=0.0)
        for parameter, (name, gradient) in zip(self.parameters, [item for item in arrays.items() if item[0].startswith("gradient")]):
            parameter.grad_buffer.data[...] = gradient
            parameter.grad = parameter.grad_buffer

    def step(self):
        self.optimizer.step()

    def outputs(self):
        self.step()
        return {"parameters": np.concatenate([parameter.numpy() for parameter in self.parameters])}


KINDS = {
    "kernel": lambda spec: (OptimizerSubject if KERNELS[spec["name"]].updates else KernelSubject)(spec),
    "copy": machine.CopySubject,
    "product": machine.ProductSubject,
}
