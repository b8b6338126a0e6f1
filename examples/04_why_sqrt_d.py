r"""
4. Why √d
=========

    *"For large d the dot products grow large, push the softmax to where it is flat, and its gradient vanishes. To
    counteract this, the scores are divided by √d."* (after Vaswani et al. 2017, section 3.2.1)

One small division, and it is in every Transformer. We measure each part of the sentence on its own: how the scores
grow, what the softmax makes of them, and what becomes of the gradient, where the truth is a little more interesting
than the sentence. Then we train with the division and without.
"""

# %%
# How large is a dot product?
# ---------------------------
# Let query and key have *d* features, each independent with mean 0 and variance 1: about what a fresh layer gives. Then
# :math:`q \cdot k = \sum_i q_i k_i` is a sum of *d* terms of mean 0 and variance 1, and has variance *d*. We draw many
# and look.
import numpy as np

import minitx as mx
from lesson import BLUE, GREEN, MARKERS, ORANGE, QUICK, claim, exponent, myth, panels, picture, smooth, table
from minitx import optim

KEYS = 32
DRAWS = 4 if QUICK else 12  # sets of keys, each asked by QUERIES queries
QUERIES = 250
SIZES = (4, 16, 64, 256, 1024)
DIVISORS = {"nothing": lambda d: 1.0, "√d": lambda d: d ** 0.5, "d": lambda d: float(d)}
COLOUR = dict(zip(DIVISORS, (ORANGE, BLUE, GREEN)))
MARKER = dict(zip(DIVISORS, MARKERS))


def look(d, divisor, generator):
    """Random queries look at random keys. Per query: scores, weights, and the length of a gradient by the query.

    The gradient that arrives at the weights is random as well: whatever the rest of the network may want.
    """
    query = mx.tensor(generator.normal(size=(QUERIES, d)), requires_grad=True)
    keys = generator.normal(size=(KEYS, d))
    scores = query @ keys.T / divisor  # (queries, keys)
    weights = mx.softmax(scores)
    weights.backward(generator.normal(size=weights.shape))
    return scores.numpy(), weights.numpy(), np.linalg.norm(query.grad.numpy(), axis=1)


def entropy(weights):
    """−Σ p log p of each row, in nats: log n where n keys are looked at equally, 0 where one has it all."""
    return -np.sum(weights * np.log(np.where(weights > 0, weights, 1)), axis=-1)


measured = {}  # {(divisor, d): (spread of the scores, mean entropy, mean of the largest weight, gradients)}
for name, divisor in DIVISORS.items():
    for d in SIZES:
        looks = [look(d, divisor(d), np.random.default_rng(seed)) for seed in range(DRAWS)]
        scores, weights, gradients = (np.concatenate(parts) for parts in zip(*looks))
        measured[name, d] = scores.std(), entropy(weights).mean(), weights.max(axis=1).mean(), gradients

table(["divided by", *(f"d = {d}" for d in SIZES)],
      [(name, *(f"{measured[name, d][0]:.2f}" for d in SIZES)) for name in DIVISORS], align=["<"] + [">"] * len(SIZES))
grows = {name: exponent(SIZES, [measured[name, d][0] for d in SIZES]) for name in DIVISORS}
claim("the spread of the scores grows as √d: with an exponent of 0.5 to within 0.03",
      f"the exponent is {grows['nothing']:.3f}", abs(grows["nothing"] - 0.5) < 0.03)
claim("divided by √d, it does not depend on d", f"the exponent is {grows['√d']:.3f}", abs(grows["√d"]) < 0.03)

# %%
# What the softmax makes of it
# ----------------------------
# The softmax sees differences. Scores that spread over tens let one key take everything, *peak*: entropy near 0.
# Divided by *d*, they hardly differ, and all keys are looked at equally: entropy near log(n). In between lies √d.
most = np.log(KEYS)
for row, what in ((1, "entropy of the weights"), (2, "largest of the weights")):
    table([what, *(f"d = {d}" for d in SIZES)],
          [(f"divided by {name}", *(f"{measured[name, d][row]:.2f}" for d in SIZES)) for name in DIVISORS],
          align=["<"] + [">"] * len(SIZES))
small, large = SIZES[0], SIZES[-1]
claim("without the division, attention peaks more and more: one key takes nearly all",
      f"at d = {large} the largest of {KEYS} weights is {measured['nothing', large][2]:.2f} on average",
      measured["nothing", large][2] > 0.9)
steady = [measured["√d", d][1] for d in SIZES]
claim(f"with √d, the entropy is the same at every d, to within 5% of log({KEYS})",
      f"from {min(steady):.2f} to {max(steady):.2f} nats, of at most {most:.2f}", max(steady) - min(steady) < 0.05 * most)
claim("with d, attention looks at everything equally: the entropy is within 1% of its most",
      f"at d = {large} it is {measured['d', large][1]:.3f} of {most:.3f} nats", measured["d", large][1] > 0.99 * most)

# %%
# Does the gradient vanish?
# -------------------------
# With weights *p*, the gradient by the scores is :math:`p_j (g_j - \sum_i p_i g_i)`. Where one weight is 1 and the
# others are 0, all of it is 0. So much for the sentence. But a *mean* over queries tells another story than the query
# in the middle, the *median*: where two keys happen to fit almost equally well, the softmax is not flat at all, and
# what it passes on is not divided by √d either.
mean, median = ({name: [function(measured[name, d][3]) for d in SIZES] for name in DIVISORS} for function in (np.mean, np.median))
table(["length of the gradient by a query", *(f"d = {d}" for d in SIZES)],
      [(f"divided by {name}: {what}", *(f"{value:.2g}" for value in values[name]))
       for name in DIVISORS for what, values in (("mean", mean), ("median", median))], align=["<"] + [">"] * len(SIZES))
claim("without the division, the gradient of the query in the middle vanishes",
      f"its length falls from {median['nothing'][0]:.2g} at d = {small} to {median['nothing'][-1]:.2g} at d = {large}",
      median["nothing"][-1] < 0.02 * median["nothing"][0])
myth("without the division, the gradient vanishes",
     f"its mean over the queries grows, from {mean['nothing'][0]:.2g} to {mean['nothing'][-1]:.2g}: a few queries, those "
     "for which two keys fit almost equally well, get all of it, and the others nothing",
     mean["nothing"][-1] > mean["nothing"][0])
claim("with √d, a query gets about as much at any d: mean and median stay within 30%",
      f"mean {min(mean['√d']):.3f} to {max(mean['√d']):.3f}, median {min(median['√d']):.3f} to {max(median['√d']):.3f}",
      max(mean["√d"]) < 1.3 * min(mean["√d"]) and max(median["√d"]) < 1.3 * min(median["√d"]))

# %%
figure, axes = panels(1, 3, size=(13, 4))
for name in DIVISORS:
    style = {"color": COLOUR[name], "marker": MARKER[name], "markersize": 5}
    axes[0].plot(SIZES, [measured[name, d][1] for d in SIZES], label=f"divided by {name}", **style)
    axes[1].plot(SIZES, [measured[name, d][2] for d in SIZES], **style)
    axes[2].plot(SIZES, median[name], **style)
    axes[2].plot(SIZES, mean[name], linestyle=":", **style | {"markerfacecolor": "white"})
axes[0].axhline(most, color="black", linewidth=0.8, linestyle="--")
axes[0].annotate(f"log({KEYS}): all the same", (SIZES[0], most), xytext=(0, 4), textcoords="offset points", fontsize=9)
axes[0].set(title="Entropy of the weights", ylabel="nats", ylim=(0, 1.15 * most))
axes[0].legend(frameon=False, loc="center right")
axes[1].set(title="Largest weight, on average", ylabel="weight", ylim=(0, 1.03))
axes[2].set(title="Gradient by a query", ylabel="length: median (full), mean (dotted)", yscale="log")
for one in axes:
    one.set_xscale("log", base=4)
    one.set_xticks(SIZES, [str(d) for d in SIZES])
    one.minorticks_off()
    one.set_xlabel("d, features of query and key")
picture(figure, "04_why_sqrt_d",
        f"{KEYS} random keys, {DRAWS * QUERIES:,} random queries. Only with √d does nothing depend on d. Without it the "
        "typical query (full line) stops learning while the mean (dotted) does not show it.")

# %%
# Does it matter?
# ---------------
# A task for attention alone: 16 pairs of a symbol and an answer, and a symbol that is asked for. To be right, a query
# must find its own key. The table of symbols and the projections to queries and keys are learnt, with Adam, from a
# random start, once with few features and once with many.
SYMBOLS, PAIRS, ANSWERS, BATCH = 32, 16, 8, 32
STEPS = 60 if QUICK else 200


def train(d, divisor, seed=0):
    """At each step, how much of its attention a query gives the right key, on average."""
    generator = np.random.default_rng(seed)
    symbols, to_query, to_key = (mx.tensor(generator.normal(size=shape) * scale, dtype=np.float32, requires_grad=True)
                                 for shape, scale in (((SYMBOLS, d), 1), ((d, d), d ** -0.5), ((d, d), d ** -0.5)))
    optimizer = optim.Adam([symbols, to_query, to_key], 1e-3)
    course, rows = [], np.arange(BATCH)
    for _ in range(STEPS):
        given = np.argsort(generator.random((BATCH, SYMBOLS)), axis=1)[:, :PAIRS].astype(np.int32)
        answers = np.eye(ANSWERS, dtype=np.float32)[generator.integers(0, ANSWERS, (BATCH, PAIRS))]
        asked = generator.integers(0, PAIRS, BATCH)
        keys = mx.linear(mx.embedding(symbols, given), to_key)  # (batch, pairs, d)
        query = mx.linear(mx.embedding(symbols, given[rows, asked]), to_query)  # (batch, d)
        scores = (keys @ query.reshape(BATCH, d, 1)).reshape(BATCH, PAIRS) / divisor
        weights = mx.softmax(scores)
        said = (weights.reshape(BATCH, 1, PAIRS) @ answers).reshape(BATCH, ANSWERS)  # a probability for each answer
        loss = -mx.log((said * answers[rows, asked]).sum(axis=1) + 1e-6).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        course.append(weights.numpy()[rows, asked].mean())
    return np.array(course)


FEW, MANY = 16, 256
courses = {(name, d): train(d, divisor(d)) for d in (FEW, MANY) for name, divisor in DIVISORS.items()}
end = {key: course[-10:].mean() for key, course in courses.items()}
claim(f"with {MANY} features, attention divided by √d finds its key, and undivided attention lags far behind",
      f"after {STEPS} steps the right key has {end['√d', MANY]:.0%} of the attention with √d and "
      f"{end['nothing', MANY]:.0%} without", end["√d", MANY] > 0.95 and end["nothing", MANY] < 0.8)
myth("without the division attention does not learn",
     f"with {FEW} features it learns faster than with it: {end['nothing', FEW]:.0%} against {end['√d', FEW]:.0%} after "
     f"{STEPS} steps", end["nothing", FEW] > end["√d", FEW])
half = {name: np.flatnonzero(courses[name, MANY] > 0.5) for name in ("√d", "d")}
claim(f"divided by d, it starts from looking everywhere: with {MANY} features it is half right later than with √d",
      f"with √d at step {half['√d'][0] + 1}, with d " + (f"at step {half['d'][0] + 1}" if len(half["d"]) else f"not in {STEPS}"),
      not len(half["d"]) or half["d"][0] > half["√d"][0])

figure, axes = panels(1, 2, size=(11, 3.8), sharey=True)
for one, d in zip(axes, (FEW, MANY)):
    for name in DIVISORS:
        course = smooth(100 * courses[name, d], 5)
        one.plot(np.arange(len(course)) + 5, course, color=COLOUR[name], marker=MARKER[name], markevery=STEPS // 10, markersize=5,
                 label=f"divided by {name}")
    one.set(title=f"{d} features", xlabel="step of training", ylim=(0, 103))
axes[0].set_ylabel("attention on the right key (%)")
axes[0].legend(frameon=False)
picture(figure, "04_training",
        "How much of its attention a query gives the right one of 16 keys, while it learns to. With few features the "
        "division is not needed; with many it decides.")

# %%
# What to remember
# ----------------
# √d keeps the scores as spread as they would be with one feature, so that a model may be made wider without making its
# attention harder. What vanishes without it is not the gradient as a whole but that of most queries. And it is a rule for
# the *start* of training, when queries and keys know nothing of each other: later a query and its key point the same
# way, their dot product grows as *d* rather than √d, and there are good reasons to divide by *d* when very wide
# models are to train like narrow ones (Yang et al. 2022, "Tensor Programs V").
