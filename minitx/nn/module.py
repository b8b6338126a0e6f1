"""`Module`: a part of a model that knows its parameters by name, with PyTorch's names for everything."""
import contextlib
import copy

import numpy as np

from ..autograd import Tensor
from ..autograd.graph import record_write
from ..hooks import RemovableHandle
from ..kernels.runtime import devices


def Parameter(array):
    """A leaf Tensor that an optimizer will move, around `array` itself."""
    return Tensor(array).requires_grad_()


class Module:
    """Base class: attributes that are Tensors requiring a gradient are parameters, other Tensors are buffers, Modules and lists of them are children."""

    training = True

    def __call__(self, *args, **kwargs):
        hooks = self.__dict__.get("_forward_hooks")
        out = self.forward(*args, **kwargs)
        for hook in tuple(hooks.values()) if hooks else ():
            replaced = hook(self, args, out)
            out = out if replaced is None else replaced
        return out

    def forward(self, *args, **kwargs):
        """What the module computes; each kind of module defines its own."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def register_forward_hook(self, hook):
        """Call `hook(module, inputs, output)` after each forward; what it returns, unless None, replaces the output. Returns its `RemovableHandle`."""
        hooks = self.__dict__.setdefault("_forward_hooks", {})
        return RemovableHandle(hooks, hook)

    def named_modules(self, prefix=""):
        """(name, module) of this module and all below, in the order of definition."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def named_children(self):
        """(name, module) of the modules directly below; those in a list are numbered: "layers.0"."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, (list, tuple)):
                yield from ((f"{name}.{i}", item) for i, item in enumerate(value) if isinstance(item, Module))

    def named_tensors(self):
        """(name, Tensor) of all parameters and buffers; one that is shared between modules comes once, under its first name."""
        seen = set()
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Tensor) and id(value) not in seen:
                    seen.add(id(value))
                    yield f"{prefix}.{name}" if prefix else name, value

    def named_parameters(self):
        """(name, Tensor) of what is trained."""
        return ((name, value) for name, value in self.named_tensors() if value.requires_grad)

    def parameters(self):
        """The Tensors that are trained."""
        return [value for _, value in self.named_parameters()]

    def buffers(self):
        """The Tensors that belong to the model but are not trained."""
        return [value for _, value in self.named_tensors() if not value.requires_grad]

    def n_parameters(self):
        """How many numbers are trained."""
        return sum(parameter.size for parameter in self.parameters())

    def train(self, training=True):
        """Switch dropout and the like on (or off); returns the module."""
        for _, module in self.named_modules():
            module.training = training
        return self

    def eval(self):
        """Switch dropout and the like off; returns the module."""
        return self.train(False)

    @contextlib.contextmanager
    def trial(self):
        """Within the block the module is in training, for passes that leave no trace: afterwards all modes and buffers (running statistics) are as before."""
        modes, before = [(module, module.training) for _, module in self.named_modules()], [(buffer, buffer.data.copy()) for buffer in self.buffers()]
        self.train()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training
            for buffer, array in before:
                buffer.data[...] = array

    def zero_grad(self):
        """Forget all gradients."""
        for parameter in self.parameters():
            parameter.grad = None

    def state_dict(self):
        """{name: array} of all parameters and buffers. The arrays are the model's own: copy what must not change."""
        return {name: value.data for name, value in self.named_tensors()}

    def load_state_dict(self, state):
        """Copy arrays (or Tensors) into the parameters and buffers of the same names; a name or shape that does not fit is an error."""
        own = dict(self.named_tensors())
        missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        if missing or unknown:
            raise ValueError(f"load_state_dict: {len(missing)} missing {missing[:3]}, {len(unknown)} unknown {unknown[:3]}; is this the state of another model?")
        arrays = {name: value.data if isinstance(value, Tensor) else value for name, value in state.items()}
        for name, value in own.items():
            if arrays[name].shape != value.shape:
                raise ValueError(f"load_state_dict: {name} has shape {arrays[name].shape} but this model's has {value.shape}; were the settings different?")
        for name, value in own.items():
            record_write(value)  # a graph that keeps it refuses its backward
            value.data[...] = devices.place(arrays[name], value.data)
        return self

    def to(self, where):
        """Move all Tensors to a device ("cpu", "cuda") or give them another floating-point dtype; returns the module."""
        if not isinstance(where, str) and np.dtype(where).kind != "f":
            raise TypeError(f"to: {np.dtype(where)} has no gradients; a module is float32 or float64")
        for value in dict(self.named_tensors()).values():
            moved = value.detach().to(where).data
            if moved is not value.data:
                value.data, value.grad, value.grad_buffer = moved, None, None
        return self

    def __deepcopy__(self, memo):
        twin = object.__new__(type(self))
        memo[id(self)] = twin
        twin.__dict__.update({name: copy.deepcopy(value, memo) for name, value in vars(self).items()})
        return twin

    def __repr__(self):
        lines = [f"  {name}: {line}" for name, child in self.named_children() for line in [repr(child).replace("\n", "\n  ")]]
        own = ", ".join(f"{name}{value.shape}" for name, value in vars(self).items() if isinstance(value, Tensor))
        return f"{type(self).__name__}({own}" + ("\n" + "\n".join(lines) + "\n)" if lines else ")")
