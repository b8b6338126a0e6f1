"""Whole training steps and greedy decoding: minitx, the matrix products alone, and PyTorch, taking turns in one run; on a GPU, too, where it is asked for."""
import contextlib
import tempfile
from pathlib import Path

from ..errors import UserError
from . import on_cuda
from .measure import interleaved
from .products import of_step
from .workloads import QUICK, WORKLOADS, pairs_of_text, prepare, read_batches, workload
from .worker import GPU_SIDES, Worker

TOLERANCE = 1e-3  # of the largest element: float32 alone moves gradients of W3 on real text by 2e-4, NumPy's, PyTorch's and ours; perhaps a ReLU's sign does


def run(*, only=(), against=(), devices=("cpu",), threads, seconds=5.0, rounds=5, quick=False, losses=0, text=None, progress=None):
    """Measure and return {"bench": "training", "rows": [...]}, plain values for JSON.

    A row: "name", "title", "seconds" {side: median of a step}, "spread", "error" {side: largest relative difference of loss and gradients from NumPy's},
    "peak" {side: bytes}, "operations" of the products of a step, and where asked "losses" {side: [...]} of the first steps without dropout, with their "differences".
    With a GPU its sides are among them, their peak that of the GPU's memory; a row has "gpu", {"limit": seconds for the products at the rate of one large
    product in float32, "share" {side: reached}, "launch" {side: seconds that asking for a step takes}}, and "machine" is {"gpu": …}, see on_cuda.measure.

    Args:
        only: names of WORKLOADS; all of the devices when empty. against: "torch" or "torch-kept"; "torch" computes on each of the devices.
        devices: "cpu", "cuda" or both; what is too much for a CPU is measured on the GPU alone.
        seconds: that each side is timed. losses: how many steps' losses to compare.
        text: two line-aligned files, from which the translator's batches are made; without, their lengths are drawn like Multi30k's.
    """
    pairs = pairs_of_text(*text, WORKLOADS["W3"].vocabulary) if text else None
    rows, names = [], chosen(only, devices)
    machine = {}
    if "cuda" in devices:
        with Worker("cuda") as worker:
            machine["gpu"] = on_cuda.measure(worker, min(seconds, 0.5), quick)
    for name in names:
        changes = QUICK[name] if quick else {}
        work = workload(name, changes)
        if progress:
            progress(f"{name}, {work.title}")
        with contextlib.ExitStack() as stack:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            prepare(work, scratch, pairs)
            spec = {"name": name, "changes": changes, "folder": str(scratch)}
            rows.append(_row(stack, work, spec, against, devices, threads, seconds, rounds, machine.get("gpu"))
                        | (_losses(work, spec, against, losses) if losses and not work.only_cuda else {}))
    return {"bench": "training", "threads": threads, "text": bool(text), **({"machine": machine} if machine else {}), "rows": rows}


def chosen(only, devices=("cpu",)):
    """The names of the workloads, all that the devices can do when `only` is empty; a UserError says which there are."""
    there = [name for name, work in WORKLOADS.items() if "cuda" in devices or not work.only_cuda]
    for name in only:
        if name not in WORKLOADS:
            raise UserError(f"only: there is no work {name!r}; there are {', '.join(there)}")
        if name not in there:
            raise UserError(f"only: {name} is for a GPU, see --device; on the CPU there are {', '.join(there)}")
    return list(only) or there


def _row(stack, work, spec, against, devices, threads, seconds, rounds, gpu):
    kind = "decoding" if work.kind == "decoding" else "training"
    here = ("minitx", *against) if "cpu" in devices and not work.only_cuda else ()
    there = ("cuda", *(("torch-cuda",) if "torch" in against else ())) if "cuda" in devices else ()
    workers = {side: stack.enter_context(Worker(side)) for side in (*here, *there)}
    truth, errors = str(Path(spec["folder"]) / "truth.npz"), {}
    for worker in workers.values():
        worker.ask("open", spec={"kind": kind, **spec})
    sides = {GPU_SIDES.get(side, side): worker.timer(threads) for side, worker in workers.items()}
    if here:
        products = stack.enter_context(Worker("minitx"))
        products.ask("open", spec={"kind": "products", **spec})
        sides["products"] = products.timer(threads)
    timings = interleaved(sides, seconds, rounds)
    facts = {GPU_SIDES.get(side, side): worker.ask("facts") for side, worker in workers.items()}  # before anything else than steps was done
    with Worker("minitx" if work.only_cuda else "reference") as reference:  # what is too much for a CPU is too much for NumPy
        reference.ask("open", spec={"kind": kind, **spec})
        reference.ask("save", path=truth)
    for side, worker in workers.items():
        worker.ask("open", spec={"kind": kind, **spec})
        errors[GPU_SIDES.get(side, side)] = worker.ask("compare", path=truth)["error"]
    steps = [of_step(work, batch) for batch in read_batches(spec["folder"])]
    row = {"name": work.name, "title": work.title, "seconds": {side: timing.median for side, timing in timings.items()},
           "spread": {side: timing.spread for side, timing in timings.items()}, "peak": {side: fact.get("held", fact["peak"]) for side, fact in facts.items()},
           "operations": sum(product.operations for step in steps for product in step) / len(steps),
           "error": errors, "correct": all(error is not None and error <= TOLERANCE for error in errors.values())}
    if gpu:
        limit, sides = row["operations"] / gpu["product"], [GPU_SIDES[side] for side in there]
        row["gpu"] = {"limit": limit, "share": {side: limit / row["seconds"][side] for side in sides}, "launch": {side: facts[side]["launch"] for side in sides}}
    return row


def _losses(work, spec, against, count):
    """The losses of the first steps on each side, dropout off, from the same weights, in float32 and in float64.

    "differences" are the largest relative ones of a step: between the sides in "float32" and in "float64", and of each side's float32 from its own
    float64. In float32 two right programs drift apart, because each step starts from what rounding made of the last; by the latter one sees how far.
    """
    if work.kind == "decoding":
        return {}
    found = {}
    for side in ("minitx", *(side for side in against if side == "torch")):
        for dtype in ("float32", "float64"):
            changes = {**spec["changes"], "model": work.without_dropout().model, "dtype": dtype}
            with Worker(side) as worker:
                worker.ask("open", spec={"kind": "training", **spec, "changes": changes})
                found[side, dtype] = worker.ask("losses", count=count)["losses"]
    pairs = {side: ((side, "float32"), (side, "float64")) for side, dtype in found if dtype == "float64"}
    pairs |= {dtype: (("minitx", dtype), ("torch", dtype)) for side, dtype in found if side == "torch"}
    differences = {name: max(abs(one - other) / abs(other) for one, other in zip(found[first], found[second])) for name, (first, second) in pairs.items()}
    return {"losses": {f"{side} {dtype}": losses for (side, dtype), losses in found.items()}, "differences": differences}
