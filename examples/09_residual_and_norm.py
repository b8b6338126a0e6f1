r"""
9. Residual and normalisation
=============================

    *"Residual connections keep the signal and the gradient alive through many layers, and normalisation keeps them in
    bounds. Transformers take layer norm, because batch norm suits sentences badly."*

Two small things around every sublayer: what came in is added to what comes out, and the sum, or the input, is brought to
mean 0 and variance 1. We take each away and send a signal and a gradient through 1 to 48 layers. Then both norms meet
sentences of different lengths.
"""

# %%
# Five ways to wrap a sublayer
# ----------------------------
# A layer is attention and then a feed-forward network, each a function *f*. It can be wrapped in five ways:
import numpy as np

import minitx as mx
from lesson import BLUE, COLOURS, GREY, MARKERS, ORANGE, QUICK, claim, exponent, myth, panels, picture, smooth, table
from minitx import nn, optim
from minitx.data import toy
from minitx.data.batches import make_batch
from minitx.data.tokenizers import Tokenizer

D_MODEL, N_HEADS = 32, 4
LAYERS = (1, 2, 3, 6, 12, 24, 48)


class Bare(nn.EncoderLayer):
    def sublayer(self, norm, x, function, real=None):
        return function(x)


class ResidualOnly(nn.EncoderLayer):
    def sublayer(self, norm, x, function, real=None):
        return x + function(x)


class NormOnly(nn.EncoderLayer):
    def sublayer(self, norm, x, function, real=None):
        return norm(function(x))


KINDS = {"f(x)": (Bare, "pre"), "x + f(x)": (ResidualOnly, "pre"), "norm(f(x))": (NormOnly, "pre"),
         "norm(x + f(x))": (nn.EncoderLayer, "post"), "x + f(norm(x))": (nn.EncoderLayer, "pre")}
POST, PRE = "norm(x + f(x))", "x + f(norm(x))"  # the Transformer of 2017, and most since
COLOUR = dict(zip(KINDS, (GREY, *COLOURS)))
MARKER = dict(zip(KINDS, ("v", *MARKERS)))


def stack(kind, n_layers, seed=0):
    layer, norm = KINDS[kind]
    generator = np.random.default_rng(seed)
    return [layer(D_MODEL, N_HEADS, 4 * D_MODEL, dropout=0.0, norm=norm, generator=generator) for _ in range(n_layers)]


# %%
# Through 48 layers, at the start of training
# -------------------------------------------
# Random words go in, a random gradient comes back, in float64. How large is the signal behind the last layer, how large
# the gradient before the first, and how alike have the words become (the mean cosine between two of them)?
generator = np.random.default_rng(1)
words, arriving = generator.normal(size=(2, 4, 16, D_MODEL))  # (batch, time, d_model)


def through(kind, n_layers):
    """The signal's size behind the layers, the gradient's before them relative to what arrived, and how alike two words are."""
    x = y = mx.tensor(words, requires_grad=True)
    for layer in stack(kind, n_layers):
        y = layer.to(np.float64)(y)
    y.backward(arriving)
    unit = y.data / np.linalg.norm(y.data, axis=-1, keepdims=True)
    cosines = unit @ unit.swapaxes(1, 2)  # (batch, time, time)
    alike = cosines[:, ~np.eye(16, dtype=bool)].mean()
    return np.sqrt(np.mean(y.data ** 2)), np.linalg.norm(x.grad.data) / np.linalg.norm(arriving), alike


measured = {kind: np.array([through(kind, n_layers) for n_layers in LAYERS]) for kind in KINDS}
for column, what in enumerate(("layers: size of the signal", "layers: size of the gradient", "layers: how alike two words are")):
    table([what, *(str(n_layers) for n_layers in LAYERS)],
          [(kind, *(f"{value:.2g}" for value in measured[kind][:, column])) for kind in KINDS], align="<" + ">" * len(LAYERS))
gradient = {kind: values[:, 1] for kind, values in measured.items()}
per_layer = {kind: float(np.exp(np.polyfit(LAYERS, np.log(values), 1)[0])) for kind, values in gradient.items()}
claim("with neither, the gradient shrinks by the same factor in every layer: it vanishes",
      f"it is multiplied by about {per_layer['f(x)']:.2f} per layer, and by {gradient['f(x)'][-1]:.0e} in {LAYERS[-1]}",
      per_layer["f(x)"] < 0.5 and gradient["f(x)"][-1] < 1e-12)
claim("with a residual alone, nothing vanishes, but all grows: a stack adds up what it has",
      f"in {LAYERS[-1]} layers the signal is multiplied by {measured['x + f(x)'][-1, 0]:.0e} and the gradient by {gradient['x + f(x)'][-1]:.0e}",
      measured["x + f(x)"][-1, 0] > 1e3 and gradient["x + f(x)"][-1] > 1e3)
claim("with both, 48 layers change the size of the gradient by less than a factor of 10",
      f"the norm behind: {gradient[POST][-1]:.2f}, the norm before: {gradient[PRE][-1]:.2f}",
      all(0.1 < gradient[kind][-1] < 10 for kind in (POST, PRE)))

# %%
# The surprise is the third line. A norm alone keeps signal and gradient as large as they were, through any number of
# layers. Is the residual needed, then? What is lost has no size: all words become the same word, because each attention
# layer is a mean over them and nothing brings back what they were (Dong et al. 2021, "Attention is not all you need").
# A residual does not stop that, in untrained layers, but it makes it slow.
alike = {kind: values[:, 2] for kind, values in measured.items()}
gone = {kind: LAYERS[np.argmax(values > 0.99)] if values.max() > 0.99 else None for kind, values in alike.items()}
six = LAYERS.index(6)
myth("what matters is that the gradient does not vanish",
     f"without the residual, the norm alone keeps it at {gradient['norm(f(x))'][-1]:.2f} of its size through {LAYERS[-1]} layers; but two words "
     f"have then a cosine of more than 0.99 after {gone['norm(f(x))']} layers, so that hardly anything is left to learn from",
     0.1 < gradient["norm(f(x))"][-1] < 10 and gone["norm(f(x))"] == 2)
claim("the residual keeps words apart for longer, and longest where the norm stands before the sublayer",
      f"after 6 layers two words are alike to {alike['norm(f(x))'][six]:.3f} with the norm alone, {alike[POST][six]:.2f} with the norm behind the "
      f"sum and {alike[PRE][six]:.2f} with the norm before the sublayer", alike["norm(f(x))"][six] > 0.99 > 0.9 > alike[POST][six] > alike[PRE][six])

# %%
figure, axes = panels(1, 3, size=(14, 4.2))
for kind, values in measured.items():
    for one, column in zip(axes, (0, 1, 2)):
        one.plot(LAYERS, values[:, column], color=COLOUR[kind], marker=MARKER[kind], markersize=5, label=kind)
for one, title in zip(axes, ("Size of the signal behind the layers", "Size of the gradient before them", "How alike two words have become")):
    one.set_xscale("log", base=2)
    one.set_xticks(LAYERS, [str(n_layers) for n_layers in LAYERS])
    one.set(title=title, xlabel="layers")
for one in axes[:2]:
    one.set(yscale="log", ylim=(1e-9, 1e9))
axes[2].set(ylim=(-0.05, 1.05), ylabel="mean cosine")
axes[0].legend(frameon=False, fontsize=9, loc="lower left")
picture(figure, "09_through_the_layers",
        "Untrained stacks of 1 to 48 layers. Without residual and norm, signal and gradient leave the picture below; with the "
        "residual alone they grow out of bounds. A norm alone keeps both, and makes all words alike.")

# %%
# Does it matter?
# ---------------
# The stacks now learn to name the symbol before each symbol: with one layer a small thing. All get the same steps.
DEPTH, STEPS, SYMBOLS, LENGTH = (6, 160, 8, 12) if QUICK else (12, 240, 8, 12)
TRAINED = ["x + f(x)", "norm(f(x))", PRE] if QUICK else list(KINDS)


def train(kind):
    """The loss at every step, in nats."""
    generator = np.random.default_rng(0)
    layers, norm = stack(kind, DEPTH), nn.LayerNorm(D_MODEL)
    embedding, positions = nn.Embedding(SYMBOLS, D_MODEL, generator=generator), nn.Positions("sinusoidal", LENGTH, D_MODEL, generator)
    answer = nn.Linear(D_MODEL, SYMBOLS, generator=generator)
    optimizer = optim.Adam([p for module in (*layers, norm, embedding, answer) for p in module.parameters()], 2e-3)
    losses = []
    for _ in range(STEPS):
        ids = generator.integers(0, SYMBOLS, (16, LENGTH)).astype(np.int32)
        y = positions(embedding(ids) * D_MODEL ** 0.5)
        for layer in layers:
            y = layer(y)
        loss = mx.cross_entropy(answer(norm(y))[:, 1:], ids[:, :-1])
        loss.backward()
        optimizer.step(clip=1.0)
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


losses = {kind: train(kind) for kind in TRAINED}
last = {kind: np.mean(course[-10:]) for kind, course in losses.items()}
table([f"{DEPTH} layers", f"loss after {STEPS} steps (nats)"], [(kind, f"{value:.3f}") for kind, value in last.items()], align="<>")
claim(f"{DEPTH} layers with residual and a norm before each sublayer learn it, and a residual or a norm alone do not",
      f"log({SYMBOLS}) = {np.log(SYMBOLS):.2f} is guessing; {last[PRE]:.2f} with both, {last['x + f(x)']:.2f} with the residual, "
      f"{last['norm(f(x))']:.2f} with the norm", last[PRE] < 1 < 1.8 < min(last["x + f(x)"], last["norm(f(x))"]))

# %%
# Where the norm stands behind the sum, as in 2017, a stack so deep wants to be warmed up: small steps first, because the
# gradients near its output do not become smaller with its depth, as they do where the norm stands before the sublayer
# (Xiong et al. 2020). Here nobody does that.
#
# Layer norm and batch norm
# -------------------------
# Both subtract a mean and divide by a standard deviation. *Layer norm* takes them over the features of one word. *Batch
# norm* (Ioffe and Szegedy 2015) takes them, for each feature, over all words of the batch, so that a word's vector
# depends on who happens to be there. Sentences make that worse: they differ in length, and either the padding counts
# as well, or the number of words in the sum changes from batch to batch. All that follows is of training: in use, batch
# norm takes running means of what it saw there, so that it is not in use what it was trained as.
layer_norm, batch_norm = (norm(D_MODEL).to(np.float64) for norm in (nn.LayerNorm, nn.BatchNorm))
NORMS = {"layer norm": (layer_norm, True), "batch norm of the words": (batch_norm, True), "batch norm of words and padding": (batch_norm, False)}
NEIGHBOURS = (1, 3, 7, 15, 31, 63)
lines = [example.source for example in toy.corpus("en-es", n_train=2000, n_test=1, n_validation=1).train]
tokenizer = Tokenizer.train("words", lines)
ids = [encoded for encoded in tokenizer.encode_batch(lines) if len(encoded) < 30]
table_of_words = np.random.default_rng(2).normal(size=(len(tokenizer), D_MODEL))


def company(norm, only_words, n_neighbours, draws=20):
    """How much the vectors of one sentence move with who is beside it: their distance from the first draw, relative to their size."""
    generator, outs = np.random.default_rng(3), []
    for _ in range(draws):
        batch = make_batch([(ids[0], [])] + [(ids[i], []) for i in generator.integers(1, len(ids), n_neighbours)])
        real = np.arange(batch.source.shape[1]) < batch.source_lengths[:, None]  # (sentences, time): False for padding
        outs.append(norm(mx.tensor(table_of_words[batch.source]), real if only_words else None).data[0, :len(ids[0])])
    return np.sqrt(np.mean(np.square(np.array(outs[1:]) - outs[0])) / np.mean(np.square(outs)))


moves = {name: [company(*kind, n) for n in NEIGHBOURS] for name, kind in NORMS.items()}
table(["how much a sentence moves with its company", *(f"{n} more" for n in NEIGHBOURS)],
      [(name, *(f"{value:.1%}" for value in values)) for name, values in moves.items()], align="<" + ">" * len(NEIGHBOURS))
claim("under layer norm a sentence is what it is, whoever is beside it: not a bit changes",
      f"it moves by {max(moves['layer norm']):g}", max(moves["layer norm"]) == 0)
of_words = moves["batch norm of the words"]
falls = exponent(NEIGHBOURS[2:], of_words[2:])  # where the company outweighs the sentence itself
claim("under batch norm it moves with its company, in large batches less: with about the power −½ of their size, as means do",
      f"by {of_words[0]:.0%} with one other sentence and {of_words[-1]:.1%} with {NEIGHBOURS[-1]}; from {NEIGHBOURS[2]} on the exponent is "
      f"{falls:.2f}", of_words[0] > 0.1 and abs(falls + 0.5) < 0.15)

batch = make_batch([(sentence, []) for sentence in ids[:8]])
padded = np.pad(batch.source, ((0, 0), (0, 12)))  # <pad> is 0
real = np.arange(padded.shape[1]) < batch.source_lengths[:, None]
by = {}
for name, only_words in (("counts", False), ("does not", True)):
    narrow, wide = (batch_norm(mx.tensor(table_of_words[padded[:, :time]]), real[:, :time] if only_words else None).data[real[:, :time]]
                    for time in (batch.source.shape[1], padded.shape[1]))
    by[name] = np.sqrt(np.mean((wide - narrow) ** 2) / np.mean(narrow ** 2))
claim("where padding counts, even padding says something: the same sentences, with 12 more columns of it",
      f"move by {by['counts']:.0%}; where it does not count, by {by['does not']:.0e}", by["counts"] > 0.1 and by["does not"] < 1e-12)

# %%
# For a decoder it is worse than noise. The mean over a sentence contains its future words, and so the norm tells what
# the causal mask (lesson 6) hides.


def from_the_future(norm):
    """The pairs of words with an influence of the later one on the earlier one, in one sentence."""
    x = mx.tensor(np.random.default_rng(4).normal(size=(1, 6, D_MODEL)), requires_grad=True)
    out, pairs = norm(x), 0
    for i in range(6):
        (g,) = mx.gradients([out], [x], [np.eye(6)[None, :, i:i + 1] * np.arange(float(D_MODEL))], retain_graph=True)
        pairs += np.count_nonzero(np.abs(g.data[0, i + 1:]).max(axis=-1) > 1e-12)
    return pairs


claim("in training, batch norm lets a word see those after it, mask or no mask; layer norm does not",
      f"of 15 pairs of a word and a later one, {from_the_future(batch_norm)} under batch norm and {from_the_future(layer_norm)} under layer norm",
      from_the_future(batch_norm) == 15 and from_the_future(layer_norm) == 0)

figure, (left, right) = panels(1, 2, size=(12, 4))
for kind, course in losses.items():
    left.plot(smooth(course, 8), color=COLOUR[kind], marker=MARKER[kind], markevery=STEPS // 8, markersize=5, label=kind)
left.set(title=f"{DEPTH} layers learn to name the symbol before", xlabel="step of training", ylabel="loss (nats)", ylim=(0, None))
left.legend(frameon=False, fontsize=9, loc="lower left")
for (name, values), colour, marker in zip(moves.items(), (BLUE, ORANGE, GREY), MARKERS):
    right.plot(NEIGHBOURS, 100 * np.array(values), color=colour, marker=marker, markersize=5, label=name)
right.set_xscale("log", base=2)
right.set_xticks(NEIGHBOURS, [str(n) for n in NEIGHBOURS])
right.set(title="How much a sentence moves with its company", xlabel="other sentences in the batch", ylabel="% of its size", ylim=(-1, None))
right.legend(frameon=False)
picture(figure, "09_learning_and_company",
        "Left: the same steps of training for each way to wrap a sublayer. Right: how much the vectors of one sentence depend on "
        "which sentences are beside it, for three ways to normalise.")

# %%
# What to remember
# ----------------
# The residual is not there for the size of the gradient, which a norm could keep as well, but for what the gradient and
# the signal are *about*: it hands on what a word was. The norm is there for the size. And the norm of a word should be
# made of that word alone: then a sentence says the same alone and in company, in training and in use.
