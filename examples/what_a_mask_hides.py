"""What a mask hides: how much each word of a sentence influences what the model makes of each other word, measured.

    python examples/what_a_mask_hides.py           # the picture goes into the current folder, or --out FOLDER

The influence of input j on output i is the size of ∂outputᵢ / ∂inputⱼ, which the engine can tell. A mask sets scores
of attention to −∞ before the softmax, so their weights are exp(−∞) = 0, and a product with 0 passes no gradient: what
is hidden has an influence not of nearly 0 but of exactly 0, however many layers lie between.
"""
import argparse
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

import minitx as mx
from minitx import nn
from minitx.models import EncoderDecoder

WORDS = "the red cats see a dog <eos> <pad> <pad>".split()
REAL = 7  # words, the rest is padding: this sentence shares its batch with a longer one
D_MODEL = 16


def main(out="."):
    # The words are random vectors and the weights are random too: what is hidden depends on the mask alone.
    generator = np.random.default_rng(0)
    x = mx.tensor(generator.normal(size=(1, len(WORDS), D_MODEL)), dtype=np.float64, requires_grad=True)
    layers = [(nn.LayerNorm(D_MODEL), nn.MultiHeadAttention(D_MODEL, n_heads=2, generator=generator)) for _ in range(2)]
    for module in sum(layers, ()):
        module.to(np.float64)

    def stack(**mask):
        """Two layers of self-attention with random weights, each added to what came in."""
        y = x
        for norm, attention in layers:
            y = y + attention(norm(y), **mask)
        return y

    masks = {"no mask": {}, "padding mask": {"lengths": np.array([REAL], np.int32)}, "causal mask": {"causal": True}}
    maps = {name: influence(stack(**mask), x) for name, mask in masks.items()}

    above = np.triu(np.ones((len(WORDS), len(WORDS)), bool), k=1)  # output i, input j > i: the future
    pads = np.arange(len(WORDS)) >= REAL
    print(f"{'':60}expected  measured")
    report("no mask: pairs of words without influence", maps["no mask"] == 0, expected=0)
    report("causal mask: influences on a word of what comes after it", maps["causal mask"][above] > 0, expected=0)
    report("causal mask: pairs without influence among the others", maps["causal mask"][~above] == 0, expected=0)
    # A pad still reaches its own output, past the attention; but nobody looks at that output.
    report("padding mask: influences of a pad on a real word", maps["padding mask"][:REAL, pads] > 0, expected=0)
    # This is why a decoder needs no padding mask for its own words: pads come last.
    report("causal mask: influences of a pad on a real word", maps["causal mask"][:REAL, pads] > 0, expected=0)
    smallest = min(matrix[matrix > 0].min() for matrix in maps.values())
    print(f"what is not hidden is far from 0: the smallest influence is {smallest:.2f}")

    # The same in a whole decoder. Teacher forcing gives it the answers as input, one position late, and it cannot
    # cheat: with another word at some position, all it says before that stays the same to the last bit.
    model = EncoderDecoder(20, 20, d_model=32, n_heads=4, n_layers=2, d_ff=64, dropout=0.0).eval()
    source, target = generator.integers(4, 20, (1, 6)), generator.integers(4, 20, (1, 8))
    position, other = 5, target.copy()
    other[0, position] = 4 if target[0, position] != 4 else 5
    lengths = np.array([source.shape[1]], np.int32)
    with mx.no_grad():
        changed = np.any(model(source, lengths, target).data != model(source, lengths, other).data, axis=-1)[0]
    print(f"\nA decoder that reads another word at position {position} says something else at", np.flatnonzero(changed))

    picture = Path(out) / "what_a_mask_hides.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    draw(maps, picture)
    print(f"\nThe picture: {picture}")


def influence(y, x):
    """(time, time): row i, column j is the Frobenius norm of ∂yᵢ/∂xⱼ. y and x are (1, time, features).

    A backward pass gives the gradient of one number by all inputs: so there is one pass per feature of each output.
    """
    _, time, features = y.shape
    squares = np.zeros((time, time))
    for i in range(time):
        for feature in range(features):
            pick = np.zeros(y.shape)
            pick[0, i, feature] = 1
            (gradient,) = mx.gradients([y], [x], [pick], retain_graph=True)  # ∂y[0, i, feature] / ∂x
            squares[i] += np.sum(gradient.data[0] ** 2, axis=-1)
    return np.sqrt(squares)


def report(what, found, expected):
    print(f"{what:60}{expected:>8}{np.count_nonzero(found):>10} of {found.size}")


def draw(maps, path):
    """One map for each mask, in one scale; grey where the influence is exactly 0."""
    figure = Figure(figsize=(12, 5), layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.12)
    panels = figure.subplots(1, len(maps), sharey=True)
    values = np.concatenate([matrix[matrix > 0] for matrix in maps.values()])
    scale = LogNorm(values.min(), values.max())
    for axes, (name, matrix) in zip(panels, maps.items()):
        axes.set_facecolor("#e5e7eb")
        image = axes.imshow(np.ma.masked_equal(matrix, 0), cmap="Blues", norm=scale, interpolation="nearest")
        axes.set_title(f"{name}\n{np.count_nonzero(matrix == 0)} of {matrix.size} influences are 0", pad=12)
        axes.set_xticks(range(len(WORDS)), WORDS, rotation=60, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(WORDS)), WORDS)
        axes.set_xticks(np.arange(1, len(WORDS)) - 0.5, minor=True)
        axes.set_yticks(np.arange(1, len(WORDS)) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=1.5)
        axes.tick_params(which="both", length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("input word")
    panels[0].set_ylabel("output word")
    bar = figure.colorbar(image, ax=panels, fraction=0.02, pad=0.02, ticks=[0.5, 1, 2, 4], format="%g")
    bar.ax.minorticks_off()
    bar.outline.set_visible(False)
    bar.set_label("influence: size of ∂output / ∂input (grey: 0)", labelpad=8)
    figure.savefig(path, dpi=150, facecolor="white")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="measure what a mask hides, with gradients")
    parser.add_argument("--out", default=".", metavar="FOLDER", help="where the picture goes (the current folder)")
    parser.add_argument("--quick", action="store_true", help="does nothing here: this example takes a moment as it is")
    main(parser.parse_args().out)
