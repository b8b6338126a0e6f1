"""The small layers: Linear, Embedding, LayerNorm, RMSNorm, Dropout, and the positions."""
import numpy as np

from ..autograd import Tensor, fused, random
from ..kernels.runtime import devices
from .batch_norm import BatchNorm
from .module import Module, Parameter


def xavier_uniform(generator, shape, gain=1.0):
    """float32 weights (out, in), uniform in ±gain·√(6 / (in + out)), which keeps the variance of signal and gradient (Glorot and Bengio 2010)."""
    bound = gain * np.sqrt(6.0 / (shape[0] + shape[1]))
    return generator.uniform(-bound, bound, shape).astype(np.float32, copy=False)


class Zeros:
    """In the place of a random generator: zeros, for weights that others will replace. The system hands them out without touching memory."""

    def uniform(self, low, high, shape):
        """Zeros of this shape."""
        return np.zeros(shape, np.float32)

    normal = uniform


class Linear(Module):
    """x Wᵀ + b: (..., in_features) to (..., out_features), with an activation ("none", "relu", "gelu", "gelu_tanh") in the same kernel.

    With "swiglu" (Shazeer 2020) there are twice as many rows of W, first those of the gates: silu(x Wᵀ) · (x Vᵀ).
    Raises ValueError for another activation.
    """

    def __init__(self, in_features, out_features, bias=True, activation="none", generator=None):
        if activation not in ("none", "relu", "gelu", "gelu_tanh", "swiglu"):
            raise ValueError(f"activation: {activation!r} is not one of none, relu, gelu, gelu_tanh, swiglu")
        generator = generator or np.random.default_rng()
        rows = 2 * out_features if activation == "swiglu" else out_features
        self.weight = Parameter(xavier_uniform(generator, (rows, in_features)))
        self.bias = Parameter(np.zeros(rows, np.float32)) if bias else None
        self.activation = activation

    def forward(self, x, p=0.0):
        """`p`: dropout after the activation, while training."""
        p = p if self.training else 0.0
        if self.activation == "swiglu":
            return fused.dropout(fused.swiglu(fused.linear(x, self.weight, self.bias)), p)
        return fused.linear(x, self.weight, self.bias, activation=self.activation, p=p, key=random.next_key() if p else 0)


class Embedding(Module):
    """One vector for each of `num_embeddings` ids, drawn from N(0, 1/d): scaled by √d on the way in, it also serves as the output layer."""

    def __init__(self, num_embeddings, embedding_dim, *, generator=None):
        generator = generator or np.random.default_rng()
        self.weight = Parameter(generator.normal(0.0, embedding_dim ** -0.5, (num_embeddings, embedding_dim)).astype(np.float32, copy=False))

    def forward(self, ids):
        """ids: integers of any shape, in main memory or where the weight is; returns ids.shape + (embedding_dim,)."""
        return fused.embedding(self.weight, devices.place(ids, self.weight.data))


class LayerNorm(Module):
    """Normalisation over the features, with a learnt scale and, unless `bias` is False, shift (Ba, Kiros and Hinton 2016)."""

    def __init__(self, features, eps=1e-5, *, bias=True):
        self.weight = Parameter(np.ones(features, np.float32))
        self.bias = Parameter(np.zeros(features, np.float32)) if bias else None
        self.eps = eps

    def forward(self, x, real=None):
        """x (..., features); `real`, which positions count, is a question for `BatchNorm` alone: here each is on its own."""
        return fused.layer_norm(x, self.weight, self.bias, eps=self.eps)

    def add(self, x, residual, p=0.0, real=None):
        """The norm of residual + dropout(x), in one pass."""
        return fused.add_layer_norm(x, residual, self.weight, self.bias, eps=self.eps, p=p, key=random.next_key() if p else 0)


class RMSNorm(Module):
    """Division by the root mean square of the features, and a learnt scale (Zhang and Sennrich 2019): a layer norm without mean and shift."""

    def __init__(self, features, eps=1e-6):
        self.weight = Parameter(np.ones(features, np.float32))
        self.eps = eps

    def forward(self, x, real=None):
        """x (..., features)."""
        return fused.rms_norm(x, self.weight, eps=self.eps)

    def add(self, x, residual, p=0.0, real=None):
        """The norm of residual + dropout(x)."""
        return self(residual + fused.dropout(x, p))


def Norm(kind, features, eps=1e-5, bias=True):
    """A `LayerNorm` ("layer"), an `RMSNorm` ("rms") or a `BatchNorm` ("batch"); all take x and which of its positions are real. Another is a ValueError."""
    if kind == "batch":
        return BatchNorm(features, eps, bias)
    if kind not in ("layer", "rms"):
        raise ValueError(f"normalization: {kind!r} is not one of layer, rms, batch")
    return LayerNorm(features, eps, bias=bias) if kind == "layer" else RMSNorm(features, eps)


class Dropout(Module):
    """Zeroes each element with probability p while training (Srivastava et al. 2014)."""

    def __init__(self, p=0.5):
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
    """Adds to each vector where it stands, 0 … length − 1: a sinusoidal table (a constant), one that is learnt, from N(0, 0.02²) as in GPT-2, or nothing.

    Args:
        kind: "sinusoidal", "learned" or "none"; length: how many positions there are. A sequence that is longer is a ValueError.
    """

    def __init__(self, kind, length, d_model, generator=None):
        if kind == "learned":
            generator = generator or np.random.default_rng()
            self.weight = Parameter(generator.normal(0.0, 0.02, (length, d_model)).astype(np.float32, copy=False))
        elif kind == "sinusoidal":
            self._table, self._tables = sinusoidal_positions(length, d_model), {}
        elif kind != "none":
            raise ValueError(f"positions: {kind!r} is not one of sinusoidal, learned, none")
        self.kind, self.length = kind, length

    def forward(self, x, start=0):
        """x (batch, time, d_model), whose first vector stands at position `start`: one number, or (batch,) where the rows differ."""
        if self.kind == "none":
            return x
        stop = _stop(start, x.shape[1], self.length)
        rows = slice(start, stop) if np.ndim(start) == 0 else start[:, None] + np.arange(x.shape[1])
        if self.kind == "learned":
            return x + self.weight[rows]
        return x + self._table_for(x)[rows]

    def _table_for(self, x):
        """The table as x is: of its dtype, and in its memory."""
        key = x.dtype, x.device
        if key not in self._tables:
            self._tables[key] = devices.place(self._table.astype(x.dtype), x.data)
        return self._tables[key]


class Rotary:
    """Turns queries and keys by angles that grow with their position, so that attention depends on distances alone (Su et al. 2021).

    Args:
        d_head: features of a head; feature i and i + d_head/2 are a plane, turned by base^(−2i/d_head) per position.
        length: how many positions there are.
        scaling: None, or how frequencies were lowered to stretch a trained model over more positions: what Llama 3 calls "factor",
            "low_freq_factor", "high_freq_factor" and "original_max_position_embeddings"; with a "factor" alone all alike (Chen et al. 2023).

    Raises ValueError where `d_head` is odd, and later for a sequence of more than `length` positions.
    """

    def __init__(self, d_head, length, base=10000.0, scaling=None):
        if d_head % 2:
            raise ValueError(f"rotary positions turn pairs of features, but a head has {d_head}; choose d_model / n_heads even")
        self.length, self.base, self.scaling, self._tables = length, base, scaling, {}
        self.frequencies = base ** (-np.arange(0, d_head, 2) / d_head)
        if scaling:
            self.frequencies = _stretched(self.frequencies, **scaling)

    def __call__(self, x, heads, start=0):
        """x (batch, time, width) with its first `heads` heads turned, of which the first stand at position `start`, a number or (batch,)."""
        cos, sin = self._table(_stop(start, x.shape[1], self.length), x)
        at_the_start = np.ndim(start) == 0 and start == 0
        return fused.rotary(x, cos, sin, heads=heads, start=None if at_the_start else devices.place(np.broadcast_to(start, x.shape[:1]), x.data))

    def _table(self, stop, x):
        """Cosines and sines (positions, d_head/2) of at least `stop` positions, where x is; a model may have many more than it ever sees."""
        key = x.dtype, x.device
        if key not in self._tables or len(self._tables[key][0]) < stop:
            angles = np.arange(min(self.length, 2 * stop))[:, None] * self.frequencies
            self._tables[key] = tuple([Tensor(devices.place(function(angles).astype(x.dtype), x.data)) for function in (np.cos, np.sin)])
        return self._tables[key]


def _stretched(frequencies, factor, low_freq_factor=None, high_freq_factor=None, original_max_position_embeddings=None):
    """Frequencies of waves that did not fit into the trained length divided by `factor`, those that fitted often as they were (Llama 3.1)."""
    if original_max_position_embeddings is None:
        return frequencies / factor
    turns = original_max_position_embeddings * frequencies / (2 * np.pi)  # within the trained length
    kept = np.clip((turns - low_freq_factor) / (high_freq_factor - low_freq_factor), 0, 1)
    return kept * frequencies + (1 - kept) * frequencies / factor


def _stop(start, time, length):
    """Where `time` positions from `start`, a number or an array, end at most; an error where that is beyond the model's `length`."""
    stop = int(np.max(start, initial=0)) + time
    if stop > length:
        raise ValueError(f"positions: {stop} positions are needed but the model has {length}; raise max_length")
    return stop
