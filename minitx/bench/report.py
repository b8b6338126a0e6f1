"""What was measured, as tables for a person: a row a line, times in the unit that suits them."""
from rich.console import Console
from rich.text import Text

from .worker import GPU_SIDES

GPU = tuple(GPU_SIDES.values())


def show(result, file=None):
    """Print the result of kernels.run, training.run, scaling.run or step_profile.run."""
    console = Console(file=file, highlight=False, markup=False, emoji=False)
    for line in LINES[result["bench"]](result):
        console.print(line, soft_wrap=True)


def kernel_lines(result):
    """A line per kernel, size and pass; where a GPU was measured, its own lines below."""
    sides = [side for side in sides_of(result["rows"]) if side not in GPU]
    ours = f"{result['threads']} threads" if result["threads"] > 1 else "1 thread"
    rivals = [side for side in sides if side.startswith("torch")]
    header = ["", "pass", *("NumPy" if side == "reference" else side for side in sides), *(f"× {side}" for side in rivals), "of limit", "error"]
    rows = []
    for row in result["rows"]:
        seconds = row["seconds"]
        error = max((error for error in row["error"].values() if error is not None), default=float("nan"))
        rows.append([*_titles(row), *(time_text(seconds[side]) if side in seconds else "" for side in sides),
                     *(ratio_text(seconds[side] / seconds[ours], 1) if side in seconds else "" for side in rivals),
                     f"{row['share']:.0%}", Text(f"{error:.0e}") if row["correct"] else Text("WRONG", style="bold red")])
    return [*machine_lines(result), Text(), *aligned(header, rows), *_gpu_lines(result), Text(),
            Text("× torch: how many times as long PyTorch takes. of limit: the time that this machine needs to move the bytes or to do the operations, over"
                 " the time taken; more than 100 % where the data stays in the cache. error: against NumPy's reference, relative to the largest element.",
                 style="dim")]


def _gpu_lines(result):
    """What a GPU took, beside the quickest way on the CPU."""
    if "gpu" not in result["machine"]:
        return []
    ours, naive, rival = GPU
    rivals = any(rival in row["seconds"] for row in result["rows"])
    header = ["on the GPU", "pass", ours, naive, *([rival, "× torch"] if rivals else []), "× CPU", "launch", "of limit"]
    rows = []
    for row in result["rows"]:
        seconds = row["seconds"]
        here = min(seconds[side] for side in seconds if side not in GPU and not side.startswith("torch"))
        torch = [time_text(seconds[rival]), ratio_text(seconds[rival] / seconds[ours], 1)] if rival in seconds else ["", ""]
        rows.append([*_titles(row), time_text(seconds[ours]), time_text(seconds[naive]) if naive in seconds else "", *(torch if rivals else []),
                     f"{here / seconds[ours]:.1f}", time_text(row["gpu"]["launch"][ours]), f"{row['gpu']['share'][ours]:.0%}"])
    return [Text(), *aligned(header, rows), Text(),
            Text("Times on the GPU are the GPU's own, without the launch: what Python and the driver take to ask for a step, while the GPU may still do the"
                 " last one. × CPU: how many times as long the CPU takes.", style="dim")]


def sides_of(rows):
    """All sides of some rows, in the order in which they come."""
    return list(dict.fromkeys(side for row in rows for side in row["seconds"]))


def _titles(row):
    return f"{row['kernel']} {size_text(row['shape'])}", "both" if "backward" in row["pass"] else "forward"


def training_lines(result):
    """A line per workload and side; where a GPU was measured, its own lines below those of the CPU."""
    header = ["", "a step", "spread", "× products", "× minitx", "peak memory", "error"]
    header_there = ["on the GPU", "a step", "spread", "× limit", "× CUDA", "GPU memory", "error", "launch"]
    lines = list(_gpu_line(result["machine"]["gpu"])) if "machine" in result else []
    for row in result["rows"]:
        seconds, here, there = row["seconds"], [], []
        for side, value in seconds.items():
            limit, ours = (row["gpu"]["limit"], seconds[GPU[0]]) if side in GPU else (seconds["products"], seconds["minitx"])
            cells = [{"products": "its matrix products alone"}.get(side, side), time_text(value), f"{row['spread'][side]:.0%}", f"{value / limit:.2f}",
                     f"{value / ours:.2f}", memory_text(row["peak"].get(side)), "" if side == "products" else _error_text(row, side)]
            (there if side in GPU else here).append(cells + ([time_text(row["gpu"]["launch"][side])] if side in GPU else []))
        lines += [Text(), Text(f"{row['name']}  {row['title']}", style="bold"), *(aligned(header, here) if here else ()),
                  *(aligned(header_there, there) if there else ())]
        if "losses" in row:
            ours, found = row["losses"]["minitx float32"], row["differences"]
            lines.append(Text(f"losses of {len(ours)} steps without dropout, {ours[0]:.4f} to {ours[-1]:.4f}, relative differences at most:"))
            if "torch" in found:
                lines.append(Text(f"  minitx and PyTorch {found['float64']:.1e} in float64, {found['float32']:.1e} in float32"))
            lines.append(Text("  float32 and float64, which is what rounding does: " + ", ".join(
                f"{name} {found[side]:.1e}" for side, name in (("minitx", "minitx"), ("torch", "PyTorch")) if side in found)))
    if "machine" in result:
        lines += [Text(), Text("× limit: of the products alone at the rate of one large product in float32 on this GPU. A step on the GPU is timed by the clock"
                               " on the wall, while launches run ahead; launch: what Python and the driver take to ask for one. error of W5: against minitx"
                               " on the CPU.", style="dim")]
    source = "the text that was given" if result["text"] else "sentences drawn with the lengths of Multi30k"
    return [*lines, Text(), Text(f"Batches of the translator: {source}. error: loss and gradients against NumPy's reference. Peak memory: resident, "
                                 "of the process.", style="dim")]


def _error_text(row, side):
    return Text(f"{row['error'][side]:.0e}") if row["correct"] else Text("WRONG", style="bold red")


def scaling_lines(result):
    """A table per quantity that grows, and the exponents."""
    lines = []
    for sweep in result["sweeps"]:
        header = [sweep["grows"], "a step", "peak memory", "operations"]
        rows = [[f"{point['size']:,}", time_text(point["seconds"]), memory_text(point["memory"]), f"{point['operations'] / 1e9:.3g} G"]
                for point in sweep["points"]]
        exponents = sweep["exponents"]
        rows.append(["exponent", *(f"{exponents[name]:.2f}" if exponents[name] is not None else "" for name in ("seconds", "memory", "operations"))])
        lines += [Text(), Text(f"{sweep['title']}", style="bold"), *aligned(header, rows)]
    return [*lines, Text(), Text("exponent: of the growth over the three largest sizes, a line fitted to the logarithms; operations are what the"
                                 " mathematics asks for. Peak memory: resident, beyond that of the process before the model is made.", style="dim")]


def profile_lines(result):
    """A line per operation, the slowest first, then the other parts of an update, and where the time beside the products goes."""
    watched = result["watched"]
    rows, beside = [], dict(result["parts"])
    for row in result["rows"]:
        both = row["forward"] + row["backward"]
        beside[row["operation"]] = both - row["products"]
        rows.append([row["operation"], f"{row['calls']:.4g}", f"{1e3 * row['forward']:.3f}", f"{1e3 * row['backward']:.3f}", f"{both / watched:.1%}",
                     *((f"{1e3 * row['products']:.3f}", f"{row['products'] / watched:.1%}") if row["products"] else ("", ""))])
    rows += [[name, "", "", f"{1e3 * seconds:.3f}", f"{seconds / watched:.1%}", "", ""] for name, seconds in result["parts"].items()]
    products = sum(row["products"] for row in result["rows"])
    totals = [sum(row[name] for row in result["rows"]) for name in ("calls", "forward", "backward")]
    rows.append(["an update", f"{totals[0]:.4g}", f"{1e3 * totals[1]:.3f}", f"{1e3 * totals[2]:.3f}", "100.0%", f"{1e3 * products:.3f}", f"{products / watched:.1%}"])
    largest = sorted((name for name in beside if beside[name] > 0), key=lambda name: -beside[name])[:5]
    header = ["operation", "calls", "forward ms", "backward ms", "of update", "products ms", "of update"]
    return [Text(), *aligned(header, rows), Text(),
            Text(f"An update of {result['tokens']:,.0f} target tokens takes {time_text(result['seconds'])} ({time_text(watched)} when it is watched), mean of "
                 f"{result['updates']}, on {result['threads']} thread{'s' * (result['threads'] != 1)}: {result['seconds'] / products:.2f} times its matrix "
                 f"products alone, {time_text(products)}." if products else f"An update takes {time_text(result['seconds'])}."),
            Text("Beside the products: " + ", ".join(f"{name} {time_text(beside[name])}" for name in largest) + "."), Text(),
            Text("products: multiplied alone, without what their operation does besides; attention's whole, also what a mask hides and a kernel may skip. "
                 "clipping is the norm of all gradients; nothing was saved.", style="dim")]


LINES = {"kernels": kernel_lines, "training": training_lines, "scaling": scaling_lines, "profile": profile_lines}


def machine_lines(result):
    """What the machine reached."""
    found = result["machine"]
    for name, what, unit in (("product", "matrix products", "GFLOP/s"), ("copy", "copying", "GB/s")):
        speeds = ", ".join(f"{rate / 1e9:.0f} {unit} on {count} thread{'s' * (count != '1')}" for count, rate in found[name].items())
        yield Text(f"{what}: {speeds}", style="dim")
    if gpu := found.get("gpu"):
        yield from _gpu_line(gpu)


def _gpu_line(gpu):
    yield Text(f"{gpu['name']}: {gpu['copy'] / 1e9:,.0f} GB/s copied, {gpu['product'] / 1e12:.1f} TFLOP/s multiplied in float32, "
               f"{gpu['product16'] / 1e12:.0f} in 16 bits", style="dim")


def aligned(header, rows):
    """Lines with the first column flush left and the others flush right."""
    cells = [[cell if isinstance(cell, Text) else Text(str(cell)) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = []
    for number, row in enumerate(cells):
        line = Text(style="dim" if number == 0 else "")
        for column, (cell, width) in enumerate(zip(row, widths)):
            gap = Text(" " * (width - len(cell)))
            line = line + Text("  " * (column > 0)) + (cell + gap if column == 0 else gap + cell)
        line.rstrip()
        lines.append(line)
    return lines


def size_text(shape):
    """4096×512."""
    return "×".join(map(str, shape))


def time_text(seconds):
    """Three digits and the unit that suits them."""
    for unit, factor in (("µs", 1e6), ("ms", 1e3)):
        if seconds * factor < 999.5:
            value = seconds * factor
            return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f} {unit}"
    return f"{seconds:.2f} s"


def ratio_text(ratio, least):
    """A ratio, red where it is below `least`."""
    return Text(f"{ratio:.2f}", style="red" if ratio < least else "")


def memory_text(size):
    """Megabytes."""
    return "" if size is None else f"{size / 1e6:,.0f} MB"
