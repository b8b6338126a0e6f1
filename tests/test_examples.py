"""The examples: each runs in its short form, says what it has measured, and leaves its picture."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PNG = b"\x89PNG\r\n\x1a\n"
DRAWING = ["train_by_hand", "add_an_operation", "add_a_kernel"]
EXAMPLES = [*DRAWING, "add_a_language", "add_a_model"]


@pytest.fixture(scope="module", params=EXAMPLES)
def ran(request, tmp_path_factory):
    """(name, what it printed, the folder for its picture): each example runs once, as a reader would run it."""
    name, work = request.param, tmp_path_factory.mktemp(request.param)
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py")]
    if name in DRAWING:
        command += ["--quick", "--out", str(work / "pictures")]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(command, cwd=work, capture_output=True, encoding="utf-8", timeout=600,
                          env=os.environ | {"PYTHONPATH": path, "PYTHONUTF8": "1"})
    assert done.returncode == 0, done.stderr
    return name, done.stdout, work / "pictures"


def test_each_example_leaves_its_picture_and_nothing_else(ran):
    name, printed, folder = ran
    pictures = [f"{name}.png"] if name in DRAWING else []
    assert sorted(path.name for path in folder.parent.rglob("*.*")) == pictures
    for picture in pictures:
        assert (folder / picture).read_bytes().startswith(PNG)
        assert picture in printed


def test_each_example_says_what_it_measured(ran):
    name, printed, _ = ran
    globals()[name](printed)


def test_no_example_is_forgotten_here():
    """Those with a number are in test_lessons.py; lesson.py is what they share."""
    assert {path.stem for path in (ROOT / "examples").glob("[!0-9]*.py")} == {*EXAMPLES, "lesson"}


# What each must have printed


def train_by_hand(printed):
    assert re.search(r"<bos> +el .*\n +el +jueves ", printed)  # the decoder reads the target one word late
    (validation,) = re.findall(r"valid_loss ([\d.]+)", printed)
    assert float(validation) < 6  # twenty steps better than log(566), where all words are equally likely
    assert len(re.findall(r"^    \(right: ", printed, re.M)) == 4


def add_an_operation(printed):
    assert len(re.findall(r"(first order|broadcast|second order): +True", printed)) == 3
    assert "expected" in printed and "the VJP rule asks for 'X'" in printed


def add_a_kernel(printed):
    claims = re.findall(r"(< 1e-6|< 1e-14| 0|True) +(\S+)$", printed, re.M)
    assert len(claims) == 6
    for claimed, measured in claims:
        if claimed == "True":
            assert measured == "True"
        else:
            assert float(measured) < float(claimed.strip("< ") if "<" in claimed else 1e-14)
    assert re.search(r"one r for each row +4,000 +4,000$", printed, re.M)
    least, kept = re.search(r"by plain operations: x̂ too +> (\S+) +(\S+)$", printed, re.M).groups()
    assert int(kept.replace(",", "")) > int(least.replace(",", ""))
    assert re.search(r"another γ: gradcheck: input 0, .* expected .* got ", printed)  # mistakes are caught,
    assert re.search(r"second order: +gradcheck: .* under create_graph=True", printed)
    assert len(re.findall(r"(?:γ = 1|first order): +True$", printed, re.M)) == 2  # and why they pass elsewhere
    assert len(re.findall(r"^ +\d+( +\d+\.\d+){5,6}$", printed, re.M)) == 3


def add_a_language(printed):
    assert "accusative" in printed and "A corpus from Korean: 2000 pairs" in printed


def add_a_model(printed):
    first, last, guessing = map(float, re.search(r"from ([\d.]+) to ([\d.]+) nats per word, where log\(\d+\) = ([\d.]+)", printed).groups())
    assert abs(first - guessing) < 1 and last < 0.6 * guessing
    apart = [float(found) for found in re.findall(r": +(\S+) apart", printed)]
    assert len(apart) == 3 and max(apart) < 1e-4
    assert printed.count("nats per word)") == 2
