r"""
5. Five ways to score
=====================

    *"There are many ways to compare a query with a key: additive (a small network), bilinear, dot product, scaled dot
    product, cosine. The dot product is the cheapest and, once it is scaled, as good as the others."*

Attention needs a number for each pair of a query and a key; everything after that is the same (lesson 3). The five that
lecture notes list are in ``minitx.nn.SCORES``. We compare what they see, what they cost, and what a translator learns with
each of them.
"""

# %%
# Five equations
# --------------
# .. math::
#
#    \text{additive: } w^\top \tanh(W q + U k) \qquad \text{bilinear: } q^\top W k \qquad \text{dot: } q^\top k \qquad
#    \text{scaled: } \frac{q^\top k}{\sqrt d} \qquad \text{cosine: } \beta \frac{q^\top k}{|q|\,|k|}
#
# The first is Bahdanau's (2015), bilinear and dot are Luong's (2015), the scaled one the Transformer's (2017); the cosine
# is from the neural Turing machine (Graves et al. 2014). One query looks at eight keys:
import numpy as np

import minitx as mx
from lesson import COLOURS, GREY, MARKERS, QUICK, claim, myth, panels, picture, smooth, table
from minitx import nn, optim
from minitx.data.batches import make_batch
from minitx.decoding.greedy import greedy
from minitx.models import RecurrentTranslator

D, KEYS = 64, 8
generator = np.random.default_rng(0)
query, keys = generator.normal(size=(1, 1, D)).astype(np.float32), generator.normal(size=(1, KEYS, D)).astype(np.float32)
scores = {name: nn.make_score(name, D, generator=np.random.default_rng(1)) for name in nn.SCORES}


def weights(name, query, keys=keys):
    """How the query's attention spreads over the keys: (keys,)."""
    score = scores[name]
    with mx.no_grad():
        return score.weights(score.query(mx.tensor(query)), score.key(mx.tensor(keys)))[0, 0, 0]


scores["bilinear"].weight.data[...] = np.eye(D)
apart = np.abs(weights("bilinear", query) - weights("dot", query)).max()
claim("the dot product is bilinear with W = 1", f"the weights differ by {apart:.0e} at most", apart < 1e-6)
apart = np.abs(weights("scaled-dot", query) - weights("dot", query / D ** 0.5)).max()
claim("and scaled it is the dot product with a shorter query", f"the weights differ by {apart:.0e} at most", apart < 1e-6)

# %%
# What each of them sees
# ----------------------
# A query ten times as long points the same way. For a dot product it is ten times as sure; the cosine does not notice;
# the additive score has tanh between, and can never be larger than :math:`\sum_i |w_i|`.
LENGTHS = 10.0 ** np.arange(-2, 2.1, 0.5)
largest = {name: [weights(name, query * np.float32(length)).max() for length in LENGTHS] for name in scores}
table(["largest of 8 weights, for a query of length", *(f"× {length:.2g}" for length in LENGTHS[::2])],
      [(name, *(f"{value:.2f}" for value in values[::2])) for name, values in largest.items()], align="<" + ">" * len(LENGTHS[::2]))
claim("cosine sees only where a query points", f"a query 100 times as long changes its weights by {np.abs(weights('cosine', query * 100) - weights('cosine', query)).max():.0e}",
      np.allclose(weights("cosine", query * 100), weights("cosine", query), atol=1e-5))
claim("for dot products a longer query is a surer one", f"scaled, the largest weight goes from {largest['scaled-dot'][0]:.2f} to {largest['scaled-dot'][-1]:.2f}",
      largest["scaled-dot"][0] < 1.26 / KEYS and largest["scaled-dot"][-1] > 0.99)
bound = np.abs(scores["additive"].weight.data).sum()
claim("a longer query makes the additive score less sure: tanh saturates, and the query drowns the keys",
      f"the largest weight goes from {largest['additive'][0]:.2f} to {largest['additive'][-1]:.2f}, where {1 / KEYS:.3f} would be looking everywhere; "
      f"no score can exceed {bound:.0f}", largest["additive"][-1] < 0.8 * largest["additive"][0])

# %%
# What they cost
# --------------
# All but the additive one are a product of matrices, with preparations for each query and each key by itself. The
# additive one has a hidden layer of d numbers for every *pair*.
sizes = {name: score.n_parameters() for name, score in scores.items()}
table(["", "parameters"], list(sizes.items()), align="<>")
claim("the dot products have no parameters, the cosine one, bilinear d², the additive one more than twice as many",
      ", ".join(f"{name} {size:,}" for name, size in sizes.items()),
      sizes["dot"] == sizes["scaled-dot"] == 0 and sizes["cosine"] == 1 and sizes["bilinear"] == D ** 2 and sizes["additive"] > 2 * D ** 2)

# %%
# One task
# --------
# A recurrent translator must write a row of symbols backwards, which is hard to do from one last state and easy for one
# who can look: at each step, one symbol further to the left. All begin from the same seed and take the same steps.
SYMBOLS, LENGTH, STEPS = 12, 10, 100 if QUICK else 300
TRAINED = ("none", "additive", "scaled-dot") if QUICK else ("none", *nn.SCORES)


def rows(n, generator):
    """Rows of symbols and the same backwards; ids 0 to 3 are special."""
    return [(row.tolist(), row[::-1].tolist()) for row in generator.integers(4, 4 + SYMBOLS, (n, LENGTH))]


test = rows(100, np.random.default_rng(99))


def train(score):
    """The loss at every step, and at the end the share of symbols right when the model writes alone."""
    model = RecurrentTranslator(4 + SYMBOLS, 4 + SYMBOLS, score=score, bidirectional=True, d_model=48, dropout=0.0, max_length=32)
    optimizer, generator, course = optim.Adam(model.parameters(), 5e-3), np.random.default_rng(0), []
    for _ in range(STEPS):
        loss = model.loss(make_batch(rows(32, generator)))
        loss.backward()
        optimizer.step(clip=1.0)
        optimizer.zero_grad()
        course.append(loss.item())
    batch = make_batch(test)
    said = greedy(model.eval(), batch.source, batch.source_lengths)
    right = np.mean([sum(a == b for a, b in zip(ids, target)) / LENGTH for ids, (_, target) in zip(said, test)])
    return course, right


results = {score: train(score) for score in TRAINED}
table([f"after {STEPS} steps", "loss (nats)", "symbols right"], [(name, f"{np.mean(course[-10:]):.2f}", f"{right:.0%}") for name, (course, right) in results.items()], align="<>>")
last = {name: np.mean(course[-10:]) for name, (course, _) in results.items()}
attended = [name for name in TRAINED if name != "none"]
claim("whoever can look is ahead of whoever has the last state alone, by any score",
      f"without attention {last['none']:.2f} nats, with it {', '.join(f'{last[name]:.2f} ({name})' for name in attended)}",
      all(last[name] < last["none"] for name in attended))
later = {name: np.mean(results[name][0][STEPS // 3:]) for name in attended}
myth("once it is scaled, the dot product is as good as the others",
     f"from step {STEPS // 3} on it has {later['scaled-dot']:.2f} nats on average, the others "
     f"{', '.join(f'{nats:.2f}' for name, nats in later.items() if name != 'scaled-dot')}. States of a GRU stay within ±1, and so their products are small without being divided",
     later["scaled-dot"] == max(later.values()))

figure, (left, right_panel) = panels(1, 2, size=(12, 4.2))
style = {name: {"color": colour, "marker": marker, "markersize": 5, "label": name}
         for name, colour, marker in zip(("none", *nn.SCORES), (GREY, *COLOURS, "#b45309"), ("v", *MARKERS, "P"))}
for name, values in largest.items():
    left.plot(LENGTHS, values, **style[name])
left.axhline(1 / KEYS, color="black", linewidth=0.8, linestyle="--")
left.set(xscale="log", title="How sure a query is of its best key", xlabel="length of the query, relative", ylabel=f"largest of {KEYS} weights", ylim=(0, 1.04))
left.legend(frameon=False)
for name, (course, _) in results.items():
    right_panel.plot(smooth(course, 8), markevery=STEPS // 8, **style[name])
right_panel.set(title="To write backwards", xlabel="step of training", ylabel="loss (nats)", ylim=(0, None))
right_panel.legend(frameon=False)
picture(figure, "05_five_scores",
        "Left: the largest weight, as the query grows; dashed where all keys are looked at equally. Right: the loss of the same "
        f"translator with {'some of the scores' if QUICK else 'each score'}, and with none.")

# %%
# What to remember
# ----------------
# A score says when two vectors fit, and what their lengths may say about it. The scaled dot product won because it needs
# nothing between a pair but one number, and because the matrices that make queries and keys can learn what the others
# have built in.
