"""The small layers: Linear, Embedding, LayerNorm, Dropout, and the positions."""
import numpy as np

from ..autograd import fused, random
from .module import Module, Parameter


def xavier_uniform(generator, shape, gain=1.0):
    """float32 weights (out, in), uniform in ±gain·√(6 / (in + out)), which keeps the variance of signal and gradient (Glorot and Bengio 2010)."""
    bound = gain * np.sqrt(6.0 / (shape[0] + shape[1]))
    return generator.uniform(-bound, bound, shape).astype(np.float32)


class Linear(Module):
    """x Wᵀ + b: (..., in_features) to (..., out_features), with an activation ("none", "relu", "gelu") in the same kernel."""

    def __init__(self, in_features, out_features, bias=True, activation="none", generator=None):
        generator = generator or np.random.default_rng()
        self.weight = Parameter(xavier_uniform(generator, (out_features, in_features)))
        self.bias = Parameter(np.zeros(out_features, np.float32)) if bias else None
        self.activation = activation

    def forward(self, x, p=0.0):
        """`p`: dropout after the activation, while training."""
        p = p if self.training else 0.0
        return fused.linear(x, self.weight, self.bias, activation=self.activation, p=p, key=random.next_key() if p else 0)


class Embedding(Module):
    """One vector for each of `num_embeddings` ids, drawn from N(0, 1/√d): scaled by √d on the way in, it also serves as the output layer."""

    def __init__(self, num_embeddings, embedding_dim, generator=None):
        generator = generator or np.random.default_rng()
        self.weight = Parameter(generator.normal(0.0, embedding_dim ** -0.5, (num_embeddings, embedding_dim)).astype(np.float32))

    def forward(self, ids):
        """ids: integers of any shape; returns ids.shape + (embedding_dim,)."""
        return fused.embedding(self.weight, ids)


class LayerNorm(Module):
    """Normalisation over the features, with a learnt scale and, unless `bias` is False, shift (Ba, Kiros and Hinton 2016)."""

    def __init__(self, features, eps=1e-5, bias=True):
        self.weight = Parameter(np.ones(features, np.float32))
        self.bias = Parameter(np.zeros(features, np.float32)) if bias else None
        self.eps = eps

    def forward(self, x):
        """x (..., features)."""
        return fused.layer_norm(x, self.weight, self.bias, eps=self.eps)

    def add(self, x, residual, p=0.0):
        """The norm of residual + dropout(x), in one pass."""
        return fused.add_layer_norm(x, residual, self.weight, self.bias, eps=self.eps, p=p, key=random.next_key() if p else 0)


class Dropout(Module):
    """Zeroes each element with probability p while training (Srivastava et al. 2014)."""

    def __init__(self, p=0.1):
        self.p = p

    def forward(self, x):
        """x of any shape."""
        return fused.dropout(x, self.p) if self.training else x


def sinusoidal_positions(length, d_model):
    """(length, d_model) float64: sin(t / 10000^(2i/d)) in the even features and the cosine in the odd ones (Vaswani et al. 2017, section 3.5).

    Each pair of features is a clock hand of another speed, so that a shift in time is a rotation, the same at every position.
    """
    time = np.arange(length)[:, None]
    speed = 10000.0 ** (-np.arange(0, d_model, 2) / d_model)
    table = np.zeros((length, d_model))
    table[:, 0::2] = np.sin(time * speed)
    table[:, 1::2] = np.cos(time * speed[:d_model // 2])
    return table


class Positions(Module):
    """Adds to each vector where it stands: a sinusoidal table (a constant), or one that is learnt; rows 0 … length − 1."""

    def __init__(self, kind, length, d_model, generator=None):
        if kind == "learned":
            generator = generator or np.random.default_rng()
            self.weight = Parameter(generator.normal(0.0, 0.02, (length, d_model)).astype(np.float32))
        elif kind == "sinusoidal":
            self._table = sinusoidal_positions(length, d_model)
        elif kind != "none":
            raise ValueError(f"positions: {kind!r} is not one of sinusoidal, learned, none")
        self.kind, self.length = kind, length

    def forward(self, x, start=0):
        """x (batch, time, d_model), whose first vector stands at position `start`: one number, or (batch,) where the rows differ."""
        if self.kind == "none":
            return x
        stop = int(np.max(start, initial=0)) + x.shape[1]
        if stop > self.length:
            raise ValueError(f"positions: {stop} positions are needed but the model has {self.length}; raise max_length")
        rows = slice(start, stop) if np.ndim(start) == 0 else start[:, None] + np.arange(x.shape[1])
        if self.kind == "learned":
            return x + self.weight[rows]
        return x + self._table[rows].astype(x.dtype)

