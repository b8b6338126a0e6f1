"""The score functions of attention: how well a query fits a key. Their table, with the equations, is `SCORES` in attention.py.

The weights are the softmax of the scores over the keys, and what is looked up is the sum of the values, so weighted. All but the additive score are
dot products of queries and keys that were prepared before, so they share one kernel.
"""
import numpy as np

from ..autograd import fused, op
from ..autograd.ops import concatenate, exp, square, sum
from ..kernels.additive_attention import additive_attention as _additive, additive_attention_backward as _additive_backward
from ..kernels.runtime import devices
from .layers import Linear, xavier_uniform
from .module import Module, Parameter


@op(reference=lambda q, k, v, weight, *, heads=1, causal=False, lengths=None, p=0.0, key=0: _additive.reference(
    q, k, v, weight, heads, causal, lengths, p, key)[0], residuals="weights")
def additive_attention(q, k, v, weight, *, heads=1, causal=False, lengths=None, p=0.0, key=0):
    """softmax(Σ_c weight_c tanh(q_c + k_c)) v for each head: shapes and arguments as `fused.attention`, weight (heads · d,)."""
    return _additive(q, k, v, weight, heads, causal, devices.place(lengths, q), p, key)


@additive_attention.vjp
def _(g, q, k, v, weight, weights, heads, p, key):
    return _additive_backward(g, q, k, v, weight, weights, heads, p, key)


class ScaledDot(Module):
    """qᵀ k / √d: the variance of a dot product of d independent features is d, and the softmax of large scores has no gradient.

    Scores work on `heads` heads of width / heads features each. `query` and `key` prepare what is compared, once each; calling the score looks up.
    """

    def __init__(self, width, heads=1, generator=None):
        self.heads, self.d = heads, width // heads

    def query(self, x):
        """Queries (batch, time, width), prepared."""
        return x

    def key(self, x):
        """Keys (batch, time, width), prepared."""
        return x

    def forward(self, query, keys, values, **options):
        """What prepared queries find among the values of prepared keys: (batch, query time, width). Options: those of `fused.attention`."""
        return fused.attention(query, keys, values, heads=self.heads, **options | {"lengths": devices.place(options.get("lengths"), query.data)})

    def weights(self, query, keys, causal=False, lengths=None):
        """Who looks where: (batch, heads, query time, key time), rows summing to 1, as an array in main memory."""
        from ..kernels.attention.reference import attention_weights

        return attention_weights(devices.host(query.data), devices.host(keys.data), self.heads, causal, devices.host(lengths))


class Dot(ScaledDot):
    """qᵀ k."""

    def query(self, x):
        """Queries (batch, time, width), by the √d that the kernel divides by."""
        return x * self.d ** 0.5


class Bilinear(Dot):
    """qᵀ W k, with a W for each head."""

    def __init__(self, width, heads=1, generator=None):
        super().__init__(width, heads)
        generator = generator or np.random.default_rng()
        self.weight = Parameter(np.concatenate([xavier_uniform(generator, (self.d, self.d)) for _ in range(heads)]))  # (heads · d, d)

    def key(self, x):
        """W k for the keys (batch, time, width) of each head."""
        return concatenate([fused.linear(x[..., rows], self.weight[rows]) for rows in self._heads()], axis=-1)

    def _heads(self):
        return [slice(head * self.d, (head + 1) * self.d) for head in range(self.heads)]


class Cosine(ScaledDot):
    """β qᵀ k / (|q| |k|). A cosine alone is at most 1, too little to single out a key, so each head learns its β = exp(log_scale), from √d.

    At √d the scores of unrelated vectors have variance 1, as those of the scaled dot product.
    """

    def __init__(self, width, heads=1, generator=None):
        super().__init__(width, heads)
        self.log_scale = Parameter(np.full(heads, 0.5 * np.log(self.d), np.float32))

    def query(self, x):
        """Each head's queries (batch, time, width) at length β √d: the kernel divides by √d."""
        return self._unit(x, exp(self.log_scale) * self.d ** 0.5)

    def key(self, x):
        """Each head's keys (batch, time, width) at length 1."""
        return self._unit(x, 1.0)

    def _unit(self, x, scale):
        """Each head's vectors, of the length `scale`."""
        heads = x.reshape(*x.shape[:-1], self.heads, self.d)
        lengths = (sum(square(heads), axis=-1) + 1e-12) ** 0.5  # (batch, time, heads)
        return (heads * (scale / lengths)[..., None]).reshape(x.shape)


class Additive(ScaledDot):
    """wᵀ tanh(W q + U k): a perceptron with one hidden layer. With several heads, W and U are the projections that made the heads."""

    def __init__(self, width, heads=1, generator=None):
        super().__init__(width, heads)
        generator = generator or np.random.default_rng()
        bound = (3 / self.d) ** 0.5
        self.weight = Parameter(generator.uniform(-bound, bound, width).astype(np.float32))
        self.of_query = Linear(width, width, bias=False, generator=generator) if heads == 1 else None
        self.of_key = Linear(width, width, generator=generator) if heads == 1 else None

    def query(self, x):
        """W q for queries (batch, time, width)."""
        return x if self.of_query is None else self.of_query(x)

    def key(self, x):
        """U k for keys (batch, time, width)."""
        return x if self.of_key is None else self.of_key(x)

    def forward(self, query, keys, values, **options):
        """What the queries find: see `fused.additive_attention`."""
        return additive_attention(query, keys, values, self.weight, heads=self.heads, **options)

    def weights(self, query, keys, causal=False, lengths=None):
        """The weights (batch, heads, query time, key time) with which they look, as an array."""
        query, keys, weight, lengths = map(devices.host, (query.data, keys.data, self.weight.data, lengths))
        return _additive.reference(query, keys, keys, weight, self.heads, causal, lengths)[1]
