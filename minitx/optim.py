"""Optimizers and learning-rate schedules.

An optimizer moves all parameters and gradients into two flat arrays, of which each parameter and its gradient become views: one kernel then updates
everything in one pass, and the norm of all gradients is one sum.
"""
import numpy as np

from .autograd import Tensor
from .kernels.adam import adam, clipping
from .kernels.runtime import devices


class Optimizer:
    """What all optimizers share: the flat arrays, `zero_grad`, clipping, and a state that can be saved.

    Args:
        parameters: leaf Tensors. Those with two or more axes (matrices) come first in the flat arrays; `n_matrices` numbers. One whose `grad` is None stays
            as it is in a step, and so do its moments: it was not used, or is frozen. (Adam's correction for the start counts all steps.)
        learning_rate: of the next `step`; change the attribute as a schedule asks.

    Raises ValueError for no parameters, for those of several dtypes or on several devices, and for results of operations.
    """

    moments = ()  # names of the flat arrays that a step keeps

    def __init__(self, parameters, learning_rate):
        parameters = sorted(parameters, key=lambda parameter: parameter.ndim < 2)
        if not parameters:
            raise ValueError("optimizer: there are no parameters; does any Tensor require a gradient?")
        for parameter in parameters:
            if parameter.node is not None:
                raise ValueError(f"optimizer: a Tensor of shape {parameter.shape} is the result of {parameter.node.op.name}, and only leaves are moved")
        dtypes = sorted({parameter.dtype.name for parameter in parameters})
        if len(dtypes) > 1:
            raise ValueError(f"optimizer: the parameters are {' and '.join(dtypes)}; give them one dtype, as model.to({dtypes[0]!r}) does")
        if len({parameter.device for parameter in parameters}) > 1:
            raise ValueError("optimizer: some parameters are in main memory and some on the GPU; move them to one device, as model.to('cuda') does")
        self.parameters, self.learning_rate, self.steps = parameters, learning_rate, 0
        size = sum(parameter.size for parameter in parameters)
        self.n_matrices = sum(parameter.size for parameter in parameters if parameter.ndim >= 2)
        self.data, self.grad = (like(parameters[0].data, shape=(size,)) for like in (np.empty_like, np.zeros_like))  # where the parameters are
        start, self._pieces = 0, []  # of the flat arrays, and the buffer of the gradient
        for parameter in parameters:
            piece = slice(start, start + parameter.size)
            self.data[piece] = parameter.data.reshape(-1)
            parameter.data = self.data[piece].reshape(parameter.shape)
            parameter.grad_buffer = Tensor(self.grad[piece].reshape(parameter.shape))
            self._pieces.append((piece, parameter.grad_buffer))
            start = piece.stop
        self.state = {name: np.zeros_like(self.grad) for name in self.moments}

    def zero_grad(self):
        """Forget all gradients; the next backward writes over them."""
        for parameter in self.parameters:
            parameter.grad = None

    def gradient_norm(self):
        """The Euclidean norm of all gradients together."""
        return float(self.clipping(np.inf)[0])

    def clipping(self, limit):
        """The norm of all gradients together, and the scale with which it is at most `limit`; on the GPU both stay there."""
        self._gather()
        return clipping(self.grad, limit)

    def step(self, clip=0.0):
        """Move the parameters along their gradients, which are first scaled down so that their norm is at most `clip` (0: as they are).

        Returns the norm before clipping (Pascanu et al. 2013), or None without.
        """
        norm, scale = self.clipping(clip) if clip else (self._gather(), 1.0)
        unused = [piece for parameter, (piece, _) in zip(self.parameters, self._pieces) if parameter.grad is None]
        kept = [(array, piece, array[piece].copy()) for piece in unused for array in (self.data, *self.state.values())]
        self.steps += 1
        self.update(scale)
        for array, piece, values in kept:
            array[piece] = values
        return norm

    def update(self, scale):
        """One step with gradients times `scale`; each optimizer defines its own."""
        raise NotImplementedError

    def state_dict(self):
        """{name: flat array} of the moments; with the parameters and `steps` it is all that a resumed run needs."""
        return dict(self.state)

    def load_state_dict(self, state, steps):
        """Go on from what `state_dict` gave after `steps` steps."""
        for name, own in self.state.items():
            if name not in state or state[name].shape != own.shape:
                raise ValueError(f"optimizer: the saved state has no {name!r} of {own.size} numbers; is it another model's or another optimizer's?")
            own[...] = devices.place(state[name], own)
        self.steps = steps

    def _gather(self):
        """See that the flat gradient is complete: a parameter that was not used has none, and one set by hand lies elsewhere."""
        for parameter, (_, buffer) in zip(self.parameters, self._pieces):
            if parameter.grad_buffer is not buffer:
                raise RuntimeError("optimizer: its model was moved, changed its dtype or was given to another optimizer since; make the optimizer after that")
            if parameter.grad is None:
                parameter.grad_buffer.data[...] = 0
            elif parameter.grad is not parameter.grad_buffer:
                parameter.grad_buffer.data[...] = parameter.grad.data


class SGD(Optimizer):
    """p ← p − learning_rate · v, with v ← momentum · v + gradient + weight_decay · p (Sutskever et al. 2013, PyTorch's form)."""

    moments = ("velocity",)

    def __init__(self, parameters, learning_rate=0.01, momentum=0.0, weight_decay=0.0):
        super().__init__(parameters, learning_rate)
        self.momentum, self.weight_decay = momentum, weight_decay

    def update(self, scale):
        """One step."""
        velocity = self.state["velocity"]
        velocity *= self.momentum
        velocity += self.grad * scale
        if self.weight_decay:
            velocity += self.weight_decay * self.data
        self.data -= velocity * float(self.learning_rate)


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015): steps of even size, from the mean and the mean square of each gradient, both corrected for their start at 0."""

    moments = ("m", "v")

    def __init__(self, parameters, learning_rate=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        super().__init__(parameters, learning_rate)
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay

    def update(self, scale):
        """One step; weight decay is added to the gradient of every parameter, as an L2 penalty would."""
        self._adam(slice(None), self.weight_decay, False, scale)

    def _adam(self, piece, weight_decay, decoupled, scale):
        adam(self.data[piece], self.grad[piece], self.state["m"][piece], self.state["v"][piece], self.learning_rate, *self.betas, self.eps,
             weight_decay, self.steps, decoupled, scale)


class AdamW(Adam):
    """Adam whose weight decay shrinks the weights directly (Loshchilov and Hutter 2019); matrices only: norms and biases are left alone."""

    def __init__(self, parameters, learning_rate=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01):
        super().__init__(parameters, learning_rate, betas, eps, weight_decay)

    def update(self, scale):
        """One step."""
        self._adam(slice(0, self.n_matrices), self.weight_decay, True, scale)
        self._adam(slice(self.n_matrices, None), 0.0, True, scale)


def learning_rate(step, *, peak, warmup, schedule, steps, final=0.0):
    """The learning rate of update `step` (from 1): a linear rise over `warmup` updates to `peak`, then one of three roads.

    "inverse-sqrt": peak · √(warmup / step) (Vaswani et al. 2017, section 5.3). "cosine": half a cosine down to `final` · peak at the last of `steps`
    (Loshchilov and Hutter 2017). "constant": stays. Raises ValueError for another schedule.
    """
    if schedule not in ("inverse-sqrt", "cosine", "constant"):
        raise ValueError(f"schedule: {schedule!r} is not one of inverse-sqrt, cosine, constant")
    if step <= warmup:
        return peak * step / warmup
    if schedule == "inverse-sqrt":
        return peak * (max(warmup, 1) / step) ** 0.5
    if schedule == "cosine":
        progress = min(1.0, (step - warmup) / max(1, steps - warmup))
        return peak * (final + (1 - final) * 0.5 * (1 + np.cos(np.pi * progress)).item())
    return peak
