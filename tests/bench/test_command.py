"""`minitx bench` as it is typed: what is printed, drawn and refused."""
import json

import pytest

from minitx import cli
from minitx.bench import pictures, report

ROW = {"kernel": "softmax", "shape": [768, 65], "axes": "rows × columns", "pass": "forward + backward", "bytes": 1000, "operations": 500,
       "seconds": {"reference": 1e-3, "1 thread": 2e-4, "2 threads": 1e-4, "torch": 5e-5}, "spread": {}, "error": {"minitx": 3e-7, "torch": None},
       "correct": True, "limit": 5e-5, "share": 0.5}
KERNELS = {"bench": "kernels", "threads": 2, "machine": {"copy": {"1": 1e10, "2": 2e10}, "product": {"1": 1e11, "2": 2e11}},
           "rows": [ROW, ROW | {"shape": [9, 9], "operations": 90, "correct": False, "pass": "forward"}]}
TRAINING = {"bench": "training", "threads": 2, "text": False, "rows": [
    {"name": "W1", "title": "a step", "seconds": {"minitx": 0.03, "torch": 0.045, "products": 0.02}, "spread": {"minitx": 0.01, "torch": 0.02, "products": 0},
     "peak": {"minitx": 2e8, "torch": None}, "operations": 4e9, "error": {"minitx": 1e-6, "torch": 2e-6}, "correct": True,
     "losses": {"minitx float32": [4.0, 3.0]}, "differences": {"float32": 2e-7, "float64": 3e-14, "minitx": 4e-6, "torch": 5e-6}}]}
SCALING = {"bench": "scaling", "threads": 2, "sweeps": [
    {"grows": "layers", "name": "layers", "title": "layers", "exponents": {"seconds": 1.0, "memory": None, "operations": 1.02},
     "points": [{"size": 1, "seconds": 0.01, "spread": 0.0, "operations": 1e9, "memory": 0}, {"size": 2, "seconds": 0.02, "spread": 0.0, "operations": 2e9,
                                                                                         "memory": 5_000_000}]}]}


def printed(result, capsys):
    report.show(result)
    return capsys.readouterr().out


def test_a_kernel_s_row_says_times_ratio_share_and_error(capsys):
    lines = printed(KERNELS, capsys).splitlines()
    assert lines[0] == "matrix products: 100 GFLOP/s on 1 thread, 200 GFLOP/s on 2 threads"
    header, first, second = lines[3:6]
    assert header.split() == "pass NumPy 1 thread 2 threads torch × torch of limit error".split()
    assert first.split() == "softmax 768×65 both 1.00 ms 200 µs 100 µs 50.0 µs 0.50 50% 3e-07".split()
    assert second.endswith("WRONG") and len(first) == len(second)


def test_a_step_s_row_says_how_many_times_its_products_it_takes(capsys):
    out = printed(TRAINING, capsys)
    assert "minitx                     30.0 ms      1%        1.50      1.00       200 MB  1e-06" in out
    assert "torch                      45.0 ms      2%        2.25      1.50               2e-06" in out
    assert "losses of 2 steps without dropout, 4.0000 to 3.0000, relative differences at most:" in out
    assert "minitx and PyTorch 3.0e-14 in float64, 2.0e-07 in float32" in out and "what rounding does: minitx 4.0e-06, PyTorch 5.0e-06" in out


def test_growth_is_shown_with_its_exponents(capsys):
    assert "exponent  1.00" in " ".join(printed(SCALING, capsys).split()).replace("exponent ", "exponent  ")


@pytest.mark.parametrize("result, names", [(KERNELS, ["time.png", "roofline.png"]), (TRAINING, ["steps.png"]), (SCALING, ["scaling.png"])],
                         ids=lambda value: value["bench"] if isinstance(value, dict) else "")
def test_pictures_are_saved_in_a_folder_that_is_made(result, names, tmp_path):
    paths = pictures.draw(result, tmp_path / "new")
    assert [path.name for path in paths] == names and all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


@pytest.mark.parametrize("seconds, text", [(4.5678e-6, "4.57 µs"), (45.678e-6, "45.7 µs"), (0.9999e-3, "1.00 ms"), (0.4567, "457 ms"), (1.234, "1.23 s")])
def test_times_have_three_digits(seconds, text):
    assert report.time_text(seconds) == text


def test_json_is_one_object_and_nothing_else(inside, capfd):
    assert cli.main(["bench", "--quick", "--only", "softmax, dropout", "--threads", "1", "--json"]) == 0
    out, error = capfd.readouterr()
    result = json.loads(out)
    assert [row["kernel"] for row in result["rows"]] == ["softmax"] * 4 + ["dropout"] * 4 and error == ""


def test_a_table_and_the_pictures_it_names(inside, capfd, tmp_path):
    assert cli.main(["bench", "training", "--quick", "--only", "W1", "--out", str(tmp_path)]) == 0
    out = capfd.readouterr().out
    assert "its matrix products alone" in out and out.splitlines()[-1] == str(tmp_path / "steps.png") and (tmp_path / "steps.png").exists()


@pytest.mark.parametrize("command, said", [
    ("speed", "kernels"),
    ("kernels --only softmx", "did you mean 'softmax'?"),
    ("training --only W9", "there are W1, W2, W3, W4"),
    ("scaling --only colour", "there are batch, length, width, layers"),
    ("--against jax", "'jax' is not one of torch and torch-kept"),
    ("scaling --against torch", "leave it out for scaling"),
    ("--losses 5", "minitx bench training"),
    ("training --losses -1", "losses is -1"),
    ("--seconds 0", "seconds is 0"),
    ("--seconds nan", "seconds is nan"),
    ("--threads 4096", "threads: 4096"),
    ("training --src a", "src and tgt come together"),
    ("training --src nowhere --tgt nowhere", "nowhere"),
    ("--out setup.cfg", "out: setup.cfg is a file"),
])
def test_a_mistake_is_told_with_exit_code_2(inside, capfd, monkeypatch, command, said):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert cli.main(["bench", *command.split()]) == 2
    out, error = capfd.readouterr()
    assert out == "" and said in error and len(error.splitlines()) <= 3


def test_without_torch_the_comparison_names_the_command_that_installs_it(capfd, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.main(["bench", "--against", "torch"]) == 2
    assert "pip install torch" in capfd.readouterr().err
