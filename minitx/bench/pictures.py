"""What was measured, as pictures: time against size, the roofline, the steps, and how cost grows."""
import math
from pathlib import Path

from ..plots import BLUE, GREY, ORANGE, figure_of, save
from .report import sides_of, time_text
from .worker import GPU_SIDES

NAMES = {"reference": "NumPy", "torch": "PyTorch", "torch-kept": "PyTorch that keeps its memory", "minitx": "minitx", "CUDA": "minitx, CUDA",
         "CUDA, naive": "minitx, CUDA, naive", "torch, CUDA": "PyTorch, CUDA"}
_COLOURS = {"reference": "#b6bcc6", "1 thread": "#8fb3da", "products": GREY, "minitx": BLUE, "torch": ORANGE, "torch-kept": "#f0b27a",
            "CUDA": "#2e8b57", "CUDA, naive": "#a3cfb4", "torch, CUDA": "#b03a2e"}


def draw(result, folder):
    """Save the pictures of a result into `folder`, which is made where it does not exist; returns their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths, drawn = [], dict(PICTURES[result["bench"]])
    if "gpu" in result.get("machine", ()):
        drawn |= GPU_PICTURES[result["bench"]]
    if result["bench"] == "training" and not any("products" in row["seconds"] for row in result["rows"]):
        del drawn["steps.png"]  # only a GPU was measured
    for name, picture in drawn.items():
        paths.append(folder / name)
        picture(result, paths[-1])
    return paths


def time_against_size(result, path):
    """A panel per kernel: time over the operations that are asked for, forward and backward together, both in powers of ten.

    A GPU's time of a call is its own or that of the launch, whichever is longer; a circle shows where it overtakes the CPU.
    """
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
        curves = {side: [(row["operations"], _of_a_call(row, side)) for row in both if side in row["seconds"]] for side in sides_of(both)}
        for side, curve in curves.items():
            panel.plot([size for size, _ in curve], [1e3 * seconds for _, seconds in curve], marker="o", markersize=3, linewidth=1.4,
                       zorder=3 if "threads" in side else 2, color=_COLOURS.get(side, BLUE), label=NAMES.get(side, f"minitx, {side}"))
        if (met := crossing(curves)) is not None:
            panel.plot(met[0], 1e3 * met[1], "o", markersize=9, fillstyle="none", color="black", linestyle="", zorder=4, label="the GPU overtakes the CPU")
        panel.plot([row["operations"] for row in both], [1e3 * row["limit"] for row in both], color="black", linewidth=0.8, linestyle=":",
                   label="limit of the CPU" if "gpu" in rows[0] else "limit")
        panel.set(title=name, xscale="log", yscale="log", xlabel="operations", ylabel="ms")
        panel.title.set_fontsize(10)
    for panel in panels[len(kernels):]:
        panel.set_visible(False)
    _finish(figure, legend=True)
    save(figure, path)


def _of_a_call(row, side):
    return max(row["seconds"][side], row["gpu"]["launch"][side]) if side in GPU_SIDES.values() else row["seconds"][side]


def crossing(curves):
    """(operations, seconds) where the GPU becomes quicker than the CPU on all threads, between two sizes; None where it does not, or always is.

    Args:
        curves: {side: [(operations, seconds)]} by growing size.
    """
    there = dict(curves.get(GPU_SIDES["cuda"], ()))
    here = [curve for side, curve in curves.items() if "thread" in side][-1:]
    points = [(size, seconds, there[size]) for size, seconds in here[0] if size in there] if here else []
    for (size, cpu, gpu), (next_size, next_cpu, next_gpu) in zip(points, points[1:]):
        if cpu <= gpu and next_cpu > next_gpu:
            before, after = math.log(gpu / cpu), math.log(next_gpu / next_cpu)
            share = before / (before - after)
            return size * (next_size / size) ** share, cpu * (next_cpu / cpu) ** share
    return None


def roofline(result, path):
    """Operations per second over operations per byte, with the roof that this machine's copying and multiplying put over them."""
    threads = str(result["threads"])
    ours = f"{threads} threads" if result["threads"] > 1 else "1 thread"
    _roof(result["rows"], ours, result["machine"]["copy"][threads], result["machine"]["product"][threads], path)


def roofline_of_the_gpu(result, path):
    """The same of the fast kernels on the GPU, and its roofs in float32 and in 16 bits."""
    gpu = result["machine"]["gpu"]
    _roof(result["rows"], GPU_SIDES["cuda"], gpu["copy"], gpu["product"], path, f"{gpu['name']}: ", gpu["product16"])


def _roof(rows, side, copy, product, path, name="", product16=None):
    figure = figure_of(7.5, 4.8)
    axes = figure.subplots()
    rows = [row for row in rows if row["operations"]]
    marks = "osD^v<>PX*hdp"
    kernels = list(dict.fromkeys(row["kernel"] for row in rows))
    for row in rows:
        number = kernels.index(row["kernel"])
        backward = "backward" in row["pass"]
        axes.plot(row["operations"] / row["bytes"], row["operations"] / row["seconds"][side] / 1e9, marks[number % len(marks)], color=f"C{number % 10}",
                  fillstyle="full" if backward else "none", markersize=5, label=row["kernel"] if row is _first(rows, row["kernel"]) else None)
    reach = [row["operations"] / row["bytes"] for row in rows]
    points = sorted({min(reach) / 2, product / copy, max(reach) * 2})
    axes.plot(points, [min(product, copy * intensity) / 1e9 for intensity in points], color="black", linewidth=1.2)
    if product16:
        points = sorted({product / copy, product16 / copy, max(*reach, product16 / copy) * 2})
        axes.plot(points, [min(product16, copy * intensity) / 1e9 for intensity in points], color="black", linewidth=1, linestyle="--", label="16 bits")
    axes.set(xscale="log", yscale="log", xlabel="operations per byte moved (points above the roof: the data stayed in the cache)", ylabel="GFLOP/s",
             title=f"{name}{copy / 1e9:,.0f} GB/s copied, {product / 1e9:,.0f} GFLOP/s multiplied; filled: forward + backward")
    axes.title.set_fontsize(10)
    axes.legend(frameon=False, fontsize=7, ncols=2)
    _finish(figure)
    save(figure, path)


def _first(rows, kernel):
    return next(row for row in rows if row["kernel"] == kernel)


def steps(result, path):
    """Bars: a step of each workload on each side of the CPU, in units of its matrix products alone."""
    elsewhere = {"products", *GPU_SIDES.values()}
    _bars([(row["name"], row["seconds"]["products"], {side: seconds for side, seconds in row["seconds"].items() if side not in elsewhere})
           for row in result["rows"] if "products" in row["seconds"]], path)


def steps_on_the_gpu(result, path):
    """The same on the GPU, in units of the products alone at its rate, by powers of ten: small steps wait for their launches."""
    _bars([(row["name"], row["gpu"]["limit"], {side: row["seconds"][side] for side in row["gpu"]["share"]}) for row in result["rows"]], path, "log")


def _bars(groups, path, scale="linear"):
    """`groups`: for each workload its name, the seconds of its products, and {side: seconds}."""
    figure = figure_of(7.5, 0.8 + 0.9 * len(groups))
    axes = figure.subplots()
    place, ticks, named = 0.0, [], set()
    for title, products, sides in groups:
        ticks.append((place + (len(sides) - 1) / 2, f"{title}\n{time_text(products)}"))
        for side, seconds in sides.items():
            axes.barh(place, seconds / products, color=_COLOURS.get(side, BLUE), label=None if side in named else NAMES[side])
            axes.text(seconds / products, place, f" {time_text(seconds)}", va="center", fontsize=8)
            named.add(side)
            place += 1
        place += 0.6
    axes.axvline(1, color="black", linewidth=1, linestyle=":")
    axes.set_yticks(*zip(*ticks))
    axes.invert_yaxis()
    axes.margins(x=0.09)
    axes.set(xscale=scale, xlabel="time of a step, in units of its matrix products alone (their time stands on the left)")
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
        named = {label: handle for panel in reversed(figure.axes) for handle, label in zip(*panel.get_legend_handles_labels())}
        order = list(dict.fromkeys(label for panel in figure.axes for label in panel.get_legend_handles_labels()[1]))
        figure.legend([named[label] for label in order], order, loc="outside lower center", ncols=min(8, len(order)), frameon=False, fontsize=9)


def _plain(value, _):
    """0.1, 100 or 10⁶: powers of ten as they are read most easily."""
    if 1e-3 < value < 1e5:
        return f"{value:,.10g}"
    return f"10{str(round(math.log10(value))).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


GPU_PICTURES = {"kernels": {"roofline-gpu.png": roofline_of_the_gpu}, "training": {"steps-gpu.png": steps_on_the_gpu}}  # besides, where a GPU was measured
PICTURES = {"kernels": {"time.png": time_against_size, "roofline.png": roofline}, "training": {"steps.png": steps}, "scaling": {"scaling.png": growth}}
"""{what was measured: {file: the function that draws it}}."""
