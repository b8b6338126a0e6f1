"""The commands that look into a run, on a tiny one: what is drawn, what is printed, and what of the run they show."""
import pytest

import minitx
from minitx import cli, plots
from minitx.training.run import train

from .training.small import small_settings


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A barely trained run on text whose punctuation stands apart."""
    place = tmp_path_factory.mktemp("looking")
    settings = small_settings(place, steps=2, n_layers=2)
    for side in ("src", "tgt"):
        path = place / f"{side}.txt"
        path.write_text(path.read_text(encoding="utf-8").replace("\n", " .\n"), encoding="utf-8")
    return train(settings, out=place / "run")


@pytest.fixture
def drawn(monkeypatch):
    """What was handed to the pictures: (tokens of the source, tokens of the target, maps) by the name of the picture."""
    pictures = {}
    for name in ("attention_sheet", "attention_map"):
        monkeypatch.setattr(plots, name, lambda *arguments, name=name: pictures.update({name: arguments}))
    return pictures


def test_all_heads_are_drawn_on_one_sheet(run, capfd):
    assert cli.main(["attention", str(run), "ant bee."]) == 0
    out = capfd.readouterr().out
    assert "Attention:" in out and out.endswith(f"{run / 'attention-heads.png'}\n")
    assert (run / "attention-heads.png").read_bytes()[:4] == b"\x89PNG"


def test_layers_and_heads_are_counted_from_one(run, drawn, tmp_path, capfd):
    translator = minitx.load(run)
    cases = {("--layer", "1"): (0, None), ("--head", "2"): (-1, 1), ("--layer", "2", "--head", "1"): (1, 0)}
    for flags, (layer, head) in cases.items():
        assert cli.main(["attention", str(run), "ant bee.", *flags, "--out", str(tmp_path / "map.png")]) == 0
        source, target, matrix, path = drawn["attention_map"]
        expected = translator.attention("ant bee.", layer, head)
        assert (source, target, path) == (expected[0], expected[1], tmp_path / "map.png") and (matrix == expected[2]).all()
    for name, wrong in (("layer", "0"), ("layer", "3"), ("head", "3")):
        assert cli.main(["attention", str(run), "ant bee.", f"--{name}", wrong]) == 2
        assert f"{name} is {wrong}, but the model has 2" in capfd.readouterr().err


def test_a_missing_font_is_told(run, monkeypatch, capfd):
    monkeypatch.setattr(plots, "attention_sheet", lambda *_: "install a font")
    assert cli.main(["attention", str(run), "ant bee."]) == 0
    assert "install a font" in capfd.readouterr().out


def test_neighbours_are_looked_for_among_the_sentences_that_were_held_out(run, capfd):
    assert cli.main(["neighbours", str(run), "ant bee.", "cat", "--n", "3"]) == 0
    rows = [line.split("\t") for line in capfd.readouterr().out.splitlines()]
    held_out = [line.split("\t")[0] for line in (run / "validation.tsv").read_text(encoding="utf-8").splitlines()]
    assert [number for number, _, _ in rows] == ["1"] * 3 + ["2"] * 3
    assert all(text.removesuffix(".") + " ." in held_out for _, _, text in rows), "and shown as people write"
    assert all(-1 <= float(similarity) <= 1 for _, similarity, _ in rows)


def test_neighbours_are_looked_for_among_the_lines_of_a_file(run, tmp_path, capfd):
    (tmp_path / "lines").write_text("dog eel.\nant bee.\n", encoding="utf-8")
    assert cli.main(["neighbours", str(run), "ant bee.", "--among", str(tmp_path / "lines")]) == 0
    assert capfd.readouterr().out == "1\t1.0000\tant bee.\n1\t-1.0000\tdog eel.\n"
