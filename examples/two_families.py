"""Two families learn to translate: an encoder-decoder, and a language model that goes on with the source.

    python examples/two_families.py                # the picture goes into the current folder, or --out FOLDER

The Transformer of 2017 has two stacks: the encoder reads the whole source, both ways, and the decoder looks at what
came out. A language model has one stack and one sequence, "source <eos> <bos> target <eos>", in which every word sees
only what stands before it; the loss is on the target alone. Here both have the same number of weights, the same
batches and the same updates, so that what differs is where the weights sit and who may look at whom.
"""
import argparse
import time
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import minitx as mx
from minitx.data import toy
from minitx.data.batches import BOS, EOS, make_batch
from minitx.data.tokenizers import TokenizerPair
from minitx.models import EncoderDecoder, PrefixLanguageModel
from train_by_hand import exact_match, to_ids, train  # the example beside this one

WIDTH = 64
SENTENCE = "yesterday the sad witch hugged the small dog"


def main(steps=1000, n_train=16_000, n_test=300, out="."):
    corpus = toy.corpus("en-es", n_train=n_train, n_test=n_test, n_validation=100)
    pairs = [(example.source, example.target) for example in corpus.train]
    tokenizers = TokenizerPair.train("words", pairs, joint=True)  # one sequence has one vocabulary
    training, validation = to_ids(tokenizers, corpus.train), to_ids(tokenizers, corpus.validation)
    size = len(tokenizers.target)

    # In units of WIDTH² weights: an encoder layer has 4 for attention and 8 for its feed-forward network of 4 · WIDTH
    # features, a decoder layer 4 more for its second attention; 2 · 12 + 2 · 16 = 56. Of the language model's layers
    # each has 4 and, with 5 · WIDTH features, 10; 4 · 14 = 56.
    same = {"d_model": WIDTH, "n_heads": 4, "dropout": 0.0, "activation": "relu", "positions": "sinusoidal"}
    models = {
        "encoder-decoder": EncoderDecoder(size, size, n_layers=2, d_ff=4 * WIDTH, tie_embeddings="all", **same),
        "decoder-only": PrefixLanguageModel(size, n_layers=4, d_ff=5 * WIDTH, **same),
    }
    curves, scores = {}, {}
    for name, model in models.items():
        print(f"{name}: {model.n_parameters():,} parameters")

        def watch():
            with mx.no_grad():
                loss = model.loss(make_batch(validation)).item()
            return {"valid_loss": loss, "exact_match": exact_match(model, tokenizers, corpus.validation)}

        start = time.perf_counter()
        curves[name] = train(model, training, steps, peak=3e-3, watch=watch)
        print(f"  {steps} updates in {time.perf_counter() - start:.0f} s")
        scores[name] = {split: exact_match(model, tokenizers, examples) for split, examples in corpus.splits.items()}

    print("\nWhole sentences right")
    for split in corpus.splits:
        print(f"  {split.replace('_', ' '):22}" + "".join(f"{name} {scores[name][split]:6.1%}   " for name in models))

    target = next(toy_translation(models, tokenizers))
    maps = {name: attention(model, tokenizers, target) for name, model in models.items()}
    print(f"\n{SENTENCE!r}, as both are given it: {target!r}")
    for name, matrix in maps.items():
        print(f"  {name}: {matrix.sum(axis=-1).mean():.0%} of the last layer's attention is on the source")

    picture = Path(out) / "two_families.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    draw(curves, scores, maps, target, picture)
    print(f"\nThe curves, the scores and where both looked: {picture}")


def toy_translation(models, tokenizers):
    """What the first model says; both are then shown the same sentence."""
    for model in models.values():
        batch = make_batch([(tokenizers.source.encode(SENTENCE), [])])
        cache, word, said = model.start(batch.source, batch.source_lengths, 20), np.array([BOS]), []
        while len(said) < 20 and (word := model.step(word, cache).argmax(axis=-1))[0] != EOS:
            said.append(int(word[0]))
        yield tokenizers.target.decode(said)


def attention(model, tokenizers, target):
    """(target words + <eos>, source words + <eos>): the last layer's attention to the source, the mean of its heads."""
    batch = make_batch([(tokenizers.source.encode(SENTENCE), tokenizers.target.encode(target))])
    return model.attention_maps(batch.source, batch.source_lengths, batch.target_in)[-1, 0].mean(axis=0)


# The picture

COLOURS = {"encoder-decoder": "#2563a8", "decoder-only": "#d9652b"}


def draw(curves, scores, maps, target, path):
    figure = Figure(figsize=(12, 8), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplot_mosaic([["loss", "splits"], ["encoder-decoder", "decoder-only"]], height_ratios=[1, 1.2])
    for name, rows in curves.items():
        watched = [row for row in rows if "valid_loss" in row]
        smooth = np.convolve([row["loss"] for row in rows], np.ones(10) / 10, "valid")
        panels["loss"].plot(np.arange(len(smooth)) + 10, smooth, color=COLOURS[name], alpha=0.35, linewidth=1)
        panels["loss"].plot([row["step"] for row in watched], [row["valid_loss"] for row in watched], "o-",
                            color=COLOURS[name], markersize=4, label=f"{name}, validation")
    panels["loss"].set(yscale="log", xlabel="update", ylabel="loss (nats per word)", title="Learning")
    panels["loss"].legend(frameon=False)

    splits = list(next(iter(scores.values())))
    for shift, (name, values) in zip((-0.2, 0.2), scores.items()):
        bars = panels["splits"].bar(np.arange(len(splits)) + shift, [100 * values[split] for split in splits], 0.38,
                                    color=COLOURS[name], label=name)
        panels["splits"].bar_label(bars, fmt="%.0f", padding=2, fontsize=9)
    panels["splits"].set_xticks(range(len(splits)), [split.replace("_", "\n") for split in splits])
    panels["splits"].set(ylabel="%", ylim=(0, 108), title="Whole sentences right")
    panels["splits"].legend(frameon=False)
    for panel in (panels["loss"], panels["splits"]):
        panel.spines[["top", "right"]].set_visible(False)

    for name, matrix in maps.items():
        axes = panels[name]
        axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        axes.set_xticks(range(matrix.shape[1]), [*SENTENCE.split(), "<eos>"], rotation=45, ha="left", fontsize=9)
        axes.set_yticks(range(matrix.shape[0]), [*target.split(), "<eos>"], fontsize=9)
        axes.tick_params(top=False, bottom=False, left=False, labeltop=True, labelbottom=False)
        axes.set_xlabel(f"{name}: where the last layer looks in the source")
        axes.spines[:].set_visible(False)
    figure.savefig(path, dpi=150, facecolor="white")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="compare an encoder-decoder with a language model that translates")
    parser.add_argument("--out", default=".", metavar="FOLDER", help="where the picture goes (the current folder)")
    parser.add_argument("--quick", action="store_true", help="a few steps on a little data: to see that it runs")
    options = parser.parse_args()
    quick = {"steps": 30, "n_train": 2000, "n_test": 20} if options.quick else {}
    main(out=options.out, **quick)
