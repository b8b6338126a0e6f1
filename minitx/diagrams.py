"""Boxes and arrows, laid out in layers: every arrow points downwards. Writes SVG and DOT as text, PNG with matplotlib; needs no Graphviz.

The layers are those of Sugiyama et al. 1981: each box under all that it depends on, arrows cut into one piece per layer, boxes of a layer ordered by
where their neighbours stand.
"""
import html
import os
from pathlib import Path

COLOURS = {"leaf": "#cfe3f6", "operation": "#ffffff"}
HEIGHT, GAP, CHARACTER = 36, 28, 6.6  # of a box, between boxes, of a letter: pixels


def save(path, boxes, arrows):
    """Write the diagram to `path`, in the format of its extension: .svg, .dot or .png.

    Args:
        boxes: a list of (title, subtitle, "leaf" or "operation"), each after those that point to it.
        arrows: pairs of positions in `boxes`: from, to.
    """
    kind = os.path.splitext(os.fspath(path))[1].lower()
    if kind == ".png":
        return _save_png(path, boxes, arrows)
    if kind not in (".svg", ".dot"):
        raise ValueError(f"draw: {os.fspath(path)!r} does not end in .svg, .dot or .png")
    Path(path).write_text((to_svg if kind == ".svg" else to_dot)(boxes, arrows), encoding="utf-8")


def to_dot(boxes, arrows):
    """The diagram in Graphviz's language."""
    def quoted(text):
        return text.replace("\\", "\\\\").replace('"', '\\"')

    lines = ["digraph {", '  node [shape=box, style="filled,rounded", fontname="sans-serif"];']
    for i, (title, subtitle, kind) in enumerate(boxes):
        lines.append(f'  {i} [label="{quoted(title)}\\n{quoted(subtitle)}", fillcolor="{COLOURS[kind]}"];')
    lines += [f"  {start} -> {end};" for start, end in arrows]
    return "\n".join([*lines, "}\n"])


def to_svg(boxes, arrows):
    """The diagram as an SVG document."""
    places, paths, width, height = layout(boxes, arrows)
    size = f'width="{width:.0f}" height="{height:.0f}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" text-anchor="middle">',
             '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
             '<path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>',
             f'<rect {size} fill="white"/>']
    for points in paths:
        curve = f"M{points[0][0]:.0f} {points[0][1]:.0f}"
        for (x0, y0), (x1, y1) in zip(points, points[1:]):
            middle = (y0 + y1) / 2
            curve += f"C{x0:.0f} {middle:.0f} {x1:.0f} {middle:.0f} {x1:.0f} {y1:.0f}"
        parts.append(f'<path d="{curve}" fill="none" stroke="#555" marker-end="url(#head)"/>')
    for (title, subtitle, kind), (x, y, w) in zip(boxes, places):
        parts.append(f'<rect x="{x - w / 2:.0f}" y="{y:.0f}" width="{w:.0f}" height="{HEIGHT}" rx="5" '
                     f'fill="{COLOURS[kind]}" stroke="#333"/>'
                     f'<text x="{x:.0f}" y="{y + 15:.0f}" font-size="12" font-weight="bold">{html.escape(title)}</text>'
                     f'<text x="{x:.0f}" y="{y + 29:.0f}" font-size="10" fill="#444">{html.escape(subtitle)}</text>')
    return "\n".join(parts) + "\n</svg>\n"


def layout(boxes, arrows):
    """Where everything stands, in pixels: (centre, top, width) per box; a list of points per arrow; the width and height of the whole."""
    parents, children = ([[] for _ in boxes] for _ in range(2))
    for start, end in arrows:
        parents[end].append(start)
        children[start].append(end)
    layer = [0] * len(boxes)
    for i in range(len(boxes)):
        layer[i] = max((layer[parent] + 1 for parent in parents[i]), default=0)
    for i in range(len(boxes)):  # what depends on nothing stands right above its first use
        if not parents[i] and children[i]:
            layer[i] = min(layer[child] for child in children[i]) - 1
    widths = [max(CHARACTER * 1.15 * len(title), CHARACTER * 0.9 * len(subtitle)) + 20 for title, subtitle, _ in boxes]
    chains, above = [], [list(p) for p in parents]  # an arrow over several layers passes through a point of each
    rows = [[] for _ in range(max(layer, default=0) + 1)]
    for i, row in enumerate(layer):
        rows[row].append(i)
    for start, end in arrows:
        chain = [start]
        for row in range(layer[start] + 1, layer[end]):
            rows[row].append(len(widths))
            above.append([chain[-1]])
            chain.append(len(widths))
            widths.append(6)
        if len(chain) > 1:
            above[end][above[end].index(start)] = chain[-1]
        chains.append([*chain, end])
    below = [[] for _ in widths]
    for i, neighbours in enumerate(above):
        for neighbour in neighbours:
            below[neighbour].append(i)
    x = _place_rows(rows, above, below, widths)
    left = min((x[i] - widths[i] / 2 for i in range(len(widths))), default=0) - GAP
    step = HEIGHT + GAP
    top = {i: GAP / 2 + row * step for row, members in enumerate(rows) for i in members}
    places = [(x[i] - left, top[i], widths[i]) for i in range(len(boxes))]
    paths = [[(x[i] - left, y) for n, i in enumerate(chain) for y in (top[i], top[i] + HEIGHT)][1:-1]
             for chain in chains]
    right = max((x[i] + widths[i] / 2 for i in range(len(widths))), default=0)
    return places, paths, right - left + GAP, len(rows) * step


def _place_rows(rows, above, below, widths):
    """Order each row by the mean place of its neighbours, down and up a few times, and set its boxes as near to that as they fit."""
    x = [0.0] * len(widths)
    for members in rows:
        _spread(members, x, widths)
    for sweep in range(6):
        neighbours = below if sweep % 2 else above
        for members in reversed(rows) if sweep % 2 else rows:
            for i in members:
                if neighbours[i]:
                    x[i] = sum(x[n] for n in neighbours[i]) / len(neighbours[i])
            members.sort(key=lambda i: x[i])
            _spread(members, x, widths)
    return x


def _spread(members, x, widths):
    """Push overlapping boxes apart to the right, then move the row so that on average nobody moved."""
    wished, edge = [x[i] for i in members], float("-inf")
    for i in members:
        x[i] = max(x[i], edge + widths[i] / 2)
        edge = x[i] + widths[i] / 2 + GAP / 2
    shift = sum(x[i] - wish for i, wish in zip(members, wished)) / max(len(members), 1)
    for i in members:
        x[i] -= shift


def _save_png(path, boxes, arrows):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyBboxPatch, PathPatch
    from matplotlib.path import Path as Curve

    places, paths, width, height = layout(boxes, arrows)
    figure = Figure(figsize=(width / 72, height / 72), dpi=max(20, min(144, 2 ** 15 * 72 / max(width, height))))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    for points in paths:
        vertices, codes = [points[0]], [Curve.MOVETO]
        for (x0, y0), (x1, y1) in zip(points, points[1:]):
            vertices += [(x0, (y0 + y1) / 2), (x1, (y0 + y1) / 2), (x1, y1)]
            codes += [Curve.CURVE4] * 3
        axes.add_patch(PathPatch(Curve(vertices, codes), fill=False, edgecolor="#555", linewidth=1))
        x, y = points[-1]
        axes.fill([x - 4, x, x + 4], [y - 7, y, y - 7], color="#555")
    for (title, subtitle, kind), (x, y, w) in zip(boxes, places):
        axes.add_patch(FancyBboxPatch((x - w / 2 + 4, y + 4), w - 8, HEIGHT - 8, boxstyle="round,pad=4",
                                      facecolor=COLOURS[kind], edgecolor="#333"))
        axes.text(x, y + 15, title, ha="center", va="baseline", fontsize=9, weight="bold")
        axes.text(x, y + 29, subtitle, ha="center", va="baseline", fontsize=7.5, color="#444")
    figure.savefig(path)
