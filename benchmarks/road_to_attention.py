"""The road to attention on Multi30k, German to English, word by word: four translators, ten epochs each of the same pairs.

    python benchmarks/road_to_attention.py FOLDER --out runs/road      # FOLDER has {train,val}.lc.norm.tok.{de,en}

The Transformer, the states of the recurrent models, dropout and learning rates are those of Ben Trevett's PyTorch
tutorials, and so are the words (those that occur twice) and the batches (128 sentences). His recurrent models have
embeddings of 256, here they are as wide as the states; his bidirectional encoder has the decoder's width in each
direction, here half of it; and his decoder reads its own words half of the time, here always the true ones. After every epoch `--out` has a table, road.md, and its
numbers, road.json. Ctrl-C saves; the same command goes on where it was, and at its end tells only what there is.

The tutorials' figures are on Test2016; these are on `val`, from the weights with the lowest loss there, greedily.
"""
import argparse
import json
import sys
from pathlib import Path

from minitx.console import Console
from minitx.data.files import read_lines, write_atomically
from minitx.errors import UserError
from minitx.presets import choose, choose_resumed
from minitx.run_folder import RunFolder
from minitx.training.evaluate import evaluate
from minitx.training.run import Interrupted, train

COMMON = {"tokenizer": "words", "vocab_size": 100_000, "min_frequency": 2, "lowercase": True, "tie_embeddings": "none", "max_length": 100,
          "batch_tokens": 1800, "schedule": "constant", "warmup": 0, "beta2": 0.999, "validate_every": 0}
RECURRENT = COMMON | {"model": "recurrent", "d_model": 512, "dropout": 0.5, "learning_rate": 1e-3}
MODELS = {  # name: (BLEU of the tutorial, settings)
    "LSTM without attention": (13.8, RECURRENT | {"cell": "lstm", "score": "none", "context": "start", "n_layers": 2}),
    "GRU with context": (20.6, RECURRENT | {"cell": "gru", "score": "none", "context": "input"}),
    "GRU with additive attention": (28.3, RECURRENT | {"cell": "gru", "score": "additive", "context": "input", "bidirectional": True}),
    "Transformer": (36.5, COMMON | {"d_model": 256, "n_heads": 8, "d_ff": 512, "dropout": 0.1, "attention_dropout": 0.1, "norm": "post",
                                    "positions": "learned", "learning_rate": 5e-4}),
}


class Watched(Console):
    """A console that writes the table after every validation."""

    def __init__(self, tell):
        super().__init__()
        self.tell = tell

    def validation(self, step, metrics, samples, best):
        super().validation(step, metrics, samples, best)
        self.tell()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of Multi30k's text, lowercased and tokenised")
    parser.add_argument("--out", type=Path, default=Path("runs/road"), help="folder of the runs and the table (runs/road)")
    parser.add_argument("--epochs", type=int, default=10, help="of each model (10)")
    parser.add_argument("--only", choices=MODELS, action="append", help="one of the models; several times for several")
    given = parser.parse_args()
    texts = {f"{role}{side}": str(given.data / f"{part}.lc.norm.tok.{language}")
             for role, part in (("", "train"), ("valid_", "val")) for side, language in (("src", "de"), ("tgt", "en"))}
    words = sum(len(line.split()) + 1 for line in read_lines(texts["tgt"]))
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.only or MODELS:
        settings = choose(texts | MODELS[name][1] | {"epochs": given.epochs}, "toy")[0]
        run = given.out / name.lower().replace(" ", "-")
        console = Watched(lambda: write_table(given.out, words))
        with console:
            if (run / "config.json").exists():
                check_same(run, settings)
                train(choose_resumed(run, texts), resume=run, console=console)
            else:
                train(settings, out=run, console=console)
        if not (run / "val.json").exists():
            scores = evaluate(run, texts["valid_src"], texts["valid_tgt"])
            write_atomically(run / "val.json", json.dumps(scores, ensure_ascii=False, indent=1))
        write_table(given.out, words)
    print((given.out / "road.md").read_text(encoding="utf-8"))


def check_same(run, settings):
    """A UserError where the run in the folder is not of these settings, wherever its text was then."""
    elsewhere = {name: None for name in ("src", "tgt", "valid_src", "valid_tgt")}
    one, other = (settings.to_json() | elsewhere, RunFolder(run).settings().to_json() | elsewhere)
    if differing := [name for name in one if one[name] != other[name]]:
        raise UserError(f"{run} holds a run with another {differing[0]}, {other[differing[0]]}; take another --out")


def write_table(out, words):
    """road.md and road.json: what is known of each model so far. `words` of the target: in the training pairs, <eos> included."""
    rows = [row for name in MODELS if (row := row_of(name, out / name.lower().replace(" ", "-"), words))]
    write_atomically(out / "road.json", json.dumps(rows, ensure_ascii=False, indent=1))
    lines = ["| model | parameters | epochs | perplexity | BLEU on val | tutorial, Test2016 | an epoch |", "|---|--:|--:|--:|--:|--:|--:|"]
    for row in rows:
        bleu = f"{row['bleu']:.1f}" if row["bleu"] is not None else "…"
        lines.append(f"| {row['model']} | {row['parameters']:,} | {row['epochs']} | {row['perplexity']:.2f} | {bleu} | {row['tutorial']} "
                     f"| {row['seconds_per_epoch']:.0f} s |")
    if lengths := {row["model"]: {group["words"]: group["bleu"] for group in row["lengths"]} for row in rows if row["lengths"]}:
        groups = list(next(iter(lengths.values())))
        lines += ["", "BLEU by the words of the source:", "", f"| model | {' | '.join(groups)} |", f"|---|{'--:|' * len(groups)}"]
        lines += [f"| {name} | {' | '.join(f'{bleus[group]:.1f}' for group in groups)} |" for name, bleus in lengths.items()]
    if signature := next((row["signature"] for row in rows if row["signature"]), None):
        lines += ["", f"BLEU by sacrebleu, {signature}, of the text as it is: lowercased and tokenised."]
    write_atomically(out / "road.md", "\n".join(lines) + "\n")


def row_of(name, run, words):
    """What the table says of a model, or None before its first validation."""
    folder = RunFolder(run)
    records = [json.loads(line) for line in folder.metrics.read_text(encoding="utf-8").splitlines()] if folder.metrics.exists() else []
    validations = [record for record in records if "valid_loss" in record]
    if not validations:
        return None
    first, *later = [record["tokens_per_second"] for record in records if "loss" in record]
    rates = later or [first]  # without the first update, which is cold
    scores = json.loads((run / "val.json").read_text(encoding="utf-8")) if (run / "val.json").exists() else None
    bleu = next(iter(scores["splits"].values()))["bleu"] if scores else None
    return {"model": name, "tutorial": MODELS[name][0], "parameters": parameters(folder), "epochs": len(validations),
            "perplexity": min(record["perplexity"] for record in validations), "bleu": bleu,
            "seconds_per_epoch": words * sum(1 / rate for rate in rates) / len(rates),  # each rate is of 25 updates alike: their harmonic mean
            "lengths": scores["lengths"] if scores else [], "signature": scores["signature"] if scores else None,
            "epochs_one_by_one": [{name: record[name] for name in ("step", "valid_loss", "bleu")} for record in validations]}


def parameters(folder):
    """How many numbers the run has learnt."""
    from minitx.run_folder import read_safetensors

    return sum(array.size for array in read_safetensors(folder.model)[0].values())


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except Interrupted:
        print("stopped and saved; the same command goes on", file=sys.stderr)
        sys.exit(130)
