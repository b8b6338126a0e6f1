"""Add a model: a translator that reads a sentence as a bag of words.

    python examples/add_a_model.py

A model is a `Module` with a `loss`. With four more things, `max_length`, `start`, `step` and a cache with `select`, every
search of minitx can decode it: greedy, beam, sampling. This one is as simple as a translator can be: the source is the
mean of its word vectors, in which order is lost, and a GRU that begins there writes the target.
"""
import numpy as np

import minitx as mx
from minitx import nn
from minitx.data import toy
from minitx.data.batches import PAD, make_batch
from minitx.data.tokenizers import TokenizerPair
from minitx.decoding.beam import beam_search
from minitx.decoding.greedy import greedy
from train_by_hand import to_ids, train  # the example beside this one

# 1. The model. What is assigned in __init__, parameters, modules and lists of them, is found by the optimizer and saved
# under its name. All random numbers come from one generator, so a seed is a model.


class BagTranslator(nn.Module):
    """The mean of the source's word vectors, and a GRU that begins in it: (batch, source time) to the next target id."""

    def __init__(self, source_vocabulary, target_vocabulary, d_model=64, max_length=64, seed=0):
        generator = np.random.default_rng(seed)
        self.source_embedding = nn.Embedding(source_vocabulary, d_model, generator=generator)
        self.target_embedding = nn.Embedding(target_vocabulary, d_model, generator=generator)
        self.decoder = nn.GRU(d_model, d_model, generator=generator)
        self.output = nn.Linear(d_model, target_vocabulary, generator=generator)
        self.d_model, self.max_length = d_model, max_length

    def forward(self, source, lengths, target):
        """Logits (batch, target time, vocabulary) for source ids (batch, source time), the first `lengths` of each row real."""
        return self.decode(target, self.encode(source, lengths))[0]

    def loss(self, batch, label_smoothing=0.0, reduction="mean"):
        """Cross-entropy of the next word over the real target words: what the trainer minimises."""
        logits = self.forward(batch.source, batch.source_lengths, batch.target_in)
        return mx.cross_entropy(logits, batch.target_out, ignore_index=PAD, label_smoothing=label_smoothing, reduction=reduction)

    def encode(self, source, lengths):
        """The state in which the decoder begins: (batch, d_model)."""
        real = (np.arange(source.shape[1]) < np.asarray(lengths)[:, None]).astype(np.float32)  # (batch, source time)
        vectors = self.source_embedding(source) * self.d_model ** 0.5  # (batch, source time, d_model)
        return (vectors * real[..., None]).sum(axis=1) / real.sum(axis=1, keepdims=True)

    def decode(self, target, state):
        """Logits after each of target ids (batch, time), and the state (batch, d_model) behind the last."""
        out, last = self.decoder(self.target_embedding(target) * self.d_model ** 0.5, [state])
        return self.output(out), last[0]

    # 2. Word by word. `start` reads the source and returns a cache; `step` takes the words chosen last.

    def start(self, source, lengths, capacity=None):
        with mx.no_grad():
            return Cache(self.encode(source, lengths))

    def step(self, ids, cache):
        """Logits (rows, vocabulary) of the word after `ids` (rows,), as an array."""
        with mx.no_grad():
            logits, cache.state = self.decode(ids[:, None], cache.state)
            return logits.data[:, 0]


class Cache:
    """What the model keeps between words: a state for each hypothesis, (rows, d_model)."""

    def __init__(self, state):
        self.state = state

    def select(self, rows, hypotheses=1):
        """Go on with these rows, in any order and number: how beams split and finished sentences leave."""
        self.state = mx.Tensor(self.state.data[rows])


# 3. Does it learn? The trainer asks for nothing but `loss` and the parameters.

corpus = toy.corpus("en-zh", n_train=8000, n_test=50, n_validation=20)
pairs = [(example.source, example.target) for example in corpus.train]
tokenizers = TokenizerPair.train("words", pairs)
model = BagTranslator(len(tokenizers.source), len(tokenizers.target))
losses = [row["loss"] for row in train(model, to_ids(tokenizers, corpus.train), steps=400)]
print(f"{model.n_parameters():,} parameters; the loss went from {losses[0]:.2f} to {losses[-1]:.2f} nats per word, "
      f"where log({len(tokenizers.target)}) = {np.log(len(tokenizers.target)):.2f} is guessing")

# 4. Is it right? Three mistakes are made most often, and each has a check of a few lines.

batch = make_batch(to_ids(tokenizers, corpus.validation))
whole = model(batch.source, batch.source_lengths, batch.target_in).data

# What it says word by word must be what it says of the whole sentence at once. Here a forgotten state shows.
cache = model.start(batch.source, batch.source_lengths)
steps = np.stack([model.step(ids, cache) for ids in batch.target_in.T], axis=1)
print(f"word by word and at once: {np.abs(steps - whole).max():.0e} apart")

# Padding must not matter: a sentence alone says what it says beside a longer one. Here a forgotten mask shows.
shortest = batch.source_lengths.argmin()
alone = model(batch.source[[shortest], :batch.source_lengths[shortest]], batch.source_lengths[[shortest]], batch.target_in[[shortest]]).data
print(f"alone and in a batch:     {np.abs(alone[0] - whole[shortest]).max():.0e} apart")

# The gradient must be the slope of the loss. Here a detached array shows: in float64, along a random direction.
double = BagTranslator(len(tokenizers.source), len(tokenizers.target), d_model=8).to(np.float64)
weight, rng, h = double.source_embedding.weight, np.random.default_rng(0), 1e-6
direction = rng.normal(size=weight.shape)
double.loss(batch).backward()
slope, losses = np.sum(weight.grad.numpy() * direction), []
for sign in (1, -1):
    weight.data += sign * h * direction
    losses.append(double.loss(batch).item())
    weight.data -= sign * h * direction
print(f"gradient and slope:       {abs((losses[0] - losses[1]) / (2 * h) / slope - 1):.0e} apart, relative")

# 5. Every search takes it as it takes the others. In a bag, "the dog bites the man" is "the man bites the dog".

model.eval()
sentences = ["the girl chases the dog", "the dog chases the girl"]
batch = make_batch([(ids, []) for ids in tokenizers.source.encode_batch(sentences)])
best = beam_search(model, batch.source, batch.source_lengths, beam=4)
for sentence, ids, found in zip(sentences, greedy(model, batch.source, batch.source_lengths), best):
    print(f"\n{sentence}\n  greedy  {tokenizers.target.decode(ids)}\n  beam    {tokenizers.target.decode(found[0].ids)}  ({found[0].score:.2f} nats per word)")
