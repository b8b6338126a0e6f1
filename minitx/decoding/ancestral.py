"""Sampling of translations: each word is drawn from the model's probabilities, so that several samples differ where the model is unsure."""
import numpy as np

from ..data.batches import BOS, EOS
from ..kernels.softmax import log_softmax
from .beam import Hypothesis
from .limits import FREE, forced_words, length_limits
from .sampling import Dice


def sample(model, source, lengths, sampling, n=1, seed=0, max_length=None, prefixes=None):
    """Draw `n` translations of each row of source ids (batch, source time): lists of `Hypothesis`, in the order in which they were drawn.

    The score is log P / length, <eos> counted in both, by the probabilities of the model and not by those that `sampling` makes of them. A sample
    follows from the source, the seed and its number alone. Arguments else as of `beam_search`.
    """
    limits, forced = length_limits(model, lengths, max_length, prefixes), forced_words(prefixes, len(source))
    cache = model.start(source, lengths, int(limits.max()) + 1)
    sentences = np.arange(len(source))  # those that have a sample that has not ended
    cache.select(np.repeat(sentences, n), n)
    dice = Dice(seed, np.arange(len(source) * n) % n)
    said = [[] for _ in range(len(source) * n)]  # sample k of sentence i stands at i · n + k
    log_p, ended = np.zeros(len(said)), np.zeros(len(said), bool)
    ids = np.full(len(said), BOS, np.int32)
    for words in range(int(limits.max()) + 1):
        rows = (sentences[:, None] * n + np.arange(n)).reshape(-1)
        logits = model.step(ids, cache)  # (rows, vocabulary)
        likely = log_softmax(logits)
        logits[:, :EOS] = -np.inf
        ids = sampling.choose(logits, [said[row] for row in rows], dice, rows)
        if words < forced.shape[1]:
            wanted = forced[rows // n, words]
            ids = np.where(wanted == FREE, ids, wanted).astype(np.int32)
        ids[(limits[rows // n] == words) | ended[rows]] = EOS
        going = ~ended[rows]
        log_p[rows] += np.where(going, np.take_along_axis(likely, ids[:, None].astype(np.int64), axis=1)[:, 0], 0)
        ended[rows] |= ids == EOS
        for row, word in zip(rows, ids.tolist()):
            if not ended[row]:
                said[row].append(word)
        left = np.flatnonzero(~ended[rows].reshape(-1, n).all(axis=1))
        if not len(left):
            break
        if len(left) < len(sentences):
            kept = (left[:, None] * n + np.arange(n)).reshape(-1)
            cache.select(kept, n)
            sentences, ids = sentences[left], ids[kept]
    found = [Hypothesis(words, float(score / (len(words) + 1))) for words, score in zip(said, log_p)]
    return [found[first:first + n] for first in range(0, len(found), n)]
