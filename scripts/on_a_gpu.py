"""On a machine with a GPU: run the tests that need one, measure kernels and training steps beside the CPU and PyTorch, and write a dated result.

    python scripts/on_a_gpu.py

Nothing has to be installed but what minitx needs, with numba-cuda, CuPy and pytest; PyTorch takes part where it is there. The result is
benchmarks/DATE-GPU/: `result.json` with the versions, the tests that passed and failed, what the GPU copies and multiplies, a row for every kernel
and size, and one for every workload; and the pictures. A test that fails or a result that is wrong is told, and makes the command exit with 1; what was
measured is written all the same, after each part. `--only tests`, then `--only kernels` and `--only training`, do it in pieces, into the same folder.
"""
import argparse
import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NEEDED = "numpy", "scipy", "numba", "threadpoolctl", "matplotlib", "rich", "cyclopts", "tokenizers", "safetensors", "sacrebleu", "pytest"
VERSIONS = ("numpy", "scipy", "numba", "numba-cuda", "cupy-cuda13x", "cupy-cuda12x", "cuda-toolkit", "torch")
PARTS = ("tests", "kernels", "training")


def main(arguments=None):
    """Test, measure and write; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, action="append", help="this part; may be given more than once")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything works")
    parser.add_argument("--seconds", type=float, default=0.3, help="for which each side of a row of kernels is measured; a training step for ten times as long")
    parser.add_argument("--out", type=Path, help="folder for the result [default: benchmarks/DATE-GPU]")
    options = parser.parse_args(arguments)
    if why := lacking():
        print(why, file=sys.stderr)
        return 2
    from minitx.kernels.runtime import gpu

    date, name = datetime.date.today().isoformat(), gpu.describe().get("gpu 0", "gpu")
    folder = options.out or ROOT / "benchmarks" / f"{date}-{slug(name)}"
    result = {"date": date, "gpu": name, "versions": versions()}
    for part in options.only or PARTS:
        result[part] = tests() if part == "tests" else bench(part, options.seconds, options.quick)
        paths = write(result, folder)
    print(*paths, sep="\n")
    wrong = failures(result)
    for what in wrong:
        print(f"failed: {what}", file=sys.stderr)
    return 1 if wrong else 0


def lacking():
    """What is missing to compute on a GPU here, in a line; None where nothing is."""
    missing = [package for package in NEEDED if importlib.util.find_spec(package) is None]
    if missing:
        return f"{', '.join(missing)} not installed: {sys.executable} -m pip install {' '.join(missing)}"
    sys.path.insert(0, str(ROOT))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))  # of the processes that measure
    from minitx.kernels.runtime import gpu

    return gpu.missing()


def tests():
    """{"passed": how many, "skipped": how many, "failed": names} of `pytest -m gpu`."""
    with tempfile.TemporaryDirectory() as place:
        report = Path(place) / "report.xml"
        subprocess.run([sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/gpu", f"--junitxml={report}"], cwd=ROOT, check=False)
        return counted(report.read_text(encoding="utf-8")) if report.exists() else {"passed": 0, "skipped": 0, "failed": ["pytest wrote no report"]}


def counted(report):
    """What a report in JUnit's XML says."""
    cases = list(xml.etree.ElementTree.fromstring(report).iter("testcase"))
    outcomes = {kind: [f"{case.get('classname')}::{case.get('name')}" for case in cases if case.find(kind) is not None]
                for kind in ("failure", "error", "skipped")}
    failed = outcomes["failure"] + outcomes["error"]
    return {"passed": len(cases) - len(failed) - len(outcomes["skipped"]), "skipped": len(outcomes["skipped"]), "failed": failed}


def bench(part, seconds, quick):
    """The result of kernels.run or training.run on both devices."""
    from minitx.bench import kernels, training
    from minitx.kernels.runtime import threads

    threads.set_threads(0)
    options = {"against": ("torch",) if importlib.util.find_spec("torch") else (), "devices": ("cpu", "cuda"), "threads": threads.get_threads(),
               "quick": quick, "progress": lambda title: print(f"measuring {title}", file=sys.stderr)}
    if part == "kernels":
        return kernels.run(**options, seconds=0.02 if quick else seconds)
    return training.run(**options, seconds=0.02 if quick else 10 * seconds)


def versions():
    """{name: version} of what computes, and the system."""
    found = {"python": platform.python_version(), "system": platform.platform()}
    for name in VERSIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def slug(name):
    """NVIDIA H200, compute capability 9.0, … as nvidia-h200."""
    return re.sub(r"[^a-z0-9]+", "-", name.split(",")[0].lower()).strip("-")


def write(result, folder):
    """Write the result, with the parts that are there already and were not done again, and its pictures; returns their paths."""
    from minitx.bench import pictures

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "result.json"
    if path.exists():
        result = json.loads(path.read_text(encoding="utf-8")) | result
    path.write_text(json.dumps(result, default=float) + "\n", encoding="utf-8")
    return [path, *(picture for part in PARTS[1:] if part in result for picture in pictures.draw(result[part], folder))]


def failures(result):
    """The names of tests that failed and of rows whose numbers are wrong."""
    wrong = list(result.get("tests", {}).get("failed", ()))
    wrong += [f"{row['kernel']} {row['shape']} {row['pass']}" for row in result.get("kernels", {}).get("rows", ()) if not row["correct"]]
    return wrong + [row["name"] for row in result.get("training", {}).get("rows", ()) if not row["correct"]]


if __name__ == "__main__":
    sys.exit(main())
