"""How the cost of a training step grows: its time and memory against batch, length, width and layers, beside what the mathematics asks for."""
import math
import tempfile

import numpy as np

from ..errors import UserError
from .measure import interleaved
from .products import Heads, of_step
from .worker import Worker
from .workloads import QUICK, make_batches, prepare, workload

BASE = {"d_model": 128, "n_heads": 4, "n_layers": 2, "bias": False}
SWEEPS = {
    "batch": ("sequences of a batch", "batch, of sequences of 128 tokens", (1, 2, 4, 8, 16, 32)),
    "length": ("tokens of a sequence", "length of the only sequence", (16, 64, 256, 1024, 2048, 4096)),
    "width": ("d_model", "width, of 4 sequences of 64 tokens, 4 heads", (32, 64, 128, 256, 512, 1024)),
    "layers": ("layers", "layers, on 4 sequences of 128 tokens", (1, 2, 4, 8, 16)),
}
"""{what grows: (the name of its sizes, a title, the sizes)}; the model is W1's with two layers where nothing else is said."""


def run(*, only=(), threads, seconds=0.5, quick=False, progress=None):
    """Measure and return {"sweeps": [...]}, plain values for JSON: of each, "points" of size, seconds, memory and operations, and their "exponents"."""
    for name in only:
        if name not in SWEEPS:
            raise UserError(f"only: nothing called {name!r} grows here; there are {', '.join(SWEEPS)}")
    sweeps = []
    for name in only or SWEEPS:
        grows, title, sizes = SWEEPS[name]
        points = []
        for size in sizes[:2] if quick else sizes:
            if progress:
                progress(f"{grows}: {size}")
            points.append(_point(changes(name, size), size, threads, seconds))
        exponents = {column: exponent(points, column) for column in ("seconds", "memory", "operations")}
        sweeps.append({"grows": grows, "name": name, "title": title, "points": points, "exponents": exponents})
    return {"bench": "scaling", "threads": threads, "sweeps": sweeps}


def changes(name, size):
    """What W1 becomes when one thing of it has this size."""
    model, batch = dict(BASE), (4, 128)
    if name == "batch":
        batch = (size, 128)
    elif name == "length":
        batch = (1, size)
    elif name == "width":
        model["d_model"], batch = size, (4, 64)
    else:
        model["n_layers"] = size
    return {"model": {**model, "max_length": batch[1]}, "batch": batch}


def exponent(points, column):
    """The slope of log(column) over log(size), fitted to the three largest sizes; None where it cannot be told."""
    points = points[-3:]
    if len(points) < 2 or not all(point[column] for point in points):
        return None
    slope, _ = np.polyfit(*([math.log(point[name]) for point in points] for name in ("size", column)), 1)
    return float(slope)


def _point(change, size, threads, seconds):
    work = workload("W1", change)
    operations = sum(_asked(product) for product in of_step(work, make_batches(work)[0]))
    with tempfile.TemporaryDirectory() as folder, Worker("minitx") as worker:  # a process of its own, whose peak of memory is this step's

        def timed(change, seconds):
            prepare(workload("W1", change), folder)
            worker.ask("open", spec={"kind": "training", "name": "W1", "changes": change, "folder": folder})
            return interleaved({"minitx": worker.timer(threads)}, seconds, rounds=3)["minitx"], worker.ask("facts")["peak"]

        _, before = timed(QUICK["W1"], 0)  # a tiny step loads the kernels
        timing, peak = timed(change, seconds)
    return {"size": size, "seconds": timing.median, "spread": timing.spread, "operations": operations,
            "memory": None if peak is None else max(0, peak - before)}


def _asked(product):
    """Operations of a product; of causal attention those that the mask leaves."""
    if isinstance(product, Heads):
        return product.operations * (product.queries + 1) // (2 * product.queries)
    return product.operations
