"""Every operation that a kernel serves, over its sizes: NumPy, one thread, all threads, and PyTorch where it is asked for.

All take turns in one run, each in a process of its own, and in the same run each one's numbers are compared with the reference's.
"""
import contextlib
import tempfile
from pathlib import Path

from ..errors import UserError
from ..settings import did_you_mean
from . import machine
from .cases import KERNELS
from .measure import Timing, interleaved
from .worker import Worker

TOLERANCE = 1e-4  # largest difference from the reference, relative to the largest element: float32, sums of up to 65,536 terms


def run(*, only=(), against=(), threads, seconds=0.5, quick=False, progress=None):
    """Measure and return {"bench": "kernels", "machine": …, "rows": [...]}, plain values for JSON.

    A row: "kernel", "shape", "axes", "pass", "bytes", "operations", "seconds" {side: median}, "spread" {side: share}, "error" {side: largest relative
    difference from the reference, None for NaN}, "limit" (seconds that this machine needs for the bytes or the operations) and "share" of it reached.

    Args:
        only: names of KERNELS; all when empty.
        against: other sides, "torch" or "torch-kept".
        seconds: that each side of a row is timed.
        progress: called with the title of each row before it is measured.
    """
    kernels = chosen(only)
    with contextlib.ExitStack() as stack:
        workers = {side: stack.enter_context(Worker(side)) for side in ("minitx", "reference", *against)}
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        found = machine.measure(workers["minitx"], threads, seconds, quick)
        rows = []
        for kernel in kernels:
            for shape in kernel.quick if quick else kernel.shapes:
                for backward in (False,) if kernel.updates else (False, True):
                    if progress:
                        progress(title(kernel, shape, backward))
                    rows.append(_row(workers, kernel, shape, backward, threads, seconds, scratch / "truth.npz", found))
    return {"bench": "kernels", "machine": found, "threads": threads, "rows": rows}


def chosen(only):
    """The kernels named; a UserError says which there are."""
    for name in only:
        if name not in KERNELS:
            raise UserError(f"only: there is no kernel {name!r}{did_you_mean(name, KERNELS)}; there are {', '.join(KERNELS)}")
    return [KERNELS[name] for name in only] if only else list(KERNELS.values())


def title(kernel, shape, backward):
    """How a row is called."""
    sizes = "×".join(f"{size:,}" for size in shape)
    return f"{kernel.name} {sizes}" + (", forward + backward" if backward else "")


def _row(workers, kernel, shape, backward, threads, seconds, truth, found):
    cost = kernel.cost(backward, *shape)
    spec = {"kind": "kernel", "name": kernel.name, "shape": shape, "backward": backward}
    ours, errors = {"1 thread": 1} | ({f"{threads} threads": threads} if threads > 1 else {}), {}
    for side, worker in workers.items():
        worker.ask("open", spec=spec)
    workers["reference"].ask("save", path=str(truth))
    for side, worker in workers.items():
        if side != "reference" and not (kernel.random and side != "minitx"):
            errors[side] = worker.ask("compare", path=str(truth))["error"]
    sides = {name: workers["minitx"].timer(count) for name, count in ours.items()}
    sides |= {side: workers[side].timer(threads) for side in workers if side not in ("minitx", "reference")}
    timings = {"reference": Timing(workers["reference"].timer(None)(seconds / 4)), **interleaved(sides, seconds)}
    medians = {name: timing.median for name, timing in timings.items()}
    limit = max(cost.bytes / found["copy"][str(threads)], cost.operations / found["product"][str(threads)])
    return {"kernel": kernel.name, "shape": list(shape), "axes": kernel.axes, "pass": "forward + backward" if backward else "forward",
            "bytes": cost.bytes, "operations": cost.operations, "seconds": medians, "spread": {name: timing.spread for name, timing in timings.items()},
            "error": errors, "correct": all(error is not None and error <= TOLERANCE for error in errors.values()),
            "limit": limit, "share": limit / medians[list(ours)[-1]]}
