r"""
15. Two families
================

    *"An encoder-decoder reads the whole source both ways and then writes; a decoder-only model goes on with the source as
    with any text, so that each word of it sees only those before. For translation one takes the former."*

The two families, given the same task, the same number of weights, the same batches and the same updates. What differs
is where the weights sit and who may look at whom. We measure both, and then see who learns what.
"""

# %%
# As many weights in other places
# -------------------------------
# In units of :math:`d^2` weights, an encoder layer has 4 for attention and 8 for its feed-forward network of
# :math:`4\,d` features, a decoder layer 4 more for its second attention: together 28. The language model has two layers
# alike; with :math:`5\,d` features each has 4 and 10: 28 as well. One vocabulary serves both languages.
import numpy as np
from matplotlib.colors import LogNorm

import minitx as mx
from lesson import BLUE, MARKERS, ORANGE, QUICK, claim, grid, myth, panels, picture, slanted, smooth, table
from minitx.data import toy
from minitx.data.batches import PAD, make_batch
from minitx.data.tokenizers import TokenizerPair
from minitx.models import EncoderDecoder, PrefixLanguageModel
from train_by_hand import exact_match, to_ids, train

D_MODEL, STEPS, BATCH = (64, 120, 512) if QUICK else (64, 500, 1024)
corpus = toy.corpus("en-es", n_train=4_000 if QUICK else 16_000, n_test=200, n_validation=1)
tokenizers = TokenizerPair.train("words", [(example.source, example.target) for example in corpus.train], joint=True)
training, tests = ([example for example in examples if len(example.source.split()) <= 8]
                   for examples in (corpus.train, corpus.splits["unseen_sentences"]))
size = len(tokenizers.target)
same = {"d_model": D_MODEL, "n_heads": 4, "dropout": 0.0, "activation": "relu", "positions": "sinusoidal"}
MODELS = {"encoder-decoder": EncoderDecoder(size, size, n_layers=1, d_ff=4 * D_MODEL, tie_embeddings="all", **same),
          "decoder-only": PrefixLanguageModel(size, n_layers=2, d_ff=5 * D_MODEL, **same)}
BOTH, ONE = MODELS
COLOUR = {BOTH: BLUE, ONE: ORANGE}
sizes = {name: model.n_parameters() for name, model in MODELS.items()}
claim("the two have as many weights, to within 1%", f"{sizes[BOTH]:,} and {sizes[ONE]:,}", abs(sizes[BOTH] / sizes[ONE] - 1) < 0.01)

# %%
# Who hears of whom
# -----------------
# As in lesson 6, influence is measured with gradients: which word vectors of the source reach the vectors of which
# source words behind the layers? For the language model the source is the beginning of its text.
SENTENCE = "the sad witch hugged the small dog"
ids = np.array([tokenizers.source.encode(SENTENCE)], np.int32)
WORDS = SENTENCE.split()


def influence(name):
    """(words, words): the size of the gradient of each source word's vector, behind the layers, by each vector before them."""
    model, found = MODELS[name], []
    model.zero_grad()
    vectors = []
    embedding = model.source_embedding if name == BOTH else model.embedding
    with embedding.register_forward_hook(lambda module, inputs, out: vectors.append(out)):
        memory = model.encode(ids, np.array([len(WORDS)])) if name == BOTH else model.decode(ids)
    direction = np.random.default_rng(0).normal(size=D_MODEL)
    for i in range(len(WORDS)):
        arriving = np.zeros(memory.shape, memory.dtype)
        arriving[0, i] = direction
        (gradient,) = mx.gradients([memory], [vectors[0]], [arriving], retain_graph=True)
        found.append(np.linalg.norm(gradient.data[0], axis=-1))
    return np.array(found)


heard = {name: influence(name) for name in MODELS}
later = np.triu(np.ones((len(WORDS), len(WORDS)), bool), k=1)
counts = {name: np.count_nonzero(matrix[later]) for name, matrix in heard.items()}
claim("in an encoder every source word hears of those after it, in a language model none does",
      f"of {later.sum()} pairs of a word and a later one, {counts[BOTH]} in the encoder-decoder and {counts[ONE]} in the decoder-only model",
      counts[BOTH] == later.sum() and counts[ONE] == 0)

# %%
# What each has to keep
# ---------------------
# While it writes, each keeps keys and values. The encoder-decoder keeps them for the source once, in its decoder layer,
# and for what it has said. The language model keeps them for everything, in each of its layers.
batch = make_batch(to_ids(tokenizers, tests))


def numbers_kept(name, words=8):
    """Numbers in the cache of one sentence after so many words."""
    model = MODELS[name]
    cache = model.start(batch.source[:1], batch.source_lengths[:1], words)
    for ids in batch.target_in[:1, :1].repeat(words, axis=1).T:
        model.step(ids, cache)
    stores = [one for layer in cache.layers for one in (layer if isinstance(layer, tuple) else (layer,))]
    return sum(array.size for one in stores for array in one.keys_and_values())


kept = {name: numbers_kept(name) for name in MODELS}
claim("with as many weights, the language model keeps twice as much: both of its layers look at everything, and of the encoder-decoder one",
      f"for a source of {batch.source_lengths[0]} ids and 8 words said, {kept[BOTH]:,} and {kept[ONE]:,} numbers", kept[ONE] == 2 * kept[BOTH])

# %%
# The same steps
# --------------
losses = {}
for name, model in MODELS.items():
    metrics = train(model, to_ids(tokenizers, training), STEPS, peak=5e-3, batch_tokens=BATCH)
    losses[name] = np.array([row["loss"] for row in metrics])


def scores(model):
    """Nats per word on the test, the same behind the sources of other sentences, and the share of whole sentences right alone."""
    nats = []
    pairs = to_ids(tokenizers, tests)
    for sources in (pairs, pairs[1:] + pairs[:1]):
        one = make_batch([(source, target) for (source, _), (_, target) in zip(sources, pairs)])
        with mx.no_grad():
            chances = mx.softmax(mx.linear(model.hidden(one), model.output_weight)).data  # (sentences, time, vocabulary)
        true = np.take_along_axis(chances, one.target_out[..., None].astype(np.int64), axis=-1)[..., 0]
        nats.append(-np.log(true[one.target_out != PAD]).mean())
    return *nats, exact_match(model, tokenizers, tests)


found = {name: scores(model) for name, model in MODELS.items()}
table([f"{len(tests)} unseen sentences", "nats per word", "behind another source", "whole sentences right"],
      [(name, f"{loss:.2f}", f"{other:.2f}", f"{whole:.1%}") for name, (loss, other, whole) in found.items()], align="<>>>")
half = {name: int(np.argmax(smooth(course, 10) < 0.5 * course[0])) + 5 for name, course in losses.items()}  # the middle of ten steps
claim("with the same steps, the encoder-decoder is ahead from early on", f"half of its first loss it reaches at step {half[BOTH]}, the decoder-only model at "
      f"step {half[ONE]}; at the end {found[BOTH][0]:.2f} and {found[ONE][0]:.2f} nats per word",
      half[BOTH] < half[ONE] and found[BOTH][0] < found[ONE][0])
myth("a decoder-only model cannot translate, because its source words do not see what comes after them",
     f"it learns to: a true word behind its source costs {found[ONE][0]:.2f} nats, behind another sentence's {found[ONE][1]:.2f}. The target words see "
     "all of the source, and they are where it is put together", found[ONE][0] < found[ONE][1] - (0.05 if QUICK else 1))

# %%
figure, axes = panels(1, 3, size=(14, 4.4), width_ratios=[1, 1, 1.2])
for one, (name, matrix) in zip(axes, heard.items()):
    one.set_facecolor("#e5e7eb")
    grid(one, matrix, WORDS, WORDS, norm=LogNorm(matrix[matrix > 0].min() / 3, matrix.max()))
    one.set(title=f"{name}: who hears of whom")
    slanted(one)
for (name, course), marker in zip(losses.items(), MARKERS):
    axes[2].plot(smooth(course, 10), color=COLOUR[name], marker=marker, markevery=STEPS // 8, markersize=5, label=name)
axes[2].set(title="Loss in the course of training", xlabel="step", ylabel="nats per word", ylim=(0, None))
axes[2].legend(frameon=False)
picture(figure, "15_two_families",
        "Left and middle: the influence of each source word (across) on each (down) behind the layers; grey where it is exactly 0. "
        "Right: the loss of both families with the same weights, batches and steps.")

# %%
# What to remember
# ----------------
# With little to learn from, a shape that fits the task is worth a lot: the encoder reads both ways, and the decoder has
# an attention of its own for the source. The language model has to find out that there are two parts. It can, and it
# is one stack for every task; that is why, where there is text and time without end, one takes the latter.
