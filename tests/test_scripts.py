"""The scripts in their short form, run as a reader would run them."""
import os
import re
import subprocess
import sys
from pathlib import Path

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
