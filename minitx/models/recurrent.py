"""Recurrent encoder-decoders: the road that led to the Transformer, as four models that differ in how the decoder reads the source.

    source ids ─ embed ─ encoder (GRU or LSTM) ─ memory, one vector per word, and the last states
    target ids ─ embed ─ decoder, which begins in those states ─ output layer ─ next target id

    score  context  what the decoder reads                                                     from
    none   start    the last states, where it begins: all else has to pass through them        Sutskever, Vinyals and Le 2014
    none   input    and the last output again, beside every word                               Cho et al. 2014
    any    input    at every word what it finds in the memory with its state before that word  Bahdanau, Cho and Bengio 2015
    any    output   and with its state after that word, beside that state                      Luong, Pham and Manning 2015

Under teacher forcing all words are known. Only in Bahdanau's model a step needs what the step before looked up, so its first layer goes word by word;
the others run through the whole sentence in one kernel. (Luong's own models also feed each step's result to the next, which is left out here.)
"""
import numpy as np

from ..autograd import Tensor, fused, no_grad, random
from ..autograd.ops import broadcast_to, concatenate, tanh
from ..data.batches import PAD
from ..errors import UserError
from ..kernels.runtime import devices
from ..nn import GRU, LSTM, Dropout, Embedding, Linear, Module, make_score

CELLS = {"gru": GRU, "lstm": LSTM}
CONTEXTS = {True: ("output", "input"), False: ("start", "input")}  # with attention and without; the first is the default


class RecurrentTranslator(Module):
    """Sequence to sequence, from integer ids to logits, with recurrent layers.

    Args:
        source_vocabulary, target_vocabulary: how many different ids there are on each side.
        cell: "gru" or "lstm"; score: "none", or one of `nn.SCORES` for attention; context: see above, "auto" for the first that fits the score.
        bidirectional: whether the encoder also reads from the right, each direction with half of the features.
        d_model: features of every vector; n_layers: of the encoder and of the decoder each.
        dropout: of embeddings, between layers and before the output layer; attention_dropout: of the attention weights.
        tie_embeddings: "none"; "decoder", the target embedding is also the output layer; "all", one matrix for source, target and output, which needs
            one vocabulary for both languages.
        max_length: the longest sequence in ids; seed: of the initial weights.

    Raises ValueError for an option that is not one of its words, for `tie_embeddings` "all" with two vocabularies, and for an odd `d_model` where the
    encoder reads in both directions.
    """

    def __init__(self, source_vocabulary, target_vocabulary, *, cell="gru", score="scaled-dot", context="auto", bidirectional=False, d_model=128,
                 n_layers=1, dropout=0.1, attention_dropout=0.0, tie_embeddings="decoder", max_length=256, seed=0):
        if cell not in CELLS:
            raise ValueError(f"cell: {cell!r} is not one of {', '.join(CELLS)}")
        if tie_embeddings not in ("none", "decoder", "all"):
            raise ValueError(f"tie_embeddings: {tie_embeddings!r} is not one of none, decoder, all")
        if tie_embeddings == "all" and source_vocabulary != target_vocabulary:
            raise ValueError(f"tie_embeddings='all' needs one vocabulary, but there are {source_vocabulary} source and {target_vocabulary} target ids")
        if bidirectional and d_model % 2:
            raise ValueError(f"bidirectional: each direction takes half of the features, and d_model = {d_model} is odd")
        generator = np.random.default_rng(seed)
        self.context = choose_context(score, context)
        self.source_embedding = Embedding(source_vocabulary, d_model, generator=generator)
        self.target_embedding = self.source_embedding if tie_embeddings == "all" else Embedding(target_vocabulary, d_model, generator=generator)
        self.dropout = Dropout(dropout)
        self.encoder = CELLS[cell](d_model, d_model // 2 if bidirectional else d_model, n_layers, dropout=dropout, bidirectional=bidirectional,
                                   generator=generator)
        self.decoder = CELLS[cell](2 * d_model if self.context == "input" else d_model, d_model, n_layers, dropout=dropout, generator=generator)
        self.score = None if score == "none" else make_score(score, d_model, generator=generator)
        self.readout = None if self.context == "start" else Linear(2 * d_model, d_model, generator=generator)
        self.output = None if tie_embeddings != "none" else Linear(d_model, target_vocabulary, bias=False, generator=generator)
        self.d_model, self.max_length, self.attention_dropout = d_model, max_length, attention_dropout

    def forward(self, source, source_lengths, target):
        """Logits (batch, target time, target vocabulary) for source ids (batch, source time) and shifted target ids (batch, target time)."""
        return fused.linear(self.decode(target, self.read(source, source_lengths)), self.output_weight)

    def loss(self, batch, label_smoothing=0.0, reduction="mean"):
        """Cross-entropy of the next word, over the real target words of a `Batch` (pads do not count); the logits never exist at once."""
        hidden = self.hidden(batch)
        return fused.linear_cross_entropy(hidden, self.output_weight, None, devices.place(batch.target_out, hidden.data), label_smoothing=label_smoothing,
                                          ignore_index=PAD, reduction=reduction)

    def hidden(self, batch):
        """The decoder's last hidden vectors (batch, target time, d_model) for a `Batch`, from which `target_out` is predicted."""
        return self.decode(batch.target_in, self.read(batch.source, batch.source_lengths))

    def encode(self, source, lengths):
        """The memory (batch, source time, d_model) of source ids; only the first `lengths` of each row are real."""
        return self.read(source, lengths).memory

    def read(self, source, lengths):
        """What the decoder knows of source ids (batch, source time) before the first word: a `Cache`."""
        x = self._embed(self.source_embedding, source)
        memory, last = self.encoder.layers(x, lengths=devices.place(lengths, x.data))
        directions = self.encoder.directions
        states = [last[i] if directions == 1 else concatenate(last[i:i + 2], axis=-1) for i in range(0, len(last), directions)]
        return Cache(memory, np.asarray(lengths), states, None if self.score is None else self.score.key(memory))

    def decode(self, target, cache):
        """The decoder's last hidden vectors (batch, target time, d_model) for ids behind those that the `Cache` has seen; it goes on behind them."""
        x, contexts = self._embed(self.target_embedding, target), None
        states = list(cache.states)
        for layer in range(self.decoder.num_layers):
            if layer == 0 and self.context == "input":
                x, contexts, states[0] = self._first_layer(x, cache)
            else:
                every = self.decoder.layer(layer, self.decoder.project(layer, self.dropout(x) if layer else x), states[layer])
                x, states[layer] = self.decoder.outputs(every), self.decoder.last(every)
        if self.context == "output":
            contexts = self._look_up(x, cache)
        cache.states = states
        if contexts is not None:
            x = tanh(self.readout(concatenate([x, contexts], axis=-1)))
        return self.dropout(x)

    def _first_layer(self, x, cache):
        """The first layer with a context beside each word: its outputs and the contexts (batch, target time, d_model), and its last state."""
        weight, bias = self.decoder.weight_ih_l0, self.decoder.bias_ih_l0
        words = fused.linear(x, weight[:, :self.d_model], bias)  # (batch, target time, gates)
        of_context = weight[:, self.d_model:]
        if self.score is None:
            context = self.decoder.outputs(cache.first[-1])[:, None]  # (batch, 1, d_model)
            every = self.decoder.layer(0, words + fused.linear(context, of_context), cache.states[0])
            return self.decoder.outputs(every), broadcast_to(context, shape=x.shape), self.decoder.last(every)
        state, outs, contexts = cache.states[0], [], []
        for word in unstack(words):
            contexts.append(self._look_up(self.decoder.outputs(state)[:, None], cache))
            every = self.decoder.layer(0, word + fused.linear(contexts[-1], of_context), state)
            outs.append(self.decoder.outputs(every))
            state = self.decoder.last(every)
        return concatenate(outs, axis=1), concatenate(contexts, axis=1), state

    def _look_up(self, x, cache):
        """The contexts (batch, time, d_model): what states x (batch, time, d_model) find in the memory. Rows about one sentence share its memory."""
        p = self.attention_dropout if self.training else 0.0
        cache.query = query = self.score.query(x).reshape(len(cache.memory), -1, self.d_model)
        found = self.score(query, cache.keys, cache.memory, lengths=cache.memory_lengths, p=p, key=random.next_key() if p else 0)
        return found.reshape(x.shape)

    def _embed(self, embedding, ids):
        return self.dropout(embedding(ids) * self.d_model ** 0.5)  # √d: to the variance 1 for which recurrent weights are drawn

    @property
    def output_weight(self):
        """(target vocabulary, d_model): the matrix that turns a hidden vector into logits."""
        return self.target_embedding.weight if self.output is None else self.output.weight

    # Translation, word by word

    def start(self, source, lengths, capacity=None):
        """Encode source ids and return the `Cache` with which `step` goes on. There is no limit to `capacity`: a state is as large after any word."""
        with no_grad():
            return self.read(source, lengths)

    def step(self, ids, cache):
        """Logits (rows, target vocabulary) of the word after `ids` (rows,), the words chosen last; an array in main memory."""
        with no_grad():
            return devices.host(fused.linear(self.decode(ids[:, None], cache), self.output_weight).data[:, 0])

    def attention(self, cache):
        """Where the last `step` looked in the source: (rows, source time), rows summing to 1."""
        weights = self._with_attention().weights(cache.query, cache.keys, lengths=cache.memory_lengths)
        return weights.reshape(-1, weights.shape[-1])

    def attention_maps(self, source, source_lengths, target):
        """Where each target word looks in the source: (1 layer, batch, 1 head, target time, source time), as an array."""
        maps = []
        hook = self._with_attention().register_forward_hook(lambda score, inputs, out: maps.append(score.weights(*inputs[:2], lengths=source_lengths)))
        with hook, no_grad():
            self.decode(target, self.read(source, source_lengths))
        return np.concatenate(maps, axis=2)[None]

    def _with_attention(self):
        if self.score is None:
            raise UserError("this model has no attention: with score none its decoder knows of the source only what the last state holds")
        return self.score


class Cache:
    """What translation keeps between words: the state of each layer, and of the source its memory, the keys made of it and the last states.

    A source sentence has one row of memory, and as many rows of states, one behind the other, as there are hypotheses about it.
    """

    def __init__(self, memory, memory_lengths, states, keys):
        self.memory, self.memory_lengths, self.keys = memory, memory_lengths, keys
        self.states = self.first = states
        self.query = None  # of the last look into the memory
        self._hypotheses = 1  # about each sentence

    def select(self, rows, hypotheses=1):
        """Go on with these rows, in any order and number: how beams split and finished sentences leave.

        From now on so many `hypotheses`, one behind the other, are about the same sentence; what they share is not copied.
        """
        sentences = rows[::hypotheses] // self._hypotheses
        self._hypotheses = hypotheses
        there = devices.place(rows, self.memory.data)
        self.states, self.first = ([Tensor(state.data[..., there, :]) for state in states] for states in (self.states, self.first))
        if not np.array_equal(sentences, np.arange(len(self.memory_lengths))):
            there = devices.place(sentences, self.memory.data)
            self.memory, self.memory_lengths = Tensor(self.memory.data[there]), self.memory_lengths[sentences]
            self.keys = None if self.keys is None else Tensor(self.keys.data[there])


def choose_context(score, context):
    """The `context` that "auto" stands for, or the given one if it fits the score."""
    fitting = CONTEXTS[score != "none"]
    if context != "auto" and context not in fitting:
        with_or_without = "with" if score != "none" else "without"
        raise ValueError(f"context: {context!r} is not one of {', '.join(fitting)}, which go {with_or_without} attention (score {score})")
    return fitting[0] if context == "auto" else context


def unstack(x):
    """The steps of x (batch, time, features), each (batch, 1, features).

    Cut into halves, and these again: as the gradient of a part has the size of what it was cut from, `time` cuts of the whole would cost time² · features.
    """
    half = x.shape[1] // 2
    return unstack(x[:, :half]) + unstack(x[:, half:]) if half else [x]
