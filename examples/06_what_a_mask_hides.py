r"""
6. What a mask hides
====================

    *"A causal mask stops the decoder from cheating: no position sees what comes after it. A padding mask keeps the
    padding from being looked at. A masked score is set to −∞, so that its weight is 0."*

Is a masked word hidden, or only faint? The engine can tell: the influence of input *j* on output *i* is the size of
:math:`\partial\,\text{output}_i / \partial\,\text{input}_j`. We measure it for every pair of words, under every mask.
Then we leave the mask out of a language model and see what it learns.
"""

# %%
# Influence, measured with gradients
# ----------------------------------
# Two layers of self-attention, with random weights, on random words: what is hidden depends on the mask alone. The last
# two words are padding, because this sentence shares its batch with a longer one.
import numpy as np
from matplotlib.colors import LogNorm

import minitx as mx
from lesson import BLUE, ORANGE, QUICK, claim, grid, myth, panels, picture, slanted, table
from minitx import nn, optim
from minitx.data import toy
from minitx.data.batches import make_batch
from minitx.data.tokenizers import Tokenizer
from minitx.models import DecoderOnly, EncoderDecoder

WORDS = "the red cats see a dog <eos> <pad> <pad>".split()
REAL, D_MODEL, WINDOW = 7, 16, 3
generator = np.random.default_rng(0)
x = mx.tensor(generator.normal(size=(1, len(WORDS), D_MODEL)), dtype=np.float64, requires_grad=True)
layers = [(nn.LayerNorm(D_MODEL), nn.MultiHeadAttention(D_MODEL, n_heads=2, generator=generator, window=WINDOW))
          for _ in range(2)]
for module in sum(layers, ()):
    module.to(np.float64)


def stack(window=None, **mask):
    """Two layers of self-attention, each added to what came in: (1, words, d_model)."""
    y = x
    for norm, attention in layers:
        attention.window = window
        y = y + attention(norm(y), **mask)
    return y


def influence(y, x):
    """(words, words): row i, column j is the Frobenius norm of ∂yᵢ/∂xⱼ. y and x are (1, words, features).

    A backward pass gives the gradient of one number by all inputs: so there is one pass per feature of each output.
    """
    _, time, features = y.shape
    squares = np.zeros((time, time))
    for i in range(time):
        for feature in range(features):
            pick = np.zeros(y.shape)
            pick[0, i, feature] = 1
            (gradient,) = mx.gradients([y], [x], [pick], retain_graph=True)  # ∂y[0, i, feature] / ∂x
            squares[i] += np.sum(gradient.data[0] ** 2, axis=-1)
    return np.sqrt(squares)


MASKS = {"no mask": {}, "padding mask": {"lengths": np.array([REAL], np.int32)}, "causal mask": {"causal": True},
         f"causal, a window of {WINDOW}": {"causal": True, "window": WINDOW}}
maps = {name: influence(stack(**mask), x) for name, mask in MASKS.items()}
none, padding, causal, window = maps.values()

# %%
# What each mask hides
# --------------------
# The weight of a masked score is exp(−∞) = 0, and a product with 0 passes no gradient. So what is hidden should have an
# influence not of nearly 0 but of exactly 0, however many layers lie between.
above = np.triu(np.ones(none.shape, bool), k=1)  # output i, input j > i: the future
pads = np.arange(len(WORDS)) >= REAL


def count(found):
    return f"{np.count_nonzero(found)} of {found.size}"


claim("without a mask, every word influences every word", f"pairs without influence: {count(none == 0)}", (none > 0).all())
claim("under the causal mask nothing comes from the future, exactly, and everything from the past does",
      f"influences from the future: {count(causal[above] > 0)}; pairs without influence among the others: "
      f"{count(causal[~above] == 0)}", not causal[above].any() and (causal[~above] > 0).all())
claim("under the padding mask no pad influences a real word",
      f"influences of a pad on a real word: {count(padding[:REAL, pads] > 0)}", not padding[:REAL, pads].any())
smallest = min(matrix[matrix > 0].min() for matrix in maps.values())
claim("nothing is half hidden: what is not exactly 0 is far from it", f"the smallest influence is {smallest:.2f}", smallest > 0.01)
myth("a decoder needs a padding mask for its own words",
     f"under the causal mask alone, influences of a pad on a real word: {count(causal[:REAL, pads] > 0)}: pads come last, so "
     "they are in the future of every real word", not causal[:REAL, pads].any())

# %%
# A window lets a word see only its last few neighbours, itself included, which makes long texts cheap. But layers stack:
# what my neighbour has seen, I hear from my neighbour. With :math:`L` layers and a window of :math:`w`, a word hears from
# up to :math:`L\,(w-1)` words back.
reach = np.array([i - np.flatnonzero(row)[0] for i, row in enumerate(window)])
expected = np.minimum(np.arange(len(WORDS)), len(layers) * (WINDOW - 1))
myth(f"with a window of {WINDOW}, a word knows only the last {WINDOW} words",
     f"after {len(layers)} layers the last word hears from {reach[-1]} words back", reach.max() > WINDOW)
claim("the reach of a window grows by (window − 1) words with each layer",
      f"words back, for each word: measured {reach.tolist()}, expected {expected.tolist()}", np.array_equal(reach, expected))

# %%
figure, axes = panels(1, 4, size=(15, 4.7), sharey=True)
every = np.concatenate([matrix[matrix > 0] for matrix in maps.values()])
for one, (name, matrix) in zip(axes, maps.items()):
    one.set_facecolor("#e5e7eb")
    image = grid(one, np.ma.masked_equal(matrix, 0), WORDS, WORDS, norm=LogNorm(every.min() / 3, every.max()), aspect="equal")
    one.set(title=f"{name}\n{np.count_nonzero(matrix == 0)} of {matrix.size} are 0", xlabel="input word")
    slanted(one)
axes[0].set_ylabel("output word")
bar = figure.colorbar(image, ax=axes, fraction=0.02, pad=0.015, ticks=[0.25, 0.5, 1, 2, 4], format="%g")
bar.ax.minorticks_off()
bar.outline.set_visible(False)
bar.set_label("size of ∂output / ∂input")
picture(figure, "06_influence",
        "The influence of each input word on each output word through two layers of attention; grey where it is exactly "
        "0. A pad still reaches its own output, past the attention, but nobody looks at that output.")

# %%
# The same in a whole translator
# ------------------------------
# Teacher forcing gives the decoder the answers as input, one position late (lesson 10). It cannot cheat: with another
# word at some position, all that it says before that stays the same, to the last bit.
model = EncoderDecoder(20, 20, d_model=32, n_heads=4, n_layers=2, d_ff=64, dropout=0.0).eval()
source, target = generator.integers(4, 20, (1, 6)), generator.integers(4, 20, (1, 8))
position, other = 5, target.copy()
other[0, position] = 4 if target[0, position] != 4 else 5
lengths = np.array([source.shape[1]], np.int32)
with mx.no_grad():
    changed = np.any(model(source, lengths, target).data != model(source, lengths, other).data, axis=-1)[0]
claim("a decoder that reads another word at a position says the same before it",
      f"another word at position {position} of 0 to 7: it says something else at {np.flatnonzero(changed).tolist()}",
      np.flatnonzero(changed).tolist() == [5, 6, 7])

# %%
# What cheating looks like
# ------------------------
# Now two language models learn to name the next word of toy sentences, one with the causal mask, the other without. In
# training, the sentence that they read contains the answers. When they are used, the future does not exist.
STEPS, LENGTH = (50 if QUICK else 150), 7


class Peeking(DecoderOnly):
    """A language model whose positions see the whole sentence, in training as in use."""

    def decode(self, ids, cache=None):
        x = self.positions(self.embedding(ids))
        for layer in self.layers:
            x = layer(x, causal=False)
        return self.norm(x)


lines = [example.source for example in toy.corpus("en-es", n_train=8000, n_test=1, n_validation=1).train]
lines = [line for line in lines if line.count(" ") + 1 == LENGTH]  # of one length, so that there is no padding
tokenizer = Tokenizer.train("words", lines)
pairs = [([], ids) for ids in tokenizer.encode_batch(lines)]
held_out, pairs = make_batch(pairs[:100]), pairs[100:]


def train(kind):
    """A small model of this kind, and its loss at each step."""
    model = kind(len(tokenizer), d_model=32, n_heads=2, n_layers=2, max_length=LENGTH + 1)
    optimizer, order, losses = optim.Adam(model.parameters(), 1e-2), np.random.default_rng(0), []
    for _ in range(STEPS):
        loss = model.loss(make_batch([pairs[i] for i in order.choice(len(pairs), 128, replace=False)]))
        loss.backward()
        optimizer.step(clip=1.0)
        optimizer.zero_grad()
        losses.append(loss.item())
    return model, losses


def in_use(model):
    """The mean loss of each next word when only the words before it exist."""
    with mx.no_grad():
        logits = [model(held_out.target_in[:, :t + 1])[:, t] for t in range(LENGTH + 1)]
    return float(mx.cross_entropy(np.stack([np.asarray(one) for one in logits], axis=1), held_out.target_out).item())


results = {}
for name, kind in (("with the mask", DecoderOnly), ("without", Peeking)):
    model, losses = train(kind)
    with mx.no_grad():
        results[name] = losses, model.loss(held_out).item(), in_use(model)
blind = np.log(len(tokenizer))
table(["causal mask", "loss with the whole sentence in sight", "loss in use, the future hidden"],
      [(name, forced, use) for name, (_, forced, use) in results.items()])
_, seen_masked, used_masked = results["with the mask"]
_, seen_peeking, used_peeking = results["without"]
claim("with the mask, what training measures is what one gets in use, to rounding",
      f"{seen_masked:.6f} and {used_masked:.6f} nats per word", np.isclose(seen_masked, used_masked, rtol=1e-4))
claim("without it, the model looks brilliant in training: it copies the answer from the next position",
      f"{seen_peeking:.3f} nats per word against {seen_masked:.3f} with the mask", seen_peeking < (0.8 if QUICK else 0.2) * seen_masked)
claim("when the future is hidden, it is worse than the model that never saw it, by more than a nat per word",
      f"{used_peeking:.2f} nats per word against {used_masked:.2f}; to say all {len(tokenizer)} words with equal probability "
      f"costs {blind:.2f}", used_peeking > used_masked + 1)

figure, axes = panels(size=(8, 3.8))
for (name, (losses, _, use)), colour, style in zip(results.items(), (BLUE, ORANGE), ("-", "--")):
    axes.plot(np.arange(1, STEPS + 1), losses, style, color=colour, label=f"{name}: training")
    axes.plot(STEPS * 1.03, use, "o" if style == "-" else "s", color=colour, markersize=8, clip_on=False,
              label=f"{name}: in use afterwards")
axes.axhline(blind, color="black", linewidth=0.8, linestyle=":")
axes.annotate("all words equally", (1, blind), xytext=(0, 4), textcoords="offset points", fontsize=9)
axes.set(title="Naming the next word", xlabel="step of training", ylabel="loss (nats per word)", ylim=(0, None), xlim=(0, STEPS * 1.05))
axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.02, 0.5))
picture(figure, "06_cheating",
        "Loss of two language models while they learn, and of both in use, where the words to come are not there. "
        "Without the mask the training loss falls towards 0 and means nothing.")

# %%
# What to remember
# ----------------
# A masked word has no influence at all, and gradients prove it. The causal mask is what makes teacher forcing honest:
# all positions are trained at once, each as if the rest of the sentence had not been written yet. Without it the loss
# measures copying. Pads at the end need no mask of their own where attention is causal; an encoder needs one.
