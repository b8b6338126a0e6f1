"""Beam search: exhaustive where it is wide, greedy where it is narrow, and between them what its definition says."""
import itertools

import numpy as np
import pytest

from minitx.data.batches import BOS, EOS
from minitx.decoding.beam import beam_search
from minitx.decoding.greedy import greedy
from minitx.decoding.limits import length_limits
from minitx.errors import UserError

from .random_model import RandomModel, padded, sentences


def all_translations(model, source, alpha, longest, beta=0.0, prefix=()):
    """(score, ids) of every sentence of at most `longest` words that begins with the prefix, the best first."""
    found, words = [], range(EOS + 1, model.vocabulary)
    for length in range(len(prefix), longest + 1):
        for rest in itertools.product(words, repeat=length - len(prefix)):
            ids = (*prefix, *rest)
            said = (BOS, *ids)
            log_p = sum(model.log_probabilities(source, said[:i])[word] for i, word in enumerate((*ids, EOS), 1))
            found.append((log_p / (length + 1) ** alpha + beta * uncovered(model, source, said), list(ids)))
    return sorted(found, key=lambda one: -one[0])


def uncovered(model, source, said):
    """Equation 14 of Wu et al. 2016, without its beta."""
    coverage = sum(model.weights(source, said[:i]) for i in range(1, len(said) + 1))
    return sum(np.log(min(one, 1.0)) for one in coverage)


def by_definition(model, source, beam, n_best, alpha, longest, beta=0.0, prefix=()):
    """The search as its docstring defines it, one hypothesis at a time and without stopping early."""
    live, finished = [(0.0, (BOS,))], []
    for length in range(longest + 1):
        ranked = []
        for score, said in live:
            log_p = model.log_probabilities(source, said)
            allowed = range(EOS, model.vocabulary) if length < longest else [EOS]
            allowed = [prefix[length]] if length < len(prefix) else allowed
            ranked += [(score + log_p[word], (*said, word)) for word in allowed]
        ranked.sort(key=lambda one: -one[0])
        ended = [one for one in ranked[:beam] if one[1][-1] == EOS]
        finished += [(score / (length + 1) ** alpha + beta * uncovered(model, source, said[:-1]), list(said[1:-1])) for score, said in ended]
        live = [one for one in ranked if one[1][-1] != EOS][:beam]
        found = sorted(finished, key=lambda one: -one[0])[:n_best]
        now = live[0][0] / min(length + 2, longest + 1) ** alpha if live else -np.inf
        if len(finished) >= beam and (beam == 1 or now <= found[-1][0]):
            break
    return found


def assert_same(found, expected):
    assert [one.ids for one in found] == [ids for _, ids in expected]
    np.testing.assert_allclose([one.score for one in found], [score for score, _ in expected], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0, 2.0])
def test_a_wide_beam_is_exhaustive_search(alpha):
    model, texts, longest = RandomModel(6, seed=1), sentences(5), 4
    everything = [all_translations(model, tuple(text), alpha, longest) for text in texts]
    width = len(everything[0])
    found = beam_search(model, *padded(texts), beam=width, n_best=width, alpha=alpha, max_length=longest)
    for one, expected in zip(found, everything):
        assert_same(one, expected)
    for few in (1, 3):  # now it may stop early, and must not be wrong for it
        for one, expected in zip(beam_search(model, *padded(texts), width, few, alpha, max_length=longest), everything):
            assert_same(one, expected[:few])


@pytest.mark.parametrize("beam, n_best", [(1, 1), (2, 1), (3, 3), (5, 2), (20, 4)])
@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("vocabulary, end, levels", [(5, 0.0, None), (12, 0.3, None), (60, 0.7, 1)])
def test_every_width_gives_what_the_definition_gives(beam, n_best, alpha, vocabulary, end, levels):
    model, texts = RandomModel(vocabulary, seed=beam, end=end, levels=levels, max_length=14), sentences(6)
    found = beam_search(model, *padded(texts), beam, n_best, alpha)
    for one, text, limit in zip(found, texts, length_limits(model, [len(text) for text in texts])):
        assert_same(one, by_definition(model, tuple(text), beam, n_best, alpha, int(limit)))


PREFIXES = [[5], [3, 4, 3], [], [4, 4], [11], [3] * 6]


@pytest.mark.parametrize("beam, n_best", [(1, 1), (3, 3), (8, 2)])
@pytest.mark.parametrize("beta, prefixes", [(0.3, None), (0.0, PREFIXES), (0.1, PREFIXES)])
def test_coverage_and_prefixes_are_as_defined(beam, n_best, beta, prefixes):
    model, texts = RandomModel(12, seed=beam, end=0.3, max_length=14), sentences(6)
    limits = length_limits(model, [len(text) for text in texts])
    found = beam_search(model, *padded(texts), beam, n_best, beta=beta, prefixes=prefixes)
    for one, text, limit, prefix in zip(found, texts, limits, prefixes or [[]] * 6):
        assert_same(one, by_definition(model, tuple(text), beam, n_best, 1.0, int(limit), beta, prefix))


def test_a_wide_beam_is_exhaustive_search_with_coverage_and_a_prefix_too():
    model, texts, prefixes = RandomModel(6, seed=1), sentences(4), [[4], [], [3, 5], [5, 5, 5, 5]]
    everything = [all_translations(model, tuple(text), 0.6, 4, 0.5, tuple(prefix)) for text, prefix in zip(texts, prefixes)]
    found = beam_search(model, *padded(texts), 364, 3, 0.6, 0.5, max_length=4, prefixes=prefixes)  # all of them, or those that there are
    for one, expected in zip(found, everything):
        assert_same(one, expected[:3])
    assert [one.ids for one in found[3]] == [[5, 5, 5, 5]]


def test_a_prefix_has_room_of_its_own_but_no_more_than_the_model():
    model, texts = RandomModel(8, max_length=9), sentences(1)
    [[best]] = beam_search(model, *padded(texts), max_length=2, prefixes=[[7, 6, 5]])
    assert best.ids == [7, 6, 5]
    lengths = np.array([3, 1])
    assert length_limits(RandomModel(8, max_length=90), lengths, prefixes=[[4] * 30, []]).tolist() == [52, 14]  # without a limit of one's own, behind it
    assert length_limits(RandomModel(8, max_length=90), lengths).tolist() == [22, 14]
    with pytest.raises(UserError, match="a prefix has 9 tokens, but the model takes 8"):
        beam_search(model, *padded(texts), prefixes=[[3] * 9])


def test_greedy_goes_on_from_a_prefix_like_a_beam_of_one():
    model, texts = RandomModel(12, seed=4, end=0.3), sentences(6)
    found = greedy(model, *padded(texts), prefixes=PREFIXES)
    assert found == [best.ids for [best] in beam_search(model, *padded(texts), beam=1, prefixes=PREFIXES)]
    assert all(ids[:len(prefix)] == prefix for ids, prefix in zip(found, PREFIXES)) and found != greedy(model, *padded(texts))


def test_a_word_that_nothing_looked_at_costs_much_but_not_everything():
    model = RandomModel(6, seed=1)
    model.weights = lambda source, said: np.eye(len(source))[0]
    [found] = beam_search(model, *padded([[4, 5, 2]]), beam=3, n_best=3, beta=1.0, max_length=3)
    assert [one.ids for one in found] == [one.ids for one in beam_search(model, *padded([[4, 5, 2]]), beam=3, n_best=3, max_length=3)[0]]
    assert all(-200 < one.score < -170 for one in found)


@pytest.mark.parametrize("levels", [None, 1])
def test_a_beam_of_one_is_greedy(levels):
    model, texts = RandomModel(40, seed=5, end=0.4, levels=levels), sentences(30)
    assert [best.ids for [best] in beam_search(model, *padded(texts), beam=1)] == greedy(model, *padded(texts))


def test_a_sentence_alone_is_translated_as_in_a_batch():
    model, texts = RandomModel(20, end=0.3), sentences(10)
    together = beam_search(model, *padded(texts), beam=4, n_best=4)
    assert together == [beam_search(model, *padded([text]), beam=4, n_best=4)[0] for text in texts]


def test_the_search_stops_when_nothing_alive_can_overtake():
    """Wherever one stands, <eos> has almost all of the probability: another hypothesis is behind for good."""
    model = RandomModel(10, max_length=40)
    model.logits = lambda source, said: np.where(np.arange(10) == EOS, 12, 0).astype(np.float32)
    beam_search(model, *padded(sentences(4)), beam=4)
    assert model.rows_seen == [4]
    beam_search(model, *padded(sentences(4)), beam=4, n_best=2)  # the second best needs another look
    assert model.rows_seen[1:] == [4, 16]


def test_the_search_goes_on_while_a_long_hypothesis_may_overtake():
    """The empty sentence is found first, with log ½; another pays log ⅕ for one word and nothing for the rest."""
    beginning, certain = np.float32([0, 0, 0.5, 0.2, 0.15, 0.15]), np.eye(6, dtype=np.float32)
    model = RandomModel(6)
    with np.errstate(divide="ignore"):
        model.logits = lambda _, said: np.log(beginning if len(said) == 1 else certain[3 if len(said) < 9 else EOS])
        [[best]] = beam_search(model, *padded(sentences(1)), beam=3)
    assert best.ids == [3] * 8 and best.score == pytest.approx(np.log(0.2) / 9)


def test_bad_hypotheses_that_end_soon_do_not_end_the_search_for_a_good_one():
    """A sentence of eight words is all but certain; beside it some words of little probability, behind which <eos> is certain, end the others."""
    model = RandomModel(6)
    model.logits = lambda _, said: np.float32([0, 0, 0, 9, 2, 2] if set(said[1:]) <= {3} and len(said) < 9 else [0, 0, 20, 0, 0, 0])
    [[best]] = beam_search(model, *padded(sentences(1)), beam=2)
    assert best.ids == [3] * 8


def test_ties_go_to_the_first_words_of_the_vocabulary():
    model = RandomModel(7)
    model.logits = lambda source, said: np.zeros(7, np.float32)
    [found] = beam_search(model, *padded(sentences(1)), beam=3, n_best=3, alpha=0, max_length=3)
    assert [one.ids for one in found] == [[], [3], [3, 3]]


def test_words_without_a_probability_are_never_said():
    model, impossible = RandomModel(6, seed=2), np.float32([0, 0, 0, 0, -np.inf, -np.inf])
    model.logits = lambda source, said, inner=model.logits: inner(source, said) + impossible
    [found] = beam_search(model, *padded(sentences(1)), beam=9, n_best=9, max_length=3)
    assert sorted(one.ids for one in found) == [[], [3], [3, 3], [3, 3, 3]]
    assert all(np.isfinite(one.score) for one in found)


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"beam": 0}, "beam is 0"),
        ({"beam": 2, "n_best": 3}, "a beam of 2 finds 1 to 2"),
        ({"n_best": 0}, "n_best is 0"),
        ({"alpha": -1}, "alpha is -1"),
        ({"alpha": np.nan}, "alpha is nan"),
        ({"beta": -0.1}, "beta is -0.1"),
    ],
)
def test_impossible_searches_are_refused(wrong, said):
    with pytest.raises(UserError, match=said):
        beam_search(RandomModel(6), *padded(sentences(1)), **wrong)
