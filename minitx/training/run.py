"""A training run from start to end: data, tokenizers, model, training, scores and pictures, all in one folder."""
import contextlib
import os
import signal
import threading
from pathlib import Path

from .. import plots
from ..data import files
from ..data.tokenizers import TokenizerPair
from ..decoding.translator import Translator
from ..errors import UserError
from ..kernels.runtime import compiled, threads
from ..run_folder import RunFolder, build_model, load_weights
from . import corpus as corpora
from .evaluate import encode_pairs, score_splits
from .trainer import Trainer


class Interrupted(Exception):
    """Ctrl-C: the run in folder `run` was saved and can be resumed."""

    def __init__(self, run):
        super().__init__(f"saved in {run}")
        self.run = run


def train(settings, out=None, overwrite=False, resume=None, console=None):
    """Train as `settings` say, or go on with the run in folder `resume`; returns the folder's path.

    Args:
        out: folder of a new run; by default runs/en-es and the like, numbered when taken.
        overwrite: replace the run that `out` already holds.
        console: what shows the run, see `minitx.console`.

    Raises: UserError for a mistake of the user's; Interrupted after Ctrl-C, when everything is saved.
    """
    from ..console import Silent

    console = console or Silent()
    folder = RunFolder(resume) if resume else _new_folder(settings, out, overwrite)
    _use_threads(settings.threads)
    if resume and folder.last.exists() and _is_finished(folder):
        console.note(f"{folder.path} is finished: all its steps are done. Train on with a new run, or use it: {_next_command(folder, settings)}")
        return folder.path

    corpus = corpora.load(settings)
    if resume:
        corpora.check_hashes(settings, folder.facts().get("hashes", {}), corpus.hashes)
    saved = bool(resume) and folder.last.exists()  # else the run was killed before its first save, and starts over
    tokenizers = folder.tokenizers() if saved else TokenizerPair.train(
        settings.tokenizer, corpus.train, settings.vocab_size, settings.joint_vocabulary, settings.lowercase, settings.min_frequency)
    train_ids, too_long = encode_pairs(tokenizers, corpus.train, settings.max_length)
    valid_ids, _ = encode_pairs(tokenizers, corpus.validation, settings.max_length)
    if not train_ids or not valid_ids:
        raise UserError(f"max_length is {settings.max_length}, and every {'validation' if train_ids else 'training'} pair is longer; raise --max-length")
    model = build_model(settings, len(tokenizers.source), len(tokenizers.target))
    if not saved:
        folder.create(settings, minitx=_version(), hashes=corpus.hashes)
        tokenizers.save(folder.tokenizer)
        files.write_atomically(folder.validation, "".join(f"{_no_tab(pair.source)}\t{_no_tab(pair.target)}\n" for pair in corpus.validation))
    console.machine(threads.describe())  # from here on the data is good: what is wrong before leaves the screen empty
    _introduce(console, settings, corpus, tokenizers, model, len(train_ids), too_long)

    titles = compiled.missing(settings.dtype)
    console.compiling(compiled.compile_in_two(titles, settings.dtype), len(titles))
    trainer = Trainer(settings, model, tokenizers, corpus, train_ids, valid_ids, folder, console)
    if saved:
        trainer.load()
        console.note(f"resumed at step {trainer.step} of {trainer.steps}")
    console.plan(trainer.steps - trainer.step, trainer.seconds_per_update() * (trainer.steps - trainer.step) * 1.1)
    with _stop_at_ctrl_c(trainer):
        trainer.fit()
    if trainer.interrupted:
        raise Interrupted(folder.path)
    _conclude(console, settings, corpus, tokenizers, model, trainer, folder)
    return folder.path


def _introduce(console, settings, corpus, tokenizers, model, n_train, too_long):
    """What will be learnt, from what, by what: shown before the first step."""
    sizes = {"training pairs": n_train, "validation": len(corpus.validation), **{name: len(pairs) for name, pairs in corpus.splits.items()}}
    console.data(corpus.source, corpus.target, sizes, settings.tokenizer, (len(tokenizers.source), len(tokenizers.target)))
    if corpus.report:
        console.note(corpus.report)
    if too_long:
        console.note(f"{too_long} training pairs are longer than max_length and left out")
    shown = sorted(corpus.train[:200], key=lambda pair: abs(len(pair.target.split()) - 7))[:3]
    console.examples([(pair.source, pair.target) for pair in shown])
    source, target = shown[0]
    console.teacher_forcing(tokenizers.source.tokens(tokenizers.source.encode(source)), tokenizers.target.tokens(tokenizers.target.encode(target)))
    console.model(model.n_parameters(), settings)


def _conclude(console, settings, corpus, tokenizers, model, trainer, folder):
    """Scores of the best weights on every split, and pictures."""
    load_weights(model, folder.model)
    model.eval()
    result = score_splits(model, tokenizers, corpus.splits)
    sentence = min((pair.source for pair in corpus.validation[:100]), key=lambda text: abs(len(text.split()) - 8))
    attention = Translator(model, tokenizers, settings).attention(sentence)
    pictures = [folder.path / "loss.png", folder.path / "attention.png"]
    plots.loss_curve([line for line in trainer.lines if "averaged" not in line], pictures[0])
    missing_font = plots.attention_map(*attention, pictures[1])
    console.attention(*attention)
    if missing_font:
        console.note(missing_font)
    console.finished(folder.path, result["splits"], result["rules"], pictures, _next_command(folder, settings, sentence), result["signature"])


def _new_folder(settings, out, overwrite):
    if out is None:
        name = Path(settings.tgt or settings.tsv).name.split(".")[0] if settings.own_text else settings.pair
        folder, number = RunFolder(Path("runs") / name), 1
        while folder.exists():
            number += 1
            folder = RunFolder(Path("runs") / f"{name}-{number}")
        return folder
    folder = RunFolder(out)
    if folder.path.exists() and not folder.path.is_dir():
        raise UserError(f"out: {out} is a file; name a folder")
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


def _next_command(folder, settings, sentence="..."):
    return f'minitx translate {os.path.relpath(folder.path)} "{sentence}"'


def _no_tab(text):
    return text.replace("\t", " ")


def _version():
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("minitx")
    except PackageNotFoundError:
        return "unknown"
