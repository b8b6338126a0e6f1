r"""
7. Blind to order
=================

    *"Attention alone is blind to order: it sees a bag of words. Permute the input, and the output is permuted the same
    way. Positions must be added, or 'dog bites man' is 'man bites dog'."*

A sum does not ask in which order its terms came, and attention is a weighted sum over all words. We check this on whole
layers, then let models learn a task that is nothing but order, and find that one kind of attention is less blind than
the sentence says.
"""

# %%
# Four readers
# ------------
# All are two encoder layers with attention and feed-forward networks, exactly as in the models of minitx. They differ in
# what they know of positions: nothing; the sines of lesson 2, added to the words; angles by which queries and keys are
# turned (*rotary* positions, Su et al. 2021); and again nothing, but with the causal mask of lesson 6.
from itertools import permutations

import numpy as np

import minitx as mx
from lesson import COLOURS, GREY, MARKERS, QUICK, claim, myth, panels, picture, table
from minitx import nn, optim

D_MODEL, N_HEADS, LENGTH, VOCABULARY = 32, 2, 8, 10


class Reader(nn.Module):
    """Two encoder layers over words; `positions` and `causal` say what they know of order."""

    def __init__(self, positions="none", causal=False, n_layers=2, seed=0):
        generator = np.random.default_rng(seed)
        rotary = nn.Rotary(D_MODEL // N_HEADS, LENGTH) if positions == "rotary" else None
        self.embedding = nn.Embedding(VOCABULARY, D_MODEL, generator=generator)
        self.positions = nn.Positions("none" if rotary else positions, LENGTH, D_MODEL, generator)
        self.layers = [nn.EncoderLayer(D_MODEL, N_HEADS, 4 * D_MODEL, dropout=0.0, norm="pre", generator=generator, rotary=rotary)
                       for _ in range(n_layers)]
        self.norm, self.answer = nn.LayerNorm(D_MODEL), nn.Linear(D_MODEL, 2, generator=generator)
        self.causal = causal

    def read(self, x):
        """What the layers make of word vectors: (batch, time, d_model) to the same shape."""
        x = self.positions(x)
        for layer in self.layers:
            x = layer(x, causal=self.causal)
        return self.norm(x)

    def forward(self, ids):
        """Two logits for each sentence (batch, time): an answer, from the mean over its words."""
        return self.answer(self.read(self.embedding(ids) * D_MODEL ** 0.5).mean(axis=1))


KINDS = {"no positions": {}, "sines added": {"positions": "sinusoidal"}, "rotary": {"positions": "rotary"},
         "no positions, causal mask": {"causal": True}}

# %%
# Permute the input
# -----------------
# Let :math:`P` be a permutation of the words. A function *f* with :math:`f(Px) = P f(x)` is called
# *permutation-equivariant*: it does the same to each word, wherever it stands. Five random words, all orders of them, in
# float64, so that rounding is small:
words = np.random.default_rng(1).normal(size=(1, 5, D_MODEL))
orders = [list(order) for order in permutations(range(5))]


def departure(reader):
    """The largest difference between f(Px) and P f(x), over all P, relative to the largest output."""
    with mx.no_grad():
        straight = reader.read(mx.tensor(words)).data
        return max(np.abs(reader.read(mx.tensor(words[:, order])).data - straight[:, order]).max() for order in orders) / np.abs(straight).max()


departures = {name: departure(Reader(**kind).to(np.float64)) for name, kind in KINDS.items()}
table(["reader", f"largest of |f(Px) − P f(x)| over {len(orders)} orders, relative"],
      [(name, f"{value:.1e}") for name, value in departures.items()], align="<>")
claim("without positions, permuting the input permutes the output, and does nothing else",
      f"the largest difference is {departures['no positions']:.1e}: rounding", departures["no positions"] < 1e-12)
claim("with positions, added or rotary, it does more than that",
      f"{departures['sines added']:.2f} and {departures['rotary']:.2f} of the largest output",
      min(departures["sines added"], departures["rotary"]) > 0.01)

# %%
# A task that is nothing but order
# --------------------------------
# Sentences of eight words, the words *dog* and *man* in each exactly once, the others random. Who comes first? For each
# sentence in the test, the one with dog and man exchanged is in it too. A reader that is blind to order must answer both
# alike, and one of the two is wrong.
DOG, MAN = 0, 1
STEPS, SENTENCES = (80 if QUICK else 150), 64


def sentences(n, generator):
    """(ids, answers): ids (2n, time), the second half with dog and man exchanged; the answer is 1 where the man comes first."""
    ids = generator.integers(2, VOCABULARY, (n, LENGTH)).astype(np.int32)
    places = np.argsort(generator.random((n, LENGTH)), axis=1)[:, :2]  # of the dog and of the man
    ids[np.arange(n), places[:, 0]], ids[np.arange(n), places[:, 1]] = DOG, MAN
    exchanged = np.where(ids == DOG, MAN, np.where(ids == MAN, DOG, ids))
    first = (places[:, 1] < places[:, 0]).astype(np.int32)
    return np.concatenate([ids, exchanged]), np.concatenate([first, 1 - first])


def train(reader, seed=0):
    """The share of right answers on the test after every 5 steps."""
    generator, optimizer, course = np.random.default_rng(seed), optim.Adam(reader.parameters(), 3e-3), []
    test_ids, test_answers = sentences(300, np.random.default_rng(99))
    for step in range(STEPS):
        ids, answers = sentences(SENTENCES // 2, generator)
        loss = mx.cross_entropy(reader(ids), answers)
        loss.backward()
        optimizer.step(clip=1.0)
        optimizer.zero_grad()
        if step % 5 == 4:
            with mx.no_grad():
                course.append(np.mean(reader(test_ids).data.argmax(axis=1) == test_answers))
    return course


courses = {name: train(Reader(**kind)) for name, kind in KINDS.items()}
right = {name: course[-1] for name, course in courses.items()}
table(["reader", "right answers"], [(name, f"{share:.1%}") for name, share in right.items()], align="<>")
claim("without positions it is right in half of the cases, whatever it learns: of each two sentences, in one",
      f"{min(courses['no positions']):.1%} to {max(courses['no positions']):.1%} in the course of training",
      all(abs(share - 0.5) < 0.01 for share in courses["no positions"]))
claim("with positions it learns the task",
      f"sines {right['sines added']:.1%}, rotary {right['rotary']:.1%}", min(right["sines added"], right["rotary"]) > 0.95)

# %%
# Not quite so blind
# ------------------
# The fourth reader has no positions either. But under the causal mask the first word sees one word, the second two, and
# so on: what a word makes of its neighbours depends on how many there are. Language models learn where they are from
# this alone (Haviv et al. 2022).
myth("attention without positions is blind to order",
     f"under the causal mask it departs from P f(x) by {departures['no positions, causal mask']:.2f} of the largest output, and "
     f"learns who comes first in {right['no positions, causal mask']:.1%} of the cases", right["no positions, causal mask"] > 0.95)

# %%
# How many layers does it take? The last word of a *single* causal layer sees all words before it as a bag. It is the
# second layer that reads what the first wrote at each place.


def last_word(n_layers):
    """The largest change of what the last word becomes, over all orders of the words before it."""
    reader = Reader(causal=True, n_layers=n_layers).to(np.float64)
    with mx.no_grad():
        outputs = np.concatenate([reader.read(mx.tensor(words[:, [*order, 4]])).data[:, -1] for order in permutations(range(4))])
    return np.abs(outputs - outputs[0]).max()


claim("the last word of one causal layer does not feel the order of those before it; that of two layers does",
      f"the largest change over all orders: {last_word(1):.1e} with one layer, {last_word(2):.2f} with two",
      last_word(1) < 1e-12 and last_word(2) > 0.01)

# %%
figure, (left, right_panel) = panels(1, 2, size=(12, 4.2), width_ratios=[1, 1.3])
left.barh(list(departures), list(departures.values()), color=COLOURS, height=0.6)
left.axvline(2.0 ** -53, color=GREY, linewidth=1, linestyle="--")
left.annotate("one rounding", (2.0 ** -53, 0.5), xytext=(5, 0), textcoords="offset points", fontsize=9, va="center", color=GREY)
left.set(xscale="log", xlim=(1e-18, 10), title="How far f(Px) is from P f(x)", xlabel="largest difference, relative")
left.invert_yaxis()
steps = np.arange(5, STEPS + 1, 5)
for (name, course), colour, marker in zip(courses.items(), COLOURS, MARKERS):
    right_panel.plot(steps, 100 * np.array(course), color=colour, marker=marker, markersize=4, label=name)
right_panel.set(title="Who comes first, dog or man?", xlabel="step of training", ylabel="right answers (%)", ylim=(45, 102))
right_panel.legend(frameon=False)
picture(figure, "07_blind_to_order",
        "Left: how far each reader is from doing the same to a permuted sentence. Right: what it learns of a task that is "
        "nothing but order. Without positions and without a mask, half of the answers are right, as must be.")

# %%
# What to remember
# ----------------
# Attention, feed-forward network, residual and layer norm all treat every place alike; so does any stack of them. Where
# order matters, something must break the symmetry: vectors that are added, angles by which queries and keys are
# turned, or a mask that lets each word see a different number of words. In an encoder, which has no such mask, it must be
# positions.
