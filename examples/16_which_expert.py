r"""
16. Which expert takes which words
==================================

    *"Instead of one feed-forward network a layer has several, and a router sends each word to the expert that knows about
    it. A loss has to share out the work, or else one expert gets everything."* (after Shazeer et al. 2017, Fedus et al. 2022)

A small language model learns English sentences of the toy grammar, with eight experts in its layer of which each word
takes one. As the grammar knows what every word is, we can look who takes what, and what is lost without them.
"""

# %%
# Eight times the weights, the work of one
# ----------------------------------------
# The router is a linear layer. The softmax of its answers says what it thinks of each expert, and the word goes to the
# best of them,
#
# .. math::  r = \operatorname{softmax}(R\,x) \qquad e = \operatorname{argmax}\, r \qquad y = r_e \; \text{expert}_e(x)
from copy import deepcopy

import numpy as np

import minitx as mx
from lesson import COLOURS, GREY, QUICK, claim, grid, myth, panels, picture, smooth, table
from minitx import optim
from minitx.data import toy
from minitx.data.batches import EOS, SPECIAL_TOKENS
from minitx.data.text import Blocks, disjoint_blocks
from minitx.data.tokenizers import Tokenizer
from minitx.data.toy import lexicon
from minitx.models import DecoderOnly

EXPERTS, BLOCK, (STEPS, TEST_BLOCKS) = 8, 32, (200, 160) if QUICK else (500, 320)
lines = [example.source for example in toy.corpus("en-es", n_train=6_000 if QUICK else 12_000, n_test=1, n_validation=1).train]
tokenizer = Tokenizer.train("words", lines)
text = np.concatenate([[*ids, EOS] for ids in tokenizer.encode_batch(lines)]).astype(np.int32)
training, (test,) = text[:-TEST_BLOCKS * BLOCK], disjoint_blocks(text[-TEST_BLOCKS * BLOCK - 1:], BLOCK, TEST_BLOCKS)


def make(experts, balance=0.0):
    return DecoderOnly(len(tokenizer), d_model=48, n_heads=4, n_layers=1, d_ff=64, experts=experts, experts_per_token=1, balance=balance, max_length=BLOCK)


def train(model):
    """Each expert's share of the words at every step: (steps, experts)."""
    optimizer, batches, shares = optim.Adam(model.parameters()), Blocks(training, 32, BLOCK), []
    for step in range(1, STEPS + 1):
        optimizer.learning_rate = optim.learning_rate(step, peak=5e-3, warmup=STEPS // 10, schedule="cosine", steps=STEPS, final=0.02)
        model.loss(batches.next()).backward()
        optimizer.step(clip=1.0)
        optimizer.zero_grad()
        if layer_of(model) is not None:
            shares.append(layer_of(model).last.counts / layer_of(model).last.counts.sum())
    return np.array(shares)


def layer_of(model):
    return model.layers[0].experts


def costs(model):
    """−log of the probability of each next word of the test: (rows, time)."""
    with mx.no_grad():
        chances = mx.softmax(model.eval()(test.target_in)).data
    return -np.log(np.take_along_axis(chances, test.target_out[..., None].astype(np.int64), axis=-1)[..., 0])


ONE, UNBALANCED, BALANCED = "one network", "8 experts", "8 experts, balanced"
models = {ONE: make(1), UNBALANCED: make(EXPERTS), BALANCED: make(EXPERTS, balance=1.0)}
untrained = deepcopy(models[BALANCED])
sizes = {name: model.n_parameters() for name, model in models.items()}
network, router = layer_of(untrained).experts[0].n_parameters(), layer_of(untrained).router.n_parameters()
claim("eight experts are seven networks and a router more, and a word passes through one network and the router",
      f"{sizes[ONE]:,} weights and {sizes[UNBALANCED]:,}, of which a word meets {sizes[UNBALANCED] - (EXPERTS - 1) * network:,}",
      sizes[UNBALANCED] - sizes[ONE] == (EXPERTS - 1) * network + router)

# %%
# Who gets the work
# -----------------
# An expert that gets more words learns more, and so is chosen more. The balancing loss,
# :math:`E \sum_e f_e P_e`, is 1 where all get the same and *E* where one gets everything (*f*: the share of the words;
# *P*: the mean of *r*). We train with it and without.
shares = {name: train(model) for name, model in models.items()}
nats = {name: costs(model) for name, model in models.items()}
last = {name: shares[name][-50:].mean(axis=0) for name in (UNBALANCED, BALANCED)}
table([f"after {STEPS} steps", "nats per word", "busiest expert", "idlest expert", "experts with less than 2%"],
      [(name, f"{nats[name].mean():.2f}", *((f"{last[name].max():.0%}", f"{last[name].min():.1%}", np.count_nonzero(last[name] < 0.02)) if name in last else ("", "", "")))
       for name in models], align="<>>>>")
idle = np.count_nonzero(last[UNBALANCED] < 0.02)
claim("without the balancing loss some experts are left without work, with it none is",
      f"without it {idle} of {EXPERTS} have less than 2% of the words, with it the idlest has {last[BALANCED].min():.1%}",
      idle >= 1 and last[BALANCED].min() > 0.5 / EXPERTS)
most = np.array([smooth(course, 10) for course in shares[UNBALANCED].T])  # (experts, steps)
myth("without the loss one expert gets everything",
     f"for ten steps one has {most.max():.0%} of the words, at about step {most.max(axis=0).argmax() + 5}; at the end the busiest has {last[UNBALANCED].max():.0%}, the "
     f"next {np.sort(last[UNBALANCED])[-2]:.0%}. It happens, but here it does not last", most.max() > 0.8 and last[UNBALANCED].max() < 0.7)

# %%
# The first column says what seven more networks are worth to so small a language, by one seed.
claim("eight experts are worth more when all have work", ", ".join(f"{name} {nats[name].mean():.2f} nats" for name in models),
      nats[BALANCED].mean() < nats[UNBALANCED].mean())

# %%
# Which words
# -----------
# The lexicon of the grammar knows nouns, verbs and the rest; the small words are sorted by hand.
SMALL = {"article": "a an the some this these my our", "auxiliary": "is are do does did will can cannot want wants not",
         "preposition": "in on for to of", "joining": "and that who when there", "person": "i we", "adverb": "very", "end": " ".join(SPECIAL_TOKENS)}
NOUN_KINDS = {"name": "person", "kin": "person", "person": "person", "profession": "person", "animal": "animal"}
KIND = {form: kind for kind, concepts in (("time", lexicon.TIMES), ("place", lexicon.PLACES), ("adverb", lexicon.ADVERBS), ("verb", lexicon.VERBS),
                                          ("adjective", lexicon.ADJECTIVES)) for concept in concepts for form in " ".join(concept.en).split()}
KIND |= {form: NOUN_KINDS.get(concept.kind, "thing") for concept in lexicon.NOUNS for form in concept.en}
KIND |= {number: "number" for number in lexicon.NUMBERS["en"][1:]} | {word: kind for kind, words in SMALL.items() for word in words.split()}


def kind_of(word):
    """The kind of an English word, whatever its ending: cats, boxes, the girl's, hugged, cries."""
    return next(KIND[stem] for stem in (word, word[:-1], word[:-2], word[:-3], word[:-3] + "y") if stem in KIND)


KINDS = ["person", "animal", "thing", "place", "time", "number", "adjective", "verb", "auxiliary", "adverb", "article", "preposition", "joining", "end"]
kind_of_id = np.array([KINDS.index(kind_of(word)) for word in tokenizer.tokens(range(len(tokenizer)))])
words = test.target_in.ravel()
kinds = kind_of_id[words]


def counts(labels, chosen):
    """(labels, experts): how often each expert takes each of the labels (words,)."""
    found = np.zeros((labels.max() + 1, EXPERTS), int)
    np.add.at(found, (labels, chosen), 1)
    return found


costs(untrained)
chosen = {name: layer_of(model).last.chosen.ravel() for name, model in (("untrained", untrained), *((name, models[name]) for name in last))}
taken = counts(kinds, chosen[BALANCED])
by_word = counts(words, chosen[BALANCED])
for expert in range(EXPERTS):
    mine = np.argsort(-np.where(by_word[:, expert] > by_word.sum(axis=1) / 2, by_word[:, expert], 0), kind="stable")[:7]
    print(f"expert {expert + 1} takes most often: {' '.join(tokenizer.tokens(i for i in mine if by_word[i, expert]))}")

# %%
# So there is an order in it. How much? Somebody who had to guess the expert of a word would name the busiest, if they
# knew nothing; the busiest for that kind of word, if they knew the kind; or for that word. If kinds meant nothing, words dealt
# into as many groups at random would help as much.
generator = np.random.default_rng(0)


def guessed(labels, chosen):
    """The share of words whose expert one guesses who knows their label."""
    return counts(labels, chosen).max(axis=1).sum() / len(chosen)


guesses = {name: (guessed(np.zeros_like(words), by), np.mean([guessed(kind_of_id[generator.permutation(len(kind_of_id))][words], by) for _ in range(20)]),
                  guessed(kinds, by), guessed(words, by)) for name, by in chosen.items()}
table(["experts guessed by who knows", "nothing", "a random group", "the kind", "the word"],
      [(name, *(f"{share:.0%}" for share in row)) for name, row in guesses.items()], align="<>>>>")
nothing, group, kind, word = guesses[BALANCED]
claim("experts do take kinds of words, and that is learnt",
      f"who knows the kind guesses {kind:.0%}, of a random group {group:.0%}; before training {guesses['untrained'][2]:.0%} and {guesses['untrained'][1]:.0%}",
      kind > group + 0.1 and kind - group > 2 * (guesses["untrained"][2] - guesses["untrained"][1]))
myth("an expert is a specialist in a kind of word", f"who knows the word itself guesses {word:.0%}, the kind only {kind:.0%}: words of a kind are divided among "
     f"several experts, and the same word goes to more than one, as what stands before it wants", word > kind + 0.1 and word < 0.98)

# %%
# What is lost without them
# -------------------------
# Who takes a word need not be good at it. So we take one expert away: its network answers 0, and the words that it
# serves go on with what attention has made of them. How much costlier does the next word become? And what if each expert
# gets the words of its neighbour?
model, layer = models[BALANCED], layer_of(models[BALANCED])
extra = np.zeros((EXPERTS, len(words)))
for expert, one in enumerate(layer.experts):
    kept = [parameter.data.copy() for parameter in one.linear2.parameters()]
    for parameter in one.linear2.parameters():
        parameter.data[...] = 0
    extra[expert] = (costs(model) - nats[BALANCED]).ravel()
    for parameter, data in zip(one.linear2.parameters(), kept):
        parameter.data[...] = data
served = np.arange(EXPERTS)[:, None] == chosen[BALANCED]  # (experts, words)
lost = np.array([extra[expert][served[expert]].mean() for expert in range(EXPERTS)])
claim("whoever takes a word is needed for what comes after it",
      f"without its expert the word after costs {extra[served].mean():.2f} nats more, {lost.min():.2f} to {lost.max():.2f} by expert",
      lost.min() > 0 and extra[served].mean() > 0.1)

layer.experts = layer.experts[1:] + layer.experts[:1]
exchanged = costs(model).mean() - nats[BALANCED].mean()
layer.experts = layer.experts[-1:] + layer.experts[:-1]
claim("they are not interchangeable: with another's expert a word is as badly off as with none, or worse",
      f"{exchanged:.2f} nats more per word with the neighbour's, {extra[served].mean():.2f} with none", exchanged > 0.8 * extra[served].mean())

# %%
figure, axes = panels(1, 2, size=(12, 3.8), sharey=True)
hues = [*COLOURS, "#56b4e9", "#f0c05a", "#8c564b", GREY]
for one, name in zip(axes, last):
    smoothed = np.array([smooth(course, 10) for course in shares[name].T])
    one.stackplot(range(smoothed.shape[1]), 100 * smoothed, colors=hues, edgecolor="white", linewidth=0.6)
    one.set(title="With the balancing loss" if name == BALANCED else "Without the balancing loss", xlabel="step of training", xlim=(0, smoothed.shape[1] - 1), ylim=(0, 100))
axes[0].set(ylabel="% of the words, by expert")
picture(figure, "16_who_gets_the_work", "Each colour is an expert, and its width the share of the words that it gets, in the course of training.")

figure, (left, right) = panels(1, 2, size=(13, 5.6), sharey=True)
names = [str(expert + 1) for expert in range(EXPERTS)]
many = np.maximum(taken.sum(axis=1, keepdims=True), 1)
grid(left, 100 * taken / many, KINDS, names, ".0f", vmin=0, vmax=100)
left.set(title="Who takes which kind (% of the kind)", xlabel="expert")
by_kind = np.array([np.bincount(kinds, weights=row, minlength=len(KINDS)) for row in extra]).T / many
grid(right, by_kind.round(2) + 0.0, KINDS, names, ".2f", cmap="Oranges", vmin=0)
right.set(title="What the next word costs without the expert (nats more)", xlabel="expert that is missing")
picture(figure, "16_which_expert",
        "Left: for each kind of word, the experts that its words go to. Right: how much costlier the word after such a word becomes, "
        "on average over the kind, when that expert answers nothing.")

# %%
# What to remember
# ----------------
# Experts are a way to have many weights and use few at a time. The work has to be shared out, because the router learns
# from its own choices. What they come to be good at, nobody tells them: the router sees the vector of a word, words of a
# kind have similar vectors, and so kinds stay together, by and large. A team of linguists it is not.
