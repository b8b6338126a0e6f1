r"""
10. Teacher forcing
===================

    *"In training the decoder is fed the true target, shifted by one, whatever it would have said itself. In use it is fed
    its own words. It has never seen its own mistakes, so one mistake leads to the next."*

A translator from English to Chinese learns with the truth as its input and is then left alone. We look at the table from
which it learns, check what one pass is worth, and measure what a mistake costs: its own, and one that we put in.
"""

# %%
# The shifted table
# -----------------
# "This is a cat" is 这 是 猫. Behind ``<bos>``, *begin*, the decoder reads the target; at each place it must say what it
# reads at the next. So one row of ids serves as question and as answer.
import numpy as np

import minitx as mx
from lesson import BLUE, GREY, MARKERS, ORANGE, QUICK, claim, myth, panels, picture, table
from minitx.data import toy
from minitx.data.batches import EOS, PAD, make_batch
from minitx.data.tokenizers import TokenizerPair
from minitx.decoding.greedy import greedy
from minitx.models import EncoderDecoder
from train_by_hand import probabilities, to_ids, train  # the trainer of the example beside this one

corpus = toy.corpus("en-zh", n_train=8_000 if QUICK else 16_000, n_test=300, n_validation=1)
tokenizers = TokenizerPair.train("words", [(example.source, example.target) for example in corpus.train])
chinese = tokenizers.target

batch = make_batch([(tokenizers.source.encode("this is a cat"), chinese.encode("这 是 猫"))])
table(["place", "decoder reads", "must say"],
      [(place, *words) for place, words in enumerate(zip(chinese.tokens(batch.target_in[0]), chinese.tokens(batch.target_out[0])))])
claim("what must be said at one place is what is read at the next", f"read: {batch.target_in[0, 1:].tolist()}, said before: "
      f"{batch.target_out[0, :-1].tolist()}", np.array_equal(batch.target_in[0, 1:], batch.target_out[0, :-1]))

# %%
# One pass for all places
# -----------------------
# This is what makes training fast. As the truth is known beforehand, nobody has to wait for a word to read it at the
# next place: all places are computed at once, and the causal mask (lesson 6) keeps each from reading its answer.
small = 8  # words of English at most, so that it learns in seconds
training, tests = ([example for example in examples if len(example.source.split()) <= small]
                   for examples in (corpus.train, corpus.splits["unseen_sentences"]))
model = EncoderDecoder(len(tokenizers.source), len(chinese), d_model=64, n_heads=4, n_layers=1, d_ff=256, dropout=0.0)
batch = make_batch(to_ids(tokenizers, tests))
with mx.no_grad():
    at_once = model(batch.source, batch.source_lengths, batch.target_in).data
cache = model.start(batch.source, batch.source_lengths)
one_by_one = np.stack([model.step(ids, cache) for ids in batch.target_in.T], axis=1)
apart = np.abs(at_once - one_by_one).max() / np.abs(at_once).max()
claim("one pass over the whole target gives what a pass for every word would give",
      f"{batch.target_in.shape[1]} passes through the decoder against 1: {apart:.0e} apart, relative to the largest", apart < 1e-5)

STEPS = 140 if QUICK else 400
losses = [row["loss"] for row in train(model, to_ids(tokenizers, training), STEPS)]
print(f"{len(training):,} sentences, {STEPS} steps: the loss went from {losses[0]:.2f} to {losses[-1]:.2f} nats per word\n")

# %%
# Left alone
# ----------
# Now the test sentences, in two ways: the next word after the *true* words so far, and the next word after its *own*.
real = batch.target_out != PAD  # (sentences, time)
with_truth = probabilities(model, batch).argmax(axis=-1)
alone = np.full_like(batch.target_out, PAD)
for row, ids in enumerate(greedy(model, batch.source, batch.source_lengths)):
    alone[row, :len(ids) + 1] = [*ids, EOS][:alone.shape[1]]
right_with_truth, right_alone = ((said == batch.target_out) & real for said in (with_truth, alone))

whole_with_truth, whole_alone = ((right | ~real).all(axis=1) for right in (right_with_truth, right_alone))
for row in np.flatnonzero(~whole_alone)[:2]:
    print(tests[row].source)
    table(["truth", "after the true words", "after its own"],
          [(truth, *(word if word == truth else word + " ✗" for word in said))
           for truth, *said in zip(*(chinese.tokens(ids[row][real[row]]) for ids in (batch.target_out, with_truth, alone)))])
table([f"{len(tests)} unseen sentences", "after the true words", "after its own"],
      [("words right", f"{right_with_truth[real].mean():.1%}", f"{right_alone[real].mean():.1%}"),
       ("whole sentences right", f"{whole_with_truth.mean():.1%}", f"{whole_alone.mean():.1%}")], align="<>>")
claim("left alone, it says fewer right words in their place than with the truth before its eyes",
      f"{right_alone[real].mean():.1%} instead of {right_with_truth[real].mean():.1%}", right_alone[real].mean() < right_with_truth[real].mean())

# %%
# So far the sentence at the head of this page holds. But look at whole sentences. A sentence that is right word for word
# with the truth as input is right when the model is alone: its first word is right, so it reads the truth; so its
# second is right, and so on. The truth helps only where there is a mistake already.
myth("a model that was always fed the truth gets fewer sentences right when it is alone",
     f"{np.count_nonzero(whole_with_truth)} sentences with the truth, {np.count_nonzero(whole_alone)} alone, and "
     f"{np.count_nonzero(whole_with_truth != whole_alone)} are not the same", np.array_equal(whole_with_truth, whole_alone))

# %%
# And does one mistake lead to the next? We take the sentences with a mistake, and line them up at their first one.
first = np.where(~whole_alone, (~right_alone & real).argmax(axis=1), -1)  # (sentences,)
AFTER = np.arange(-3, 5)


def around(right):
    """The share of right words so far before or after the first mistake."""
    shares = []
    for offset in AFTER:
        rows = [row for row in np.flatnonzero(~whole_alone) if 0 <= first[row] + offset < real[row].sum()]
        shares.append(np.mean([right[row, first[row] + offset] for row in rows]))
    return np.array(shares)


truth_around, alone_around = around(right_with_truth), around(right_alone)
table(["words after the first mistake", *(f"{offset:+d}" for offset in AFTER)],
      [(name, *(f"{share:.0%}" for share in shares)) for name, shares in (("after the true words", truth_around), ("after its own", alone_around))],
      align="<" + ">" * len(AFTER))
behind = AFTER > 0
claim("behind its own mistake it is wrong more often than behind the truth at the same places",
      f"right: {alone_around[behind].mean():.0%} on its own, {truth_around[behind].mean():.0%} with the truth",
      alone_around[behind].mean() < truth_around[behind].mean() - 0.05)

# %%
# A mistake that we put in
# ------------------------
# Some of that is only a shift: one word too many, and all that follow stand in the wrong place. A cleaner way: we leave
# all as it is and put a single wrong word into what the decoder reads. What do the words behind it cost, in nats?
generator = np.random.default_rng(0)
FAR = 5


def cost(batch):
    """−log of the probability of each true word: (sentences, time)."""
    return -np.log(np.take_along_axis(probabilities(model, batch), batch.target_out[..., None].astype(np.int64), axis=-1)[..., 0])


more, before = [[] for _ in range(FAR)], []
truth_costs = cost(batch)
for _ in range(4):
    wrong, place = batch.target_in.copy(), np.array([generator.integers(1, count) for count in real.sum(axis=1)])
    wrong[np.arange(len(wrong)), place] = generator.choice(batch.target_out[real & (batch.target_out > 3)], len(wrong))
    difference = cost(type(batch)(**{**vars(batch), "target_in": wrong})) - truth_costs
    for row, at in enumerate(place):
        if wrong[row, at] == batch.target_in[row, at]:  # the true word was drawn
            continue
        before.append(np.abs(difference[row, :at]).max())
        for distance in range(FAR):
            if at + distance < real[row].sum():
                more[distance].append(difference[row, at + distance])
more = np.array([np.mean(values) for values in more])
table(["a wrong word", *(f"{distance} later" if distance else "read just now" for distance in range(FAR))],
      [("makes the true next word cost so many nats more", *(f"{value:+.2f}" for value in more))], align="<" + ">" * FAR)
claim("a wrong word costs most right behind it", f"{more[0]:.2f} nats; {FAR - 1} words later {more[-1]:.2f}", more[0] > 1 and more[0] > 3 * more[-1])
claim("before it, nothing changes", f"the largest difference is {max(before):g}", max(before) == 0)
myth("one wrong word in what it reads spoils all that it says behind it",
     f"from the second word on, a wrong one costs at most {more[1:].max():.2f} nats, and {FAR - 1} words later {more[-1]:.2f}: the source "
     "says what is meant, and the words after the wrong one are true again", more[1:].max() < 0.6 * more[0] and more[-1] < more[1])

# %%
figure, (left, right) = panels(1, 2, size=(12, 4))
left.axvline(0, color=GREY, linewidth=1, linestyle="--")
for shares, name, colour, marker in ((truth_around, "after the true words", BLUE, MARKERS[0]), (alone_around, "after its own", ORANGE, MARKERS[1])):
    left.plot(AFTER, 100 * shares, color=colour, marker=marker, markersize=5, label=name)
left.set(title="Sentences with a mistake, lined up at the first", xlabel="words after the first mistake", ylabel="right words (%)", ylim=(-3, 103))
left.legend(frameon=False, loc="lower right")
right.bar(range(FAR), more, color=ORANGE, width=0.6)
right.set(title="What one wrong word in the input costs", xlabel="words later", ylabel="nats more for the true word")
right.axhline(0, color="black", linewidth=0.8)
picture(figure, "10_teacher_forcing",
        "Left: how often the model is right around its first mistake, when it goes on with its own words and when it is told the "
        "true ones. Right: how much costlier a single wrong word makes the true words that follow.")

# %%
# What to remember
# ----------------
# Teacher forcing is fast because all places are computed at once, and it is exact about the first mistake: up to there,
# training and use are the same. What it never practises is to go on behind a mistake. How much that costs depends on how
# much else the model has to hold on to; a translator has its source, a writer of stories has not.
