"""The encoder-decoder Transformer of Vaswani et al. 2017, "Attention is all you need", trained with teacher forcing.

    source ids ─ embed ─ + positions ─ encoder layers ─ memory ──┐
    target ids ─ embed ─ + positions ─ decoder layers (look at memory) ─ output layer ─ next target id

In training the decoder is fed the true target, shifted right behind <bos>, and every position predicts the next word at once; the causal mask keeps it
from looking ahead. In translation it is fed what it has said itself, one word at a time.
"""
import contextlib

import numpy as np

from ..autograd import Tensor, fused, no_grad
from ..data.batches import PAD
from ..kernels.runtime import devices
from ..nn import DecoderLayer, Dropout, Embedding, EncoderLayer, KeyValueCache, Linear, Module, Norm, Positions, balanced


class EncoderDecoder(Module):
    """Sequence to sequence, from integer ids to logits.

    Args:
        source_vocabulary, target_vocabulary: how many different ids there are on each side.
        d_model: features of every vector between the layers; n_heads attention heads share them.
        n_layers: of the encoder and of the decoder each; d_ff: hidden features of the feed-forward networks.
        dropout: of embeddings and of what each sublayer adds; activation_dropout: behind the feed-forward activation (None: the same);
            attention_dropout: of the attention weights.
        score: how attention compares a query and a key, one of `nn.SCORES`.
        norm: "post" (2017) or "pre"; normalization: "layer", "rms" or "batch". Batch norm's statistics are over all real positions, which in training lets a
            word know a little of those behind it.
        experts: feed-forward networks per layer, of which each token takes `experts_per_token`; balance: what their balancing loss weighs in training.
        activation: "relu", "gelu", "gelu_tanh" or "swiglu"; positions: "sinusoidal", "learned" or "none".
        tie_embeddings: "none"; "decoder", the target embedding is also the output layer; "all", one matrix for source, target and output
            (Press and Wolf 2017), which needs one vocabulary for both languages.
        max_length: the longest sequence in ids; seed: of the initial weights.

    By default d_ff is 4 · d_model and dropout 0.1, as in the paper; `minitx train` has defaults of its own, see `settings`.

    Raises ValueError for an option that is not one of its words, and for `tie_embeddings` "all" with two vocabularies.
    """

    def __init__(self, source_vocabulary, target_vocabulary, *, d_model=128, n_heads=4, n_layers=3, d_ff=512, dropout=0.1,
                 activation_dropout=None, attention_dropout=0.0, norm="pre", activation="relu", positions="sinusoidal", tie_embeddings="decoder", max_length=256,
                 score="scaled-dot", normalization="layer", experts=1, experts_per_token=2, balance=0.01, seed=0):
        if tie_embeddings not in ("none", "decoder", "all"):
            raise ValueError(f"tie_embeddings: {tie_embeddings!r} is not one of none, decoder, all")
        if tie_embeddings == "all" and source_vocabulary != target_vocabulary:
            raise ValueError(f"tie_embeddings='all' needs one vocabulary, but there are {source_vocabulary} source and {target_vocabulary} target ids")
        generator = np.random.default_rng(seed)
        layer = {"d_model": d_model, "n_heads": n_heads, "d_ff": d_ff, "dropout": dropout, "activation_dropout": activation_dropout,
                 "attention_dropout": attention_dropout, "norm": norm, "activation": activation, "generator": generator, "score": score,
                 "normalization": normalization, "experts": experts, "experts_per_token": experts_per_token}
        self.source_embedding = Embedding(source_vocabulary, d_model, generator=generator)
        self.target_embedding = self.source_embedding if tie_embeddings == "all" else Embedding(target_vocabulary, d_model, generator=generator)
        self.source_positions = Positions(positions, max_length, d_model, generator)
        self.target_positions = Positions(positions, max_length, d_model, generator)
        self.dropout = Dropout(dropout)
        self.encoder = [EncoderLayer(**layer) for _ in range(n_layers)]
        self.decoder = [DecoderLayer(**layer) for _ in range(n_layers)]
        # Pre-norm leaves the sum of all sublayers unnormalised: one more norm at the end of each stack.
        self.encoder_norm = Norm(normalization, d_model) if norm == "pre" else None
        self.decoder_norm = Norm(normalization, d_model) if norm == "pre" else None
        self.output = None if tie_embeddings != "none" else Linear(d_model, target_vocabulary, bias=False, generator=generator)
        self.d_model, self.max_length, self.balance = d_model, max_length, balance if experts > 1 else 0.0

    def forward(self, source, source_lengths, target):
        """Logits (batch, target time, target vocabulary) for source ids (batch, source time) and shifted target ids (batch, target time)."""
        return fused.linear(self.decode(target, self.encode(source, source_lengths), source_lengths), self.output_weight)

    def loss(self, batch, label_smoothing=0.0, reduction="mean"):
        """Cross-entropy of the next word, over the real target words of a `Batch` (pads do not count); the logits never exist at once."""
        hidden = self.hidden(batch)
        loss = fused.linear_cross_entropy(hidden, self.output_weight, None, devices.place(batch.target_out, hidden.data),
                                          label_smoothing=label_smoothing, ignore_index=PAD, reduction=reduction)
        return balanced(loss, self, batch if reduction == "sum" else None)

    def hidden(self, batch):
        """The decoder's last hidden vectors (batch, target time, d_model) for a `Batch`, from which `target_out` is predicted."""
        return self.decode(batch.target_in, self.encode(batch.source, batch.source_lengths), batch.source_lengths)

    def encode(self, source, lengths):
        """The memory (batch, source time, d_model) of source ids; only the first `lengths` of each row are real."""
        x = self._embed(self.source_embedding, self.source_positions, source)
        real = np.arange(source.shape[1]) < np.asarray(lengths)[:, None]
        lengths = devices.place(lengths, x.data)  # once for all layers
        for layer in self.encoder:
            x = layer(x, lengths, real=real)
        return x if self.encoder_norm is None else self.encoder_norm(x, real)

    def decode(self, target, memory, memory_lengths, cache=None):
        """The decoder's last hidden vectors (batch, target time, d_model); with a `Cache`, of the positions that are new."""
        x = self._embed(self.target_embedding, self.target_positions, target, start=0 if cache is None else cache.length)
        memory_lengths, real = devices.place(memory_lengths, x.data), target != PAD
        for layer, caches in zip(self.decoder, cache.layers if cache is not None else [(None, None)] * len(self.decoder)):
            x = layer(x, memory, memory_lengths, *caches, real=real)
        return x if self.decoder_norm is None else self.decoder_norm(x, real)

    def _embed(self, embedding, positions, ids, start=0):
        # √d brings the embeddings, drawn with variance 1/d, to the size of the positions (section 3.4).
        return self.dropout(positions(embedding(ids) * self.d_model ** 0.5, start))

    @property
    def output_weight(self):
        """(target vocabulary, d_model): the matrix that turns a hidden vector into logits."""
        return self.target_embedding.weight if self.output is None else self.output.weight

    # Translation, word by word

    def start(self, source, lengths, capacity=None):
        """Encode source ids and return the `Cache` with which `step` goes on."""
        with no_grad():
            return Cache(self.encode(source, lengths), np.asarray(lengths), len(self.decoder), capacity or self.max_length)

    def step(self, ids, cache):
        """Logits (rows, target vocabulary) of the word after `ids` (rows,), the words chosen last; an array in main memory."""
        with no_grad():
            hidden = self.decode(ids[:, None], cache.memory, cache.memory_lengths, cache)
            cache.length += 1
            return devices.host(fused.linear(hidden, self.output_weight).data[:, 0])

    def attention(self, cache):
        """Where the last `step` looked in the source: (rows, source time), the mean over the heads of the last layer, rows summing to 1."""
        return self.decoder[-1].multihead_attn.cached_weights(cache.layers[-1][1], cache.memory_lengths).mean(axis=1)

    def attention_maps(self, source, source_lengths, target):
        """Where each target word looks in the source: (layers, batch, heads, target time, source time), as an array."""
        maps = []
        with contextlib.ExitStack() as hooks, no_grad():
            for layer in self.decoder:
                hooks.enter_context(layer.multihead_attn.register_forward_hook(
                    lambda module, inputs, out: maps.append(module.weights(*inputs, lengths=source_lengths))))
            self.decode(target, self.encode(source, source_lengths), source_lengths)
        return np.stack(maps)


class Cache:
    """What translation keeps between words: the memory, and for each decoder layer the keys and values of the target so far and of the source.

    A source sentence has one row of memory, and as many rows of the target, one behind the other, as there are hypotheses about it.
    """

    def __init__(self, memory, memory_lengths, n_layers, capacity):
        self.memory, self.memory_lengths, self.length = memory, memory_lengths, 0
        self.layers = [(KeyValueCache(capacity), KeyValueCache(0)) for _ in range(n_layers)]
        self._hypotheses = 1  # about each sentence

    def select(self, rows, hypotheses=1):
        """Go on with these rows, in any order and number: how beams split and finished sentences leave.

        From now on so many `hypotheses`, one behind the other, are about the same sentence; what they share is not copied.
        """
        sentences = rows[::hypotheses] // self._hypotheses
        self._hypotheses = hypotheses
        for own, _ in self.layers:
            own.select(rows)
        if not np.array_equal(sentences, np.arange(len(self.memory_lengths))):
            self.memory, self.memory_lengths = Tensor(self.memory.data[sentences]), self.memory_lengths[sentences]
            for _, shared in self.layers:
                shared.select(sentences)
