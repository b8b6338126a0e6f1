"""Several models that translate together: the probability of a word is the mean of theirs, which is usually better than that of the best of them."""
import numpy as np

from ..kernels.softmax import softmax


class Ensemble:
    """To a search, one model. Its members have the same vocabularies, and may differ in everything else."""

    def __init__(self, models):
        self.models = models
        self.max_length = min(model.max_length for model in models)

    def start(self, source, lengths, capacity):
        """See `minitx.decoding`."""
        return _Caches([model.start(source, lengths, capacity) for model in self.models])

    def step(self, ids, cache):
        """log of the mean probability (rows, vocabulary) of the word after `ids` (rows,), which serves as logits."""
        total = sum(softmax(model.step(ids, one)) for model, one in zip(self.models, cache.caches))
        with np.errstate(divide="ignore"):
            return np.log(total / len(self.models))

    def attention(self, cache):
        """The mean of where the members looked: (rows, source time)."""
        return sum(model.attention(one) for model, one in zip(self.models, cache.caches)) / len(self.models)


class _Caches:
    def __init__(self, caches):
        self.caches = caches

    def select(self, rows, hypotheses=1):
        for cache in self.caches:
            cache.select(rows, hypotheses)
