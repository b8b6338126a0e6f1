"""What `minitx bench` does: checks what was typed, measures, draws, and gives the result."""
import contextlib
import sys

from rich.console import Console

from ..errors import UserError
from ..kernels.runtime import gpu
from ..kernels.runtime import threads as pool
from . import kernels, pictures, scaling, training, worker


def run(what, *, only=(), against=(), devices=("cpu",), seconds=None, losses=0, src=None, tgt=None, threads=0, quick=False, out=None):
    """Measure `what`; returns the result, plain values for JSON, and the paths of the pictures that were saved in `out`."""
    if seconds is not None and not 0 < seconds < 3600:
        raise UserError(f"seconds is {seconds:g} but must be above 0 and below 3,600; the default is 0.5, or 5 for training")
    if not 0 <= losses <= 100_000:
        raise UserError(f"losses is {losses} but must be a whole number from 0 to 100,000; 50 is usual")
    if (src is None) != (tgt is None):
        raise UserError("src and tgt come together: text and its translation, line by line")
    for name, given in (("losses", losses), ("src", src)):
        if given and what != "training":
            raise UserError(f"{name} belongs to training steps; take minitx bench training")
    if losses and "cpu" not in devices:
        raise UserError("losses are compared on the CPU; leave them out for device cuda, or take --device cpu,cuda")
    if what == "scaling" and against:
        raise UserError("against compares kernels and training steps; leave it out for scaling")
    _check_devices(devices, what)
    for side in against:
        worker.check_side(side)
    if out is not None and out.exists() and not out.is_dir():
        raise UserError(f"out: {out} is a file; name a folder")
    options = {"only": only, "threads": _threads(threads), "quick": quick}
    if seconds is not None or quick:
        options["seconds"] = seconds or 0.02
    if what != "scaling":
        options["against"] = against
        options["devices"] = devices
    if what == "training":
        options |= {"losses": losses, "text": (src, tgt) if src else None}
    with _progress() as progress:
        result = {"kernels": kernels, "training": training, "scaling": scaling}[what].run(**options, progress=progress)
    return result, pictures.draw(result, out) if out else []


def _check_devices(devices, what):
    """Refuse devices that there are not or that cannot be measured, and say what a GPU lacks."""
    if not set(devices) <= {"cpu", "cuda"}:
        raise UserError(f"device: {','.join(devices)!r} is not one of cpu, cuda and cpu,cuda")
    if "cuda" in devices and what == "scaling":
        raise UserError("device cuda measures kernels and training steps; leave it out for scaling")
    if "cpu" not in devices and what == "kernels":
        raise UserError("device: kernels are measured on a GPU beside the CPU; take --device cpu,cuda")
    if "cuda" in devices and (missing := gpu.missing()):
        raise UserError(f"device cuda: {missing}")


def _threads(count):
    """How many threads there will be: all for 0."""
    try:
        pool.set_threads(count)
    except ValueError as error:
        raise UserError(str(error)) from None
    return pool.get_threads()


@contextlib.contextmanager
def _progress():
    """A function that shows on a terminal's standard error what is being measured."""
    console = Console(file=sys.stderr, highlight=False, markup=False)
    if not console.is_terminal:
        yield None
        return
    with console.status("measuring") as status:
        yield lambda title: status.update(f"measuring {title}")
