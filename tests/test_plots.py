"""Pictures: they are written whole, need no display, and say which font is missing."""
import warnings

import numpy as np
import pytest

from minitx import plots
from minitx.errors import UserError

SOURCE, TARGET = "the red cat <eos>".split(), "el gato rojo <eos>".split()
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def weights():
    return np.random.default_rng(0).dirichlet(np.ones(4), size=(2, 3, 4))


def metrics(steps):
    rows = [{"step": step, "loss": 5 / step} for step in range(1, steps + 1)]
    return rows + [{"step": steps, "valid_loss": 0.5, "exact_match": 0.25}]


@pytest.mark.parametrize("rows", [[], metrics(3), metrics(300), [{"step": 1, "loss": float("nan")}]], ids=len)
def test_a_loss_curve_is_drawn_from_any_number_of_rows(rows, tmp_path):
    plots.loss_curve(rows, tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize("score, label, drawn", [("exact_match", "exact match (%)", [10, 20, 30]), ("bleu", "BLEU", [4, 9, 8])])
def test_the_star_stands_at_the_weights_that_were_kept(score, label, drawn, monkeypatch, tmp_path):
    rows = [{"step": step, "valid_loss": loss, "exact_match": exact, "bleu": bleu, "best": best}
            for step, loss, exact, bleu, best in [(1, 3.0, 0.1, 4.0, True), (2, 2.5, 0.2, 9.0, True), (3, 2.0, 0.3, 8.0, False)]]
    monkeypatch.setattr(plots, "save", lambda figure, path: figures.append(figure))
    figures = []
    plots.loss_curve(rows, tmp_path / "loss.png", score)
    losses, scores = figures[0].axes
    [star] = [line for line in losses.lines if line.get_marker() == "*"]
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (2, 2.5)
    assert scores.get_ylabel() == label and list(scores.lines[0].get_ydata()) == pytest.approx(drawn)
    plots.loss_curve([*rows, {"step": 3, "valid_loss": 1.5, "exact_match": 0.4, "bleu": 9.5, "best": False, "averaged": 2}], tmp_path / "loss.png", score)
    losses, scores = figures[1].axes
    [star] = [line for line in losses.lines if line.get_marker() == "*"]
    assert (star.get_xdata()[0], star.get_ydata()[0], star.get_label()) == (3, 1.5, "mean of 2 epochs: 1.500")
    assert list(scores.lines[0].get_ydata()) == pytest.approx(drawn)


def test_one_map_and_all_heads_are_drawn(weights, tmp_path):
    assert plots.attention_map(SOURCE, TARGET, weights[0, 0], tmp_path / "map.png") is None
    assert plots.attention_sheet(SOURCE, TARGET, weights, tmp_path / "sheet.png") is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.png", "sheet.png"]


def test_tokens_are_never_read_as_formulas(tmp_path):
    assert plots.attention_map(["$", "a$b$"], ["\\frac{", "_"], np.eye(2), tmp_path / "map.png") is None


@pytest.mark.parametrize("token, script", [("고양이", "Hangul"), ("猫", "Chinese")])
def test_a_missing_font_is_one_sentence_and_the_words_are_numbered(token, script, tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "_family", lambda script: None)
    said = plots.attention_map([token], ["cat"], [[1.0]], tmp_path / "map.png")
    assert script in said and "install" in said and "\n" not in said
    assert (tmp_path / "map.png").read_bytes().startswith(PNG)


def test_a_script_that_no_font_here_has_is_one_sentence_too(tmp_path):
    with warnings.catch_warnings(action="error"):
        said = plots.attention_map(["\U00011003"], ["cat"], [[1.0]], tmp_path / "map.png")  # a letter of Brahmi
    assert "no font with Brahmi characters" in said and "Noto Sans Brahmi" in said
    assert (tmp_path / "map.png").read_bytes().startswith(PNG)
    assert plots._fonts(["\t", "\ue000", "cat"])[1] is None  # what is no letter has no script whose font could be advised


def test_a_picture_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="loss.png: there is no folder .*nowhere; make it first, or name another"):
        plots.loss_curve(metrics(3), tmp_path / "nowhere" / "loss.png")
    assert list(tmp_path.iterdir()) == []
