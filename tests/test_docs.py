"""The pages of the site: what they cut from the code is there, and no kernel is without its section. (To build them takes the extra `docs`.)"""
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
GUIDES = sorted((DOCS / "guides").glob("[!i]*.rst"))


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_what_a_guide_cuts_from_an_example_is_there(guide):
    pieces = re.findall(r"literalinclude:: (\S+)\n((?:   :\S+: .*\n)+)", guide.read_text(encoding="utf-8"))
    assert pieces
    for place, options in pieces:
        text = (guide.parent / place).read_text(encoding="utf-8")
        marks = dict(re.findall(r":(start-at|start-after|end-before): (.*)", options))
        begin = text.find(marks.get("start-at") or marks["start-after"])
        assert begin >= 0, marks
        assert "end-before" not in marks or marks["end-before"] in text[begin + 1:], marks


def test_every_kernel_has_its_section():
    page = (DOCS / "reference" / "kernels.rst").read_text(encoding="utf-8")
    folders = {path.parent.name for path in (ROOT / "minitx" / "kernels").glob("*/reference.py")}
    assert folders == set(re.findall(r"^\.\. public:: minitx\.kernels\.(\w+)$", page, re.M))
    assert folders == set(re.findall(r"^\.\. public:: minitx\.kernels\.(\w+)\.reference$", page, re.M))
