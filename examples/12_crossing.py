r"""
12. Attention across word orders
================================

    *"Cross-attention learns which source words a target word stands for, even where the languages put them in another
    order. Its weights are an alignment."* (after Bahdanau et al. 2015, section 5.2)

English says who, does, what; so does Spanish. Korean says who, what, does. Two translators learn from the same English
sentences, one into each language. Do their weights cross where the languages do, and do they point at the right words?
"""

# %%
# Which word stands for which
# ---------------------------
# To judge attention we need to know. Nobody has marked it, but it can be counted: a Korean word and an English word that
# stand for each other occur in the same pairs of sentences, and seldom in others. Dice's coefficient is 1 where they
# always occur together and 0 where they never do,
#
# .. math::  \text{dice}(s, t) = \frac{2\,c(s, t)}{c(s) + c(t)}
#
# with *c* the number of pairs in which a word, or both, occur. A target word stands for the source word of its sentence
# with the largest coefficient, if that is at least ½; articles and particles mostly stand for none.
from collections import Counter
from itertools import combinations, product

import numpy as np

from lesson import ORANGE, QUICK, claim, grid, myth, panels, picture, slanted, table
from minitx.data import toy
from minitx.data.batches import make_batch
from minitx.data.tokenizers import TokenizerPair
from minitx.models import EncoderDecoder
from train_by_hand import to_ids, train

STEPS, BATCH = (150, 512) if QUICK else (400, 1024)
LANGUAGES = {"es": "Spanish", "ko": "Korean"}


class Pair:
    """A language pair: its short sentences, who stands for whom, and a translator that has learnt it."""

    def __init__(self, code):
        corpus = toy.corpus(f"en-{code}", n_train=4_000 if QUICK else 16_000, n_test=200, n_validation=1)
        self.tokenizers = TokenizerPair.train("words", [(example.source, example.target) for example in corpus.train])
        training, self.tests = ([example for example in examples if len(example.source.split()) <= 8]
                                for examples in (corpus.train, corpus.splits["unseen_sentences"]))
        self.alone, self.together = (Counter(), Counter()), Counter()
        for example in corpus.train:
            source, target = set(example.source.split()), set(example.target.split())
            self.alone[0].update(source)
            self.alone[1].update(target)
            self.together.update(product(source, target))
        self.model = EncoderDecoder(len(self.tokenizers.source), len(self.tokenizers.target), d_model=64, n_heads=4, n_layers=1, d_ff=256, dropout=0.0)
        self.loss = train(self.model, to_ids(self.tokenizers, training), STEPS, batch_tokens=BATCH)[-1]["loss"]

    def stands_for(self, example):
        """For each target word the place of the source word that it stands for, or None."""
        source = example.source.split()
        places = []
        for target in example.target.split():
            dice = [2 * self.together[word, target] / (self.alone[0][word] + self.alone[1][target]) for word in source]
            places.append(int(np.argmax(dice)) if max(dice) >= 0.5 else None)
        return places

    def attention(self, example):
        """(heads, target words, source words + <eos>): where the decoder looks as it writes each word of the true translation."""
        batch = make_batch(to_ids(self.tokenizers, [example]))
        return self.model.attention_maps(batch.source, batch.source_lengths, batch.target_in)[-1, 0, :, :-1]


pairs = {code: Pair(code) for code in LANGUAGES}
table(["English to", "sentences in the test", "loss at the end (nats per word)"],
      [(LANGUAGES[code], len(pair.tests), f"{pair.loss:.2f}") for code, pair in pairs.items()], align="<>>")

# %%
# How much the languages cross
# ----------------------------
# Two words of a sentence *cross* if they stand in the other order than those that they stand for. First by counting,
# without any model; then by where the heads together look most.


def crossed(places):
    """How many pairs of target words are in another order than their source words, and of how many."""
    order = [place for place in places if place is not None]
    pairs_of_words = [(a, b) for a, b in combinations(order, 2) if a != b]
    return sum(a > b for a, b in pairs_of_words), len(pairs_of_words)


by_meaning, by_attention, agree = {}, {}, {}
for code, pair in pairs.items():
    counts, counts_seen, hits = np.zeros(2), np.zeros(2), []
    for example in pair.tests:
        wanted, weights = pair.stands_for(example), pair.attention(example)
        seen = [int(place) if place < weights.shape[2] - 1 else None for place in weights.mean(axis=0).argmax(axis=1)]
        known = [i for i, place in enumerate(wanted) if place is not None]
        counts += crossed(wanted)
        counts_seen += crossed([seen[i] for i in known])
        hits += [(seen[i] == wanted[i], 1 / weights.shape[2]) for i in known]
    by_meaning[code], by_attention[code], agree[code] = counts[0] / counts[1], counts_seen[0] / counts_seen[1], np.mean(hits, axis=0)
table(["English to", "pairs of words that cross, by meaning", "by attention", "words that look at what they stand for", "by chance"],
      [(LANGUAGES[code], f"{by_meaning[code]:.0%}", f"{by_attention[code]:.0%}", f"{agree[code][0]:.0%}", f"{agree[code][1]:.0%}") for code in pairs],
      align="<>>>>")
claim("Korean crosses English far more than Spanish does, and so does the attention of its translator",
      f"by meaning {by_meaning['ko']:.0%} and {by_meaning['es']:.0%} of the pairs, by attention {by_attention['ko']:.0%} and {by_attention['es']:.0%}",
      by_meaning["ko"] > 2 * by_meaning["es"] and by_attention["ko"] > 1.5 * by_attention["es"])
claim("nobody told them, and both look at the word that is meant several times as often as by chance",
      f"Spanish {agree['es'][0]:.0%}, Korean {agree['ko'][0]:.0%}; by chance {agree['es'][1]:.0%} and {agree['ko'][1]:.0%}",
      all(agree[code][0] > (2.5 if QUICK else 3) * agree[code][1] for code in pairs))

# %%
# Is it an alignment?
# -------------------
# Attention is what the model needs for the next word, not what we would mark. It may look beside the word, because the
# encoder has carried what it needs to a neighbour, or because a particle depends on something else.
myth("the weights of cross-attention are an alignment",
     f"of the words that stand for something, {1 - agree['es'][0]:.0%} in Spanish and {1 - agree['ko'][0]:.0%} in Korean look most at another word",
     max(1 - agree[code][0] for code in pairs) > 0.05)

# %%
# One sentence of each
# --------------------
# Where each translator looks as it writes one sentence; Korean in Latin letters, which every font has.
LEADS = "g kk n d tt r m b pp s ss - j jj ch k t p h".split()
VOWELS = "a ae ya yae eo e yeo ye o wa wae oe yo u wo we wi yu eu ui i".split()
FINALS = "- k k k n n n t l k m l l l p l m p p t t ng t t k t p t".split()


def in_latin_letters(korean):
    """Each word as it sounds, about (Revised Romanization, letter by letter): a syllable is a number, 가 the first."""
    def syllable(character):
        code = ord(character) - ord("가")
        return (LEADS[code // 588] + VOWELS[code // 28 % 21] + FINALS[code % 28]).replace("-", "")

    return ["".join(map(syllable, word)) for word in korean.split()]


figure, axes = panels(1, 2, size=(13, 5))
for one, (code, pair) in zip(axes, pairs.items()):
    example = next(example for example in pair.tests if not {"who", "that"} & set(example.source.split())  # a single clause
                   and crossed(pair.stands_for(example))[0] >= (2 if code == "ko" else 1) and len(example.target.split()) >= 5)
    rows = in_latin_letters(example.target) if code == "ko" else example.target.split()
    image = grid(one, pair.attention(example).mean(axis=0), rows, [*example.source.split(), "<eos>"], vmin=0, vmax=1)
    for row, place in enumerate(pair.stands_for(example)):
        if place is not None:
            one.plot(place, row, "s", markersize=16, markerfacecolor="none", markeredgecolor=ORANGE, markeredgewidth=1.8)
    one.set(title=f"English to {LANGUAGES[code]}")
    slanted(one)
figure.colorbar(image, ax=axes, fraction=0.02, pad=0.015).outline.set_visible(False)
picture(figure, "12_crossing",
        "Where the decoder looks (dark: much) as it writes each word down the side, the mean of four heads. The frames are the words "
        "that stand for each other, by counting. Korean is spelt in Latin letters.")

# %%
# What to remember
# ----------------
# Word order is no obstacle to attention, because attention has no order of its own: looking far back costs what looking
# at the neighbour costs. What it finds is close to an alignment where that is what the next word needs, and is
# something else where it is not.
