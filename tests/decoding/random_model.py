"""A model whose words are random but depend on the source and on all that was said: what a search must get right."""
import numpy as np

from minitx.data.batches import BOS, EOS


class RandomModel:
    """Logits are drawn anew for every (source, words so far), the same for the same: a row must keep its own past."""

    def __init__(self, vocabulary, seed=0, scale=2.0, max_length=64, end=0.0, levels=None):
        """`end` is added to the logit of <eos> for every word said. `levels`: logits are multiples of 1/levels."""
        self.vocabulary, self.seed, self.scale, self.max_length, self.end = vocabulary, seed, scale, max_length, end
        self.levels = levels
        self.rows_seen = []

    def start(self, source, lengths, capacity):
        return RandomCache([tuple(row[:n].tolist()) for row, n in zip(source, lengths)], capacity, source.shape[1])

    def step(self, ids, cache):
        assert len(ids) == len(cache.said) and ids.dtype == np.int32
        self.rows_seen.append(len(ids))
        cache.said = [(*said, int(word)) for said, word in zip(cache.said, ids)]
        assert all(len(said) <= min(cache.capacity, self.max_length) for said in cache.said)
        return np.stack([self.logits(source, said) for source, said in zip(cache.sources, cache.said)])

    def logits(self, source, said):
        """(vocabulary,) float32 after the ids `said`, <bos> first."""
        assert said[0] == BOS
        generator = np.random.default_rng([self.seed, len(source), *source, *said])
        logits = generator.normal(0, self.scale, self.vocabulary)
        logits[EOS] += self.end * (len(said) - 1)
        return (np.round(logits * self.levels) / self.levels if self.levels else logits).astype(np.float32)

    def attention(self, cache):
        """(rows, source time): rows of random weights that sum to 1 over what is real."""
        weights = np.zeros((len(cache.said), cache.time))
        for row, source, said in zip(weights, cache.sources, cache.said):
            row[:len(source)] = self.weights(source, said)
        return weights

    def weights(self, source, said):
        """(source time,): where the model looks when the word after `said` is due."""
        return np.random.default_rng([self.seed + 1, len(source), *source, *said]).dirichlet(np.full(len(source), 0.3))

    def log_probabilities(self, source, said):
        """(vocabulary,) float64."""
        logits = self.logits(source, said).astype(np.float64)
        return logits - np.logaddexp.reduce(logits)


class RandomCache:
    def __init__(self, sources, capacity, time):
        self.sources, self.said, self.capacity, self.time = sources, [()] * len(sources), capacity, time

    def select(self, rows, hypotheses=1):
        groups = [{self.sources[row] for row in rows[start:start + hypotheses]} for start in range(0, len(rows), hypotheses)]
        assert len(rows) % hypotheses == 0 and all(len(group) == 1 for group in groups), "hypotheses about one sentence stand together"
        self.sources, self.said = [self.sources[row] for row in rows], [self.said[row] for row in rows]


def padded(sentences):
    """(source, lengths) as the models take them."""
    lengths = np.array([len(sentence) for sentence in sentences], np.int32)
    source = np.zeros((len(sentences), lengths.max()), np.int32)
    for row, sentence in zip(source, sentences):
        row[:len(sentence)] = sentence
    return source, lengths


def sentences(count, seed=0, longest=6):
    """Source ids of `count` different sentences, each with <eos>."""
    generator = np.random.default_rng(seed)
    return [[number + 4, *generator.integers(4, 9, generator.integers(0, longest)), EOS] for number in range(count)]
