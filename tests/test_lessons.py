"""The numbered lessons: each comes to its end in its short form, which it does only where all its claims held."""
import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
LESSONS = sorted(EXAMPLES.glob("[0-9][0-9]_*.py"))
PNG = b"\x89PNG\r\n\x1a\n"


def run(script, folder, *options):
    path = os.pathsep.join(filter(None, (str(EXAMPLES.parent), str(EXAMPLES), os.environ.get("PYTHONPATH"))))
    return subprocess.run([sys.executable, str(script), *options], cwd=folder, capture_output=True, encoding="utf-8",
                          timeout=600, env=os.environ | {"PYTHONPATH": path, "PYTHONUTF8": "1"})


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_its_claims_hold(lesson, tmp_path):
    done = run(lesson, tmp_path, "--quick", "--out", str(tmp_path / "pictures"))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert "Warning" not in done.stderr  # it would stand on the page, such as a word that no font here can draw
    asked, judged = (len(re.findall(rf"^{start} +\| ", done.stdout, re.M)) for start in ("(?:claim|often said)", "holds"))
    assert asked == judged >= 3
    named = re.findall(r"^picture +\| \S*?([^/\\\s]+\.png):", done.stdout, re.M)
    assert named and all(name.startswith(lesson.stem[:3]) for name in named)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == sorted(named)
    assert all((tmp_path / "pictures" / name).read_bytes().startswith(PNG) for name in named)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_it_is_a_page(lesson):
    """A title with the number of the file, a sentence to be tested, and text between the code."""
    text = lesson.read_text(encoding="utf-8")
    title, rule, *rest = ast.get_docstring(ast.parse(text)).splitlines()
    assert title.startswith(f"{int(lesson.stem[:2])}. ") and set(rule) == {"="} and len(rule) >= len(title)
    assert any(line.startswith('    *"') for line in rest)
    assert len(re.findall(r"^# %%$", text, re.M)) >= 3


def test_no_two_lessons_have_the_same_number():
    numbers = [path.stem[:2] for path in LESSONS]
    assert LESSONS and len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("call, passes", [("claim('a', 'b', True)", True), ("claim('a', 'b', False)", False),
                                          ("myth('a', 'b', True)", True), ("myth('a', 'b', False)", False)])
def test_a_lesson_ends_where_a_claim_does_not_hold(call, passes, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(f"from lesson import claim, myth\n{call}\nprint('went on')\n", encoding="utf-8")
    done = run(script, tmp_path)
    assert (done.returncode == 0) == ("went on" in done.stdout) == passes
    assert ("ClaimError" in done.stderr) == (not passes)
