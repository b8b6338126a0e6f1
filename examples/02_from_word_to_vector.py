r"""
2. From word to vector
======================

    *"A token becomes a number, the number picks a row of a table, and a position is added with sines and cosines, so
    that the nearer two positions are, the more alike they look."*

A Transformer computes with vectors, and a sentence is made of words. Four steps lie between: the text is cut into
tokens, each token has an id, each id has a vector, the *embedding*, and to each vector another one is added that says
where the word stands. Each step is small. We take them one by one, and check what is said of them.
"""

# %%
# Tokens and ids
# --------------
# The vocabulary is learnt from the training text: here every word of a toy language. Four ids are kept for what is not
# a word: padding, begin, end, and "unknown".
import numpy as np

from lesson import BLUE, COLOURS, GREY, ORANGE, claim, grid, myth, panels, picture, table
from minitx.data import toy
from minitx.data.tokenizers import Tokenizer
from minitx.nn import Embedding, sinusoidal_positions

D_MODEL = 64
lines = [example.source for example in toy.corpus("en-es", n_train=2000, n_test=1, n_validation=1).train]
tokenizer = Tokenizer.train("words", lines)

sentence = "the cat sees the dog and a unicorn"
ids = np.array(tokenizer.encode(sentence))
embedding = Embedding(len(tokenizer), D_MODEL, generator=np.random.default_rng(0))
vectors = embedding(ids)  # (words, d_model)

table(["word", "token", "id", "the first of its features"],
      [(word, token, number, "  ".join(f"{feature:+.3f}" for feature in vector[:4]) + " …")
       for word, token, number, vector in zip(sentence.split(), tokenizer.tokens(ids), ids, vectors.numpy())])
claim("a word that the training text does not have becomes <unk>, and only that one",
      f"of {len(ids)} words, {tokenizer.tokens(ids).count('<unk>')} is <unk>: {', '.join(tokenizer.unknown(sentence))}",
      tokenizer.unknown(sentence) == ["unicorn"])

# %%
# The embedding is a look-up, and the look-up is a product
# --------------------------------------------------------
# Row *i* of the table is the vector of id *i*. The same can be said with a matrix product: write each id as a vector
# of zeros with a single one (*one-hot*) and multiply it by the table. Nobody computes it like that, but it tells us
# the gradient: a product's gradient is a product, so a row receives the sum of what arrives at all the places where its
# word stands, and a word that does not occur receives nothing.
weight = embedding.weight
one_hot = np.eye(len(tokenizer), dtype=np.float32)[ids]  # (words, vocabulary)
claim("to look up is to multiply by a one-hot matrix, to the last bit",
      f"{np.count_nonzero(vectors.numpy() != one_hot @ weight.numpy())} of {vectors.size} features differ",
      np.array_equal(vectors, one_hot @ weight.numpy()))

arriving = np.random.default_rng(1).normal(size=vectors.shape).astype(np.float32)
vectors.backward(arriving)
gradient = weight.grad.numpy()
touched = np.flatnonzero(np.any(gradient != 0, axis=1))
claim("a step teaches the words of its sentences and no other",
      f"{len(touched)} of {len(tokenizer)} rows have a gradient; the sentence has {len(set(ids.tolist()))} different words",
      touched.tolist() == sorted(set(ids.tolist())))
twice = np.flatnonzero(ids == ids[0])
claim("a word that stands in two places hears from both: its gradient is their sum",
      f'"{tokenizer.tokens(ids)[0]}" stands at {" and ".join(map(str, twice))}; the largest difference from the sum is '
      f"{np.abs(gradient[ids[0]] - arriving[twice].sum(axis=0)).max():.1e}",
      len(twice) == 2 and np.allclose(gradient[ids[0]], arriving[twice].sum(axis=0), rtol=1e-5))

# %%
# Where a word stands: the clocks
# -------------------------------
# Attention by itself sees a set of words, not a sentence (lesson 7). So each word's vector is told its position.
# In the Transformer of 2017, position *t* is what the hands of many clocks show after *t* ticks, each clock with a
# speed of its own: clock *i* fills two features (Vaswani et al. 2017, section 3.5),
#
# .. math::  \sin(t\,\omega_i) \quad\text{and}\quad \cos(t\,\omega_i) \qquad\text{with}\quad \omega_i = 10000^{-2i/d}.
LENGTH = 100
positions = sinusoidal_positions(LENGTH, D_MODEL)  # (length, d_model)
speeds = 10000.0 ** (-np.arange(0, D_MODEL, 2) / D_MODEL)  # (d_model / 2,), radians per word

figure, (left, right) = panels(1, 2, size=(12, 4.2), width_ratios=[1.3, 1])
image = grid(left, positions.T, cmap="RdBu_r", vmin=-1, vmax=1)
left.set(title="What is added to the word at each position", xlabel="position", ylabel="feature")
figure.colorbar(image, ax=left, pad=0.02, ticks=(-1, 0, 1)).outline.set_visible(False)
time = np.linspace(0, LENGTH - 1, 1000)
for row, (colour, clock) in enumerate(zip(COLOURS, (2, 6, 10, 14))):
    right.plot(time, np.sin(time * speeds[clock]) - 2.6 * row, color=colour, linewidth=1.6)
    right.annotate(f"feature {2 * clock}", (LENGTH, np.sin(LENGTH * speeds[clock]) - 2.6 * row), xytext=(4, 0),
                   textcoords="offset points", color=colour, va="center")
right.set(title="Four of the sines", xlabel="position", yticks=[], xlim=(0, LENGTH))
right.spines["left"].set_visible(False)
picture(figure, "02_positions",
        "Left: the table of positions, one column for each. Right: four of its rows as curves, from a fast clock to a "
        "slow one. (The height of a curve in the panel means nothing; each runs from −1 to 1.)")

# %%
# How alike two positions are
# ---------------------------
# For one clock, :math:`\sin a \sin b + \cos a \cos b = \cos(a - b)`. Summed over the clocks, the dot product of
# positions *s* and *t* is :math:`\sum_i \cos((s - t)\,\omega_i)`: it depends on their distance, and on nothing else.
similarity = positions @ positions.T  # (length, length)
distance = np.subtract.outer(np.arange(LENGTH), np.arange(LENGTH))
by_distance = np.cos(np.arange(LENGTH)[:, None] * speeds).sum(axis=1)
off = np.abs(similarity - by_distance[np.abs(distance)]).max()
claim("how alike two positions are depends on their distance alone",
      f"{similarity.size:,} dot products against Σ cos(distance · ω): the largest difference is {off:.1e}", off < 1e-10)
claim("all positions are equally long: |position|² = d/2",
      f"d/2 = {D_MODEL / 2:g}; measured from {np.diag(similarity).min():.10f} to {np.diag(similarity).max():.10f}",
      np.allclose(np.diag(similarity), D_MODEL / 2, rtol=1e-12))

# %%
# So is it true that the nearer, the more alike? Nearby yes; but a sum of cosines does not fall for ever. It swings.
rises = np.flatnonzero(np.diff(by_distance) > 0)
myth("the further apart two positions are, the less alike they look",
     f"the dot product falls up to a distance of {rises[0]}, then rises for the first time; "
     f"at a distance of {by_distance.argmin()} it is at its smallest, {by_distance.min():.1f}, and at {LENGTH - 1} it is "
     f"{by_distance[-1]:.1f}", len(rises) > 0)

# %%
# A step is a rotation
# --------------------
# To go *k* words on is to turn clock *i* by the angle :math:`k\,\omega_i`. That is one rotation, the same from anywhere:
# a linear layer can learn it once, and then look "k words back" wherever it stands. It is what the authors hoped for.
SHIFT = 5


def rotation(angles):
    """(2n, 2n): turns n pairs (sin a, cos a) by their angles, sin(a + b) = sin a cos b + cos a sin b and so on."""
    matrix = np.zeros((2 * len(angles), 2 * len(angles)))
    sines, cosines = np.arange(0, len(matrix), 2), np.arange(1, len(matrix), 2)
    matrix[sines, sines] = matrix[cosines, cosines] = np.cos(angles)
    matrix[sines, cosines], matrix[cosines, sines] = np.sin(angles), -np.sin(angles)
    return matrix


turn = rotation(SHIFT * speeds)  # (d_model, d_model)
off = np.abs(positions[:-SHIFT] @ turn.T - positions[SHIFT:]).max()
claim(f"one matrix moves every position {SHIFT} words on", f"the largest error over {LENGTH - SHIFT} positions is {off:.1e}",
      off < 1e-10)
off = np.abs(turn @ turn.T - np.eye(D_MODEL)).max()
claim("it is a rotation: it keeps lengths and angles, and does not mirror",
      f"R·Rᵀ is the identity to {off:.1e}; the determinant is {np.linalg.det(turn):.12f}",
      off < 1e-12 and np.isclose(np.linalg.det(turn), 1))

figure, (left, middle, right) = panels(1, 3, size=(13, 4.2))
image = grid(left, similarity)
left.set(title="How alike two positions are", xlabel="position", ylabel="position", aspect="equal")
bar = figure.colorbar(image, ax=left, fraction=0.046, pad=0.03)
bar.outline.set_visible(False)
bar.set_label("dot product")
middle.plot(np.arange(1 - LENGTH, LENGTH), np.r_[by_distance[:0:-1], by_distance], color=GREY, linewidth=0.8)
middle.plot(distance.ravel(), similarity.ravel(), ".", color=BLUE, markersize=4)
middle.axvline(rises[0], color=ORANGE, linestyle="--", linewidth=1)
middle.annotate(f"rises for the\nfirst time at {rises[0]}", (rises[0], similarity.max()), xytext=(5, -12),
                textcoords="offset points", color=ORANGE, fontsize=9, va="top")
middle.set(title=f"{similarity.size:,} pairs, one curve", xlabel="distance of the two positions", ylabel="dot product")
clock, around = 4, np.linspace(0, 2 * np.pi, 200)
for t in range(6):
    radius, arc = 1 - 0.13 * t, np.linspace(t, t + SHIFT, 50) * speeds[clock]
    right.plot(radius * np.sin(around), radius * np.cos(around), color="#e5e7eb", linewidth=1)
    right.plot(radius * np.sin(arc), radius * np.cos(arc), color=ORANGE, linewidth=1.8)
    for position, angle, ink, paper, edge in ((t, arc[0], "white", BLUE, BLUE), (t + SHIFT, arc[-1], ORANGE, "white", ORANGE)):
        right.text(radius * np.sin(angle), radius * np.cos(angle), str(position), ha="center", va="center", fontsize=8,
                   color=ink, bbox={"boxstyle": "circle,pad=0.2", "facecolor": paper, "edgecolor": edge})
right.set(title=f"{SHIFT} words on: the same turn from anywhere", aspect="equal", xlim=(-1.1, 1.1), ylim=(-1.1, 1.1))
right.axis("off")
picture(figure, "02_similarity",
        f"Left: dot products of all pairs of positions. Middle: the same over their distance; anything but the distance "
        f"would make a cloud of it. Right: the clock of features {2 * clock} and {2 * clock + 1}, from each of six "
        f"positions (blue) to the one {SHIFT} words on (orange), each on a circle of its own.")

# %%
# Word and position in one vector
# -------------------------------
# Both are added into the same features. Would one not drown the other? An embedding here begins with a variance of
# 1/d in each feature, so it is about 1 long, while every position is :math:`\sqrt{d/2}` long. The 2017 model
# multiplies the embeddings by :math:`\sqrt d` first; it does not say why, but this is what it does here.
words = weight.numpy()[4:]  # without <pad> and the like


def share_of_word(scale):
    """How much of the squared length of word + position is the word's, over all words at all positions."""
    of_words = (scale * words) ** 2
    return of_words.sum(axis=1).mean() / (of_words.sum(axis=1).mean() + D_MODEL / 2)


claim("without the factor √d the position would drown the word; with it the word is the larger part",
      f"of the squared length, {share_of_word(1):.0%} is the word's without it and {share_of_word(D_MODEL ** 0.5):.0%} with it",
      share_of_word(1) < 0.05 and share_of_word(D_MODEL ** 0.5) > 0.5)

there = words[:, None] * D_MODEL ** 0.5 + positions[None, :20]  # (words, positions, d_model): each word in 20 places
flat = there.reshape(-1, D_MODEL)
nearest = np.argmax(flat @ (words * D_MODEL ** 0.5).T, axis=1).reshape(len(words), -1)  # by dot product
right_word = np.mean(nearest == np.arange(len(words))[:, None])
claim("in the sum, the word can still be told: of all words, its own embedding has the largest dot product",
      f"for {right_word:.1%} of {nearest.size:,} words in their places", right_word > 0.97)

# %%
# What to remember
# ----------------
# Cut, number, look up, add. The table of embeddings is learnt, row by row, from the sentences in which a word occurs;
# the table of positions is not learnt at all. Similarity depends on the distance of positions, nearby it falls with it,
# far away it swings; and a fixed number of words on is always the same rotation. ``minitx/nn/layers.py`` has the
# layers of this page; rotary positions there turn queries and keys by these very angles, in the place of adding them.
