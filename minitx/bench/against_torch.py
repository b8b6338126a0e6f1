"""PyTorch's side of every comparison, written as an expert would: fused attention, fused AdamW, no needless copies. The only file that imports torch."""
import contextlib

import numpy as np
import torch
from torch.nn import functional as F

from .cases import KERNELS, arriving_gradient, inputs_of
from .measure import Subject


def open_subject(spec):
    """The `Subject` that a request's "spec" describes."""
    return KINDS[spec["kind"]](spec)


def serving(side):
    """Nothing has to be set up."""
    return contextlib.nullcontext()


def set_threads(count):
    """Compute with `count` threads from now on."""
    torch.set_num_threads(count)


class KernelSubject(Subject):
    """PyTorch's version of an operation of `cases.KERNELS`, forward or forward and backward."""

    def __init__(self, spec):
        self.backward = spec["backward"]
        self.prepare, self.run, self.finish = OPERATIONS[spec["name"]]
        arrays = inputs_of(spec["name"], spec["shape"])
        self.names = KERNELS[spec["name"]].trained
        self.inputs = self.prepare({name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value for name, value in arrays.items()})
        self.trained = [value.requires_grad_(self.backward) for value in self.inputs.values() if torch.is_tensor(value) and value.is_floating_point()]
        with torch.no_grad():
            out = self.run(**self.inputs)
        g = arriving_gradient(tuple(self.finish(out).shape))
        self.g = None if g is None else _as_given(torch.from_numpy(g), out)

    def step(self):
        if not self.backward:
            with torch.no_grad():
                return self.run(**self.inputs)
        for tensor in self.trained:
            tensor.grad = None
        out = self.run(**self.inputs)
        out.backward(self.g)
        return out

    def outputs(self):
        found = {"out": self.finish(self.step().detach()).numpy()}
        if self.backward:
            gradients = {name: value.grad for name, value in self.inputs.items() if torch.is_tensor(value) and value.grad is not None}
            found |= {name: gradient.numpy() for name, gradient in _joined(gradients).items()}
        return found


def _as_given(g, out):
    """The gradient (batch, time, heads · size) in the layout of attention's output, (batch, heads, time, size); others as they are."""
    return _heads(g, out.shape[1]) if out.ndim == 4 else g


def _heads(x, heads):
    """(batch, time, heads · size) as contiguous (batch, heads, time, size): the layout that PyTorch's attention likes best."""
    batch, time, width = x.shape
    return x.view(batch, time, heads, width // heads).transpose(1, 2).contiguous()


def _merged(x):
    """(batch, heads, time, size) as (batch, time, heads · size)."""
    return x.transpose(1, 2).flatten(2) if x.ndim == 4 else x


def _joined(gradients):
    """Gradients under minitx's names: queries, keys and values lie side by side there."""
    if "q" not in gradients:
        return {"d" + name: gradient for name, gradient in gradients.items()}
    q, k, v = (_merged(gradients[name]) for name in "qkv")
    return {"dqkv": torch.cat((q, k, v), -1), "dq": q, "dkv": torch.cat((k, v), -1)}


def _split_self(inputs):
    return dict(zip("qkv", (_heads(part, inputs["heads"]) for part in inputs["qkv"].chunk(3, -1))))


def _split_cross(inputs):
    heads, kv = inputs["heads"], inputs["kv"]
    seen = torch.arange(kv.shape[1]) < inputs["lengths"][:, None]
    return {"q": _heads(inputs["q"], heads), **dict(zip("kv", (_heads(part, heads) for part in kv.chunk(2, -1)))), "mask": seen[:, None, None]}


def _with_long(name):
    """PyTorch's losses take targets of 64 bits: converted once, before the clock runs."""
    return lambda inputs: inputs | {name: inputs[name].long()}


def _as_they_are(value):
    return value


OPERATIONS = {
    "softmax": (_as_they_are, lambda x: F.softmax(x, -1), _as_they_are),
    "layer norm": (_as_they_are, lambda x, weight, bias: F.layer_norm(x, x.shape[-1:], weight, bias), _as_they_are),
    "add + layer norm": (_as_they_are, lambda x, residual, weight, bias: F.layer_norm(residual + x, x.shape[-1:], weight, bias), _as_they_are),
    "cross-entropy": (_with_long("targets"), lambda logits, targets: F.cross_entropy(logits, targets), _as_they_are),
    "linear + cross-entropy": (_with_long("targets"), lambda x, weight, targets: F.cross_entropy(F.linear(x, weight), targets), _as_they_are),
    "linear": (_as_they_are, lambda x, weight, bias: F.linear(x, weight, bias), _as_they_are),
    "linear + GELU": (_as_they_are, lambda x, weight, bias: F.gelu(F.linear(x, weight, bias)), _as_they_are),
    "GELU": (_as_they_are, lambda x: F.gelu(x), _as_they_are),
    "dropout": (_as_they_are, lambda x: F.dropout(x, 0.1), _as_they_are),
    "causal attention": (_split_self, lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), _merged),
    "cross attention, keys padded": (_split_cross, lambda q, k, v, mask: F.scaled_dot_product_attention(q, k, v, attn_mask=mask), _merged),
    "embedding": (_as_they_are, lambda weight, ids: F.embedding(ids, weight), _as_they_are),
}
"""{kernel: (what is done to the inputs before the clock runs, the operation, its output in minitx's layout)}."""


class OptimizerSubject(Subject):
    """A step of fused AdamW over many parameters, gradients given."""

    def __init__(self, spec):
        arrays = inputs_of(spec["name"], spec["shape"])
        self.parameters = [torch.nn.Parameter(torch.from_numpy(array)) for name, array in arrays.items() if name.startswith("parameter")]
        for parameter, gradient in zip(self.parameters, [array for name, array in arrays.items() if name.startswith("gradient")]):
            parameter.grad = torch.from_numpy(gradient)
        self.optimizer = torch.optim.AdamW(self.parameters, 1e-3, weight_decay=0.0, fused=True)

    def step(self):
        self.optimizer.step()

    def outputs(self):
        self.step()
        return {"parameters": torch.cat([parameter.detach() for parameter in self.parameters]).numpy()}


KINDS = {"kernel": lambda spec: (OptimizerSubject if KERNELS[spec["name"]].updates else KernelSubject)(spec)}
