"""A training run from start to end, in one folder: what is learnt, by what model, and how the run is stopped and resumed."""
import contextlib
import os
import re
import shlex
import signal
import threading
from pathlib import Path

from ..errors import UserError
from ..kernels.runtime import compiled, gpu, threads
from ..run_folder import RunFolder, build_model, load_weights
from ..silent import Silent
from . import corpus as corpora
from .average import EpochAverage
from .language_model import LanguageModel
from .translation import Translation


class Interrupted(Exception):
    """Ctrl-C: the run in folder `run` was saved and can be resumed."""

    def __init__(self, run):
        super().__init__(f"saved in {run}")
        self.run = run


def train(settings, out=None, overwrite=False, resume=None, console=None, instead=None):
    """Train as `settings` say, or go on with the run in folder `resume`; returns the folder's path.

    Args:
        out: folder of a new run; by default runs/en-es and the like, numbered when taken.
        overwrite: replace the run that `out` already holds.
        console: what shows the run, see `minitx.silent`.
        instead: a function of the `Trainer` to call instead of training, as `bench/step_profile.py` does; its result is returned.

    Raises: UserError for a mistake of the user's; Interrupted after Ctrl-C, when everything is saved.
    """
    console = console or Silent()
    folder = RunFolder(resume) if resume else _new_folder(settings, out, overwrite)
    _use_threads(settings.threads)
    if resume and folder.last.exists() and _is_finished(folder):
        EpochAverage(folder.last.parent, settings.average).clear()  # a kill in the last moment leaves these
        console.note(f"{folder.path} is finished: all its steps are done. Train on with a new run, or use it: {_next_command(folder, settings)}")
        return folder.path

    task = (Translation if settings.text is None else LanguageModel)(settings)
    if resume:
        corpora.check_hashes(settings, folder.facts().get("hashes", {}), task.hashes)
    saved = bool(resume) and folder.last.exists()
    if resume and not saved and folder.model.exists():
        raise UserError(f"{folder.path} has its weights, but {folder.last} is gone, from which training would go on; "
                        f"use the run as it is, or train it anew: --out {folder.path} --overwrite")
    task.tokenise(folder.tokenizers() if saved else None)
    model = build_model(settings, len(task.tokenizers.source), len(task.tokenizers.target)).to(settings.device)
    if not saved:
        settings = task.fit_memory(model)
        folder.create(settings, minitx=_version(), hashes=task.hashes)
        task.tokenizers.save(folder.tokenizer)
        task.save_validation(folder)
    console.machine(_machine(settings.device))  # from here on the data is good: what is wrong before leaves the screen empty
    if resume and not saved:
        console.note(f"{folder.path} was stopped before its first save, and starts over")
    task.introduce(console)
    console.model(model.n_parameters(), settings)

    if settings.device == "cpu":
        titles = compiled.missing(settings.dtype, _kernels(settings))
        console.compiling(compiled.compile_in_two(titles, settings.dtype), len(titles))
    else:
        console.note("the first updates on this GPU take a minute longer: they compile its kernels, once")
    trainer = task.trainer(model, folder, console)
    if saved:
        trainer.load()
        console.note(f"resumed at step {trainer.step} of {trainer.steps}")
    if instead is not None:
        return instead(trainer)
    console.plan(trainer.steps, trainer.seconds_per_update() * (trainer.steps - trainer.step) * 1.1, first=trainer.step)
    if not saved:
        trainer.save()  # before there are weights to keep: weights without a state are then of a run whose state was taken away, not of one that was killed
    with _stop_at_ctrl_c(trainer):
        trainer.fit()
    if trainer.interrupted:
        raise Interrupted(folder.path)
    load_weights(model, folder.model)  # the best
    task.conclude(console, model.eval(), trainer, folder, _next_command(folder, settings, task.example()))
    return folder.path


def _machine(device):
    """What the run computes on, and CUDA or why not."""
    if device == "cuda":
        return threads.describe() | {"cuda": gpu.describe().get("gpu 0", "yes")}
    return threads.describe() | {"cuda": (gpu.missing() or "there is one: --device cuda").partition(";")[0]}


def _kernels(settings):
    """Folders of the kernels that this model needs beside those that every model does."""
    if settings.model == "recurrent":
        used = {settings.cell: True}
    else:
        used = {"layer_norm": settings.normalization == "layer", "rms_norm": settings.normalization == "rms",
                "batch_norm": settings.normalization == "batch",
                "rotary": settings.positions == "rotary", "swiglu": settings.activation == "swiglu"}
    used["additive_attention"] = settings.score == "additive"
    used["top_k"] = settings.text is None  # of the search that translates
    return tuple(folder for folder, needed in used.items() if needed)


def _new_folder(settings, out, overwrite):
    if out is None:
        file = settings.tgt or settings.tsv or settings.text
        name = settings.pair if file is None else Path(file).name.lstrip(".").split(".")[0] or "own"
        folder, number = RunFolder(Path("runs") / name), 1
        while folder.exists():
            number += 1
            folder = RunFolder(Path("runs") / f"{name}-{number}")
        return folder
    folder = RunFolder(out)
    for place in (folder.path, *folder.path.parents):
        if place.exists() and not place.is_dir():
            raise UserError(f"out: {place} is a file; name a folder")
    if folder.exists() and not overwrite:
        raise UserError(f"out: {out} already holds a run; go on with it: --resume {out}; or replace it: --out {out} --overwrite")
    return folder


def _is_finished(folder):
    import json

    from ..run_folder import read_safetensors

    return json.loads(read_safetensors(folder.last)[1].get("trainer", "{}")).get("finished", False)


def _use_threads(count):
    try:
        threads.set_threads(count)
    except ValueError as error:
        raise UserError(str(error)) from None


@contextlib.contextmanager
def _stop_at_ctrl_c(trainer):
    """Ctrl-C lets the update that is under way end; a second one stops at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_):
        if trainer.interrupted:
            raise KeyboardInterrupt
        trainer.interrupted = True

    previous = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _next_command(folder, settings, example="..."):
    run, example = shlex.quote(os.path.relpath(folder.path)), _quoted(example)
    return f"minitx translate {run} {example}" if settings.text is None else f"minitx generate {run} --prompt {example}"


def _quoted(text):
    """As a shell, and then minitx, takes it for this text: in the quotes that people type, where nothing in it means something there."""
    text = text.lstrip("-").lstrip()
    return shlex.quote(text) if re.search(r'["$`\\!]', text) else f'"{text}"'


def _version():
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("minitx")
    except PackageNotFoundError:
        return "unknown"
