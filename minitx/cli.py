"""The command `minitx`: what can be typed, what it calls, and how a mistake is told.

Flags of `train` come from `Settings`. What computes is imported inside the command that needs it, so help is quick.
Exit codes: 0 done, 2 the user's mistake, 1 ours or the machine's, 130 interrupted.
"""
import dataclasses
import os
import sys
import types
import typing
import warnings
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Group, Parameter
from cyclopts.help import DefaultFormatter, PanelSpec
from rich.box import Box

from .cli_looking import attention, neighbours, translator_of
from .errors import UserError
from .presets import PRESETS, choose, choose_resumed
from .settings import Settings
from .typed import Switch, Texts, Whole, decoded, typed, whole

app = App(
    name="minitx",
    version=lambda: _version(),
    help="A small Transformer to read, to extend and to measure. Begin with: minitx train",
    help_format="plaintext",
    help_formatter=DefaultFormatter(panel_spec=PanelSpec(box=Box(" ── \n" + "    \n" * 7), border_style="dim")),
    suppress_keyboard_interrupt=False,
)


def main(arguments=None) -> int:
    """Run the command line on `arguments` (those of the process when None) and return its exit code."""
    _prepare_streams()
    try:
        code = app(arguments, exit_on_error=False, print_error=False, result_action="return_value") or 0
        sys.stdout.flush()
        return code
    except (UserError, CycloptsError) as error:
        return _fail(2, _mistake(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        _discard_stdout()  # whoever read our output has gone
        return 1
    except Exception as error:
        if os.environ.get("MINITX_DEBUG") == "1":
            raise
        return _fail(1, _fault(error))


def _setting_flags():
    """A TypedDict with a flag for every setting: the command receives those that were typed, and no other."""
    flags, groups = {}, {}
    for field in dataclasses.fields(Settings):
        name = field.metadata["group"]
        group = groups.setdefault(name, Group(name, sort_key=len(groups) + 1))
        kind = typing.get_args(field.type)[0] if isinstance(field.type, types.UnionType) else field.type
        default = str(field.default).lower() if kind is bool else field.default
        text = field.metadata["help"] + ("" if default is None else f" [default: {default}]")
        converter = whole if kind is int else None
        flags[field.name] = Annotated[kind, Parameter(help=text, group=group, converter=converter)]
    return typing.TypedDict("SettingFlags", flags, total=False)


SettingFlags = _setting_flags()
Runs = Annotated[list[Path], Parameter(negative=())]
Preset = Annotated[str | None, Parameter(
    help=f"settings that go together: {', '.join(PRESETS)} [default: small or laptop for your own pairs, by how many there are; language-model for --text; else toy]")]


@app.command(sort_key=0)
def train(
    *,
    preset: Preset = None,
    out: Path | None = None,
    overwrite: Switch = False,
    resume: Path | None = None,
    profile: Switch = False,
    settings: Annotated[SettingFlags | None, Parameter(name="*")] = None,
):
    """Train a translator or a language model and save it as a run.

    A translator learns from toy languages that minitx makes itself, or from your own pairs of sentences; a language model
    from any text.
    Every setting has a default; a preset changes several of them, a flag one.

    Parameters
    ----------
    out
        folder of the run [default: runs/en-es and the like, numbered when taken]
    overwrite
        replace the run that --out already holds
    resume
        go on with the run in this folder, with the settings it has
    profile
        show where the time of an update goes, measured on some, and end; nothing is saved
    """
    named = settings or {}
    if resume is None:
        asked = preset
        chosen, preset = choose(named, preset)
        preset = preset if asked or not chosen.own_text else f"{preset}, chosen by the size of the data"
    elif preset or out or overwrite:
        raise UserError("resume goes on in the run's own folder, as it was set; drop --preset, --out and --overwrite")
    else:
        chosen = choose_resumed(resume, named)
    _require(chosen.device)
    from .console import Console

    if profile:
        if out or overwrite:
            raise UserError("profile saves nothing; drop --out and --overwrite")
        from .bench import report, step_profile

        with Console(preset=preset) as console:
            report.show(step_profile.run(chosen, console))
        return 0
    from .training.run import Interrupted
    from .training.run import train as train_run

    with Console(preset=preset) as console:
        try:
            train_run(chosen, out=out, overwrite=overwrite, resume=resume, console=console)
        except Interrupted as stop:
            console.interrupted(stop.run)
            return 130
    return 0


@app.command(sort_key=1)
def translate(
    run: Path,
    /,
    *text: str,
    beam: Whole = 1,
    n_best: Whole = 1,
    alpha: float = 1.0,
    beta: float = 0.0,
    samples: Whole = 0,
    temperature: float = 1.0,
    top_k: Whole = 0,
    top_p: float = 1.0,
    seed: Whole = 0,
    prefix: str = "",
    ensemble: Runs | None = None,
    copy_unknown: Switch = False,
    tokenised: Switch = False,
    show_attention: Switch = False,
    device: Literal["cpu", "cuda"] = "cpu",
):
    """Translate sentences, typed or from standard input.

    Without any text, every line of standard input gives one line of translation.

    Parameters
    ----------
    run
        folder of the run that minitx train made
    text
        sentences, each in quotes; those that begin with a dash stand behind --
    beam
        hypotheses kept by the search; 1 is greedy
    n_best
        translations shown of each sentence, as its number, a score and the text
    alpha
        power of the length by which a beam divides log P; 0 prefers short translations
    beta
        weight of the coverage penalty: above 0, a beam leaves fewer words out; 0.2 is usual
    samples
        draw so many translations instead of searching, shown as with --n-best
    temperature
        of samples: above 1 bolder, below 1 safer
    top_k
        of samples: only the k most probable words may be said; 0: all
    top_p
        of samples: only the most probable words that together have this probability; 1: all
    seed
        of samples: another seed, other translations
    prefix
        words that every translation begins with
    ensemble
        another run with the same vocabularies, to translate together; several times for several
    copy_unknown
        put the word that the decoder looked at in the place of <unk>
    tokenised
        read and write text as the model was trained on it, where that has its punctuation apart
    show_attention
        draw where the decoder looked when it wrote each word
    device
        where to compute
    """
    _check_beam(beam)
    if samples < 0 or samples and beam > 1:
        raise UserError(f"samples is {samples}{' and beam is ' + str(beam) if beam > 1 else ''}: draw one translation or more, or search; drop one of the two")
    if not 1 <= n_best <= beam:
        raise UserError(f"n_best is {n_best} but beam keeps {beam}; take --beam {max(n_best, 1)} or a smaller --n-best")
    _require(device)
    from .console import Console

    translator, console, number = translator_of(run, device=device, ensemble=ensemble or ()), Console(), 0
    if (show_attention or copy_unknown) and translator.settings.score == "none":
        flag = "--show-attention" if show_attention else "--copy-unknown"
        raise UserError(f"{run} has no attention: it was trained with --score none; drop {flag}")
    options = {"prefix": typed(prefix), "copy_unknown": copy_unknown, "tokenised": tokenised}
    for lines in [[typed(line) for line in text]] if text else _lines_of_stdin():
        _warn_of_unknown_words(translator, lines, number)
        if samples:
            found = translator.sample(lines, samples, seed, temperature=temperature, top_k=top_k, top_p=top_p, **options)
        else:
            found = translator.translate(lines, beam=beam, n_best=n_best, alpha=alpha, beta=beta, **options)
        for line, result in zip(lines, found, strict=True):
            number += 1
            hypotheses = [result] if isinstance(result, str) else [f"{number}\t{one.score:.4f}\t{one.text}" for one in result]
            print(*hypotheses, sep="\n")
            if show_attention and line.strip():
                console.attention(*translator.attention(line, beam=beam))
        sys.stdout.flush()


@app.command(sort_key=2)
def generate(
    run: Path,
    /,
    *,
    prompt: Texts | None = None,
    n: Whole = 1,
    max_tokens: Whole = 200,
    temperature: float = 1.0,
    top_k: Whole = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
    stop: Texts | None = None,
    seed: Whole = 0,
    stream: Switch = False,
    show_distribution: Switch = False,
    out: Path | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
):
    """Go on with a text, by a language model.

    Tokens are drawn from the model's probabilities, as the flags below change them.

    Parameters
    ----------
    run
        folder of the run that minitx train --text made, or of a pretrained model (GPT-2 or Llama, as Hugging Face stores them)
    prompt
        what to go on with; several times for several texts in one batch [default: the start of a line]
    n
        samples of each prompt
    max_tokens
        most tokens of each sample
    temperature
        above 1 bolder, below 1 safer; 0: always the most probable token
    top_k
        only the k most probable tokens may be said; 0: all
    top_p
        only the most probable tokens that together have this probability; 1: all
    min_p
        only tokens with at least this share of the highest probability; 0: all
    repetition_penalty
        above 1, what has been said becomes less likely
    stop
        end a sample before this text; several times for several
    seed
        another seed, other texts
    stream
        show the text as it comes
    show_distribution
        show how likely each next token is, instead of going on
    out
        with --show-distribution: a PNG file for the picture of it
    device
        where to compute
    """
    prompts, stop = [typed(text, keep_lines=True) for text in prompt or [""]], stop or []
    sampling = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p, "repetition_penalty": repetition_penalty}
    if not 1 <= n <= 10_000:
        raise UserError(f"n is {n} but must be a whole number from 1 to 10,000")
    if (stream or show_distribution) and len(prompts) * n > 1:
        raise UserError(f"{'stream' if stream else 'show_distribution'} is for one text, but {len(prompts) * n} are asked for; give one --prompt and no --n")
    if out is not None and not show_distribution:
        raise UserError("out is for the picture that --show-distribution draws; add --show-distribution")
    _require(device)
    import minitx

    generator = minitx.load(run, device=device)
    if not hasattr(generator, "generate"):
        raise UserError(f"{run} is a translator; use it with minitx translate, or train a language model: minitx train --text FILE")
    for number, text in enumerate(prompts, 1):
        if unknown := generator.unknown(text):
            warnings.warn(f"prompt {number}: never seen in training: {', '.join(map(repr, unknown))}")
    if show_distribution:
        _show_distribution(generator, prompts[0], sampling, out)
    elif stream:
        for piece in chain(prompts, generator.stream(prompts[0], max_tokens=max_tokens, stop=stop, seed=seed, **sampling)):
            print(piece, end="", flush=True)
        print()
    else:
        found = generator.generate(prompts, n=n, max_tokens=max_tokens, stop=stop, seed=seed, **sampling)
        texts = [text + one for text, samples in zip(prompts, found) for one in (samples if n > 1 else [samples])]
        for number, text in enumerate(texts, 1):
            if len(texts) > 1:
                print(f"── {number} of {len(texts)} ──")
            print(text)


@app.command(sort_key=3)
def evaluate(
    run: Path,
    /,
    *,
    src: Path | None = None,
    ref: Path | None = None,
    text: Path | None = None,
    beam: Whole = 1,
    alpha: float = 1.0,
    beta: float = 0.0,
    ensemble: Runs | None = None,
    json: Switch = False,
    device: Literal["cpu", "cuda"] = "cpu",
):
    """Score a run on what it was not trained on: its own held-out text, or yours.

    Parameters
    ----------
    run
        folder of the run that minitx train made; with --text also of a pretrained model
    src
        text to translate, a sentence a line; with --ref
    ref
        its right translation, line by line
    text
        text to score a language model on
    beam
        hypotheses kept by the search; 1 is greedy
    alpha
        power of the length by which a beam divides log P
    beta
        weight of a beam's coverage penalty
    ensemble
        another run with the same vocabularies, to translate together; several times for several
    json
        print one JSON object and nothing else
    device
        where to compute
    """
    if (src is None) != (ref is None):
        raise UserError("src and ref come together: the text to translate and its right translation")
    _check_beam(beam)
    _require(device)
    from .training.evaluate import evaluate as evaluate_run

    result = evaluate_run(run, source=src, reference=ref, text=text, beam=beam, alpha=alpha, beta=beta, ensemble=ensemble or (), device=device)
    if json:
        _print_json(result)
    else:
        from .console import Console

        console = Console()
        console.scores(result.get("splits", result), result.get("rules"), result.get("signature"))
        if "lengths" in result:
            console.speed(result["speed"]["sentences"], result["speed"]["seconds"], beam)
            console.text_scores(result["scores"], result["lengths"], _picture_of_lengths(result["lengths"], run))


app.command(attention, sort_key=4)
app.command(neighbours, sort_key=5)


@app.command(sort_key=6)
def grammar(*, pair: str = "en-es", n: Whole = 5, seed: Whole = 0, rules: Switch = False):
    """Show the toy languages: sentences, translations, rules.

    Parameters
    ----------
    pair
        two toy languages, SOURCE-TARGET
    n
        number of sentences
    seed
        another seed, other sentences
    rules
        show the table of all rules instead
    """
    if not 1 <= n <= 100_000:
        raise UserError(f"n is {n} but must be a whole number from 1 to 100,000")
    if seed < 0:
        raise UserError(f"seed is {seed} but must be a whole number from 0")
    from .data import toy

    print(_rules_table(toy.RULES) if rules else toy.describe(pair, n, seed))


@app.command(sort_key=7)
def bench(
    what: Literal["kernels", "training", "scaling"] = "kernels",
    /,
    *,
    only: str | None = None,
    against: str | None = None,
    seconds: float | None = None,
    losses: Whole = 0,
    src: Path | None = None,
    tgt: Path | None = None,
    threads: Whole = 0,
    quick: Switch = False,
    json: Switch = False,
    out: Path | None = None,
):
    """Measure kernels, training steps, or how their cost grows.

    Alternatives take turns, each in a process of its own, and in the same run their results are compared with NumPy's.

    Parameters
    ----------
    what
        every kernel over its sizes; whole steps of four workloads, W1 to W4; or steps that grow in batch, length, width and layers
    only
        some of them, with commas between: softmax,linear or W1,W3 or length,width
    against
        torch: PyTorch takes turns, too; torch-kept: with an allocator that keeps its memory; torch,torch-kept: both
    seconds
        for which each alternative of a row is measured [default: 0.5 for kernels and scaling, 5 for training]
    losses
        compare so many first losses of training, dropout off, with PyTorch's and with those in float64
    src
        text for the batches of W3 and W4, with --tgt; without, sentences are drawn with the lengths of Multi30k
    tgt
        its translation, line by line
    threads
        threads of the CPU kernels; 0: all
    quick
        tiny sizes, to see that everything works
    json
        print one JSON object and nothing else
    out
        folder for pictures
    """
    from .bench import command

    result, pictures = command.run(
        what, only=_listed(only), against=_listed(against), seconds=seconds, losses=losses, src=src, tgt=tgt, threads=threads, quick=quick, out=out)
    if json:
        _print_json(result)
        return
    from .bench import report

    report.show(result)
    print(*pictures, sep="\n")


@app.command(sort_key=8)
def info(*, json: Switch = False):
    """Show what minitx runs on, and CUDA or why not.

    Parameters
    ----------
    json
        print one JSON object and nothing else
    """
    facts = _facts()
    if json:
        _print_json(facts)
    else:
        for name, value in facts.items():
            print(f"{name.replace('_', ' '):<18}{value}")


def _picture_of_lengths(groups, run):
    """Path of the picture of BLEU by length, in the folder of the run."""
    from . import plots

    path = run / "bleu-by-length.png"
    plots.bleu_by_length(groups, path)
    return path


def _check_beam(beam):
    if not 1 <= beam <= 1000:
        raise UserError(f"beam is {beam} but must be a whole number from 1 to 1,000; 4 is usual")


def _listed(names):
    """Names between commas."""
    return tuple(name.strip() for name in names.split(",") if name.strip()) if names else ()


def _show_distribution(generator, prompt, sampling, out):
    """The most probable next tokens as a table and, with `out`, as a picture."""
    from .console import Console

    found = generator.next_tokens(prompt, **sampling)
    Console().distribution(prompt, found)
    if out is not None:
        from .plots import distribution

        if missing_font := distribution(found, out):
            warnings.warn(missing_font)


def _rules_table(rules):
    from rich.cells import cell_len, set_cell_size

    width = max(map(cell_len, rules)) + 2
    return "\n".join(set_cell_size(name, width) + explanation for name, explanation in rules.items())


def _lines_of_stdin():
    """Lists of lines, as soon as they have come: a pipe gives many at once, a person one."""
    if sys.stdin is None:  # closed by whoever started us
        return
    if sys.stdin.isatty():
        print("one sentence a line; Ctrl-D ends", file=sys.stderr)
    rest = b""
    # read1 waits for the first bytes only, so a program that waits for each answer gets it.
    while chunk := sys.stdin.buffer.read1(1 << 16):
        *lines, rest = (rest + chunk).split(b"\n")
        if lines:
            yield [decoded(line.removesuffix(b"\r")) for line in lines]
    if rest:
        yield [decoded(rest)]


def _warn_of_unknown_words(translator, lines, number):
    for place, line in enumerate(lines, number + 1):
        if words := translator.unknown(line):
            warnings.warn(f"sentence {place}: never seen in training: {', '.join(words)}")


def _require(device):
    """Refuse "cuda" where there is none."""
    if device == "cuda":
        from .kernels.runtime import gpu

        if missing := gpu.missing():
            raise UserError(f"device cuda: {missing}; --device cpu works everywhere")


def _facts():
    """Everything that `minitx info` tells, by name."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from .kernels.runtime import gpu, threads

    facts = {
        "minitx": _version(),
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": platform.platform(terse=True),
        "processor": _processor(),
        **threads.describe(),
        **gpu.describe(),
    }
    for package in ("numpy", "scipy", "numba", "tokenizers", "safetensors", "sacrebleu", "matplotlib"):
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            continue
    return facts


def _processor():
    import platform

    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _version():
    from minitx import __version__

    return __version__


def _print_json(value):
    import json
    import math

    def finite(part):
        """NaN and infinity, which JSON does not have, become null."""
        if isinstance(part, dict):
            return {name: finite(inner) for name, inner in part.items()}
        return None if isinstance(part, float) and not math.isfinite(part) else part

    print(json.dumps(finite(value), ensure_ascii=False, indent=2))


def _prepare_streams():
    """UTF-8 everywhere, whatever the locale; warnings as one line."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    warnings.simplefilter("always", UserWarning)
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)


def _fail(code, message):
    try:
        sys.stdout.flush()
    except OSError:
        _discard_stdout()
    print("\n".join(f"error: {message}".splitlines()[:3]), file=sys.stderr)
    return code


def _discard_stdout():
    """Python would complain once more when it flushes into a closed pipe or a full disk at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _mistake(error):
    message = str(error)
    if isinstance(error, CycloptsError):
        chain = " ".join(("minitx", *(error.command_chain or ())))
        message = f"{message[:1].lower()}{message[1:]}\nsee {chain} --help"
    return message


def _fault(error):
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return f"out of memory{f': {error}' if str(error) else ''}; try a smaller --batch-tokens or --d-model"
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first} (a fault of minitx; MINITX_DEBUG=1 shows where)"
