"""The scripts in their short form, run as a reader would run them."""
import importlib.util
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from minitx.data.tokenizers import TokenizerPair
from minitx.data.toy import Example
from minitx.decoding.translator import Translator
from minitx.run_folder import build_model
from minitx.settings import Settings

ROOT = Path(__file__).parent.parent


def run_script(name, *arguments, folder):
    """What a script printed, when it ended well."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run([sys.executable, str(ROOT / "scripts" / f"{name}.py"), *arguments], cwd=folder, capture_output=True, encoding="utf-8", timeout=600,
                          env=os.environ | {"PYTHONPATH": path, "PYTHONUTF8": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_runs_that_are_killed_at_random_end_with_the_same_bits(tmp_path):
    printed = run_script("kill_and_resume", "--kills", "3", folder=tmp_path)
    assert "stops early at step" in printed
    kills, same, runs = re.findall(r"^(\d+) kills, (\d+) of (\d+) runs ended with the same bits$", printed, re.M)[-1]
    assert kills == "3" and same == runs != "0"
    assert list(tmp_path.iterdir()) == []


def test_ablations_go_on_where_they_were_stopped(tmp_path):
    for name, write in (("src", str.lower), ("tgt", str.upper)):
        (tmp_path / name).write_text("".join(write(f"a cat sees dog {'b c d e f g'.split()[i % 6]}{i}\n") for i in range(40)), encoding="utf-8")
    arguments = "--src src --tgt tgt --valid-src src --valid-tgt tgt --steps 2 --out out".split()
    run_script("ablations", *arguments, folder=tmp_path)
    results = json.loads((tmp_path / "out" / "ablations.json").read_text(encoding="utf-8"))
    assert {name: row["changes"] for name, row in results["runs"].items()} == {
        "as it is": {}, "without positions": {"positions": "none"}, "without label smoothing": {"label_smoothing": 0.0},
        "without tied embeddings": {"tie_embeddings": "none"}, "one head": {"n_heads": 1}}
    assert [row["beam"] for row in results["searches"].values()] == [1, 5, 10]
    for name, row in results["runs"].items():
        config = json.loads((tmp_path / "out" / name.replace(" ", "-") / "config.json").read_text(encoding="utf-8"))
        assert config["settings"] == results["settings"] | row["changes"] and row["loss"] > 0
    assert len({row["loss"] for row in results["runs"].values()}) == 5, "each is another run"
    table = (tmp_path / "out" / "ablations.md").read_text(encoding="utf-8")

    del results["searches"]["beam 10"]
    results["runs"]["one head"] = {"changes": {"n_heads": 1}, "seconds": 60.0}  # as after a kill while it was trained
    (tmp_path / "out" / "ablations.json").write_text(json.dumps(results), encoding="utf-8")
    weights = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/model.safetensors")}
    run_script("ablations", *arguments, folder=tmp_path)
    again = json.loads((tmp_path / "out" / "ablations.json").read_text(encoding="utf-8"))
    assert again["runs"]["one head"]["seconds"] >= 60 and "beam 10" in again["searches"]
    assert weights == {path: path.stat().st_mtime_ns for path in weights}, "what is trained is not trained again"
    rows = [line.split("|")[1:6] for line in (tmp_path / "out" / "ablations.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ") and "search" not in line]
    assert [row for row in rows if row[0].strip() in results["runs"]] == [
        line.split("|")[1:6] for line in table.splitlines() if line.startswith("| ") and line.split("|")[1].strip() in results["runs"]]


def test_ablations_of_the_toy_languages_are_scored_on_their_unseen_sentences(monkeypatch):
    spec = importlib.util.spec_from_file_location("ablations", ROOT / "scripts" / "ablations.py")
    ablations = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ablations)
    examples = [Example(source, source.upper(), (("copula",),) * 2, None) for source in ("a b", "b a")]
    tokenizers = TokenizerPair.train("words", [(example.source, example.target) for example in examples])
    translator, asked = Translator(build_model(Settings(d_model=8, n_heads=2, n_layers=1, d_ff=8), 6, 6), tokenizers), []
    monkeypatch.setattr(translator, "translate", lambda texts, **options: asked.append((texts, options)) or ["A B", "B A"])
    monkeypatch.setattr("minitx.load", lambda folder: translator)
    monkeypatch.setattr("minitx.training.evaluate.held_out", lambda folder: {"unseen_sentences": examples, "longer": []})
    found = ablations.scored("run", 5)
    assert asked == 2 * [(["a b", "b a"], {"beam": 5, "tokenised": True})]
    assert found["exact_match"] == 1 and found["loss"] > 0


def test_what_pytest_reports_of_a_gpu_is_counted():
    script = runpy.run_path(str(ROOT / "scripts" / "on_a_gpu.py"))
    report = ('<testsuites><testsuite><testcase classname="tests.gpu.a" name="good"/><testcase classname="tests.gpu.a" name="bad"><failure/></testcase>'
              '<testcase classname="tests.gpu.b" name="left"><skipped/></testcase></testsuite></testsuites>')
    assert script["counted"](report) == {"passed": 1, "skipped": 1, "failed": ["tests.gpu.a::bad"]}
    assert script["slug"]("NVIDIA H200, compute capability 9.0, 139 GB") == "nvidia-h200"


def without_a_gpu(*command):
    return subprocess.run([sys.executable, *command], cwd=ROOT, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True, timeout=300)


def test_what_is_missing_for_a_gpu_is_told():
    result = without_a_gpu("scripts/on_a_gpu.py")
    assert result.returncode == 2 and result.stdout == "" and len(result.stderr.splitlines()) == 1 and "NVIDIA driver" in result.stderr


def test_the_tests_for_a_gpu_do_not_pass_without_one():
    result = without_a_gpu("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", "tests/gpu")
    assert result.returncode == pytest.ExitCode.USAGE_ERROR and "no GPU to test on: " in result.stderr and "passed" not in result.stdout
