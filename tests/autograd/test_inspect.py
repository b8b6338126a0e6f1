"""Graphs printed, drawn and timed, and the first NaN found."""
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from minitx.autograd import checkpoint, detect_anomaly, draw, fused, graph, ops, print_graph, tensor
from minitx.autograd.inspect import AnomalyError, graph_text
from minitx.bench.profile import profile


@pytest.fixture
def leaves():
    rng = np.random.default_rng(0)
    return {name: tensor(rng.normal(size=shape), requires_grad=True) for name,
            shape in {"x": (4, 3), "w": (3, 2)}.items()}


@pytest.fixture
def loss(leaves):
    h = ops.tanh(leaves["x"] @ leaves["w"])
    return (h * 2.0 + h).sum(axis=0).mean()


def test_the_text_has_a_line_per_leaf_and_operation_and_says_what_is_kept(loss, leaves, capsys):
    print_graph(loss, leaves)
    lines = capsys.readouterr().out.splitlines()
    assert [re.split(r"\s{2,}", line) for line in lines] == [
        ["%0 = x", "float64 (4, 3)"], ["%1 = w", "float64 (3, 2)"], ["%2 = matmul(%0, %1)", "float64 (4, 2)"],
        ["%3 = tanh(%2)", "float64 (4, 2)", "keeps 64 B"],
        ["%4 = multiply(%3, constant)", "float64 (4, 2)"], ["%5 = add(%4, %3)", "float64 (4, 2)"],
        ["%6 = sum(%5, axis=0)", "float64 (2,)"],
        ["%7 = mean(%6)", "float64 ()"]]


def test_a_leaf_alone_is_a_graph_too(leaves):
    assert graph_text(leaves["x"]) == "%0 = leaf   float64 (4, 3)"


def test_a_freed_graph_says_so(loss):
    loss.backward()
    with pytest.raises(RuntimeError, match="freed"):
        graph_text(loss)


def test_drawings_hold_every_operation(loss, leaves, tmp_path):
    for name in ("graph.svg", "graph.dot", "graph.png"):
        draw(loss, tmp_path / name, leaves)
    svg = ElementTree.parse(tmp_path / "graph.svg").getroot()
    texts = [text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[::2] == ["x", "w", "matmul", "tanh", "multiply", "add", "sum", "mean"]
    assert len(list(svg.iter("{http://www.w3.org/2000/svg}path"))) == 1 + 8  # the arrow's head, and the arrows
    dot = (tmp_path / "graph.dot").read_text(encoding="utf-8")
    assert dot.count("->") == 8 and '2 [label="matmul\\nfloat64 (4, 2)"' in dot
    assert (tmp_path / "graph.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="does not end in .svg, .dot or .png"):
        draw(loss, tmp_path / "graph.jpg")


class TestProfile:
    def test_it_counts_calls_times_and_bytes_and_prints_the_table(self, leaves, capsys):
        with profile() as seen:
            for _ in range(3):
                fused.gelu(leaves["x"] @ leaves["w"]).sum().backward()
        assert {name: (row["calls"], row["kept"]) for name,
                row in seen.rows.items()} == {"matmul": (3, 0), "gelu": (3, 3 * 64), "sum": (3, 0)}
        assert all(row["forward"] > 0 and row["backward"] > 0 for row in seen.rows.values())
        printed = capsys.readouterr().out
        assert printed == seen.table() + "\n"
        assert re.search(r"^matmul +3 +[\d.]+ +[\d.]+ +0 B$", printed,
                         re.M) and re.search(r"^total +9 .* 192 B$", printed, re.M)

    def test_an_array_kept_twice_counts_once(self):
        x = tensor(np.ones(100), requires_grad=True)
        with profile(show=False) as seen:
            y = ops.exp(x)
            z = y * y
        assert seen.rows["exp"]["kept"] + seen.rows["multiply"]["kept"] == 800
        del z

    def test_operations_inside_a_checkpoint_are_timed_as_themselves(self):
        with profile(show=False) as seen:
            checkpoint(lambda x: np.sin(np.exp(x)), tensor(np.ones(3), requires_grad=True)).sum().backward()
        assert seen.rows["exp"]["calls"] == 2 and seen.rows["exp"]["backward"] > 0

    def test_nothing_stays_behind(self, loss):
        with profile(show=False), detect_anomaly():
            pass
        assert graph.mode.monitor is None

    def test_it_nests(self, leaves):
        with profile(show=False) as outer, detect_anomaly(), profile(show=False) as inner:
            np.exp(leaves["x"]).sum().backward()
        assert outer.rows.keys() == inner.rows.keys() == {"exp", "sum"}
        assert outer.rows["exp"]["calls"] == inner.rows["exp"]["calls"] == 1 and outer.rows["exp"]["kept"] == inner.rows["exp"]["kept"] == 96


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
class TestDetectAnomaly:
    def test_forward_names_the_operation_its_line_and_its_inputs_ranges(self):
        with pytest.raises(AnomalyError) as caught, detect_anomaly():
            x = tensor(np.array([-1.0, 4.0]), requires_grad=True)
            np.sqrt(x * 2.0).sum().backward()
        text = str(caught.value)
        assert text.startswith("sqrt: its output is not finite: float64 (2,), from 2.82843 to 2.82843, 1 NaN\n")
        assert re.search(r"called at .*test_inspect\.py:\d+ in test_forward_names\w+: np\.sqrt\(x \* 2\.0\)", text)
        assert "x: float64 (2,), from -2 to 8" in text

    def test_backward_names_the_line_of_the_forward(self):
        with pytest.raises(AnomalyError) as caught, detect_anomaly():
            x = tensor(np.array([0.0, 4.0]), requires_grad=True)
            root = np.sqrt(x)
            (root * 3.0).sum().backward()
        text = str(caught.value)
        assert text.startswith("sqrt, backward: the gradient of x is not finite: float64 (2,), from 0.75 to 0.75, 1 infinite\n")
        assert "root = np.sqrt(x)" in text and "g: float64 (2,), from 3 to 3" in text and "out: float64 (2,), from 0 to 2" in text

    def test_an_infinite_mask_goes_through(self):
        with detect_anomaly():
            scores = ops.where(np.array([True, False]), tensor(np.ones(2), requires_grad=True), -np.inf)
            weights = ops.exp(scores - ops.logsumexp(scores))
            weights.sum().backward()
        assert weights.tolist() == [1, 0]

    def test_overflow_in_a_constant_is_found_and_a_nan_that_came_in_too(self):
        for value, message in ((800.0, "exp: .*1 infinite"), (np.nan, "exp: .*no finite element, 1 NaN")):
            with pytest.raises(AnomalyError, match=message), detect_anomaly():
                np.exp(tensor(np.array([value])))

    def test_under_create_graph_and_inside_checkpoints(self):
        for run, message in ((lambda x: np.sqrt(x).sum().backward(create_graph=True),
                              "^divide, in the backward of sqrt: its output"),
                             (lambda x: checkpoint(np.sqrt, x).sum().backward(), "^sqrt, backward: the gradient of x")):
            with pytest.raises(AnomalyError, match=message), detect_anomaly():
                run(tensor(np.zeros(2), requires_grad=True))

    def test_where_a_graph_was_built_before_it_says_so(self):
        loss = np.sqrt(tensor(np.zeros(2), requires_grad=True)).sum()
        with pytest.raises(AnomalyError, match="a line before detect_anomaly"), detect_anomaly():
            loss.backward()

    def test_finite_programs_pass(self, leaves):
        with detect_anomaly():
            ops.concatenate([leaves["x"], leaves["x"]]).sum().backward()
        assert (leaves["x"].grad.numpy() == 2).all()
