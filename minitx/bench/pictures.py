"""What was measured, as pictures: time against size, the roofline, the steps, and how cost grows."""
import math
from pathlib import Path

from ..plots import BLUE, GREY, ORANGE, figure_of, save

NAMES = {"reference": "NumPy", "torch": "PyTorch", "torch-kept": "PyTorch that keeps its memory", "minitx": "minitx"}
_COLOURS = {"reference": "#b6bcc6", "1 thread": "#8fb3da", "products": GREY, "minitx": BLUE, "torch": ORANGE, "torch-kept": "#f0b27a"}


def draw(result, folder):
    """Save the pictures of a result into `folder`, which is made where it does not exist; returns their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, picture in PICTURES[result["bench"]].items():
        paths.append(folder / name)
        picture(result, paths[-1])
    return paths


def time_against_size(result, path):
    """A panel per kernel: time over the operations that are asked for, forward and backward together, both in powers of ten."""
    kernels = {}
    for row in result["rows"]:
        kernels.setdefault(row["kernel"], []).append(row)
    columns = min(5, len(kernels))
    lines = math.ceil(len(kernels) / columns)
    figure = figure_of(3.2 * columns, 2.8 * lines + 0.4)
    panels = list(figure.subplots(lines, columns, squeeze=False).flat)
    for panel, (name, rows) in zip(panels, kernels.items()):
        both = [row for row in rows if "backward" in row["pass"]] or rows
        both.sort(key=lambda row: row["operations"])
        sizes = [row["operations"] for row in both]
        for side in both[0]["seconds"]:
            panel.plot(sizes, [1e3 * row["seconds"][side] for row in both], marker="o", markersize=3, linewidth=1.4, zorder=3 if "threads" in side else 2,
                       color=_COLOURS.get(side, BLUE), label=NAMES.get(side, f"minitx, {side}"))
        panel.plot(sizes, [1e3 * row["limit"] for row in both], color="black", linewidth=0.8, linestyle=":", label="limit")
        panel.set(title=name, xscale="log", yscale="log", xlabel="operations", ylabel="ms")
        panel.title.set_fontsize(10)
    for panel in panels[len(kernels):]:
        panel.set_visible(False)
    _finish(figure, legend=True)
    save(figure, path)


def roofline(result, path):
    """Operations per second over operations per byte, with the roof that this machine's copying and multiplying put over them."""
    figure = figure_of(7.5, 4.8)
    axes = figure.subplots()
    threads = str(result["threads"])
    copy, product = result["machine"]["copy"][threads], result["machine"]["product"][threads]
    rows = [row for row in result["rows"] if row["operations"]]
    ours = f"{threads} threads" if result["threads"] > 1 else "1 thread"
    marks = "osD^v<>PX*hdp"
    kernels = list(dict.fromkeys(row["kernel"] for row in rows))
    for row in rows:
        number = kernels.index(row["kernel"])
        backward = "backward" in row["pass"]
        axes.plot(row["operations"] / row["bytes"], row["operations"] / row["seconds"][ours] / 1e9, marks[number % len(marks)], color=f"C{number % 10}",
                  fillstyle="full" if backward else "none", markersize=5, label=row["kernel"] if row is _first(rows, row["kernel"]) else None)
    reach = [row["operations"] / row["bytes"] for row in rows]
    points = sorted({min(reach) / 2, product / copy, max(reach) * 2})
    axes.plot(points, [min(product, copy * intensity) / 1e9 for intensity in points], color="black", linewidth=1.2)
    axes.set(xscale="log", yscale="log", xlabel="operations per byte moved (points above the roof: the data stayed in the cache)", ylabel="GFLOP/s",
             title=f"{copy / 1e9:.0f} GB/s copied, {product / 1e9:.0f} GFLOP/s multiplied; filled: forward + backward")
    axes.title.set_fontsize(10)
    axes.legend(frameon=False, fontsize=7, ncols=2)
    _finish(figure)
    save(figure, path)


def _first(rows, kernel):
    return next(row for row in rows if row["kernel"] == kernel)


def steps(result, path):
    """Bars: a step of each workload on each side, in units of its matrix products alone."""
    figure = figure_of(7.5, 0.8 + 0.9 * len(result["rows"]))
    axes = figure.subplots()
    place, ticks = 0.0, []
    for row in result["rows"]:
        ticks.append((place + (len(row["seconds"]) - 2) / 2, f"{row['name']}\n{1e3 * row['seconds']['products']:.0f} ms"))
        for side, seconds in row["seconds"].items():
            if side != "products":
                ratio = seconds / row["seconds"]["products"]
                axes.barh(place, ratio, color=_COLOURS.get(side, BLUE), label=NAMES[side] if row is result["rows"][0] else None)
                axes.text(ratio, place, f" {1e3 * seconds:.0f} ms", va="center", fontsize=8)
                place += 1
        place += 0.6
    axes.axvline(1, color="black", linewidth=1, linestyle=":")
    axes.set_yticks(*zip(*ticks))
    axes.invert_yaxis()
    axes.margins(x=0.09)
    axes.set_xlabel("time of a step, in units of its matrix products alone (their time stands on the left)")
    axes.legend(frameon=False, fontsize=8)
    _finish(figure)
    save(figure, path)


def growth(result, path):
    """A column per sweep: time above, memory below, beside the operations that the mathematics asks for."""
    sweeps = result["sweeps"]
    figure = figure_of(3.2 * len(sweeps), 5.2)
    panels = figure.subplots(2, len(sweeps), squeeze=False, sharex="col")
    for column, sweep in enumerate(sweeps):
        sizes, last = [point["size"] for point in sweep["points"]], sweep["points"][-1]
        for row, (name, unit) in enumerate((("seconds", 1e3), ("memory", 1e-6))):
            panel = panels[row][column]
            values = [(point[name] or math.nan) * unit for point in sweep["points"]]
            panel.plot(sizes, values, marker="o", markersize=3.5, color=BLUE, label="measured")
            if row == 0:
                panel.plot(sizes, [values[-1] * point["operations"] / last["operations"] for point in sweep["points"]], color=GREY, linestyle=":",
                           label="operations")
                panel.set_title(sweep["grows"], fontsize=10)
            panel.set(xscale="log", yscale="log")
            if (exponent := sweep["exponents"][name]) is not None:
                panel.text(0.97, 0.05, f"exponent {exponent:.2f}", transform=panel.transAxes, ha="right", fontsize=9)
            if column == 0:
                panel.set_ylabel("ms of a step" if row == 0 else "MB")
        panels[1][column].set_xlabel(sweep["grows"])
    panels[0][0].legend(frameon=False, fontsize=8)
    _finish(figure)
    save(figure, path)


def _finish(figure, legend=False):
    for panel in figure.axes:
        panel.grid(True, color="#e5e7eb", linewidth=0.8)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=8)
        panel.tick_params(which="minor", labelbottom=False, labelleft=False)
        for axis in (panel.xaxis, panel.yaxis):
            if axis.get_scale() == "log":
                axis.set_major_formatter(_plain)
    if legend:
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)


def _plain(value, _):
    """0.1, 100 or 10⁶: powers of ten as they are read most easily."""
    if 1e-3 < value < 1e5:
        return f"{value:,.10g}"
    return f"10{str(round(math.log10(value))).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


PICTURES = {"kernels": {"time.png": time_against_size, "roofline.png": roofline}, "training": {"steps.png": steps}, "scaling": {"scaling.png": growth}}
"""{what was measured: {file: the function that draws it}}."""
