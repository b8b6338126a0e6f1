"""Whole training steps and greedy decoding: minitx, the matrix products alone, and PyTorch, taking turns in one run."""
import contextlib
import tempfile
from pathlib import Path

from ..errors import UserError
from .measure import interleaved
from .workloads import QUICK, WORKLOADS, pairs_of_text, prepare, workload
from .worker import Worker

TOLERANCE = 1e-3  # of the largest element: float32 alone moves gradients of W3 on real text by 2e-4, NumPy's, PyTorch's and ours; perhaps a ReLU's sign does


def run(*, only=(), against=(), threads, seconds=5.0, rounds=5, quick=False, losses=0, text=None, progress=None):
    """Measure and return {"bench": "training", "rows": [...]}, plain values for JSON.

    A row: "name", "title", "seconds" {side: median of a step}, "spread", "error" {side: largest relative difference of loss and gradients from NumPy's},
    "peak" {side: bytes}, "operations" of the products of a step, and where asked "losses" {side: [...]} of the first steps without dropout, with their "differences".

    Args:
        only: names of WORKLOADS; all when empty. against: "torch" or "torch-kept".
        seconds: that each side is timed. losses: how many steps' losses to compare.
        text: two line-aligned files, from which the translator's batches are made; without, their lengths are drawn like Multi30k's.
    """
    pairs = pairs_of_text(*text, WORKLOADS["W3"].vocabulary) if text else None
    rows = []
    for name in chosen(only):
        changes = QUICK[name] if quick else {}
        work = workload(name, changes)
        if progress:
            progress(f"{name}, {work.title}")
        with contextlib.ExitStack() as stack:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            prepare(work, scratch, pairs)
            spec = {"name": name, "changes": changes, "folder": str(scratch)}
            rows.append(_row(stack, work, spec, against, threads, seconds, rounds) | (_losses(work, spec, against, losses) if losses else {}))
    return {"bench": "training", "threads": threads, "text": bool(text), "rows": rows}


def chosen(only):
    """The names of the workloads, all when `only` is empty; a UserError says which there are."""
    for name in only:
        if name not in WORKLOADS:
            raise UserError(f"only: there is no work {name!r}; there are {', '.join(WORKLOADS)}")
    return list(only) or list(WORKLOADS)


def _row(stack, work, spec, against, threads, seconds, rounds):
    kind = "decoding" if work.kind == "decoding" else "training"
    workers = {side: stack.enter_context(Worker(side)) for side in ("minitx", *against)}
    products = stack.enter_context(Worker("minitx"))
    truth, errors = str(Path(spec["folder"]) / "truth.npz"), {}
    for worker in workers.values():
        worker.ask("open", spec={"kind": kind, **spec})
    products.ask("open", spec={"kind": "products", **spec})
    sides = {side: worker.timer(threads) for side, worker in workers.items()} | {"products": products.timer(threads)}
    timings = interleaved(sides, seconds, rounds)
    peaks = {side: worker.ask("facts")["peak"] for side, worker in workers.items()}  # before anything else than steps was done
    with Worker("reference") as reference:
        reference.ask("open", spec={"kind": kind, **spec})
        reference.ask("save", path=truth)
    for side, worker in workers.items():
        worker.ask("open", spec={"kind": kind, **spec})
        errors[side] = worker.ask("compare", path=truth)["error"]
    return {"name": work.name, "title": work.title, "seconds": {side: timing.median for side, timing in timings.items()},
            "spread": {side: timing.spread for side, timing in timings.items()}, "peak": peaks, "operations": products.ask("facts")["operations"],
            "error": errors, "correct": all(error is not None and error <= TOLERANCE for error in errors.values())}


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
