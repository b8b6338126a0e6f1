"""The commands `minitx evaluate`, `minitx bench` and `minitx info`: how good a run is, how fast a kernel, and on what machine."""
from pathlib import Path
from typing import Literal

from ..errors import UserError
from .typed import Runs, Switch, Whole, check_beam, require


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
    copy_unknown: Switch = False,
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
        weight of a beam's coverage penalty: about 0.01 beside alpha 1, 0.2 beside alpha 0.2
    ensemble
        another run with the same vocabularies, to translate together; several times for several
    copy_unknown
        put the word that the decoder looked at in the place of <unk>
    json
        print one JSON object and nothing else
    device
        where to compute
    """
    if (src is None) != (ref is None):
        raise UserError("src and ref come together: the text to translate and its right translation")
    check_beam(beam, alpha, beta)
    require(device)
    from ..training.evaluate import evaluate as evaluate_run

    result = evaluate_run(
        run, source=src, reference=ref, text=text, beam=beam, alpha=alpha, beta=beta, ensemble=ensemble or (), copy_unknown=copy_unknown, device=device)
    if json:
        _print_json(result)
    else:
        from ..console import Console

        console = Console()
        console.scores(result.get("splits", result), result.get("rules"), result.get("signature"))
        if "lengths" in result:
            console.speed(result["speed"]["sentences"], result["speed"]["seconds"], beam)
            console.text_scores(result["scores"], result["lengths"])
            _draw_lengths(result["lengths"], run / "bleu-by-length.png", console)


def _draw_lengths(groups, path, console):
    """BLEU by length as a picture in the folder of the run, if one may write there."""
    from .. import plots

    try:
        plots.bleu_by_length(groups, path)
        console.picture(path)
    except OSError as error:
        console.note(f"without its picture: {error}")


def bench(
    what: Literal["kernels", "training", "scaling"] = "kernels",
    /,
    *,
    only: str | None = None,
    against: str | None = None,
    device: str | None = None,
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
        every kernel over its sizes; whole steps of four workloads, W1 to W4, and on a GPU W5; or steps that grow in batch, length, width and layers
    only
        some of them, with commas between: softmax,linear or W1,W3 or length,width
    against
        torch: PyTorch takes turns, too; torch-kept: with an allocator that keeps its memory; torch,torch-kept: both
    device
        cpu (the default); cpu,cuda: on a GPU as well, fast and naive kernels at larger sizes too; cuda: training steps on a GPU alone
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
    from ..bench import command

    result, pictures = command.run(
        what, only=_listed(only), against=_listed(against), devices=_listed(device) or ("cpu",), seconds=seconds, losses=losses, src=src, tgt=tgt,
        threads=threads, quick=quick, out=out)
    if json:
        _print_json(result)
        return
    from ..bench import report

    report.show(result)
    print(*pictures, sep="\n")


def _listed(names):
    """Names between commas."""
    return tuple(name.strip() for name in names.split(",") if name.strip()) if names else ()


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


def _print_json(value):
    import json
    import math

    def finite(part):
        """NaN and infinity, which JSON does not have, become null."""
        if isinstance(part, dict):
            return {name: finite(inner) for name, inner in part.items()}
        if isinstance(part, (list, tuple)):
            return list(map(finite, part))
        return None if isinstance(part, float) and not math.isfinite(part) else part

    print(json.dumps(finite(value), ensure_ascii=False, indent=2))


def _facts():
    """Everything that `minitx info` tells, by name."""
    import platform
    from importlib import metadata

    from ..kernels.runtime import gpu, threads

    facts = {
        "minitx": version(),
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": platform.platform(terse=True),
        "processor": _processor(),
        **threads.describe(),
        **gpu.describe(),
    }
    for package in ("numpy", "scipy", "numba", "tokenizers", "safetensors", "sacrebleu", "matplotlib"):
        try:
            facts[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return facts


def _processor():
    import platform

    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def version():
    """Of minitx."""
    from minitx import __version__

    return __version__
