"""Times: what is sampled, who takes turns, and what counts as the same result."""
import numpy as np
import pytest

from minitx.bench.measure import Subject, Timing, interleaved, largest_error, sample


class Steps(Subject):
    """Notes what is asked of it."""

    cycle = 3

    def __init__(self):
        self.place, self.seen, self.waits = 0, [], 0

    def rewind(self):
        self.place = 0

    def step(self):
        self.seen.append(self.place)
        self.place += 1

    def synchronise(self):
        self.waits += 1


def test_a_sample_warms_up_and_then_goes_through_whole_cycles_from_the_first_step():
    steps = Steps()
    assert len(sample(steps, 0)) == 1
    assert steps.seen == [0, 0, 1, 2]
    assert steps.waits == 2  # before the clock starts and before it stops


def test_a_sample_lasts_as_long_as_it_is_told_and_no_longer_than_most_steps():
    assert len(sample(Steps(), 10, most=4)) == 4


def test_alternatives_take_turns():
    turns = []

    def side(name, value):
        return lambda seconds: turns.append((name, seconds)) or [value, value]

    timings = interleaved({"a": side("a", 1.0), "b": side("b", 2.0)}, seconds=6, rounds=3)
    assert turns == [("a", 2.0), ("b", 2.0)] * 3
    assert timings["a"].samples == [1.0] * 6 and timings["b"].median == 2.0


def test_one_slow_moment_moves_neither_median_nor_spread():
    timing = Timing([1.0, 1.0, 1.1, 1.1, 1.2, 9.0, 1.0])
    assert timing.median == 1.1
    assert timing.spread == pytest.approx(0.15 / 1.1)


@pytest.mark.parametrize("found, error, name", [
    ({"a": [1.0, 2.0], "b": [10.0]}, 0.0, None),
    ({"a": [1.0, 2.5], "b": [10.0]}, 0.25, "a"),  # relative to the largest element, 2
    ({"a": [1.0, 2.1], "b": [9.0]}, 0.1, "b"),
    ({"a": [1.0, float("nan")], "b": [9.0]}, float("nan"), "a"),
    ({"a": [1.0, 2.0]}, float("inf"), "b"),
    ({"a": [[1.0, 2.0]], "b": [10.0]}, float("inf"), "a"),
])
def test_the_largest_error_and_whose_it_is(found, error, name):
    expected = {"a": np.array([1.0, 2.0]), "b": np.array([10.0])}
    result = largest_error({key: np.array(value) for key, value in found.items()}, expected)
    assert result[1] == name and result[0] == pytest.approx(error, nan_ok=True)
