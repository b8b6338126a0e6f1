"""Beam search: several translations of a sentence are followed at once.

The most probable sentence need not begin with the most probable word, the only one that greedy decoding follows.
"""
from typing import NamedTuple

import numpy as np

from ..data.batches import BOS, EOS
from ..errors import UserError
from ..kernels.top_k import top_k
from .limits import FREE, forced_words, length_limits

_FIRST_WORD = EOS + 1  # <pad> and <bos> are never said, and <eos> is ranked apart


class Hypothesis(NamedTuple):
    """A finished translation."""

    ids: list[int]  # without <bos> and <eos>
    score: float  # log P / length^alpha


def beam_search(model, source, lengths, beam=4, n_best=1, alpha=1.0, beta=0.0, max_length=None, prefixes=None):
    """The best translations of each row of source ids (batch, source time): lists of `Hypothesis`, the best first.

    In every step the extensions of a sentence's live hypotheses are ranked by log P, their log-probability. Those among
    the first `beam` that end are finished; the first `beam` that do not end live on. A sentence is done when `beam`
    hypotheses or more have finished and no live one, if it ended at once and for certain, would be among the `n_best`:
    beside a long and good one, short and bad ones are soon as many. Or earlier, when no live one can overtake the
    `n_best` found: words only lower log P, so whatever it becomes, its score stays at or below
    log P / (longest length)^alpha. With a beam of 1 the first that finishes is the last.

    The score is log P / length^alpha, <eos> counted in both. With alpha = 0 it is the plain log-probability, which
    prefers short sentences; with alpha = 1 the mean per word. With beta, beta · Σ log(min(coverage, 1)) is added, a sum
    over the source words; the coverage of one is how much attention the whole translation paid to it, so that to leave
    a word out costs (Wu et al. 2016, section 7; there the length enters as (5 + length) / 6). Their β of 0.2 goes with
    their α of 0.2: beside a mean per word it is so much that a beam repeats itself to the end, and 0.01 is enough.

    Ties go to the better live hypothesis, then to the word that comes first in the vocabulary. A beam of 1 is greedy
    decoding; one as wide as there are hypotheses is exhaustive search.

    Args:
        lengths: (batch,) how many source ids of each row are real.
        n_best: how many to return, at most `beam`; there are fewer where the model gives no more of them a probability.
        max_length: see `length_limits`; a hypothesis that has not ended there ends, and pays for <eos>.
        prefixes: for each row the ids that its translations begin with; their log P counts too.
    """
    _check(beam, n_best, alpha, beta)
    limits, forced = length_limits(model, lengths, max_length, prefixes), forced_words(prefixes, len(source))
    longest = int(limits.max())
    cache = model.start(source, lengths, longest + 1)
    length_to_alpha = np.arange(1, longest + 2) ** float(alpha)  # of sentences of 0, 1, 2 … words, and <eos>
    finished = _Finished(len(source), beam, n_best)

    rows = np.arange(len(source))  # the sentences that are not done
    scores = np.zeros((len(source), 1))  # (sentences, live): log P of the live hypotheses in float64, the best first
    said = np.full((len(source), 1), BOS, np.int32)  # (sentences · live, words): what each has said, behind <bos>
    coverage = np.zeros((len(source), source.shape[1]))  # (sentences · live, source time): of each, if there is a beta
    for words in range(longest + 1):
        live = scores.shape[1]
        next_word = np.repeat(forced[rows, words], live) if words < forced.shape[1] else None
        ids, log_p = _extensions(model.step(said[:, -1], cache), beam, next_word)  # (sentences · live, extensions), <eos> first
        coverage = coverage + model.attention(cache) if beta else coverage
        extensions = ids.shape[1]
        log_p = log_p.reshape(len(rows), live, extensions)
        log_p[limits[rows] == words, :, 1:] = -np.inf  # at the limit nothing but <eos> is left
        sums = (scores[:, :, None] + log_p).reshape(len(rows), live * extensions)
        ranking = np.argsort(-sums, axis=1, kind="stable")
        sums = np.take_along_axis(sums, ranking, axis=1)
        ends = ranking % extensions == 0

        for row, rank in np.argwhere(ends[:, :beam] & (sums[:, :beam] > -np.inf)):
            parent = row * live + ranking[row, rank] // extensions
            penalty = beta * _uncovered(coverage[parent, :lengths[rows[row]]]) if beta else 0.0
            score = float(sums[row, rank] / length_to_alpha[words] + penalty)
            finished.add(rows[row], Hypothesis(said[parent, 1:].tolist(), score))

        going = np.argsort(ends, axis=1, kind="stable")[:, :min(beam, live * (extensions - 1))]  # ranks that do not end
        best = np.take_along_axis(sums, going[:, :1], axis=1)[:, 0]  # (sentences,)
        stay = np.flatnonzero(~finished.done(rows, best / length_to_alpha[np.minimum(words + 1, limits[rows])], best / length_to_alpha[limits[rows]]))
        if not len(stay):
            break
        rows, going = rows[stay], going[stay]
        scores = np.take_along_axis(sums[stay], going, axis=1)  # (sentences, new live)
        # Where each new hypothesis stands among the extensions of all old ones: in row `parents` of them.
        chosen = (stay[:, None] * live * extensions + np.take_along_axis(ranking[stay], going, axis=1)).reshape(-1)
        parents = chosen // extensions
        said = np.concatenate([said[parents], ids.reshape(-1, 1)[chosen]], axis=1)
        coverage = coverage[parents]
        if not np.array_equal(parents, np.arange(len(ids))):
            cache.select(parents, scores.shape[1])
    return finished.best()


class _Finished:
    """The hypotheses of each sentence that have ended."""

    def __init__(self, sentences, beam, n_best):
        self._beam, self._n_best = beam, n_best
        self._found = [[] for _ in range(sentences)]
        self._full = np.zeros(sentences, bool)
        self._to_beat = np.full(sentences, -np.inf)  # the score of the last that would be returned

    def add(self, sentence, hypothesis):
        found = self._found[sentence]
        found.append(hypothesis)
        found.sort(key=lambda one: -one.score)  # stable: of equals, what ended first is better
        self._full[sentence] = len(found) >= self._beam
        if len(found) >= self._n_best:
            self._to_beat[sentence] = found[self._n_best - 1].score

    def done(self, sentences, now, bounds):
        """Which of the sentences are done, when no live hypothesis of them would score more than `now` if it ended, nor can ever score more than its bound."""
        to_beat = self._to_beat[sentences]
        return self._full[sentences] & ((now <= to_beat) | (self._beam == 1)) | (bounds <= to_beat)

    def best(self):
        return [found[:self._n_best] for found in self._found]


def _extensions(logits, beam, forced=None):
    """<eos> and the `beam` best words after each row of logits: ids and float64 log-probabilities, (rows, 1 + beam).

    Words of equal logits are ordered as in the vocabulary, which has fewer than `beam` words when it is small. Of a row
    whose `forced` word is not FREE, that word alone keeps a probability, its own.
    """
    words, chosen, log_sum_exp = top_k(logits, min(beam, logits.shape[1] - _FIRST_WORD), _FIRST_WORD)
    ids = np.concatenate([np.full((len(logits), 1), EOS), words], axis=1).astype(np.int32)
    chosen = np.concatenate([logits[:, EOS:_FIRST_WORD], chosen], axis=1)
    if forced is not None:
        bound = np.flatnonzero(forced != FREE)
        chosen[bound] = -np.inf
        ids[bound, 1], chosen[bound, 1] = forced[bound], logits[bound, forced[bound]]
    # Rounding may lift one above 0, and the search relies on log P never growing.
    return ids, np.minimum(chosen.astype(np.float64) - log_sum_exp[:, None], 0)


def _uncovered(coverage):
    """Σ log(min(coverage, 1)) over the source words, which is 0 when each was paid attention of 1 in all."""
    return float(np.log(np.clip(coverage, np.finfo(np.float32).tiny, 1)).sum())


def _check(beam, n_best, alpha, beta):
    if beam < 1:
        raise UserError(f"beam is {beam}; the search needs at least 1 hypothesis")
    if not 1 <= n_best <= beam:
        raise UserError(f"n_best is {n_best}, but a beam of {beam} finds 1 to {beam}; take a wider beam")
    if not alpha >= 0:
        raise UserError(f"alpha is {alpha}; the power of the length must be 0 or more, usually 0.6 to 1")
    if not 0 <= beta < np.inf:
        raise UserError(f"beta is {beta}; the weight of the coverage must be 0 (none) or more: about 0.01 beside alpha 1, 0.2 beside alpha 0.2")
