"""The script that trains the four translators of the road to attention: its table, and that it goes on where it was."""
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
MODEL = "GRU with context"


@pytest.fixture
def data(tmp_path):
    """A folder as the script wants it: words in another order on the other side."""
    drawn = random.Random(0)
    for part, n in (("train", 80), ("val", 10)):
        sentences = [[drawn.choice("ant bee cat dog eel".split()) for _ in range(drawn.randint(2, 12))] for _ in range(n)]
        for language, order in (("de", 1), ("en", -1)):
            text = "".join(" ".join(words[::order]) + " .\n" for words in sentences)
            (tmp_path / f"{part}.lc.norm.tok.{language}").write_text(text, encoding="utf-8")
    return tmp_path


def run(data, *options):
    command = [sys.executable, str(ROOT / "benchmarks" / "road_to_attention.py"), str(data), "--out", str(data / "out"), "--only", MODEL, *options]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=600, env=os.environ | {"PYTHONPATH": path, "PYTHONUTF8": "1"})


def test_a_model_is_trained_once_and_told_in_the_table(data):
    first = run(data, "--epochs", "2")
    assert first.returncode == 0, first.stderr
    [row] = json.loads((data / "out" / "road.json").read_text(encoding="utf-8"))
    scores = json.loads((data / "out" / "gru-with-context" / "val.json").read_text(encoding="utf-8"))
    assert row["model"] == MODEL and row["tutorial"] == 20.6 and row["epochs"] == len(row["epochs_one_by_one"]) == 2
    assert row["bleu"] == next(iter(scores["splits"].values()))["bleu"] and sum(group["sentences"] for group in row["lengths"]) == 10
    assert row["seconds_per_epoch"] > 0 and row["perplexity"] > 1 and row["parameters"] > 3_000_000
    table = (data / "out" / "road.md").read_text(encoding="utf-8")
    assert f"| {MODEL} | {row['parameters']:,} | 2 | {row['perplexity']:.2f} | {row['bleu']:.1f} | 20.6 |" in table and table in first.stdout
    record = data / "out" / "gru-with-context" / "metrics.jsonl"
    before = record.read_bytes()
    again = run(data, "--epochs", "2")
    assert again.returncode == 0 and "is finished" in again.stdout and record.read_bytes() == before
    other = run(data, "--epochs", "3")
    assert other.returncode == 1 and "holds a run with another epochs, 2; take another --out" in other.stderr
