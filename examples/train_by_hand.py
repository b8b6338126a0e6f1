"""Train a translator with a trainer written out by hand, in thirty lines.

    python examples/train_by_hand.py               # the loss curve goes into the current folder, or --out FOLDER

The model reads an English sentence and learns to say it in Spanish. It learns by teacher forcing: at every position it
is given the true words so far and must name the next one, whatever it would have said itself. One pass through the
model answers all positions at once, because the causal mask (lesson 6) keeps each from reading ahead.
"""
import argparse
from itertools import takewhile
from pathlib import Path

import numpy as np

import minitx as mx
from minitx import optim, plots
from minitx.data import toy
from minitx.data.batches import BOS, EOS, PAD, Batches, make_batch
from minitx.data.tokenizers import TokenizerPair
from minitx.models import EncoderDecoder


def main(steps=600, n_train=16_000, n_test=200, out="."):
    # Sentences, and the words in them as numbers. The test words all occur in training; the test sentences do not.
    corpus = toy.corpus("en-es", n_train=n_train, n_test=n_test, n_validation=100)
    tokenizers = TokenizerPair.train("words", [(example.source, example.target) for example in corpus.train])
    training, validation = to_ids(tokenizers, corpus.train), to_ids(tokenizers, corpus.validation)
    words = f"{len(tokenizers.source)} English and {len(tokenizers.target)} Spanish words"
    print(f"{len(training)} sentence pairs of {words}")

    # Without dropout a model does the same in training and out of it. With dropout, model.eval() belongs before each
    # measurement and model.train() after it.
    model = EncoderDecoder(len(tokenizers.source), len(tokenizers.target), d_model=64, n_heads=4, n_layers=2, d_ff=256,
                           dropout=0.0)
    print(f"a model of {model.n_parameters()} numbers, all of them random so far\n")

    # What training asks, and what the untrained model makes of it. Often it would repeat the word it has just read:
    # a word's vector is also the weight that scores it as the next one, and so far little else happens to it.
    lesson = make_batch(validation[:1])
    print(f"Teacher forcing, before training: {corpus.validation[0].source!r}")
    print_lesson(model, tokenizers, lesson)
    print(f"  (guessing blindly: {1 / len(tokenizers.target):.1%})\n")

    def watch():
        with mx.no_grad():  # nothing to differentiate, so nothing to remember
            loss = model.loss(make_batch(validation)).item()
        return {"valid_loss": loss, "exact_match": exact_match(model, tokenizers, corpus.validation)}

    metrics = train(model, training, steps, watch=watch)

    print("\nThe same after training")
    print_lesson(model, tokenizers, lesson)

    # On its own the model hears no truth: each word it says is the next it reads, and one wrong word makes the sentence wrong.
    tests = corpus.splits["unseen_sentences"]
    given_the_truth = next_word_accuracy(model, to_ids(tokenizers, tests))
    print(f"\nUnseen sentences, {len(tests)} of them")
    print(f"  next word right, given the true words so far  {given_the_truth:6.1%}")
    print(f"  whole sentence right, on its own              {exact_match(model, tokenizers, tests):6.1%}")
    for name in ("unseen_combinations", "longer"):  # longer: words stand at positions where none stood in training
        print(f"{name.replace('_', ' ').capitalize():48}{exact_match(model, tokenizers, corpus.splits[name]):6.1%}")
    print()
    for example, said in zip(tests, translate(model, tokenizers, [example.source for example in tests[:4]])):
        print(f"  {example.source}\n    {said}")
        if said != example.target:
            print(f"    (right: {example.target})")

    picture = Path(out) / "train_by_hand.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    plots.loss_curve(metrics, picture)
    print(f"\nThe loss over the steps: {picture}")


# The trainer


def train(model, pairs, steps, peak=5e-3, watch=None, batch_tokens=1024):
    """Train on (source ids, target ids). Returns {"step", "loss"} of every step; some also have what `watch()` gave."""
    batches = Batches(pairs, batch_tokens)  # sentences of like lengths together, in another order in every epoch
    optimizer = optim.Adam(model.parameters(), betas=(0.9, 0.98))
    metrics = []
    for step in range(1, steps + 1):
        # Forward: the mean over all words of the batch of -log(the probability of the right next word).
        loss = model.loss(batches.next())

        # Backward: every weight gets its .grad, ∂loss/∂weight.
        loss.backward()

        # Small steps at first, while Adam has seen few gradients; then half a cosine down to almost nothing.
        optimizer.learning_rate = optim.learning_rate(step, peak=peak, warmup=steps // 10, schedule="cosine",
                                                      steps=steps, final=0.02)

        # One step against the gradient, which is first shortened to length 1 if it is longer: a rare batch must not
        # throw the weights far away.
        optimizer.step(clip=1.0)
        optimizer.zero_grad()

        metrics.append({"step": step, "loss": loss.item()})
        if watch and (step % 100 == 0 or step == steps):
            metrics[-1] |= watch()
            print("  ".join(f"{name} {value:.4g}" for name, value in metrics[-1].items()))
    return metrics


# The translator


def translate(model, tokenizers, sentences, longest=40):
    """Word by word, always the likeliest next one: greedy search, for all sentences at once."""
    batch = make_batch([(ids, []) for ids in tokenizers.source.encode_batch(sentences)])
    cache = model.start(batch.source, batch.source_lengths, capacity=longest)
    word, said = np.full(len(sentences), BOS), []
    unfinished = np.full(len(sentences), True)
    while unfinished.any() and len(said) < longest:
        word = model.step(word, cache).argmax(axis=-1)  # (sentences, vocabulary) to (sentences,)
        said.append(word)
        unfinished &= word != EOS
    return [tokenizers.target.decode(takewhile(lambda i: i != EOS, row)) for row in np.transpose(said)]


# Helpers


def to_ids(tokenizers, examples):
    """(source ids, target ids) of each example."""
    return list(zip(tokenizers.source.encode_batch([example.source for example in examples]),
                    tokenizers.target.encode_batch([example.target for example in examples])))


def exact_match(model, tokenizers, examples):
    """The share of sentences whose translation is the right one to the last word."""
    said = translate(model, tokenizers, [example.source for example in examples])
    return np.mean([text == example.target for text, example in zip(said, examples)])


def next_word_accuracy(model, pairs):
    """The share of target words that the model would say if it were given the true words before them."""
    batch = make_batch(pairs)
    right = probabilities(model, batch).argmax(axis=-1) == batch.target_out
    return right[batch.target_out != PAD].mean()


def probabilities(model, batch):
    """(batch, target time, vocabulary): of every word, after the true words so far."""
    with mx.no_grad():
        return mx.softmax(model(batch.source, batch.source_lengths, batch.target_in)).data


def print_lesson(model, tokenizers, batch):
    """The decoder's input beside its target, and what the model makes of it."""
    chances = probabilities(model, batch)[0]  # (target time, vocabulary)
    reads, target, likeliest = (tokenizers.target.tokens(ids)
                                for ids in (batch.target_in[0], batch.target_out[0], chances.argmax(axis=-1)))
    print(f"  {'decoder reads':16}{'must say':16}{'would say':16}probability of the right word")
    for row in zip(reads, target, likeliest, chances[np.arange(len(target)), batch.target_out[0]]):
        print("  {:16}{:16}{:16}{:.1%}".format(*row))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="train a translator with a trainer written out by hand")
    parser.add_argument("--out", default=".", metavar="FOLDER", help="where the picture goes (the current folder)")
    parser.add_argument("--quick", action="store_true", help="a few steps on a little data: to see that it runs")
    options = parser.parse_args()
    quick = {"steps": 20, "n_train": 2000, "n_test": 20} if options.quick else {}
    main(out=options.out, **quick)
