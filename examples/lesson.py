"""What the numbered lessons share: the short form, the claims and how they are judged, the style of the pictures.

    python examples/04_why_sqrt_d.py               # --quick: a short form, in seconds; --out FOLDER: where pictures go

A lesson is a page that runs. It says something, measures it, and prints the two side by side; where they part, it
stops with a `ClaimError`, so a page that came to its end is a page whose claims held.
"""
import argparse
import textwrap
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from minitx import diagrams, plots
from minitx.data.toy.describe import width

_parser = argparse.ArgumentParser(description="a lesson of minitx: its claims beside what was measured")
_parser.add_argument("--out", default="pictures", metavar="FOLDER", help="where the pictures go (./pictures)")
_parser.add_argument("--quick", action="store_true", help="a short form, in seconds: to see that it runs and holds")
_options = _parser.parse_args()

QUICK = _options.quick
PICTURES = []  # (path, caption) of each picture so far, for whoever puts the page together

BLUE, ORANGE, GREY = plots.BLUE, plots.ORANGE, plots.GREY
GREEN, PURPLE = "#009e73", "#9c5a9e"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE)  # told apart with any kind of colour vision, and by lightness in print
MARKERS = ("o", "s", "^", "D")


class ClaimError(AssertionError):
    """What was measured is not what was claimed."""


def claim(says, measured, holds):
    """Print what is claimed beside what was measured. `holds`: whether they agree; if not, the lesson ends here."""
    _judge("claim", says, measured, "yes" if holds else "NO")
    if not holds:
        raise ClaimError(f"claimed: {says}; measured: {measured}")


def myth(says, measured, fails):
    """The same for what is often said and is not so, at least as it is said: `fails` is whether the measurement shows it."""
    _judge("often said", says, measured, "not as it is said" if fails else "YES, it does")
    if not fails:
        raise ClaimError(f"often said, and found to be so after all: {says}; measured: {measured}")


def _judge(kind, says, measured, verdict):
    for name, text in ((kind, says), ("measured", measured), ("holds", verdict)):
        print(textwrap.fill(text, 110, initial_indent=f"{name:10} | ", subsequent_indent=f"{'':10} | "))
    print(flush=True)


def smooth(values, n):
    """The mean of every n values in a row."""
    return np.convolve(values, np.ones(n) / n, "valid")


def table(headings, rows, align=None):
    """Print rows of text or numbers in columns; `align`: one of < and > per column, by default numbers to the right."""
    cells = [[f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    align = align or [">" if isinstance(cell, (int, float, np.number)) else "<" for cell in rows[0]]
    columns = [max(map(width, column)) for column in zip(headings, *cells)]
    for row in (headings, ["─" * column for column in columns], *cells):
        padded = [" " * (column - width(cell)) for cell, column in zip(row, columns)]
        print("  ".join(gap + cell if side == ">" else cell + gap for cell, gap, side in zip(row, padded, align)).rstrip())
    print(flush=True)


def panels(rows=1, columns=1, size=(10.0, 3.8), **options):
    """An empty figure, width and height in inches, and its axes as `subplots` gives them, in the style of all lessons."""
    figure = plots.figure_of(*size)
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.08)
    axes = figure.subplots(rows, columns, **options)
    for one in np.ravel(axes):
        tidy(one)
    return figure, axes


def tidy(axes):
    """A light grid behind, no frame."""
    axes.grid(True, color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.title.set_fontsize(11)


def grid(axes, values, rows=None, columns=None, numbers=None, **options):
    """A matrix as cells, dark where it is large; `numbers`: a format such as ".2f" writes them into the cells."""
    values = np.asarray(values)
    image = axes.imshow(values, **{"cmap": "Blues", "aspect": "auto", "interpolation": "nearest"} | options)
    for axis, names, count in ((axes.yaxis, rows, values.shape[0]), (axes.xaxis, columns, values.shape[1])):
        if names is not None:
            axis.set_ticks(range(count), names)
            axis.set_ticks(np.arange(1, count) - 0.5, minor=True)
    axes.grid(False)
    axes.grid(which="minor", color="white", linewidth=1.2)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    if numbers:
        for (row, column), value in np.ndenumerate(values):
            red, green, blue, _ = image.cmap(image.norm(value))
            dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.55
            axes.text(column, row, format(value, numbers), ha="center", va="center", fontsize=9,
                      color="white" if dark else "black")
    return image


def slanted(axes):
    """The names under a grid turned, for words that are wider than a column."""
    for label in axes.get_xticklabels():
        label.set(rotation=40, horizontalalignment="right", rotation_mode="anchor")


def picture(drawn, name, caption):
    """Save a picture and say what it shows. `drawn`: a Figure, or the boxes and arrows of a diagram (see `diagrams`)."""
    path = Path(_options.out) / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(drawn, Figure):
        plots.save(drawn, path)
    else:
        diagrams.save(path, *drawn)
    caption = " ".join(caption.split())
    PICTURES.append((path, caption))
    print(textwrap.fill(f"{path}: {caption}", 110, initial_indent=f"{'picture':10} | ",
                        subsequent_indent=f"{'':10} | ", break_long_words=False, break_on_hyphens=False), "\n", flush=True)


def exponent(x, y):
    """The power with which y grows with x: the slope of a line through the logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])
