r"""
3. Attention is a soft look-up
==============================

    *"Attention is a soft look-up in a dictionary: a query is compared with every key, and what comes back is not one
    value but a mean of all, weighted by how well their keys fit."*

Six words, and one question that one of them asks about the others. The numbers here are chosen by hand, so that every
step can be followed; a trained model finds its own. Afterwards the same step is given to the kernel that does it in
every model of minitx.
"""

# %%
# A dictionary looks up exactly, or not at all
# --------------------------------------------
# In "yesterday the black cat chased mice", the verb wants to know *who* did it. If all that words said of themselves
# were written into a Python dictionary, the question would have to hit a key exactly:
import numpy as np

import minitx as mx
from lesson import BLUE, GREY, ORANGE, claim, grid, myth, panels, picture, table
from minitx.autograd.functional import jacobian

dictionary = {"a time, before the verb": "yesterday", "a quality, before the verb": "black",
              "a thing, before the verb": "cat", "an action": "chased", "a thing": "mice"}
print(dictionary["a thing, before the verb"])
print(dictionary.get("a thing, somewhere"))

# %%
# Query, keys and values
# ----------------------
# Attention asks the same in numbers. What a word says of itself is its *key*, a row of features. What is asked for is
# the *query*, in the same features. What comes back is made of the *values*; here they are points in a plane, so that
# we can draw them.
WORDS = "yesterday the black cat chased mice".split()
FEATURES = "time quality thing action before".split()
keys = np.array([[1, 0, 0, 0, 1],   # yesterday
                 [0, 0, 0, 0, 1],   # the
                 [0, 1, 0, 0, 1],   # black
                 [0, 0, 1, 0, 1],   # cat
                 [0, 0, 0, 1, 0],   # chased
                 [0, 0, 1, 0, 0]],  # mice
                dtype=np.float64)   # (words, features)
values = np.array([[-2.0, 0.4], [-0.9, -1.6], [0.2, 1.7], [2.0, 1.0], [0.6, -0.3], [1.5, -1.3]])  # (words, 2)
query = np.array([0, 0, 1, 0, 1], dtype=np.float64)  # of "chased": a thing, before me

# %%
# Compare, weigh, average
# -----------------------
# How well a key fits is its dot product with the query, the *score*. The softmax makes weights of the scores: all
# positive, one in all. The result is the mean of the values with these weights:
#
# .. math::  s_j = q \cdot k_j \qquad p_j = \frac{e^{s_j}}{\sum_i e^{s_i}} \qquad \text{out} = \sum_j p_j\, v_j


def look_up(query, keys, values, sharpness=1.0):
    """The mean of the values, and the weights; `sharpness` multiplies the scores."""
    scores = sharpness * (keys @ query)
    weights = np.exp(scores - scores.max())  # the largest first, so that nothing overflows; it cancels
    weights = weights / weights.sum()
    return weights @ values, weights


out, weights = look_up(query, keys, values)
table(["word", *FEATURES, "score", "weight"],
      [(word, *key.astype(int), keys[place] @ query, weights[place]) for place, (word, key) in enumerate(zip(WORDS, keys))])
claim("weights are positive and add up to 1", f"the smallest is {weights.min():.3f}, the sum is {weights.sum():.15f}",
      weights.min() > 0 and np.isclose(weights.sum(), 1, rtol=1e-14))
claim("the word that fits best has the largest weight", f"it is {WORDS[weights.argmax()]!r}, with {weights.max():.2f}",
      WORDS[weights.argmax()] == dictionary["a thing, before the verb"])
myth("attention picks the word that fits best",
     f"{WORDS[weights.argmax()]!r} has a weight of {weights.max():.2f}; the other five together have {1 - weights.max():.2f}",
     weights.max() < 0.5)

# %%
# In minitx, ``mx.attention`` does this for batches, heads and long sequences at once, without ever storing the weights.
# It also divides the scores by :math:`\sqrt d`, the number of features (lesson 4 says why); we take that out again here.
# The kernel and our four lines are two programs for one formula:
batch = [array[None].astype(np.float64) for array in (query[None] * len(FEATURES) ** 0.5, keys)]
wide = np.zeros((1, len(WORDS), len(FEATURES)))  # the kernel wants values as wide as keys: zeros beside the two features
wide[0, :, :2] = values
by_kernel = np.asarray(mx.attention(*batch, wide, heads=1))[0, 0]
claim("the kernel does the same", f"by hand {out}, by the kernel {by_kernel[:2]}",
      np.allclose(by_kernel[:2], out, rtol=1e-12) and not by_kernel[2:].any())

# %%
# From a mean of all to a dictionary
# ----------------------------------
# Multiply all scores by a number, and the look-up becomes harder or softer. With 0, every key fits equally well, and the
# result is the plain mean. The larger the number, the more the best key takes; in the limit it is the dictionary.
SHARPNESS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
sheet = np.array([look_up(query, keys, values, sharpness)[1] for sharpness in SHARPNESS])  # (sharpness, words)
plain, hard = look_up(query, keys, values, 0.0)[0], look_up(query, keys, values, 100.0)[0]
claim("with sharpness 0 it is the mean of all values",
      f"{plain} against {values.mean(axis=0)}", np.allclose(plain, values.mean(axis=0)))
claim("with a great sharpness it is the dictionary",
      f"with 100: {hard}; the value of 'cat' is {values[WORDS.index('cat')]}", np.allclose(hard, values[3], atol=1e-12))

around = np.random.default_rng(0).normal(size=(10_000, len(FEATURES))) * 3  # ten thousand other questions
answers = np.array([look_up(one, keys, values)[0] for one in around])
angle = np.linspace(0, 2 * np.pi, 360, endpoint=False)
directions = np.stack([np.cos(angle), np.sin(angle)])  # (2, directions)
beyond = ((answers @ directions) - (values @ directions).max(axis=0)).max()
claim("whatever is asked, the answer lies between the values: attention mixes, it invents nothing",
      f"{len(answers):,} random questions, {len(angle)} directions: the answer that comes nearest to leaving the hull of "
      f"the values is still {-beyond:.1e} inside", beyond < 1e-9)

# %%
# The picture shows both: how the weights sharpen, and the way of the answer from the middle of all values to "cat".
figure, (left, right) = panels(1, 2, size=(12.5, 4.6), width_ratios=[1.25, 1])
grid(left, sheet, rows=[f"{sharpness:g}" for sharpness in SHARPNESS], columns=WORDS, numbers=".2f", vmin=0, vmax=1)
left.set(title="Weights of the six words", ylabel="sharpness: what the scores are multiplied by")
left.tick_params(labeltop=True, labelbottom=False)
corners = values[[0, 2, 3, 5, 1, 0]]  # the hull; "chased" lies inside
right.fill(*corners.T, color=BLUE, alpha=0.08)
right.plot(*corners.T, color=GREY, linewidth=0.8)
path = np.array([look_up(query, keys, values, sharpness)[0] for sharpness in np.linspace(0, 12, 200)])
right.plot(*path.T, color=ORANGE, linewidth=2)
right.plot(*values.T, "o", color=BLUE, markersize=8)
for word, (x, y), shift in zip(WORDS, values, [(-14, 9), (0, -16), (0, 10), (12, 8), (0, -16), (8, -16)]):
    right.annotate(word, (x, y), xytext=shift, textcoords="offset points", ha="center", color=BLUE)
for sharpness, shift in ((0.0, (-4, 9)), (1.0, (-4, 9)), (2.0, (-4, 9))):
    point = look_up(query, keys, values, sharpness)[0]
    right.plot(*point, "s", color=ORANGE, markersize=6)
    right.annotate(f"{sharpness:g}", point, xytext=shift, textcoords="offset points", ha="center", color=ORANGE, fontsize=9)
right.set(title="Where the answer lies", xlabel="first feature of the values", ylabel="second feature",
          xlim=(-2.7, 2.7), ylim=(-2.1, 2.2))
picture(figure, "03_soft_look_up",
        "Left: the weights of the six words for the question 'a thing, before the verb', from a plain mean (top) to a "
        "dictionary (bottom). Right: the answer (orange, labelled with the sharpness) moves from the middle of the "
        "values to that of 'cat', and never leaves their hull.")

# %%
# Who is looked at is taught
# --------------------------
# How does the answer change with value *j*? By its weight, exactly: :math:`\partial\,\text{out}/\partial v_j = p_j I`.
# So when the answer was wrong, the gradient goes to the words in the measure in which they were looked at. A word with
# no weight learns nothing, even if it was the right one. This is why a look-up that is to learn by gradients is soft.


def answer(values, keys):
    """The look-up in operations that minitx differentiates."""
    return mx.softmax(keys @ query) @ values


by_value, by_key = jacobian(answer, (0, 1))(values, keys)  # (2, words, 2) and (2, words, features)
expected = np.einsum("j,ab->ajb", weights, np.eye(2))
claim("the derivative of the answer by a value is the weight of that value",
      f"the largest difference is {np.abs(np.asarray(by_value) - expected).max():.1e}",
      np.allclose(by_value, expected, rtol=1e-12, atol=1e-15))

# A key is taught by the weight as well, and by how far its value lies from the answer: p_j (v_j − out) qᵀ.
expected = np.einsum("j,ja,f->ajf", weights, values - out, query)
claim("the derivative by a key is weight · (value − answer) · query: where the answer should be more like a value, its "
      "key moves towards the query",
      f"the largest difference is {np.abs(np.asarray(by_key) - expected).max():.1e}",
      np.allclose(by_key, expected, rtol=1e-12, atol=1e-14))

_, sharp = look_up(query, keys, values, 100.0)
claim("where the look-up is as hard as a dictionary, all words but one are taught nothing",
      f"with a sharpness of 100 the second largest weight is {np.sort(sharp)[-2]:.0e}", np.sort(sharp)[-2] < 1e-40)

# %%
# What to remember
# ----------------
# Query, key and value are three rows of numbers; the look-up is a dot product, a softmax and a mean. It mixes what is
# there. It is soft so that it can be learnt, and how soft is a matter of the size of the scores: lesson 4. In a model,
# queries, keys and values are three linear layers, in self-attention of the same words, and they are what is learnt
# (``minitx/nn/attention.py``); the kernel with its derivation is in ``minitx/kernels/attention``.
