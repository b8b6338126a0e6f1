"""minitx's side of every comparison, and NumPy's: the same operations served by the references."""
import contextlib

import numpy as np

from ..autograd import no_grad, op, tensor, zeros
from ..kernels.runtime import devices, registry, threads
from ..optim import AdamW
from . import machine, products, steps
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
    """An operation of `cases.KERNELS`, forward or forward and backward, as a model would call it.

    Its activations come from an operation before it, and its weights have a buffer for their gradient, as an optimizer gives them.
    """

    def __init__(self, spec):
        self.kernel, self.backward = KERNELS[spec["name"]], spec["backward"]
        self.inputs = inputs_of(spec["name"], spec["shape"])
        self.weights = [name for name in self.kernel.trained if name in ("weight", "bias")]
        self.activations = [name for name in self.kernel.trained if name not in self.weights]
        for name in self.kernel.trained:
            self.inputs[name] = tensor(self.inputs[name], requires_grad=self.backward)
        for name in self.weights if self.backward else ():
            self.inputs[name].grad_buffer = zeros(self.inputs[name].shape)
        with no_grad():
            shape = self.kernel.run(**self.inputs).shape
        self.g = arriving_gradient(shape)

    def step(self):
        if not self.backward:
            with no_grad():
                return self.kernel.run(**self.inputs)
        return self._both({})

    def _both(self, arrived):
        """Forward and backward; `arrived`, {name: None}, is filled with the gradients of those activations."""
        for name in self.weights:
            self.inputs[name].grad = None
        given = {name: _activation(self.inputs[name]) for name in self.activations}
        for name in arrived:
            given[name].register_hook(lambda g, name=name: arrived.update({name: g}))
        out = self.kernel.run(**self.inputs | given)
        out.backward(self.g)
        return out

    def outputs(self):
        if not self.backward:
            return {"out": self.step().numpy()}
        arrived = dict.fromkeys(self.activations)
        out = self._both(arrived)
        gradients = arrived | {name: self.inputs[name].grad for name in self.weights}
        return {"out": out.numpy(), **{"d" + name: np.asarray(gradient) for name, gradient in gradients.items()}}


@op
def _activation(x):
    """x: what an operation before the measured one gave."""
    return x


@_activation.vjp
def _(g):
    return (None,)


class OptimizerSubject(Subject):
    """A step of AdamW over many parameters, gradients given."""

    def __init__(self, spec):
        arrays = inputs_of(spec["name"], spec["shape"])
        self.parameters = [tensor(array, requires_grad=True, device=self.device) for name, array in arrays.items() if name.startswith("parameter")]
        self.optimizer = AdamW(self.parameters, 1e-3, weight_decay=0.0)
        for parameter, (name, gradient) in zip(self.parameters, [item for item in arrays.items() if item[0].startswith("gradient")]):
            parameter.grad_buffer.data[...] = devices.place(gradient, parameter.data)
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
    "products": products.ProductsSubject,
    "training": steps.TrainingSubject,
    "decoding": steps.DecodingSubject,
}
