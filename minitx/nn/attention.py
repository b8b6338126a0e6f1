"""Multi-head attention (Vaswani et al. 2017, section 3.2.2), and the cache that makes decoding word by word cheap."""
import numpy as np

from ..autograd import Tensor, fused, random
from ..kernels.embedding import embedding
from ..kernels.runtime import devices
from .layers import Linear, xavier_uniform
from .module import Module, Parameter
from .scores import Additive, Bilinear, Cosine, Dot, ScaledDot

SCORES = {
    "additive": Additive,     # wᵀ tanh(W q + U k)              Bahdanau, Cho and Bengio 2015, appendix A.1.2
    "bilinear": Bilinear,     # qᵀ W k                          Luong, Pham and Manning 2015, section 3.1, "general"
    "dot": Dot,               # qᵀ k                            the same, "dot"
    "scaled-dot": ScaledDot,  # qᵀ k / √d                       Vaswani et al. 2017, section 3.2.1
    "cosine": Cosine,         # β qᵀ k / (|q| |k|), β learnt    Graves, Wayne and Danihelka 2014, section 3.3.1
}
"""How attention scores a query q and a key k of d features, in a head or in a recurrent decoder."""


def make_score(name, width, heads=1, generator=None):
    """The score of that name for vectors of `width` features, shared by `heads` heads."""
    if name not in SCORES:
        raise ValueError(f"score: {name!r} is not one of {', '.join(SCORES)}")
    return SCORES[name](width, heads, generator=generator)


class MultiHeadAttention(Module):
    """Queries look up values by their keys, in `n_heads` subspaces at once; parameters are named and shaped as in torch.nn.MultiheadAttention.

    Args:
        n_kv_heads: heads of keys and values, by default `n_heads`; each serves several of the queries, which makes a decoder's cache as much smaller
            (grouped-query attention, Ainslie et al. 2023; with 1 multi-query attention, Shazeer 2019).
        window: in causal attention, how many positions a query sees at most, up to its own (Beltagy et al. 2020); None for all.
        rotary: a `Rotary` that turns queries and keys by where they stand, in self-attention.
        score: how a query and a key are compared, one of `SCORES`; only "scaled-dot" goes with shared heads and windows.

    Raises ValueError for heads that do not divide, and for options that do not go together.
    """

    def __init__(self, d_model, n_heads, dropout=0.0, bias=True, generator=None, n_kv_heads=None, window=None, rotary=None,
                 score="scaled-dot"):
        n_kv_heads = n_kv_heads or n_heads
        if d_model % n_heads:
            raise ValueError(f"n_heads: {n_heads} heads do not divide d_model = {d_model}")
        if n_heads % n_kv_heads:
            raise ValueError(f"n_kv_heads: {n_kv_heads} heads of keys and values do not divide n_heads = {n_heads}")
        if rotary is not None and 2 * len(rotary.frequencies) != d_model // n_heads:
            raise ValueError(f"rotary: it turns heads of {2 * len(rotary.frequencies)} features, but {n_heads} heads of d_model = {d_model} have {d_model // n_heads}")
        if score != "scaled-dot" and (n_kv_heads != n_heads or window):
            raise ValueError(f"score: {score} attention has as many heads of keys as of queries, and no window; drop n_kv_heads and window")
        generator = generator or np.random.default_rng()
        width = n_kv_heads * (d_model // n_heads)
        self.ends = (0, d_model, d_model + width, d_model + 2 * width)  # of the rows of queries, keys and values
        self.in_proj_weight = Parameter(xavier_uniform(generator, (self.ends[-1], d_model)))
        self.in_proj_bias = Parameter(np.zeros(self.ends[-1], np.float32)) if bias else None
        self.out_proj = Linear(d_model, d_model, bias=bias, generator=generator)
        self.d_model, self.n_heads, self.n_kv_heads, self.dropout = d_model, n_heads, n_kv_heads, dropout
        self.window, self.rotary = window, rotary
        self.score = None if score == "scaled-dot" else make_score(score, d_model, n_heads, generator)  # the default is in the kernels

    def forward(self, x, memory=None, *, causal=False, lengths=None, cache=None):
        """x (batch, time, d_model) attends to itself, or to `memory` (batch, memory time, d_model).

        `lengths` (batch,): how many positions of what is attended to are real. `cache`: a `KeyValueCache`, for decoding step by step; with one, x may
        have several rows for each of the memory, one behind the other, which are hypotheses about the same sentence.
        """
        if causal and memory is not None:
            raise ValueError("causal: a memory is another sequence, all of which may be seen; drop causal")
        if cache is not None:
            return self.out_proj(self._cached(x, memory, cache, lengths))
        p = self.dropout if self.training else 0.0
        key, lengths = random.next_key() if p else 0, devices.place(lengths, x.data)
        if self.score is not None:
            query, keys, values = self._three(x, memory)
            return self.out_proj(self.score(self.score.query(query), self.score.key(keys), values, causal=causal, lengths=lengths, p=p, key=key))
        options = {"heads": self.n_heads, "kv_heads": self.n_kv_heads, "lengths": lengths, "p": p, "key": key}
        if memory is None:
            return self.out_proj(fused.self_attention(self._projection(x), causal=causal, window=self.window if causal else None, **options))
        return self.out_proj(fused.cross_attention(self._project(x, 0, 1), self._project(memory, 1, 3), **options))

    def weights(self, x, memory=None, *, causal=False, lengths=None):
        """Who looks where: (batch, heads, time, memory time), rows summing to 1, as an array in main memory. For pictures; `forward` never forms it."""
        from ..kernels.attention.reference import attention_weights

        query, keys, _ = self._three(x, memory)
        if self.score is not None:
            return self.score.weights(self.score.query(query), self.score.key(keys), causal, lengths)
        query, keys, lengths = map(devices.host, (query.data, keys.data, lengths))
        return attention_weights(query, keys, self.n_heads, causal, lengths, None, self.n_kv_heads, self.window if causal else None)

    def _projection(self, x, start=0):
        """Queries, keys and values of x side by side: (batch, time, ends[3]), queries and keys turned where positions are rotary."""
        qkv = fused.linear(x, self.in_proj_weight, self.in_proj_bias)
        return qkv if self.rotary is None else self.rotary(qkv, self.n_heads + self.n_kv_heads, start)

    def _three(self, x, memory):
        """Queries of x, keys and values of the memory, or of x where there is none: (batch, time, width) each."""
        first, second, last = self.ends[1:]
        qkv = self._projection(x) if memory is None else None
        query = self._project(x, 0, 1) if qkv is None else qkv[..., :first]
        kv = self._project(memory, 1, 3) if qkv is None else qkv[..., first:]
        return query, kv[..., :second - first], kv[..., second - first:last - first]

    def cached_weights(self, cache, lengths):
        """`weights` of the last step, in which one position of each row looked at a memory: (rows, heads, memory time)."""
        from ..kernels.attention.reference import attention_weights

        keys = cache.keys_and_values()[0]
        if self.score is None:
            weights = attention_weights(devices.host(cache.query.data), devices.host(keys), self.n_heads, False, lengths, None, self.n_kv_heads)
        else:
            weights = self.score.weights(cache.query, Tensor(keys), lengths=lengths)  # (sentences, heads, rows each, time)
        return weights.swapaxes(1, 2).reshape(-1, self.n_heads, weights.shape[-1])

    def _project(self, x, first, last):
        """Parts `first` to `last` of the projection: 0 the queries, 1 the keys, 2 the values."""
        rows = slice(self.ends[first], self.ends[last])
        return fused.linear(x, self.in_proj_weight[rows], None if self.in_proj_bias is None else self.in_proj_bias[rows])

    def _cached(self, x, memory, cache, lengths):
        if memory is not None:
            if cache.used == 0:
                cache.append(self._prepared(self._project(memory, 1, 3)))
            options = {}
            # To the kernel, the rows of a sentence are further positions of one row, so its keys and values exist and are read once.
            query = self._project(x, 0, 1).reshape(len(memory), -1, self.d_model)
            query = cache.query = query if self.score is None else self.score.query(query)
        else:
            start = cache.used if lengths is None else lengths - x.shape[1]
            qkv = self._projection(x, start)
            query = qkv[..., :self.d_model] if self.score is None else self.score.query(qkv[..., :self.d_model])
            cache.append(self._prepared(qkv[..., self.d_model:]), lengths)
            options = {"causal": True, "window": self.window}
            if (self.window or x.shape[1] > 1) and np.ptp(start):  # the rows' queries do not stand at the same places
                options = {"mask": devices.place(_seen(start[:, None] + np.arange(x.shape[1]), cache.used, self.window), x.data)}
        keys, values = map(Tensor, cache.keys_and_values())
        lengths = devices.place(lengths, x.data)
        if self.score is not None:
            if "mask" in options:
                raise ValueError("cache: rows that stand at different places need the score scaled-dot; give all rows the same length")
            return self.score(query, keys, values, lengths=lengths, causal=memory is None).reshape(x.shape)
        out = fused.attention(query, keys, values, heads=self.n_heads, kv_heads=self.n_kv_heads, lengths=lengths, **options)
        return out.reshape(x.shape)

    def _prepared(self, keys_and_values):
        """Keys and values side by side, as an array, the keys as the score compares them."""
        if self.score is None:
            return keys_and_values.data
        return np.concatenate([self.score.key(keys_and_values[..., :self.d_model]).data, keys_and_values.data[..., self.d_model:]], axis=-1)


def _seen(positions, time, window):
    """Which of `time` keys the queries at `positions` (rows, queries) see: a mask (rows, 1, queries, time)."""
    behind = positions[:, None, :, None] - np.arange(time)
    return (behind >= 0) & (behind < (window or time))


class KeyValueCache:
    """Keys and values of the positions seen so far, side by side: (rows, room, 2 · n_kv_heads · d_head), with room for some positions more.

    Rows may differ in length: beyond its own, what a row holds is padding, and is overwritten as it grows. Lengths, and rows to be selected, are numbers
    that the CPU computes with: they are arrays in main memory, wherever the model is.
    """

    def __init__(self, capacity):
        self.capacity, self.used, self._store = capacity, 0, None
        self._size = 0  # numbers in the memory of the store, which may be fewer: stores of one size take each other's place in the pool
        self.query = None  # of the last step, where a memory is looked at

    def append(self, keys_and_values, lengths=None):
        """Add the keys and values (rows, new, both widths) of the next positions, which end at `lengths` (rows,), or behind the longest row.

        The first ones may go beyond the capacity, which then becomes as large; later ones raise ValueError there.
        """
        rows, new, width = keys_and_values.shape
        used = self.used + new if lengths is None else int(np.max(lengths, initial=0))
        if self._store is None:
            self.capacity = max(self.capacity, used)
            self._store = self._new(rows, used, keys_and_values)
        elif used > self.capacity:
            raise ValueError(f"cache: {used} positions do not fit into the {self.capacity} that were reserved")
        elif used > self._store.shape[1]:
            self._copy(np.arange(rows), min(self.capacity, 2 * used))
        if lengths is None:
            self._store[:, self.used:used] = keys_and_values
        else:
            self._store[np.arange(rows)[:, None], (lengths - new)[:, None] + np.arange(new)] = keys_and_values
        self.used = used

    def keys_and_values(self):
        """Two views (rows, used, n_kv_heads · d_head)."""
        half = self._store.shape[2] // 2
        return self._store[:, :self.used, :half], self._store[:, :self.used, half:]

    def select(self, rows):
        """Go on with these rows (indices, in any order and number): how beams split and finished sentences leave."""
        if self._store is not None:
            self._copy(rows, min(self.capacity, self.used + 1))

    def _copy(self, rows, room):
        """Take a new store, with these rows of the old one; what stands behind the used positions says nothing."""
        old, positions = self._store, np.minimum(np.arange(room), self.used - 1)
        places = np.asarray(rows)[:, None] * old.shape[1] + positions  # (rows, room)
        self._store = self._new(len(rows), room, old)
        embedding(old.reshape(-1, old.shape[2]), devices.place(places, old), self._store)

    def _new(self, rows, room, like):
        size = rows * room * like.shape[2]
        if size > self._size:
            self._size = 2 * size
        return devices.empty((self._size,), like)[:size].reshape(rows, room, like.shape[2])
