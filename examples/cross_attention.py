"""Where a translator looks while it writes: cross-attention between languages of different word order.

    python examples/cross_attention.py             # the map goes into the current folder, or --out FOLDER

English says who, does, what; Korean says who, what, does, and puts whatever describes before what it describes: "the
cow that we chase" is 우리가 쫓는 그 소, "we chasing the cow". Nobody tells the model which words belong together. It
learns to look at the right ones because that makes the next word easier to guess, and so its attention draws the order
of one language against that of the other.
"""
import argparse
from itertools import combinations
from pathlib import Path

import numpy as np

from minitx import plots
from minitx.data import toy
from minitx.data.batches import make_batch
from minitx.data.tokenizers import TokenizerPair
from minitx.data.toy.describe import pad
from minitx.models import EncoderDecoder
from train_by_hand import to_ids, train, translate  # the example beside this one

# English, its Korean translation, and for each Korean word the place of the English one it stands for, from 1.
# A counter goes with its number (소녀 일곱 명 is "girl seven person"), though its form is chosen by the noun.
SENTENCES = [
    ("yesterday the sad witch hugged the cow that we chase",
     "어제 그 슬픈 마녀는 우리가 쫓는 그 소를 껴안았다", (1, 2, 3, 4, 9, 10, 6, 7, 5)),
    ("on thursday these seven girls will read five expensive books",
     "목요일에 이 소녀 일곱 명은 비싼 책 다섯 권을 읽을 것이다", (2, 3, 5, 4, 4, 9, 10, 8, 8, 7, 6)),
    ("the grandfather's cat is very tired",
     "그 할아버지의 고양이는 아주 피곤하다", (1, 2, 3, 5, 6)),
]


def main(steps=600, n_train=16_000, out="."):
    corpus = toy.corpus("en-ko", n_train=n_train, n_test=1, n_validation=1)
    tokenizers = TokenizerPair.train("words", [(example.source, example.target) for example in corpus.train])
    model = EncoderDecoder(len(tokenizers.source), len(tokenizers.target), d_model=64, n_heads=4, n_layers=2, d_ff=256,
                           dropout=0.0)
    print(f"training on {steps} batches of {len(corpus.train)} sentence pairs ...", flush=True)
    losses = [row["loss"] for row in train(model, to_ids(tokenizers, corpus.train), steps)]
    print(f"the loss went from {losses[0]:.2f} to {np.mean(losses[-20:]):.2f} (the last 20 together)\n")

    seen = {example.source for example in corpus.train}

    for english, korean, stands_for in SENTENCES:
        said = translate(model, tokenizers, [english])[0]
        print(f"{english}   ({'' if english in seen else 'not '}in the training data)")
        print(f"{korean}   (the model's own: {'the same' if said == korean else said})")
        report(english, korean, np.array(stands_for) - 1, attention_by_layer(model, tokenizers, english, korean))

    picture = Path(out) / "cross_attention.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    english, korean, _ = SENTENCES[0]
    attention = attention_by_layer(model, tokenizers, english, korean)[-1]
    missing = plots.attention_map([*english.split(), "<eos>"], korean.split(), attention, picture)
    if missing:
        plots.attention_map([*english.split(), "<eos>"], in_latin_letters(korean), attention, picture)
        print(missing.partition(",")[0] + ": the picture spells the Korean words in Latin letters")
    print(f"The map of the first sentence: {picture}")


def attention_by_layer(model, tokenizers, english, korean):
    """(layers, Korean words, English words + <eos>): where each layer looks as the model writes each Korean word."""
    batch = make_batch([(tokenizers.source.encode(english), tokenizers.target.encode(korean))])
    maps = model.attention_maps(batch.source, batch.source_lengths, batch.target_in)[:, 0]
    return maps.mean(axis=1)[:, :-1]  # all heads together; without the last row, which writes <eos>


def report(english, korean, stands_for, attention):
    """Each Korean word and the English one that the last layer looks at most; then how much of the order is turned."""
    places = attention.argmax(axis=-1)  # (layers, Korean words)
    source = [*english.split(), "<eos>"]
    for word, latin, place, wanted in zip(korean.split(), in_latin_letters(korean), places[-1], stands_for):
        stray = "" if place == wanted else f"but stands for {wanted + 1} {source[wanted]}"
        print(f"  {pad(word, 14)}{latin:14}looks at {place + 1:2} {source[place]:14}{stray}".rstrip())
    found = [f"{np.count_nonzero(layer == stands_for)} (layer {number})" for number, layer in enumerate(places, 1)]
    print(f"  of {len(stands_for)} words, look at what they stand for: {', '.join(found)}")
    crossed = [sum(a > b for a, b in combinations(order, 2)) for order in (places[-1], stands_for)]
    print(f"  pairs of words in another order than in English: {crossed[0]} by attention, {crossed[1]} by meaning\n")


LEADS = "g kk n d tt r m b pp s ss - j jj ch k t p h".split()
VOWELS = "a ae ya yae eo e yeo ye o wa wae oe yo u wo we wi yu eu ui i".split()
FINALS = "- k k k n n n t l k m l l l p l m p p t t ng t t k t p t".split()


def in_latin_letters(korean):
    """Each word as it sounds, about (Revised Romanization, letter by letter): a syllable is a number, 가 the first."""
    def syllable(character):
        code = ord(character) - ord("가")
        return (LEADS[code // 588] + VOWELS[code // 28 % 21] + FINALS[code % 28]).replace("-", "")

    return ["".join(map(syllable, word)) for word in korean.split()]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="draw where a translator looks while it writes")
    parser.add_argument("--out", default=".", metavar="FOLDER", help="where the picture goes (the current folder)")
    parser.add_argument("--quick", action="store_true", help="a few steps on a little data: to see that it runs")
    options = parser.parse_args()
    main(out=options.out, **({"steps": 20, "n_train": 2000} if options.quick else {}))
