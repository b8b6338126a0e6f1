"""Times to trust: alternatives take turns, each warms up before it is timed, and a median with its spread is what is told.

A machine is never as quick at one moment as at another. Alternatives that take turns meet the same moments, so their ratio holds where their times drift.
"""
import statistics
import time
from dataclasses import dataclass, field

import numpy as np


class Subject:
    """What is timed: `step` does it once, and `outputs` gives what it computes, so that it can be checked. A side of a comparison defines both.

    Steps that differ come in cycles of `cycle`; `rewind` goes back to the first of them. It computes on `device`.
    """

    cycle, device = 1, "cpu"

    def step(self):
        """Do it once."""
        raise NotImplementedError(f"{type(self).__name__} does not define step")

    def outputs(self):
        """{name: array} of what a step computes, from the same inputs on every side."""
        return {}

    def rewind(self):
        """The next step is the first of the cycle."""

    def facts(self):
        """What else is to be known, as plain values by name."""
        return {}

    def synchronise(self):
        """Wait until the device has done what it was asked to; a CPU always has."""

    def sample(self, seconds):
        """Seconds of each step, see `sample` below; a device with a clock of its own asks that."""
        return sample(self, seconds)


@dataclass
class Timing:
    """Seconds of one step, each time that it was measured."""

    samples: list = field(default_factory=list)

    @property
    def median(self):
        """The middle one: a moment in which the machine did something else does not move it."""
        return statistics.median(self.samples)

    @property
    def spread(self):
        """The middle half of the samples, as a share of their median: 0.02 says that two runs agree within a few per cent."""
        low, high = np.quantile(self.samples, (0.25, 0.75))
        return float(high - low) / self.median


def sample(subject, seconds, most=1000):
    """Seconds of each step (of a cycle: their mean) in a row that lasts about `seconds`, after one that is not counted: it wakes threads and fills caches."""
    subject.step()
    subject.synchronise()
    subject.rewind()
    times, stop = [], time.perf_counter() + seconds
    while not times or time.perf_counter() < stop and len(times) < most:
        start = time.perf_counter()
        for _ in range(subject.cycle):
            subject.step()
        subject.synchronise()
        times.append((time.perf_counter() - start) / subject.cycle)
    return times


def interleaved(sides, seconds, rounds=5):
    """{name: Timing} of alternatives that take turns.

    Args:
        sides: {name: function of seconds that gives samples, see `sample`}.
        seconds: that each side is timed in all; a step that takes longer is timed once a round.
    """
    timings = {name: Timing() for name in sides}
    for _ in range(rounds):
        for name, measure in sides.items():
            timings[name].samples += measure(seconds / rounds)
    return timings


def largest_error(found, expected):
    """The largest difference between two {name: array}, each relative to the largest element of the expected one, and its name."""
    worst = 0.0, None
    for name, array in expected.items():
        if name not in found or found[name].shape != array.shape:
            return float("inf"), name
        scale = float(np.abs(array).max(initial=0)) or 1.0
        error = float(np.abs(found[name].astype(np.float64) - array).max(initial=0)) / scale
        if np.isnan(error):
            return error, name
        if error > worst[0]:
            worst = error, name
    return worst
