"""Random choices that are the same on any machine: NumPy's PCG64 under a seed, with a stream for every use."""

from collections.abc import Sequence

import numpy as np


class Dice:
    """Choices drawn from one stream; the numbers are fetched by the block, because single calls are slow."""

    def __init__(self, seed: int, stream: int):
        self._generator = np.random.Generator(np.random.PCG64([seed, stream]))
        self._numbers = iter(())

    def number(self) -> float:
        """A number in [0, 1)."""
        for number in self._numbers:
            return number
        self._numbers = iter(self._generator.random(4096).tolist())
        return next(self._numbers)

    def chance(self, probability: float) -> bool:
        return self.number() < probability

    def pick(self, choices: Sequence):
        return choices[int(self.number() * len(choices))]

    def weighted(self, weights: dict):
        left = self.number() * sum(weights.values())
        for choice, weight in weights.items():
            left -= weight
            if left < 0:
                break
        return choice

    def sample(self, weights: dict, n: int) -> set:
        """Up to n different choices."""
        weights, chosen = dict(weights), set()
        while weights and len(chosen) < n:
            choice = self.weighted(weights)
            del weights[choice]
            chosen.add(choice)
        return chosen
