r"""
13. What attention costs
========================

    *"Self-attention costs time and memory that grow with the square of the length; a recurrent layer grows linearly, but
    has to go word by word."* (after Vaswani et al. 2017, table 1, which speaks of time)

We count multiplications, because they do not depend on who else is using the machine; we count the bytes that a layer
keeps for its backward pass; and at the end we look at the clock, where some of the theory looks different.
"""

# %%
# Multiplications
# ---------------
# Both layers take :math:`T` words of :math:`d` features to as many. Here they are with every product of matrices
# counted: in self-attention the four projections and the two products in which words meet; in a recurrent layer (a GRU,
# with three gates) the product of the input and that of the state, which has to be made word by word.
import time

import numpy as np
from threadpoolctl import threadpool_limits

import minitx as mx
from lesson import BLUE, GREEN, GREY, MARKERS, ORANGE, QUICK, claim, exponent, myth, panels, picture, table
from minitx import nn
from minitx.kernels.runtime import threads


class Counter:
    """Multiplies matrices, and counts the multiplications and the products that had to wait for each other."""

    def __init__(self):
        self.multiplications = self.products = 0

    def __call__(self, a, b):
        out = a @ b
        self.multiplications += out.size * a.shape[-1]
        self.products += 1
        return out


def projections(product, x, weights):
    *in_projections, out_projection = weights
    q, k, v = (product(x, weight) for weight in in_projections)
    product(q, out_projection)  # of what the words have found, which is as large as q
    return q, k, v


def meeting(product, q, k, v):
    scores = product(q, k.T) / q.shape[-1] ** 0.5  # (time, time)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return product(weights / weights.sum(axis=1, keepdims=True), v)


def recurrent(product, x, of_input, of_state):
    d = x.shape[1]
    projected, state = product(x, of_input), np.zeros((1, d))  # (time, 3 d)
    for word in projected:
        gates = product(state, of_state)[0]
        reset, update = 1 / (1 + np.exp(-(word + gates)[:2 * d].reshape(2, d)))
        state = ((1 - update) * np.tanh(word[2 * d:] + reset * gates[2 * d:]) + update * state[0])[None]
    return state


def count(length, width):
    """Multiplications of (projections, meeting, recurrent layer), and how many products of each layer wait for one before."""
    generator = np.random.default_rng(0)
    x, weights = generator.normal(size=(length, width)), generator.normal(size=(10, width, width)) / width ** 0.5
    counters = [Counter() for _ in range(3)]
    meeting(counters[1], *projections(counters[0], x, weights[:4]))
    recurrent(counters[2], x, np.concatenate(weights[4:7], axis=1), np.concatenate(weights[7:], axis=1))
    return [counter.multiplications for counter in counters], counters[2].products


LENGTHS, WIDTHS = (8, 16, 32, 64, 128, 256, 512), (16, 32, 64, 128, 256)
D = T = 64
by_length = np.array([count(length, D)[0] for length in LENGTHS])
by_width = np.array([count(T, width)[0] for width in WIDTHS])
PARTS = ("attention: projections", "attention: words meet", "recurrent layer")
powers = [(exponent(LENGTHS, by_length[:, part]), exponent(WIDTHS, by_width[:, part])) for part in range(3)]
table(["multiplications grow", "with the length, to the power", "with the width, to the power"],
      [(name, f"{length:.2f}", f"{width:.2f}") for name, (length, width) in zip(PARTS, powers)], align="<>>")
claim("where words meet, the cost grows with the square of the length, and in proportion to the width",
      "the powers are {:.3f} and {:.3f}".format(*powers[1]), np.allclose(powers[1], (2, 1), atol=1e-3))
claim("all else, and a recurrent layer altogether, grows in proportion to the length and with the square of the width",
      "the powers are {:.3f} and {:.3f}; recurrent {:.3f} and {:.3f}".format(*powers[0], *powers[2]),
      np.allclose([powers[0], powers[2]], (1, 2), atol=1e-2))

# %%
# Is attention expensive, then?
# -----------------------------
# A square is small as long as the number is small. Where do words that meet cost as much as the projections, and where
# does the whole layer cost as much as the recurrent one?
attention = by_length[:, :2].sum(axis=1)


def meets(ours, theirs):
    """The length from which on ours costs at least as much as theirs."""
    return LENGTHS[np.argmax(ours >= theirs)]


claim("words that meet cost as much as the projections where there are twice as many words as features",
      f"with {D} features from {meets(by_length[:, 1], by_length[:, 0])} words on", meets(by_length[:, 1], by_length[:, 0]) == 2 * D)
myth("attention multiplies more than a recurrent layer, because it is quadratic",
     f"up to as many words as it has features it multiplies no more: with {D} features the two are equal at {meets(attention, by_length[:, 2])} "
     f"words, and at {LENGTHS[1]} attention makes {attention[1] / by_length[1, 2]:.0%} of the multiplications",
     meets(attention, by_length[:, 2]) == D and attention[1] < by_length[1, 2])
claim("what a recurrent layer has more of is waiting: a product for each word that needs the one before; in attention none "
      "waits for another word", f"at {LENGTHS[-1]} words, {count(LENGTHS[-1], 16)[1] - 1} products one after the other",
      count(LENGTHS[-1], 16)[1] - 1 == LENGTHS[-1])

# %%
# Memory
# ------
# For its backward pass, a layer keeps what its rules ask for. Attention as it is written down keeps the scores and the
# weights of all pairs. The kernel of minitx keeps its output and one number for each query of a head and computes the weights again
# (Dao et al. 2022).
HEADS = 4


def plain_attention(layer, x):
    """The same layer made of plain operations."""
    batch, time, d = x.shape
    qkv = mx.linear(x, layer.in_proj_weight, layer.in_proj_bias).reshape(batch, time, 3, HEADS, d // HEADS)
    q, k, v = (qkv[:, :, part].transpose(0, 2, 1, 3) for part in range(3))  # (batch, heads, time, d_head)
    weights = mx.softmax(q @ k.swapaxes(2, 3) / (d // HEADS) ** 0.5)
    return layer.out_proj((weights @ v).transpose(0, 2, 1, 3).reshape(batch, time, d))


generator = np.random.default_rng(0)
attention_layer, gru = nn.MultiHeadAttention(D, HEADS, generator=generator), nn.GRU(D, D, generator=generator)
LAYERS = {"attention, plain operations": lambda x: plain_attention(attention_layer, x), "attention, kernel": attention_layer,
          "recurrent (GRU), kernel": lambda x: gru(x)[0]}
STYLE = {name: {"color": colour, "marker": marker, "markersize": 5, "label": name}
         for name, colour, marker in zip(LAYERS, (ORANGE, BLUE, GREEN), MARKERS)}
LONG = (64, 128, 256, 512) if QUICK else (64, 128, 256, 512, 1024)


def sentence(length):
    return mx.tensor(generator.normal(size=(1, length, D)), dtype=np.float32, requires_grad=True)


def kept(layer, x):
    """Bytes that the tape keeps for the backward pass."""
    with mx.profile(show=False) as seen:
        layer(x)
    return sum(row["kept"] for row in seen.rows.values())


same = sentence(100)
claim("the kernel computes what the plain operations compute", "the largest difference is "
      f"{np.abs(attention_layer(same).numpy() - plain_attention(attention_layer, same).numpy()).max():.0e}",
      np.allclose(attention_layer(same).numpy(), plain_attention(attention_layer, same).numpy(), atol=1e-5))
memory = {name: [kept(layer, sentence(length)) for length in LONG] for name, layer in LAYERS.items()}
last = {name: np.log2(values[-1] / values[-2]) for name, values in memory.items()}  # the power, where it is longest
table(["KiB kept for the backward pass", *(f"T = {length}" for length in LONG), "power, at the end"],
      [(name, *(f"{value / 1024:,.0f}" for value in values), f"{last[name]:.2f}") for name, values in memory.items()], align="<" + ">" * (1 + len(LONG)))
claim("plain operations keep memory that grows with the square of the length, the recurrent layer in proportion to it",
      f"the powers are {last['attention, plain operations']:.2f} and {last['recurrent (GRU), kernel']:.2f}",
      last["attention, plain operations"] > 1.8 and abs(last["recurrent (GRU), kernel"] - 1) < 0.05)
myth("attention needs memory that grows with the square of the length",
     f"the kernel's grows with the power {last['attention, kernel']:.2f}: at {LONG[-1]} words it keeps "
     f"{memory['attention, kernel'][-1] / 1024:,.0f} KiB where plain operations keep {memory['attention, plain operations'][-1] / 1024:,.0f}",
     abs(last["attention, kernel"] - 1) < 0.05)

# %%
# The clock
# ---------
# Forward and backward, the shortest time of several, on one core. Nothing is claimed here, because a clock also measures
# who else is there; the powers are those of this run. What to look for: how late the square shows, what a kernel saves,
# and how the recurrent layer fares on a machine with few cores, where there is not much that could be done while a
# product waits for the one before. Waiting is costly where thousands of cores have nothing to do meanwhile.


def seconds(layer, x, budget=0.03 if QUICK else 0.25):
    layer(x).sum().backward()
    best, until = np.inf, time.process_time() + budget
    while time.process_time() < until:
        start = time.process_time()  # of this process alone: what others do meanwhile does not count
        layer(x).sum().backward()
        best = min(best, time.process_time() - start)
    return best


threads.set_threads(1)  # of minitx's kernels; NumPy's products have a setting of their own
with threadpool_limits(1):
    times = {name: [seconds(layer, sentence(length)) for length in LONG] for name, layer in LAYERS.items()}
threads.set_threads(0)  # all
table(["milliseconds, forward and backward", *(f"T = {length}" for length in LONG), "power, at the end"],
      [(name, *(f"{value * 1e3:.2f}" for value in values), f"{np.log2(values[-1] / values[-2]):.1f}") for name, values in times.items()],
      align="<" + ">" * (1 + len(LONG)))

figure, axes = panels(1, 3, size=(14, 4.3))
for part, (name, colour, marker) in enumerate(zip(PARTS, (GREY, BLUE, GREEN), ("s", "o", "^"))):
    axes[0].plot(LENGTHS, by_length[:, part], color=colour, marker=marker, markersize=5, label=name)
axes[0].axvline(D, color="black", linewidth=0.8, linestyle="--")
axes[0].annotate("as many words as features", (D, by_length.min()), xytext=(5, 0), textcoords="offset points", fontsize=9)
for name in LAYERS:
    axes[1].plot(LONG, np.array(memory[name]) / 1024, **STYLE[name])
    axes[2].plot(LONG, np.array(times[name]) * 1e3, **STYLE[name])
for one, title in zip(axes, (f"Multiplications, {D} features", "KiB kept for the backward pass", "Milliseconds, forward and backward")):
    one.set(xscale="log", yscale="log", title=title, xlabel="words")
    one.set_xticks(LENGTHS if one is axes[0] else LONG, [str(length) for length in (LENGTHS if one is axes[0] else LONG)])
    one.minorticks_off()
axes[0].legend(frameon=False, fontsize=9)
axes[1].legend(frameon=False, fontsize=9)
picture(figure, "13_what_attention_costs",
        "Left: multiplications, counted. Middle: what a layer of 64 features keeps for its backward pass. Right: its time for one "
        "sentence on one core, as this machine had it. All axes are logarithmic, so that a power is a slope.")

# %%
# What to remember
# ----------------
# The square is in the meeting of words, and nowhere else. For a sentence the projections cost more; for a book the
# meeting is all there is. The square of the *memory* is a matter of how the formula is computed, not of the formula.
# And two layers with as many multiplications can be far apart on a clock: what a count does not see is who waits for
# whom, and for what there is a kernel.
