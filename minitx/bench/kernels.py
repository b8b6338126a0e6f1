"""Every operation that a kernel serves, over its sizes: NumPy, one thread, all threads, a GPU where it is asked for, and PyTorch beside them.

All take turns in one run, each in a process of its own, and in the same run each one's numbers are compared with the reference's.
"""
import contextlib
import tempfile
from pathlib import Path

from ..errors import UserError
from ..settings import did_you_mean
from . import machine, on_cuda
from .cases import KERNELS, TOLERANCE
from .measure import Timing, interleaved
from .worker import GPU_SIDES, Worker


def run(*, only=(), against=(), devices=("cpu",), threads, seconds=0.5, quick=False, progress=None):
    """Measure and return {"bench": "kernels", "machine": …, "rows": [...]}, plain values for JSON.

    A row: "kernel", "shape", "axes", "pass", "bytes", "operations", "seconds" {side: median}, "spread" {side: share}, "error" {side: largest relative
    difference from the reference, None for NaN}, "limit" (seconds that this machine needs for the bytes or the operations) and "share" of it reached; and
    with a GPU "gpu", {"limit", "share" {side: reached}, "launch" {side: seconds that asking for a step takes}}.
    "machine" then has "gpu", see on_cuda.measure.

    Args:
        only: names of KERNELS; all when empty.
        against: other sides, "torch" or "torch-kept"; "torch" computes on each of the devices.
        devices: "cpu", and "cuda" for the GPU as well, with larger sizes than a CPU's, for which of the CPU's sides all threads alone are timed.
        seconds: that each side of a row is timed.
        progress: called with the title of each row before it is measured.
    """
    on_gpu = "cuda" in devices
    kernels = [kernel for kernel in chosen(only) if on_gpu or not kernel.only_cuda]
    there = ("cuda", "cuda-naive", *(("torch-cuda",) if "torch" in against else ())) if on_gpu else ()
    with contextlib.ExitStack() as stack:
        workers = {side: stack.enter_context(Worker(side)) for side in ("minitx", "reference", *against, *there)}
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        found = machine.measure(workers["minitx"], threads, seconds, quick)
        if on_gpu:
            found["gpu"] = on_cuda.measure(workers["cuda"], seconds, quick)
        rows = []
        for kernel in kernels:
            for shape in kernel.quick if quick else kernel.shapes + (kernel.large if on_gpu else ()):
                for backward in (False,) if kernel.forward_only else (False, True):
                    if progress:
                        progress(title(kernel, shape, backward))
                    rows.append(_row(workers, kernel, shape, backward, threads, seconds, scratch / "truth.npz", found, alone=shape not in kernel.large))
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


def _row(workers, kernel, shape, backward, threads, seconds, truth, found, alone):
    """`alone`: whether one thread, NumPy and PyTorch on the CPU are timed; at sizes for a GPU they would take minutes."""
    cost = kernel.cost(backward, *shape)
    spec = {"kind": "kernel", "name": kernel.name, "shape": shape, "backward": backward}
    here = [side for side in workers if side not in GPU_SIDES and (alone and not kernel.only_cuda or side in ("minitx", "reference"))]
    there = [side for side in workers if side in GPU_SIDES and not (kernel.only_cuda and side == "cuda-naive")]
    ours, errors = ({"1 thread": 1} if alone or threads == 1 else {}) | ({f"{threads} threads": threads} if threads > 1 else {}), {}
    for side in (*here, *there):
        workers[side].ask("open", spec=spec)
    workers["reference"].ask("save", path=str(truth))
    for side in (*here, *there):
        if side != "reference" and not (kernel.random and side.startswith("torch")):
            errors[GPU_SIDES.get(side, side)] = workers[side].ask("compare", path=str(truth))["error"]
    sides = {name: workers["minitx"].timer(count) for name, count in ours.items()}
    sides |= {side: workers[side].timer(threads) for side in here if side not in ("minitx", "reference")}
    sides |= {GPU_SIDES[side]: workers[side].timer(None) for side in there}
    timings = {"reference": Timing(workers["reference"].timer(None)(seconds / 4))} if alone else {}
    timings |= interleaved(sides, seconds)
    medians = {name: timing.median for name, timing in timings.items()}
    limit = max(cost.bytes / found["copy"][str(threads)], cost.operations / found["product"][str(threads)])
    row = {"kernel": kernel.name, "shape": list(shape), "axes": kernel.axes, "pass": "forward + backward" if backward else "forward",
           "bytes": cost.bytes, "operations": cost.operations, "seconds": medians, "spread": {name: timing.spread for name, timing in timings.items()},
           "error": errors, "correct": all(error is not None and error <= _tolerance(kernel, side) for side, error in errors.items()),
           "limit": limit, "share": limit / medians[list(ours)[-1]]}
    if "gpu" in found:
        row["gpu"] = _on_gpu(workers, kernel, cost, there, medians, found["gpu"])
    return row


def _tolerance(kernel, side):
    return kernel.tolerance if side in GPU_SIDES.values() else TOLERANCE


def _on_gpu(workers, kernel, cost, sides, medians, gpu):
    """What a row says of the GPU alone."""
    limit = max(cost.bytes / gpu["copy"], cost.operations / gpu["product16" if kernel.only_cuda else "product"])
    return {"limit": limit, "share": {GPU_SIDES[side]: limit / medians[GPU_SIDES[side]] for side in sides},
            "launch": {GPU_SIDES[side]: workers[side].ask("facts")["launch"] for side in sides}}
