r"""
8. Many heads
=============

    *"Multi-head attention allows the model to jointly attend to information from different representation subspaces at
    different positions. With a single attention head, averaging inhibits this."* (Vaswani et al. 2017, section 3.2.2)

A head returns one mean of the values. Whoever needs two words at once gets their mixture. We ask one layer for four
words at once, with 1 to 32 heads, look at where each head looks, and take heads away to see who misses them.
"""

# %%
# A question with four answers
# ----------------------------
# A row of random symbols. At every place, the layer must name the symbol one back, two back, three back and four back:
# four words from one attention layer, and nothing behind it but a linear layer that reads the answers off.
import numpy as np

import minitx as mx
from lesson import COLOURS, MARKERS, QUICK, claim, grid, myth, panels, picture, table
from minitx import nn, optim

D_MODEL, SYMBOLS, LENGTH, BACK = 32, 8, 12, 4
STEPS, SEEDS = (200, 1) if QUICK else (300, 3)
HEADS = (1, 2, 8, 32) if QUICK else (1, 2, 4, 8, 16, 32)


class Reader(nn.Module):
    """One attention layer over symbols and their positions; logits (batch, time, BACK, SYMBOLS)."""

    def __init__(self, n_heads, seed=0):
        generator = np.random.default_rng(seed)
        self.embedding = nn.Embedding(SYMBOLS, D_MODEL, generator=generator)
        self.positions = nn.Positions("sinusoidal", LENGTH, D_MODEL, generator)
        self.norm = nn.LayerNorm(D_MODEL)
        self.attention = nn.MultiHeadAttention(D_MODEL, n_heads, generator=generator)
        self.answer = nn.Linear(D_MODEL, BACK * SYMBOLS, generator=generator)

    def vectors(self, ids):
        return self.norm(self.positions(self.embedding(ids) * D_MODEL ** 0.5))

    def forward(self, ids):
        return self.answer(self.attention(self.vectors(ids))).reshape(*ids.shape, BACK, SYMBOLS)


def questions(n, generator):
    """ids (n, time), and what is asked: (n, time − BACK, BACK), at the places that have so many before them."""
    ids = generator.integers(0, SYMBOLS, (n, LENGTH)).astype(np.int32)
    return ids, np.stack([ids[:, BACK - back:LENGTH - back] for back in range(1, BACK + 1)], axis=-1)


def train(n_heads, seed=0):
    reader, generator = Reader(n_heads, seed), np.random.default_rng(seed)
    optimizer = optim.Adam(reader.parameters(), 1e-2)
    for _ in range(STEPS):
        ids, asked = questions(32, generator)
        mx.cross_entropy(reader(ids)[:, BACK:], asked).backward()
        optimizer.step(clip=1.0)
        optimizer.zero_grad()
    return reader


test_ids, test_asked = questions(200, np.random.default_rng(99))


def right(reader):
    """The share of right answers for each of the symbols asked for: (BACK,)."""
    with mx.no_grad():
        return (reader(test_ids).data[:, BACK:].argmax(axis=-1) == test_asked).mean(axis=(0, 1))


# %%
# Heads are free
# --------------
# More heads are not more layers side by side: *h* heads share the features, d/h each. The matrices stay as they are and
# are read in another way.
readers = {n_heads: [train(n_heads, seed) for seed in range(SEEDS)] for n_heads in HEADS}
answers = {n_heads: np.mean([right(reader) for reader in trained], axis=0) for n_heads, trained in readers.items()}
sizes = {n_heads: trained[0].n_parameters() for n_heads, trained in readers.items()}
table(["heads", "features of each", "parameters", *(f"{back} back" for back in range(1, BACK + 1)), "all"],
      [(n_heads, D_MODEL // n_heads, sizes[n_heads], *(f"{share:.0%}" for share in shares), f"{shares.mean():.0%}")
       for n_heads, shares in answers.items()], align=">" * (4 + BACK))
claim("heads cost no parameters", f"with {min(HEADS)} to {max(HEADS)} heads: {', '.join(sorted({f'{size:,}' for size in sizes.values()}))}",
      len(set(sizes.values())) == 1)

# %%
# One against many
# ----------------
# One head could in principle look at several words with uneven weights, and let the layer behind tell from the mixture
# who was who. It does not come to that: what it learns is to serve one of the four and to say little of the others.
one, eight = answers[1], answers[8]
claim("a single head serves one of the four and seldom names the others",
      f"it names one symbol in {one.max():.0%} of the cases, each of the others in at most {np.sort(one)[-2]:.0%}; guessing would be "
      f"{1 / SYMBOLS:.0%}", one.max() > 0.6 and np.sort(one)[-2] < 0.4)
claim("with as many parameters, eight heads serve all four", f"at least {eight.min():.0%} each", eight.min() > 0.9)
most = max(HEADS)
myth("the more heads, the better",
     f"with {most} heads, of {D_MODEL // most} feature each, only {answers[most].mean():.0%} are right, with 8 heads {eight.mean():.0%}: a score "
     "made of one product cannot single out a place", answers[most].mean() < eight.mean() - 0.2)

# %%
# The last line is a matter of rank. The scores of a head are a product of two matrices with d/h columns, and so a
# matrix of rank d/h at most; to give each place another one to look at takes more than one (Bhojanapalli et al. 2020,
# "Low-rank bottleneck in multi-head attention models").
#
# What each head looks at
# -----------------------
# For one reader with eight heads: how much of its attention each head gives to the symbol so many places back, on
# average over the sentences of the test.
reader = readers[8][0]
with mx.no_grad():
    weights = reader.attention.weights(reader.vectors(test_ids)).mean(axis=0)  # (heads, time, time)
looks = np.array([[np.diagonal(head, -back)[BACK - back:].mean() for back in range(BACK + 2)] for head in weights])  # (heads, back)
favourite = looks.argmax(axis=1)
table(["head", *(f"{back} back" for back in range(BACK + 2)), "looks most at"],
      [(head, *(f"{share:.0%}" for share in row), f"{favourite[head]} back") for head, row in enumerate(looks)], align=">" * (3 + BACK) + "<")
claim("the heads share the work: each of the four places is what some head looks at most",
      f"of the eight heads look at 1, 2, 3 and 4 back: {', '.join(str(np.count_nonzero(favourite == back)) for back in range(1, BACK + 1))}",
      set(range(1, BACK + 1)) <= set(favourite.tolist()))

# %%
# Taking a head away
# ------------------
# What a head found reaches the output through its own columns of the last projection. With zeros there, it is gone.
# Who misses it?


def without(head):
    """The share of right answers, by place, when this head is silent."""
    d_head, weight = D_MODEL // 8, reader.attention.out_proj.weight
    columns, kept = slice(head * d_head, (head + 1) * d_head), weight.data.copy()
    weight.data[:, columns] = 0
    try:
        return right(reader)
    finally:
        weight.data[...] = kept


whole = right(reader)
lost = np.array([whole - without(head) for head in range(8)])  # (heads, BACK)
table(["without head", *(f"{back} back" for back in range(1, BACK + 1))],
      [(head, *(f"{-round(100 * loss)} points" for loss in row)) for head, row in enumerate(lost)], align=">" * (1 + BACK))
busy = [head for head in range(8) if lost[head].max() > 0.1]  # those that somebody misses
agree = sum(lost[head].argmax() + 1 == favourite[head] for head in busy)
claim("who misses a head tells what it was for: of the heads that are missed, all or all but one are missed most for the symbol "
      "that they look at most", f"{agree} of {len(busy)}", len(busy) >= BACK and agree >= len(busy) - 1)

# %%
figure, (left, middle, right_panel) = panels(1, 3, size=(14, 4.4), width_ratios=[1.15, 1, 0.85])
for back, colour, marker in zip(range(BACK), COLOURS, MARKERS):
    left.plot(HEADS, [100 * answers[n_heads][back] for n_heads in HEADS], color=colour, marker=marker, markersize=5, label=f"{back + 1} back")
left.axhline(100 / SYMBOLS, color="black", linewidth=0.8, linestyle="--")
left.annotate("guessing", (most, 100 / SYMBOLS), xytext=(0, 4), textcoords="offset points", fontsize=9, ha="right")
left.set_xscale("log", base=2)
left.set_xticks(HEADS, [str(n_heads) for n_heads in HEADS])
left.set(title="Which of the four it names", xlabel="heads, that share 32 features", ylabel="right answers (%)", ylim=(0, 103))
left.legend(frameon=False, loc=(0.36, 0.18))
grid(middle, 100 * looks, [f"head {head}" for head in range(8)], range(BACK + 2), numbers=".0f", vmin=0, vmax=100)
middle.set(title="Where each of 8 heads looks (%)", xlabel="places back")
grid(right_panel, np.round(100 * lost) + 0.0, range(8), range(1, BACK + 1), numbers=".0f", cmap="Oranges", vmin=0, vmax=100)
right_panel.set(title="What is lost without it (points)", xlabel="places back")
picture(figure, "08_many_heads",
        "Left: right answers for each of the four symbols asked for, by number of heads. Middle: how the attention of eight heads "
        "spreads over the places behind. Right: what is no longer named when a head is silenced.")

# %%
# What to remember
# ----------------
# Heads divide the features; they do not multiply them. Each brings its own softmax, so each can decide on its own where
# to look, and one softmax is one place, or one mixture. They need enough features to be able to choose: the usual 64 is
# far from the edge, and the best number lies between one and all.
