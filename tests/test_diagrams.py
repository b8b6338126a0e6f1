"""Boxes and arrows: where they stand, and what the files hold."""
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from minitx import diagrams

BOXES = [("a <b>", "float64 (2,)", "leaf"), ('say "c"', "float32 ()", "operation"), ("d", "", "operation")]
ARROWS = [(0, 1), (0, 2), (1, 2)]


def test_arrows_point_down_and_boxes_do_not_overlap():
    rng = np.random.default_rng(0)
    boxes = [(f"box {i}", "float64 (2, 3)", "operation") for i in range(40)]
    arrows = sorted({(int(rng.integers(max(0, i - 8), i)), i) for i in range(1, 40) for _ in range(2)})
    places, paths, width, height = diagrams.layout(boxes, arrows)
    for start, end in arrows:
        assert places[start][1] + diagrams.HEIGHT <= places[end][1]
    for i, (x, y, w) in enumerate(places):
        assert w / 2 <= x <= width - w / 2 and 0 <= y <= height
        assert all(y != other_y or abs(x - other_x) >= (w + other_w) / 2 for other_x, other_y, other_w in places[:i])
    assert len(paths) == len(arrows)


def test_titles_are_escaped_in_svg_and_dot(tmp_path):
    diagrams.save(tmp_path / "d.svg", BOXES, ARROWS)
    texts = [text.text for text in ElementTree.parse(tmp_path / "d.svg").getroot().iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "a <b>" and texts[2] == 'say "c"'
    assert 'label="say \\"c\\"\\nfloat32 ()"' in diagrams.to_dot(BOXES, ARROWS)


def test_a_thousand_boxes_in_a_chain_are_drawn(tmp_path):
    boxes, arrows = [("op", "float32 (4,)", "operation")] * 1000, [(i, i + 1) for i in range(999)]
    diagrams.save(tmp_path / "d.svg", boxes, arrows)
    diagrams.save(tmp_path / "d.png", boxes, arrows)
    assert (tmp_path / "d.png").stat().st_size > 1000


def test_nothing_can_be_drawn_too_and_unknown_formats_are_refused(tmp_path):
    diagrams.save(tmp_path / "d.svg", [], [])
    with pytest.raises(ValueError, match=r"'\S*d.pdf' does not end in .svg, .dot or .png"):
        diagrams.save(tmp_path / "d.pdf", BOXES, ARROWS)
