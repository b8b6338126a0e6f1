"""What each part of a translator is good for: the same run without it, and the same weights searched in other ways.

    python scripts/ablations.py --pair en-ko
    python scripts/ablations.py --src train.en --tgt train.de --valid-src val.en --valid-tgt val.de --preset multi30k-tiny --steps 2000

Every row is a run of its own, from the same seed on the same data, scored on what no run has seen: the held-out text, or the toy languages' unseen
sentences. The folder --out holds the runs, and the tables as ablations.md and ablations.json, written anew after every row. Stopped at any instant, the
script goes on where it was.
"""
import argparse
import json
import re
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VARIANTS = {
    "as it is": {},
    "without positions": {"positions": "none"},
    "without label smoothing": {"label_smoothing": 0.0},
    "without tied embeddings": {"tie_embeddings": "none"},
    "one head": {"n_heads": 1},
}
BEAMS = {"greedy, a beam of 1": 1, "beam 5": 5, "beam 10": 10}
TOY = {"label_smoothing": 0.1}  # the other presets have it


def main(arguments=None):
    """Train, score and write, row by row."""
    from minitx.data.files import write_atomically
    from minitx.presets import choose

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for flag in ("--pair", "--src", "--tgt", "--valid-src", "--valid-tgt", "--preset"):
        parser.add_argument(flag)
    for flag in ("--steps", "--epochs", "--seed"):
        parser.add_argument(flag, type=int)
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"))
    named = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
    out, preset = named.pop("out"), named.pop("preset", None)
    base = choose((TOY if "src" not in named else {}) | named, preset)[0]
    out.mkdir(parents=True, exist_ok=True)
    results = read(out / "ablations.json", base)

    def keep():
        write_atomically(out / "ablations.json", json.dumps(results, indent=2, ensure_ascii=False) + "\n")
        write_atomically(out / "ablations.md", markdown(results))

    for name, changes in VARIANTS.items():
        row = results["runs"].setdefault(name, {"changes": changes, "seconds": 0.0})
        if "bleu" not in row:
            folder = out / re.sub(r"\W+", "-", name)
            train_on(folder, base.replace(**changes), row, keep)
            row.update(scored(folder, 1), parameters=size(folder))
            keep()
    for name, beam in BEAMS.items():
        if name not in results["searches"]:
            results["searches"][name] = {"beam": beam, **scored(out / "as-it-is", beam)}
            keep()
    print(markdown(results))


def read(path, base):
    """The results so far; those of other settings are not gone on with."""
    settings = base.to_json()
    if not path.exists():
        return {"settings": settings, "runs": {}, "searches": {}}
    results = json.loads(path.read_text(encoding="utf-8"))
    if results["settings"] != settings:
        differing = [name for name in settings if results["settings"].get(name) != settings[name]]
        raise SystemExit(f"{path.parent} holds results with other settings ({', '.join(differing)}); name another --out")
    return results


def train_on(folder, settings, row, keep):
    """Train one variant, or go on with it; `row["seconds"]` counts all sessions, as of the last validation of each."""
    from minitx.presets import choose_resumed
    from minitx.run_folder import RunFolder
    from minitx.silent import Silent
    from minitx.training.run import train

    class Clock(Silent):
        def __init__(self):
            self.before = time.monotonic()

        def plan(self, steps, seconds, **_):
            print(f"{folder.name}: {steps} steps, about {seconds / 60:.0f} minutes", file=sys.stderr, flush=True)

        def validation(self, step, metrics, samples, best):
            self.count()

        def count(self):
            now = time.monotonic()
            row["seconds"] += now - self.before
            self.before = now
            keep()

    clock = Clock()
    resumed = RunFolder(folder).exists()
    train(choose_resumed(folder, {}) if resumed else settings, **{"resume" if resumed else "out": folder}, console=clock)
    clock.count()


def scored(folder, beam):
    """Scores of the sentences that no run has seen, and how many of them are translated a second."""
    import minitx
    from minitx.training.evaluate import as_trained, held_out, score_splits

    translator, splits = minitx.load(folder), held_out(folder)
    pairs = splits["unseen_sentences"] if "unseen_sentences" in splits else as_trained(splits["validation"], translator.tokenizers)
    sources = [pair.source for pair in pairs]
    translator.translate(sources[:10], beam=beam, tokenised=True)  # what is compiled or loaded once is not counted
    started = time.perf_counter()
    found = translator.translate(sources, beam=beam, tokenised=True)
    seconds = time.perf_counter() - started
    result = score_splits(translator, {"": pairs}, {"": found})
    return {**result["splits"][""], "signature": result["signature"], "sentences_per_second": len(pairs) / seconds}


def size(folder):
    """How many parameters the model of a run has."""
    from minitx.run_folder import RunFolder

    return RunFolder(folder).load_model().n_parameters()


def markdown(results):
    """Both tables, as far as there are rows."""
    settings = results["settings"]
    length = f"{settings['steps']:,} steps" if settings["steps"] else f"{settings['epochs']:,} epochs"
    lines = [f"| {length} | parameters | loss | BLEU, greedy | exact match | minutes |", "|---|---:|---:|---:|---:|---:|"]
    for name, row in results["runs"].items():
        if "bleu" in row:
            lines.append(f"| {name} | {row['parameters']:,} | {row['loss']:.3f} | {row['bleu']:.2f} | {row['exact_match']:.1%} | {row['seconds'] / 60:.1f} |")
    lines += ["", "| search, as it is | BLEU | exact match | sentences per second |", "|---|---:|---:|---:|"]
    for name, row in results["searches"].items():
        lines.append(f"| {name} | {row['bleu']:.2f} | {row['exact_match']:.1%} | {row['sentences_per_second']:,.0f} |")
    signatures = {row["signature"] for row in (*results["runs"].values(), *results["searches"].values()) if "signature" in row}
    return "\n".join([*lines, "", *(f"BLEU by sacrebleu, {signature}" for signature in sorted(signatures))]) + "\n"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
