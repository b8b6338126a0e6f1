"""Put mistakes into the CUDA kernels, one at a time in a copy, and see that the tests without a GPU find every one of them.

    python scripts/mutate_cuda.py
    python scripts/mutate_cuda.py --only attention/tiled

It takes an environment with numba-cuda, greenlet and pytest. Some mistakes are made wherever they can be: each barrier dropped, each wait for copies,
each shuffle, each first value of an array; the others stand in `cuda_mistakes.py`. One is caught when a test fails; when none does, a test is missing.
"""
import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from cuda_mistakes import MISTAKES

ROOT = Path(__file__).resolve().parent.parent
KERNELS = Path("minitx", "kernels")
DROPPED = {  # every such line gives way to `pass`
    "barrier": r"cuda\.syncthreads\(\)",
    "wait": r"wait(?:_for_copies)?\(\)",
    "shuffle": r"\w+(?:\[i\])? (?:\+= |= max\(\w+, )cuda\.shfl_xor_sync\(.*",
    "first value": r"\w+\[.*\] = (?:\w+\[.*\] = )?(?:ZERO|LOWEST|_NAN|filler)(?:, ZERO|, _NAN)?"}
ATTENTION, TENSOR_CORES, TILES = "tests/cuda/test_attention.py", "tests/cuda/test_tensor_cores.py", "tests/cuda/test_tiles.py"
SOME = ATTENTION + " -k 'cuda-shape and everything or sizes and 128 and dropout or large_scores'"
TESTS = {  # of the files whose mistakes others find sooner than the test of their folder; where the first, which is quick, finds nothing, the next is asked
    "attention/fragments_cuda.py": (TILES, TENSOR_CORES),
    "attention/naive.py": (ATTENTION + " -k naive",),
    "attention/tensor_cores.py": (TENSOR_CORES,),
    "attention/tensor_cores_backward.py": (TENSOR_CORES,),
    "attention/tiled.py": (SOME, ATTENTION),
    "attention/tiled_backward.py": (SOME, ATTENTION),
    "attention/tiles_cuda.py": (TILES, SOME, ATTENTION),
    "attention/work_cuda.py": (TILES, SOME, ATTENTION),
    "gru/cuda.py": ("tests/cuda/test_recurrent.py",),
    "lstm/cuda.py": ("tests/cuda/test_recurrent.py",),
    "runtime/columns.py": ("tests/cuda/test_linear.py",),
    "runtime/elements.py": ("tests/cuda/test_gelu.py", "tests/cuda/test_linear.py"),
    "runtime/intrinsics.py": ("tests/cuda/test_softmax.py",),
    "runtime/ptx.py": ("tests/cuda_compile -k attention.tensor_cores.attention[32]",),
    "runtime/rows.py": ("tests/cuda/test_softmax.py",)}


class Mistake(NamedTuple):
    """Characters `start` … `stop` of a file give way to `instead`, and `tests` must find it."""

    kind: str
    path: str
    start: int
    stop: int
    instead: str
    tests: tuple

    def into(self, source):
        return source[:self.start] + self.instead + source[self.stop:]


def main(arguments=None):
    """Print each mistake and what found it; exit with 1 if anything did not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="mistakes in files whose path begins like this")
    options = parser.parse_args(arguments)
    mistakes = [mistake for mistake in all_mistakes() if mistake.path.startswith(options.only)]
    passed, survived = set(), 0
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place, "minitx")
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "runs"))
        for mistake in mistakes:
            path, begun = copy / KERNELS / mistake.path, time.monotonic()
            source = path.read_text(encoding="utf-8")
            for tests in mistake.tests:
                if tests not in passed:
                    failed, said = run(copy, tests)
                    print(f"no mistake  {tests}  {said}", flush=True)
                    if failed:
                        return 1
                    passed.add(tests)
                path.write_text(mistake.into(source), encoding="utf-8")
                caught, said = run(copy, tests)
                path.write_text(source, encoding="utf-8")
                if caught:
                    break
            survived += not caught
            line, text = source.count("\n", 0, mistake.start) + 1, " ".join(source[mistake.start:mistake.stop].split())
            print(f"{'caught' if caught else 'SURVIVED'}  {mistake.path}:{line}  {mistake.kind}: {text}  {said}  {time.monotonic() - begun:.0f} s", flush=True)
    print(f"{len(mistakes) - survived} of {len(mistakes)} mistakes are caught")
    return 1 if survived else 0


def all_mistakes():
    """Those of `DROPPED` and `MISTAKES` in each file of kernels for CUDA; an error where a text is not there just once."""
    for path in sorted((ROOT / KERNELS).glob("*/*.py")):
        name, source = path.relative_to(ROOT / KERNELS).as_posix(), path.read_text(encoding="utf-8")
        tests = TESTS.get(name, (f"tests/cuda/test_{path.parent.name}.py",))
        if "runtime.cuda import" in source or name in TESTS:
            for kind, line in DROPPED.items():
                for found in re.finditer(rf"(?<=^)( *){line}(?=$|  #)", source, re.M):
                    yield Mistake(kind, name, found.end(1), found.end(), "pass", tests)
        for kind, text, instead, *others in MISTAKES.get(name, ()):
            found = list(re.finditer(r"\n *".join(re.escape(line) for line in text.split("\n")), source))
            if len(found) != 1:
                raise SystemExit(f"{name}: {text!r} is there {len(found)} times, expected once")
            breaks = iter(re.findall(r"\n *", found[0][0]))  # those of the text, with the spaces that follow
            yield Mistake(kind, name, *found[0].span(), re.sub("\n", lambda _: next(breaks), instead), tuple(others) or tests)


def run(copy, tests):
    """(whether a test failed, what pytest says of it)."""
    done = subprocess.run([sys.executable, "-m", "pytest", "-x", "-q", *shlex.split(tests)], cwd=copy, capture_output=True, encoding="utf-8",
                          env=os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"})
    if done.returncode not in (0, 1):
        raise SystemExit(f"pytest {tests} ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    errors = re.findall(r"^E +(.+(?<!Error:))$", done.stdout, re.M)
    return done.returncode == 1, (errors or done.stdout.splitlines())[0 if errors else -1][:120]


if __name__ == "__main__":
    sys.exit(main())
