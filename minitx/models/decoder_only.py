"""The decoder-only Transformer, a language model: GPT (Radford et al. 2018 and 2019), and with other parts in the same places Llama (Touvron et al. 2023).

    ids ─ embed ─ + positions ─ layers (each position looks at itself and to its left) ─ norm ─ output layer ─ next id

There is no second sequence to look at, so a layer is that of the encoder, with a causal mask. In training every position predicts the next id at
once; in generation the model is fed what it has said itself, one id at a time, behind a prompt.

    GPT:    DecoderOnly(50257)
    Llama:  DecoderOnly(32000, normalization="rms", activation="swiglu", positions="rotary", n_kv_heads=2, bias=False, tie_embeddings=False)
"""
import contextlib

import numpy as np

from ..autograd import fused, no_grad
from ..data.batches import PAD
from ..kernels.runtime import devices
from ..nn import Dropout, Embedding, EncoderLayer, KeyValueCache, Linear, Module, Norm, Positions, Rotary, Zeros, balanced


class DecoderOnly(Module):
    """A language model, from integer ids to the logits of the id that comes next.

    Args:
        vocabulary: how many different ids there are.
        d_model: features of every vector between the layers; n_heads attention heads share them.
        n_kv_heads: heads of keys and values, by default n_heads; fewer make the cache smaller (Ainslie et al. 2023).
        n_layers: how many; d_ff: hidden features of the feed-forward networks, by default 4 · d_model, or with gates two thirds of that.
        dropout: of embeddings and of what each sublayer adds; activation_dropout: behind the feed-forward activation (None: the same);
            attention_dropout: of the attention weights.
        normalization: "layer", "rms" or "batch"; eps: what it adds to a variance or mean square. Batch norm's statistics are over all positions, which in
            training lets a position know a little of those behind it.
        activation: "gelu", "gelu_tanh" (as GPT-2 approximates it), "relu" or "swiglu".
        positions: "learned", "sinusoidal", "rotary" or "none"; rotary_base, rotary_scaling: see `nn.Rotary`.
        tie_embeddings: whether the embedding is also the output layer (Press and Wolf 2017).
        bias: whether linear layers and layer norms add a learnt vector.
        experts: feed-forward networks per layer, of which each token takes `experts_per_token`; balance: what their balancing loss weighs in training.
        window: how many positions a position sees at most, itself included; None for all.
        max_length: the longest sequence in ids; seed: of the initial weights; None: they are all zeros, to be replaced by others.
    """

    def __init__(self, vocabulary, *, d_model=128, n_heads=4, n_kv_heads=None, n_layers=4, d_ff=None, dropout=0.0, activation_dropout=None,
                 attention_dropout=0.0, normalization="layer", activation="gelu", positions="learned", tie_embeddings=True, bias=True, window=None, max_length=256, seed=0,
                 eps=1e-5, rotary_base=10000.0, rotary_scaling=None, experts=1, experts_per_token=2, balance=0.01):
        generator = Zeros() if seed is None else np.random.default_rng(seed)
        rotary = Rotary(d_model // n_heads, max_length, rotary_base, rotary_scaling) if positions == "rotary" else None
        d_ff = d_ff or (8 * d_model // 3 if activation == "swiglu" else 4 * d_model)  # with gates a third matrix: as many weights (Shazeer 2020)
        layer = {"d_model": d_model, "n_heads": n_heads, "d_ff": d_ff, "dropout": dropout, "activation_dropout": activation_dropout,
                 "attention_dropout": attention_dropout, "norm": "pre", "activation": activation,
                 "generator": generator, "bias": bias, "normalization": normalization, "eps": eps,
                 "n_kv_heads": n_kv_heads, "window": window, "rotary": rotary, "experts": experts, "experts_per_token": experts_per_token}
        self.embedding = Embedding(vocabulary, d_model, generator=generator)
        self.positions = Positions("none" if rotary else positions, max_length, d_model, generator)
        self.dropout = Dropout(dropout)
        self.layers = [EncoderLayer(**layer) for _ in range(n_layers)]
        self.norm = Norm(normalization, d_model, eps, bias)
        self.output = None if tie_embeddings else Linear(d_model, vocabulary, bias=False, generator=generator)
        # √d brings embeddings of variance 1/d to the size of a sinusoidal table (Vaswani et al. 2017, section 3.4), in which smaller ones would drown;
        # learnt positions are as small as they are.
        self.scale = d_model ** 0.5 if positions == "sinusoidal" else 1.0
        self.d_model, self.max_length, self.balance = d_model, max_length, balance if experts > 1 else 0.0
        if seed is not None:
            self._initialise(generator)

    def _initialise(self, generator):
        """Matrices from N(0, 0.02²), those that end a sublayer smaller, so that the sum of all 2 · n_layers of them is not (Radford et al. 2019)."""
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2 and not (self.scale != 1.0 and parameter is self.embedding.weight):
                ends_sublayer = name.endswith(("out_proj.weight", "linear2.weight"))
                parameter.data[...] = generator.normal(0.0, 0.02 / (2 * len(self.layers)) ** 0.5 if ends_sublayer else 0.02, parameter.shape)

    def forward(self, ids):
        """Logits (batch, time, vocabulary) of the id after each of `ids` (batch, time)."""
        return fused.linear(self.decode(ids), self.output_weight)

    def loss(self, batch, label_smoothing=0.0, reduction="mean"):
        """Cross-entropy of the next id: `target_out` of a batch after `target_in`, both (batch, time); the logits never exist at once.

        Targets equal to `batch.ignore`, by default <pad>, do not count.
        """
        hidden = self.hidden(batch)
        loss = fused.linear_cross_entropy(hidden, self.output_weight, None, devices.place(batch.target_out, hidden.data),
                                          label_smoothing=label_smoothing, ignore_index=getattr(batch, "ignore", PAD), reduction=reduction)
        return balanced(loss, self, batch if reduction == "sum" else None)

    def hidden(self, batch):
        """The last hidden vectors (batch, time, d_model) from which `target_out` is predicted."""
        return self.decode(batch.target_in)

    def decode(self, ids, cache=None, real=None):
        """The last hidden vectors (batch, time, d_model) of ids (batch, time); with a `Cache`, of the positions that are new.

        `real` (batch, time): booleans, False for padding; by default there is none.
        """
        x = self.embedding(ids)
        x = self.dropout(self.positions(x if self.scale == 1.0 else x * self.scale, start=0 if cache is None else cache.lengths))
        lengths = None if cache is None else cache.lengths + ids.shape[1]
        for layer, keys_and_values in zip(self.layers, cache.layers if cache is not None else [None] * len(self.layers)):
            x = layer(x, lengths, causal=True, cache=keys_and_values, real=real)
        return self.norm(x, real)

    @property
    def output_weight(self):
        """(vocabulary, d_model): the matrix that turns a hidden vector into logits."""
        return self.embedding.weight if self.output is None else self.output.weight

    # Generation, id by id

    def start(self, ids, lengths=None, capacity=None):
        """Read the first ids (rows, time), time 0 or more, and return the `Cache` with which `step` goes on.

        Only the first `lengths` (rows,) of each row are real; by default all. `capacity`: how many ids will follow, by default as many as the model takes.
        """
        return self._read(ids, lengths, capacity)[1]

    def read(self, ids, lengths=None, capacity=None):
        """`start`, and what may come next: logits (rows, vocabulary) of the id after each row, of which none is empty, in main memory; and the `Cache`."""
        hidden, cache = self._read(ids, lengths, capacity)
        ends = devices.place(np.arange(len(ids)) * ids.shape[1] + cache.lengths - 1, hidden.data)
        with no_grad():
            return devices.host(fused.linear(hidden.reshape(-1, self.d_model)[ends], self.output_weight).data), cache

    def _read(self, ids, lengths, capacity):
        """The last hidden vectors (rows, time, d_model), and the cache."""
        rows, time = ids.shape
        cache = Cache(rows, len(self.layers), self.max_length if capacity is None else time + capacity)
        hidden = None
        if time:
            with no_grad():
                hidden = self.decode(ids, cache)
            cache.lengths = np.full(rows, time) if lengths is None else np.asarray(lengths, np.int64)
        return hidden, cache

    def step(self, ids, cache):
        """Logits (rows, vocabulary) of the id after `ids` (rows,), the ids chosen last; an array in main memory."""
        with no_grad():
            hidden = self.decode(ids[:, None], cache)
            cache.lengths = cache.lengths + 1
            return devices.host(fused.linear(hidden, self.output_weight).data[:, 0])

    def attention_maps(self, ids):
        """Where each position looks: (layers, batch, heads, time, time), as an array."""
        maps = []
        with contextlib.ExitStack() as hooks, no_grad():
            for layer in self.layers:
                hooks.enter_context(layer.self_attn.register_forward_hook(lambda module, inputs, out: maps.append(module.weights(*inputs, causal=True))))
            self.decode(ids)
        return np.stack(maps)


class Cache:
    """What generation keeps between ids: how long each row is, and for each layer the keys and values of its positions."""

    def __init__(self, rows, n_layers, capacity):
        self.lengths = np.zeros(rows, np.int64)  # (rows,): the next id of each row stands there
        self.layers = [KeyValueCache(capacity) for _ in range(n_layers)]

    def select(self, rows, hypotheses=1):
        """Go on with these rows (indices, in any order and number): how samples split and finished ones leave. `hypotheses` share nothing here."""
        self.lengths = self.lengths[rows]
        for layer in self.layers:
            layer.select(rows)
