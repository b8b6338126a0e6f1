"""The table of kernels: what is counted, that each is compared with its reference, and that a wrong one is found out."""
import json

import numpy as np
import pytest

from minitx.autograd import fused
from minitx.bench import kernels
from minitx.bench.cases import KERNELS, Cost, inputs_of
from minitx.bench.worker import Worker

COSTS = {  # counted by hand
    ("softmax", False, (2, 3)): Cost(bytes=48, operations=30),  # x read, out written
    ("softmax", True, (2, 3)): Cost(bytes=120, operations=54),  # and g, out, dx
    ("layer-norm", True, (2, 3)): Cost(bytes=120, operations=114),
    ("cross-entropy", False, (2, 3)): Cost(bytes=24, operations=24),
    ("linear", False, (5, 4, 7)): Cost(bytes=4 * (20 + 28 + 35), operations=2 * 140 + 8 * 35),
    ("linear", True, (5, 4, 7)): Cost(bytes=4 * (20 + 28 + 35 + 35 + 20 + 28 + 20 + 28), operations=6 * 140 + 10 * 35),
    ("linear-cross-entropy", True, (5, 4, 7)): Cost(bytes=4 * 2 * (20 + 28), operations=6 * 140 + 7 * 35),  # no logits
    ("dropout", True, (2, 3)): Cost(bytes=96, operations=12),
    ("adamw", False, (1000, 3)): Cost(bytes=28_000, operations=14_000),
    # 2·3 heads of 4 queries that see 1 to 4 keys: 60 pairs, of 5 features
    ("causal-attention", False, (2, 3, 4, 5)): Cost(bytes=4 * 4 * 120, operations=60 * (4 * 5 + 5)),
    ("causal-attention", True, (2, 3, 4, 5)): Cost(bytes=4 * 11 * 120, operations=60 * (12 * 5 + 9)),
    ("cross-attention", False, (2, 3, 4, 5)): Cost(bytes=4 * 4 * 120, operations=96 * (4 * 5 + 5)),
    ("embedding", True, (5, 4, 7)): Cost(bytes=4 * (3 * 20 + 28), operations=20),
    ("gru", False, (2, 3, 5)): Cost(bytes=4 * (2 * 30 + 2 * 75), operations=2 * 6 * 2 * 75 + 8 * 3 * 30),  # six steps, two products of 15×5
    ("lstm", True, (2, 3, 5)): Cost(bytes=4 * (6 * 30 + 6 * 100), operations=6 * 6 * 2 * 100 + 16 * 4 * 30),
}


@pytest.mark.parametrize("name, backward, shape", COSTS, ids=str)
def test_bytes_and_operations_are_counted(name, backward, shape):
    assert KERNELS[name].cost(backward, *shape) == COSTS[name, backward, shape]


def test_every_kernel_agrees_with_its_reference_and_its_row_says_everything(inside):
    result = kernels.run(threads=2, seconds=0.001, quick=True)
    assert {row["kernel"] for row in result["rows"]} == {name for name, kernel in KERNELS.items() if not kernel.only_cuda}
    assert [row["kernel"] for row in result["rows"] if not row["correct"]] == []
    for row in result["rows"]:
        assert set(row) == {"kernel", "shape", "axes", "pass", "bytes", "operations", "seconds", "spread", "error", "correct", "limit", "share"}
        assert set(row["seconds"]) == set(row["spread"]) == {"reference", "1 thread", "2 threads"} and set(row["error"]) == {"minitx"}
        speeds = result["machine"]
        limit = max(row["bytes"] / speeds["copy"]["2"], row["operations"] / speeds["product"]["2"])
        assert row["limit"] == limit and row["share"] == limit / row["seconds"]["2 threads"]
    assert json.loads(json.dumps(result)) == result


@pytest.mark.parametrize("part, wrong", [("_softmax", lambda x: fused._softmax.reference(x) * np.float32(1.001)),
                                         ("_softmax_backward", lambda g, out: g), ("_softmax", lambda x: x * np.float32(np.nan))],
                         ids=["a forward pass a thousandth off", "a wrong gradient", "NaN"])
def test_a_wrong_kernel_is_found_out(inside, monkeypatch, part, wrong):
    served = getattr(fused, part)

    def broken(*args):
        from minitx.kernels.runtime import registry

        return served(*args) if registry._forced == "reference" else wrong(*args)

    broken.reference = served.reference
    monkeypatch.setattr(fused, part, broken)
    rows = kernels.run(only=("softmax",), threads=1, seconds=0.001, quick=True)["rows"]
    assert [row["correct"] for row in rows] == [part == "_softmax_backward" and row["pass"] == "forward" for row in rows]


def test_inputs_are_the_same_on_every_side_and_the_loss_has_targets_within_its_classes():
    first, second = (inputs_of("cross-entropy", (64, 65)) for _ in range(2))
    assert all((first[name] == second[name]).all() for name in first)
    assert 0 <= first["targets"].min() and first["targets"].max() < 65


def test_sides_run_in_processes_of_their_own():
    with Worker("minitx") as ours, Worker("reference") as reference:
        for worker in (ours, reference):
            worker.ask("open", spec={"kind": "kernel", "name": "softmax", "shape": (3, 7), "backward": True})
        assert len(ours.timer(1)(0)) == 1 and ours.ask("facts")["peak"] > 10e6
        with pytest.raises(RuntimeError, match="minitx: KeyError"):
            ours.ask("open", spec={"kind": "nothing"})
        with pytest.raises(RuntimeError, match="reference: ValueError: request 'sing' is not one of open, time"):
            reference.ask("sing")


def test_a_process_that_is_killed_is_told():
    with Worker("minitx") as worker:
        worker._process.kill()
        with pytest.raises(RuntimeError, match="the process that measures minitx ended with code -9: out of memory?"):
            worker.ask("facts")
