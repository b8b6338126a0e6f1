"""Batch norm beside layer norm and RMS norm: what a position becomes depends on all others of the batch, so padding must not count."""
import numpy as np

from ..autograd import Tensor, fused, op
from ..kernels.batch_norm import batch_norm as _batch_norm, batch_norm_backward as _batch_norm_backward, moments
from ..kernels.runtime import devices
from .module import Module, Parameter


def _reference(x, weight, bias, *, mean, variance, real=None, eps=1e-5):
    return _batch_norm.reference(x, weight, bias, *moments.reference(x, real), real, eps)


@op(reference=_reference)
def batch_norm(x, weight, bias, *, mean, variance, real=None, eps=1e-5):
    """(x − mean) / √(variance + eps) · weight + bias in the real rows, 0 in the others; mean, variance: the `moments` of x, through which x acts as well.

    x (..., features), weight and bias (features,); real (...) booleans, or None where all rows are.
    """
    return _batch_norm(x, weight, bias, mean, variance, real, eps)


@batch_norm.vjp
def _(g, x, weight, mean, variance, real, eps):
    return _batch_norm_backward(g, x, weight, mean, variance, real, eps)


class BatchNorm(Module):
    """Normalisation of each feature over the real positions of a batch (Ioffe and Szegedy 2015), with a learnt scale and shift.

    In training by the batch's own mean and variance; otherwise by running means of these, which belong to the model's state. As torch.nn.BatchNorm1d,
    the running variance divides by one less than the number of positions.

    Args:
        bias: whether there is a shift; momentum: what share of the running means each batch replaces.
    """

    def __init__(self, features, eps=1e-5, bias=True, momentum=0.1):
        self.weight = Parameter(np.ones(features, np.float32))
        self.bias = Parameter(np.zeros(features, np.float32)) if bias else None
        self.running_mean = Tensor(np.zeros(features, np.float32))
        self.running_var = Tensor(np.ones(features, np.float32))
        self.eps, self.momentum = eps, momentum

    def forward(self, x, real=None):
        """x (..., features); real (...): booleans, True at the positions that count in training, by default all; the others become 0."""
        bias = Tensor(np.zeros_like(self.running_mean.data)) if self.bias is None else self.bias
        if not self.training:
            scale = self.weight * (self.running_var + self.eps) ** -0.5
            return x * scale + (bias - self.running_mean * scale)
        n = x.size // x.shape[-1] if real is None else int(np.count_nonzero(real))
        real = devices.place(real, x.data)
        mean, variance = moments(x.data, real)
        out = batch_norm(x, self.weight, bias, mean=mean, variance=variance, real=real, eps=self.eps)
        if n:
            self._follow(self.running_mean, mean)
            self._follow(self.running_var, variance * (n / max(1, n - 1)))
        return out

    def _follow(self, running, of_batch):
        running.data += self.momentum * (of_batch - running.data)

    def add(self, x, residual, p=0.0, real=None):
        """The norm of residual + dropout(x)."""
        return self(residual + fused.dropout(x, p), real)
