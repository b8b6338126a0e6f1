"""What to say next when it is drawn, not searched for: filters on logits, and the draw.

Each filter takes logits (rows, vocabulary) and returns new ones, in which what may not be said is −∞. They are applied in the order of this file.
"""
from dataclasses import dataclass

import numpy as np

from ..errors import UserError

_BLOCKS = 64  # that a vocabulary is cut into to find its few largest logits


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen: `choose` draws it, from what `filtered` leaves of the logits.

    Attributes:
        temperature: above 1 the improbable becomes likelier, below 1 less likely; 0 is greedy.
        top_k: only the k most probable may be said; 0: all.
        top_p: only the most probable that together have this probability may be said; 1: all.
        min_p: only what has at least this share of the highest probability may be said; 0: all.
        repetition_penalty: above 1, what has been said becomes less likely; 1: no change.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    def __post_init__(self):
        bounds = {"temperature": (self.temperature >= 0, "0 (greedy) or more; 0.8 is usual"),
                  "top_k": (self.top_k >= 0, "a whole number from 0 (all tokens); 40 is usual"),
                  "top_p": (0 < self.top_p <= 1, "above 0 and at most 1 (all tokens); 0.9 is usual"),
                  "min_p": (0 <= self.min_p <= 1, "from 0 (all tokens) to 1; 0.05 is usual"),
                  "repetition_penalty": (self.repetition_penalty > 0, "above 0; 1 changes nothing, 1.2 is usual")}
        for name, (holds, wanted) in bounds.items():
            value = getattr(self, name)
            if not (holds and np.isfinite(value)):
                raise UserError(f"{name} is {value} but must be {wanted}")

    def choose(self, logits, said, dice, rows):
        """The next id of each row: (rows,) int32. Arguments: those of `filtered`, and the `Dice` that these `rows` roll."""
        uniform = dice.roll(rows)
        if self.temperature == 0 and self.repetition_penalty == 1:  # no filter removes the likeliest
            return logits.argmax(axis=1).astype(np.int32)
        return draw(self.filtered(logits, said), uniform)

    def filtered(self, logits, said):
        """Logits (rows, vocabulary) after all filters, in float64; `said` holds, for each row, the ids so far, the prompt's included."""
        logits = logits.astype(np.float64)
        if self.repetition_penalty != 1:
            logits = penalise_repetition(logits, said, self.repetition_penalty)
        if self.temperature != 1:
            logits = heat(logits, self.temperature)
        if self.top_k:
            logits = top_k(logits, self.top_k)
        if self.top_p < 1:
            logits = top_p(logits, self.top_p)
        if self.min_p:
            logits = min_p(logits, self.min_p)
        return logits


def penalise_repetition(logits, said, penalty):
    """Lower the logits of the ids that each row has said: a positive one is divided by the penalty, another multiplied (Keskar et al. 2019, section 4.1)."""
    logits = logits.copy()
    for row, ids in zip(logits, said):
        ids = np.unique(np.asarray(ids, np.int64))
        row[ids] = np.where(row[ids] > 0, row[ids] / penalty, row[ids] * penalty)
    return logits


def heat(logits, temperature):
    """Divide by the temperature, which leaves only the largest of each row when it is 0; the largest is 0 after it, so that nothing overflows."""
    if temperature == 0:
        return top_k(logits, 1)
    with np.errstate(over="ignore"):
        return (logits - logits.max(axis=1, keepdims=True)) / temperature


def top_k(logits, k):
    """Keep the k largest logits of each row (Fan et al. 2018, section 5.4); of equals, those that come first in the vocabulary."""
    if k >= logits.shape[1]:
        return logits.copy()
    n, some = logits.shape[1] // _BLOCKS, logits
    if n > 4 * k:  # k blocks have a largest one that is no less than the k-th largest of all these, so nothing below that is wanted
        blocks = logits[:, :n * _BLOCKS].reshape(-1, _BLOCKS, n).max(axis=1)  # (rows, n)
        some = _some(logits, logits >= np.partition(blocks, -k, axis=1)[:, -k, None])[1]
    return np.where(_largest(logits, np.partition(some, -k, axis=1)[:, -k, None], k), logits, -np.inf)


def top_p(logits, p):
    """Keep the fewest most probable ids of each row that together have probability p or more (Holtzman et al. 2020, section 3.1)."""
    shares = probabilities(logits)
    ranked = -np.sort(-_some(shares, ~(shares < (1 - p) / logits.shape[1]))[1], axis=1)  # all the others together have less than 1 − p
    likelier = np.cumsum(ranked, axis=1)[:, :-1]  # the probability of all before the second, the third …
    count = 1 + (likelier < p).sum(axis=1, keepdims=True)
    return np.where(_largest(shares, np.take_along_axis(ranked, count - 1, axis=1), count), logits, -np.inf)


def _largest(values, least, count):
    """Which of `values` (rows, vocabulary) are the `count` largest of their row, the smallest of which is `least` (rows, 1): of equals the first ones."""
    kept = values >= least
    if np.any(kept.sum(axis=1, keepdims=True) > count):
        more, equal = values > least, values == least
        kept = more | equal & (equal.cumsum(axis=1) <= count - more.sum(axis=1, keepdims=True))
    return kept


def _some(values, wanted):
    """(columns, `values` (rows, vocabulary) there): those in which some row's is `wanted`, or all of them when these are most."""
    columns = np.flatnonzero(wanted.any(axis=0))
    if len(columns) > values.shape[1] // 2:
        return np.arange(values.shape[1]), values
    return columns, values[:, columns]


def min_p(logits, p):
    """Keep the ids of each row with at least p times the probability of the likeliest (Nguyen et al. 2024)."""
    return np.where(logits >= logits.max(axis=1, keepdims=True) + np.log(p), logits, -np.inf)


def draw(logits, uniform):
    """One id for each row of logits: the first at which the cumulative probability exceeds `uniform` (rows,), numbers from [0, 1)."""
    columns, logits = _some(logits, logits != -np.inf)
    cumulative = np.cumsum(probabilities(logits), axis=1)
    cumulative /= cumulative[:, -1:]  # so that rounding leaves nothing above the last that may be said
    return columns[(cumulative <= uniform[:, None]).sum(axis=1)].astype(np.int32)


def probabilities(logits):
    """The softmax of each row, in float64."""
    logits = logits.astype(np.float64)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


class Dice:
    """A stream of numbers from [0, 1) for each row, a function of the seed and the row's `number` alone.

    So a text does not depend on what is drawn beside it. Raw words of PCG64 stay the same in every version of NumPy.
    """

    def __init__(self, seed, numbers):
        if seed < 0:
            raise UserError(f"seed is {seed} but must be a whole number from 0")
        self._streams = [np.random.PCG64([seed, number]) for number in numbers]

    def roll(self, rows):
        """The next number of each of these rows: (rows,) float64."""
        words = np.array([self._streams[row].random_raw() for row in rows], np.uint64)
        return (words >> np.uint64(11)) * 2.0 ** -53
