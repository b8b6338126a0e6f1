"""Kernels as just compiled and as loaded from the disk cache."""
import os
import subprocess
import sys
from pathlib import Path

from minitx.kernels.runtime import compiled

PROGRAM = """
import hashlib
import numpy as np
from minitx.kernels.layer_norm import layer_norm_backward
from minitx.kernels.runtime import compiled, threads

threads.start()
title = "layer_norm: layer_norm_backward"
missing = title in compiled.missing("float32")
if missing:
    assert list(compiled.compile_in_two([title], "float32")) == [title]
draw = np.random.default_rng(0).standard_normal
g, x, weight, mean, rstd = (draw(shape).astype(np.float32) for shape in ((500, 128), (500, 128), 128, 500, 500))
dx = layer_norm_backward(g, x, weight, mean, np.abs(rstd))[0]
print(missing, hashlib.sha256(dx.tobytes()).hexdigest())
"""


def test_only_kernels_that_a_run_needs_are_compiled(monkeypatch):
    monkeypatch.setattr(compiled, "_is_cached", lambda kernel: False)
    common, llama = (compiled.missing("float32", folders) for folders in ((), ("rms_norm", "rotary", "swiglu")))
    assert {title.split(":")[0] for title in llama} - {title.split(":")[0] for title in common} == {"rms_norm", "rotary", "swiglu"}
    assert {title.split(":")[0] for title in compiled.missing("float32")} - {title.split(":")[0] for title in common} == {"layer_norm"}


def test_the_first_run_has_the_bits_of_all_later_ones(tmp_path):
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": root}
    runs = [subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True).stdout.split()
            for _ in range(2)]
    assert [missing for missing, _ in runs] == ["True", "False"]
    assert runs[0][1] == runs[1][1]


def test_where_nothing_can_be_written_kernels_are_compiled_in_the_process():
    """As with minitx and the home folder both on a read-only disk."""
    nowhere = "from numba.core import caching\ncaching.CacheImpl._locator_classes = []\n"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.run([sys.executable, "-c", nowhere + PROGRAM], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.split()[0] == "True"
