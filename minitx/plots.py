"""Pictures of a run, as PNG files: its loss curve, and where the decoder looked.

matplotlib is loaded when the first is drawn; it needs no display and pyplot's global state stays out of it.
"""
import functools
import io
import math
import unicodedata
from pathlib import Path

from .data.files import write_atomically
from .errors import UserError

BLUE, ORANGE, GREY = "#2563a8", "#d9652b", "#6b7280"
_SIZE = 10  # points

_SCRIPTS = {
    "Hangul": ("HANGUL", ("Noto Sans CJK KR", "Noto Sans KR", "NanumGothic", "Malgun Gothic", "Apple SD Gothic Neo",
                          "UnDotum", "Baekmuk Gulim", "Noto Sans CJK JP", "WenQuanYi Micro Hei")),
    "Chinese": ("CJK", ("Noto Sans CJK SC", "Noto Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei",
                        "Microsoft YaHei", "SimHei", "PingFang SC", "Heiti SC", "Droid Sans Fallback", "AR PL UMing CN",
                        "Noto Sans CJK JP")),
}
"""By script: how the Unicode names of its characters begin, and font families that have them."""


def loss_curve(metrics, path, score="exact_match"):
    """Draw training loss, validation loss and, where there is one, a score of validation over the steps; a star for the weights that were kept.

    `metrics` are the objects of a run's metrics.jsonl: {"step", "loss"} or {"step", "valid_loss", "exact_match", "bleu", "best"}. `score`: "exact_match"
    or, for text with more than one right translation, "bleu".
    """
    training = [(row["step"], row["loss"]) for row in metrics if _is_number(row.get("loss"))]
    validated = [row for row in metrics if _is_number(row.get("valid_loss"))]
    averaged, own = ([row for row in validated if ("averaged" in row) == wanted] for wanted in (True, False))
    validation = [(row["step"], row["valid_loss"]) for row in own]
    kept = averaged or [row for row in own if row.get("best")] or sorted(own, key=lambda row: row["valid_loss"])[:1]
    percent = 100 if score == "exact_match" else 1  # BLEU is one already
    scores = [(row["step"], percent * row[score]) for row in own if _is_number(row.get(score))]

    figure = figure_of(7, 5.4 if scores else 3.8)
    panels = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1]) if scores else [figure.subplots()]
    _curve(panels[0], training, GREY, "training", linewidth=1, alpha=0.45 if len(training) > 100 else 1)
    if len(training) > 100:
        _curve(panels[0], _smoothed(training), GREY, None, linewidth=1.8)
    _curve(panels[0], validation, BLUE, "validation", marker="o", markersize=3.5, linewidth=1.8)
    if kept:
        step, loss = kept[-1]["step"], kept[-1]["valid_loss"]
        name = f"mean of {averaged[-1]['averaged']} epochs" if averaged else "best"
        panels[0].plot(step, loss, marker="*", markersize=13, color=ORANGE, label=f"{name}: {loss:.3f}", linestyle="none",
                       clip_on=False, zorder=5)
    panels[0].set_ylabel("loss (nats per token)")
    losses = [loss for _, loss in training + validation]
    if losses and 0 < min(losses) < max(losses) / 20:  # a toy language is learnt so well that only a logarithm shows it
        panels[0].set_yscale("log")
        panels[0].yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    else:
        panels[0].set_ylim(bottom=0)
    if panels[0].get_legend_handles_labels()[0]:
        panels[0].legend(frameon=False)
    if scores:
        _curve(panels[1], scores, BLUE, None, marker="o", markersize=3.5, linewidth=1.8)
        panels[1].set_ylim(0, 103 if score == "exact_match" else None)
        panels[1].set_ylabel("exact match (%)" if score == "exact_match" else "BLEU")
    panels[-1].set_xlabel("step")
    for panel in panels:
        panel.grid(True, color="#e5e7eb", linewidth=0.8)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def bleu_by_length(groups, path):
    """Draw BLEU over the length of the sentences: `groups` are {"words", "sentences", "bleu"}, the shortest first."""
    figure = figure_of(max(4.5, 1.2 + 0.75 * len(groups)), 3.6)
    axes = figure.subplots()
    bars = axes.bar([group["words"] for group in groups], [group["bleu"] for group in groups], color=BLUE, width=0.7)
    axes.bar_label(bars, [f"{group['bleu']:.1f}" for group in groups], padding=2)
    axes.set_xticks(range(len(groups)), [f"{group['words']}\n({group['sentences']:,})" for group in groups])
    axes.set_xlabel("words of the source (and how many sentences)")
    axes.set_ylabel("BLEU")
    axes.margins(y=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def attention_map(source_tokens, target_tokens, matrix, path):
    """Draw how much each target token looked at each source token: `matrix` is (target time, source time).

    Returns None, or one sentence that says which font to install when the tokens could only be numbered.
    """
    families, missing = _fonts([*source_tokens, *target_tokens])
    columns, rows = len(source_tokens), len(target_tokens)
    figure = figure_of(2.2 + 0.42 * columns, 1.8 + 0.36 * rows)
    axes = figure.subplots()
    image = _draw_map(axes, source_tokens, target_tokens, matrix, families, column=0.42)
    axes.set_xlabel("source: what the decoder looked at")
    axes.xaxis.set_label_position("top")
    axes.set_ylabel("target: what it wrote")
    bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.03)
    bar.outline.set_visible(False)
    bar.set_label("attention")
    save(figure, path)
    return missing


def attention_sheet(source_tokens, target_tokens, maps, path):
    """Draw the maps of all heads on one sheet: `maps` is (layers, heads, target time, source time).

    Returns None, or one sentence that says which font to install when the tokens could only be numbered.
    """
    families, missing = _fonts([*source_tokens, *target_tokens])
    layers, heads = len(maps), len(maps[0])
    width, height = 0.9 + 0.2 * len(source_tokens), 0.8 + 0.2 * len(target_tokens)
    figure = figure_of(1 + heads * max(width, 1.6), 1 + layers * max(height, 1.6))
    figure.get_layout_engine().set(h_pad=0.1)
    panels = figure.subplots(layers, heads, squeeze=False)
    for layer, row in enumerate(maps):
        for head, matrix in enumerate(row):
            axes = panels[layer][head]
            image = _draw_map(axes, source_tokens, target_tokens, matrix, families, column=0.2, size=7, most=1)
            axes.set_title(f"layer {layer + 1}, head {head + 1}", fontsize=_SIZE)
            axes.tick_params(labeltop=layer == 0, labelleft=head == 0)
    bar = figure.colorbar(image, ax=panels, fraction=0.02, aspect=40, shrink=0.6, pad=0.01)
    bar.outline.set_visible(False)
    bar.set_label("attention of a row to a column")
    save(figure, path)
    return missing


def distribution(tokens, path):
    """Draw what may come next: `NextToken`s, the most probable first, by the model and as the sampling draws them.

    Returns None, or one sentence that says which font to install when the tokens could only be numbered.
    """
    names = [one.token for one in tokens]
    families, missing = _fonts(names)
    places = range(len(tokens))
    figure = figure_of(6, 0.9 + 0.28 * len(tokens))
    axes = figure.subplots()
    axes.barh(places, [100 * one.chance for one in tokens], height=0.7, color=BLUE, label="drawn with")
    axes.plot([100 * one.probability for one in tokens], places, marker="|", markersize=13, markeredgewidth=2, color=ORANGE, linestyle="none",
              label="probability by the model")
    axes.set_yticks(places, names if families else [str(place + 1) for place in places], fontfamily=families or None, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel("%")
    axes.legend(frameon=False, loc="lower right")
    axes.grid(axis="x", color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", left=False)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)
    return missing


def _draw_map(axes, source_tokens, target_tokens, matrix, families, column, size=_SIZE, most=None):
    """One map in cells `column` inches wide; the darkest blue is `most`, or the largest value."""
    image = axes.imshow(matrix, cmap="Blues", vmin=0, vmax=most, aspect="auto", interpolation="nearest")
    for axis, tokens in ((axes.xaxis, source_tokens), (axes.yaxis, target_tokens)):
        names = tokens if families else [str(place) for place in range(1, len(tokens) + 1)]
        axis.set_ticks(range(len(tokens)), names, fontfamily=families or None, fontsize=size, parse_math=False)
    axes.tick_params(axis="x", top=False, bottom=False, labeltop=True, labelbottom=False)
    axes.tick_params(axis="y", left=False)
    longest = max((_letters(label.get_text()) for label in axes.get_xticklabels()), default=0)
    if longest * 0.6 * size > column * 72:  # a letter is about 0.6 of its size wide, an inch has 72 points
        for label in axes.get_xticklabels():
            label.set(rotation=60, horizontalalignment="left", verticalalignment="bottom", rotation_mode="anchor")
    axes.set_xticks([place - 0.5 for place in range(1, len(source_tokens))], minor=True)
    axes.set_yticks([place - 0.5 for place in range(1, len(target_tokens))], minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    return image


def _letters(text):
    """The width of a text in letters of the Latin alphabet."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _fonts(tokens):
    """(families that together draw the tokens, None), or (None, a sentence) where a script has no font here."""
    families = ["DejaVu Sans"]
    for script in _scripts("".join(tokens)):
        family = _family(script)
        if family is None:
            return None, _no_font(script, _SCRIPTS[script][1][0])
        families.append(family)
    drawn = frozenset().union(*map(_characters, families))
    missing = sorted(character for character in set("".join(tokens)) - drawn if unicodedata.category(character)[0] in "LMN")
    if missing:
        script = unicodedata.name(missing[0], "such").split()[0].capitalize()
        return None, _no_font(script, f"Noto Sans {script}")
    return families, None


def _no_font(script, family):
    return f"no font with {script} characters was found, so the picture numbers the words; install one, for example {family}, and draw it again"


@functools.cache
def _characters(family):
    """All that a font family has a picture of."""
    from matplotlib.font_manager import findfont, get_font

    return frozenset(map(chr, get_font(findfont(family)).get_charmap()))


@functools.cache
def _family(script):
    """The first installed font family for a script, or None."""
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return next((family for family in _SCRIPTS[script][1] if family in installed), None)


def _scripts(text):
    """The scripts of `text` that matplotlib's own font lacks."""
    names = [unicodedata.name(character, "") for character in set(text)]
    return [script for script, (start, _) in _SCRIPTS.items() if any(name.startswith(start) for name in names)]


def figure_of(width, height):
    """An empty figure, so many inches large."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(min(width, 40), min(height, 40)), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure, path):
    """Write a figure as PNG."""
    if not Path(path).parent.is_dir():
        raise UserError(f"{path}: there is no folder {Path(path).parent}; make it first, or name another")
    if Path(path).is_dir():
        raise UserError(f"{path} is a folder; name a file in it")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=150, facecolor="white")
    write_atomically(path, picture.getvalue())


def _curve(axes, points, color, label, **style):
    if points:
        axes.plot(*zip(*points), color=color, label=label, **style)


def _smoothed(points, share=0.02):
    """A running mean over `share` of the points, so that the course shows through the noise."""
    half = max(1, int(len(points) * share / 2))
    losses = [loss for _, loss in points]
    return [(step, sum(window) / len(window)) for place, (step, _) in enumerate(points)
            if (window := losses[max(0, place - half):place + half + 1])]


def _is_number(value):
    return isinstance(value, (int, float)) and math.isfinite(value)
