"""How a Transformer knows where a word stands: the sinusoidal positions of 2017, drawn and measured.

    python examples/positional_encodings.py        # the picture goes into the current folder, or --out FOLDER

Attention by itself sees a set of words, not a sentence. So to each word's vector another one is added that says where
the word stands. Position t is what the hands of many clocks show after t ticks, each clock with a speed of its own:
clock i fills two features, sin(t·ωᵢ) and cos(t·ωᵢ), with ωᵢ = 10000^(−2i/d) ("Attention is all you need", Vaswani et
al. 2017, section 3.5). Three things follow, each measured below.
"""
import argparse
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from minitx.nn import sinusoidal_positions

LENGTH, D_MODEL, SHIFT = 100, 64, 5


def main(out="."):
    table = sinusoidal_positions(LENGTH, D_MODEL)  # (length, d_model)
    speeds = 10000.0 ** (-np.arange(0, D_MODEL, 2) / D_MODEL)  # (d_model / 2,), radians per word
    print(f"{LENGTH} positions of {D_MODEL} features: {len(speeds)} clocks. The fastest goes round in "
          f"{2 * np.pi / speeds[0]:.2f} words, the slowest in {2 * np.pi / speeds[-1]:,.0f}.")

    # 1. Every position is equally long: a sine and a cosine of the same angle make 1, whatever the angle.
    lengths = np.sum(table ** 2, axis=1)
    claim("every position has the squared length d/2 =", D_MODEL / 2, lengths)

    # 2. How alike two positions are depends on their distance alone. For one clock sin a · sin b + cos a · cos b =
    #    cos(a − b); summed over the clocks, the dot product of positions s and t is Σᵢ cos((s − t)·ωᵢ).
    similarity = table @ table.T  # (length, length)
    distance = np.subtract.outer(np.arange(LENGTH), np.arange(LENGTH))
    predicted = np.cos(distance[..., None] * speeds).sum(axis=-1)
    print(f"all {similarity.size:,} dot products against Σ cos(distance · ω): "
          f"largest difference {np.abs(similarity - predicted).max():.1e}")
    for k in (1, SHIFT, LENGTH // 2):
        claim(f"positions {k} apart have the dot product", predicted[k, 0], similarity[distance == k])

    # 3. Going k words on turns every clock by k·ω: one rotation, the same from any starting point. A linear layer can
    #    learn it, so a head can look "k words back" wherever it stands.
    turn = rotation(SHIFT * speeds)  # (d_model, d_model)
    print(f"one matrix moves every position {SHIFT} words on: "
          f"largest error {np.abs(table[:-SHIFT] @ turn.T - table[SHIFT:]).max():.1e}")
    print(f"it is a rotation: it keeps all lengths and angles to {np.abs(turn @ turn.T - np.eye(D_MODEL)).max():.1e}, "
          f"and its determinant is {np.linalg.det(turn):.6f}")
    there, on = rotation(2 * speeds), rotation((SHIFT - 2) * speeds)
    print(f"2 words on and then {SHIFT - 2} are {SHIFT} words on: largest error {np.abs(on @ there - turn).max():.1e}")

    picture = Path(out) / "positional_encodings.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    draw(table, speeds, similarity, picture)
    print(f"\nThe picture: {picture}")


def claim(words, expected, measured):
    print(f"{words} {expected:.6g}: measured {measured.min():.6f} to {measured.max():.6f} in {measured.size} cases")


def rotation(angles):
    """(2n, 2n): turns the n pairs (sin a, cos a) by their angles, sin(a + b) = sin a cos b + cos a sin b and so on."""
    matrix = np.zeros((2 * len(angles), 2 * len(angles)))
    sines, cosines = np.arange(0, len(matrix), 2), np.arange(1, len(matrix), 2)
    matrix[sines, sines] = matrix[cosines, cosines] = np.cos(angles)
    matrix[sines, cosines], matrix[cosines, sines] = np.sin(angles), -np.sin(angles)
    return matrix


# The picture

COLOURS = ("#2563a8", "#d9652b", "#3f8f5f", "#8a5aa8")
GREY = "#6b7280"


def draw(table, speeds, similarity, path):
    figure = Figure(figsize=(12, 7.6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
    panels = figure.subplot_mosaic([["table", "table", "curves"], ["similarity", "distance", "clocks"]])
    draw_table(figure, panels["table"], table)
    draw_curves(panels["curves"], speeds)
    draw_similarity(figure, panels["similarity"], similarity)
    draw_distance(panels["distance"], similarity)
    draw_clocks(panels["clocks"], speeds)
    for name in ("curves", "distance"):
        panels[name].spines[["top", "right"]].set_visible(False)
        panels[name].grid(True, color="#e5e7eb", linewidth=0.8)
        panels[name].set_axisbelow(True)
    figure.savefig(path, dpi=150, facecolor="white")


def draw_table(figure, axes, table):
    image = axes.imshow(table.T, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
    axes.set(title="What is added to each word", xlabel="position in the sentence", ylabel="feature")
    bar = figure.colorbar(image, ax=axes, pad=0.02, ticks=(-1, 0, 1))
    bar.outline.set_visible(False)
    axes.spines[:].set_visible(False)


def draw_curves(axes, speeds):
    time = np.linspace(0, LENGTH - 1, 1000)
    for colour, clock in zip(COLOURS, (2, 6, 10, 14)):
        axes.plot(time, np.sin(time * speeds[clock]) - 2.6 * COLOURS.index(colour), color=colour, linewidth=1.6)
        axes.annotate(f"feature {2 * clock}", (LENGTH, np.sin(LENGTH * speeds[clock]) - 2.6 * COLOURS.index(colour)),
                      xytext=(4, 0), textcoords="offset points", color=colour, fontsize=9, va="center")
    axes.set(title="Sines of different speeds", xlabel="position", yticks=[], xlim=(0, LENGTH))
    axes.spines["left"].set_visible(False)


def draw_similarity(figure, axes, similarity):
    image = axes.imshow(similarity, cmap="Blues", interpolation="nearest")
    axes.set(title="How alike two positions are", xlabel="position", ylabel="position")
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, format="%.0f", ticks=range(0, D_MODEL // 2 + 1, 4))
    bar.set_label("dot product")
    bar.outline.set_visible(False)
    axes.spines[:].set_visible(False)


def draw_distance(axes, similarity):
    """All the dot products over their distances: if anything but the distance mattered, this would be a cloud."""
    distance = np.subtract.outer(np.arange(LENGTH), np.arange(LENGTH))
    axes.plot(np.arange(1 - LENGTH, LENGTH), np.r_[similarity[0, :0:-1], similarity[0]], color=GREY, linewidth=0.8)
    axes.plot(distance.ravel(), similarity.ravel(), ".", color=COLOURS[0], markersize=4)
    axes.set(title="It depends on the distance alone", xlabel="distance of the two positions", ylabel="dot product")
    axes.text(0.02, 0.96, f"{similarity.size:,} pairs,\n{len(np.unique(distance))} points", va="top",
              transform=axes.transAxes, fontsize=9, color=GREY)


def draw_clocks(axes, speeds, clock=4, starts=6):
    """One clock: from each of some positions to the one SHIFT words on, each on a circle of its own."""
    around = np.linspace(0, 2 * np.pi, 200)
    for t in range(starts):
        radius, turn = 1 - 0.13 * t, np.linspace(t, t + SHIFT, 50) * speeds[clock]
        axes.plot(radius * np.sin(around), radius * np.cos(around), color="#e5e7eb", linewidth=1)
        axes.plot(radius * np.sin(turn), radius * np.cos(turn), color=COLOURS[1], linewidth=1.8)
        for position, angle, ink, paper, edge in ((t, turn[0], "white", COLOURS[0], COLOURS[0]),
                                                  (t + SHIFT, turn[-1], COLOURS[1], "white", COLOURS[1])):
            axes.text(radius * np.sin(angle), radius * np.cos(angle), str(position), ha="center", va="center",
                      fontsize=8, color=ink, bbox={"boxstyle": "circle,pad=0.2", "facecolor": paper, "edgecolor": edge})
    which = f"the clock of features {2 * clock} and {2 * clock + 1}"
    axes.set(title=f"{SHIFT} words on is the same turn from anywhere\n({which})",
             aspect="equal", xlim=(-1.1, 1.1), ylim=(-1.1, 1.1))
    axes.axis("off")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="sinusoidal positions, drawn and measured")
    parser.add_argument("--out", default=".", metavar="FOLDER", help="where the picture goes (the current folder)")
    parser.add_argument("--quick", action="store_true", help="does nothing here: this example takes a moment as it is")
    main(parser.parse_args().out)
