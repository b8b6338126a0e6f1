"""Samples of translations: drawn with the model's probabilities, each by itself, whatever is drawn beside it."""
import numpy as np
import pytest

from minitx.data.batches import BOS, EOS
from minitx.decoding.ancestral import sample
from minitx.decoding.greedy import greedy
from minitx.decoding.limits import length_limits
from minitx.decoding.sampling import Sampling

from .random_model import RandomModel, padded, sentences

PLAIN = Sampling()


@pytest.mark.parametrize("sampling", [Sampling(temperature=0.0), Sampling(top_k=1)], ids=["temperature 0", "top 1"])
def test_without_chance_it_is_greedy(sampling):
    model, texts = RandomModel(20, seed=1, end=0.4), sentences(12)
    found = sample(model, *padded(texts), sampling, n=2)
    assert [[one.ids for one in drawn] for drawn in found] == [[ids, ids] for ids in greedy(model, *padded(texts))]


def test_the_score_is_the_mean_log_probability_of_the_model_whatever_the_filters():
    model, texts = RandomModel(12, seed=2, end=0.3), sentences(5)
    for text, drawn in zip(texts, sample(model, *padded(texts), Sampling(temperature=1.5, top_k=4), n=3, max_length=6)):
        for ids, score in drawn:
            said = (BOS, *ids)
            log_p = sum(model.log_probabilities(tuple(text), said[:i])[word] for i, word in enumerate((*ids, EOS), 1))
            assert len(ids) <= 6 and score == pytest.approx(log_p / (len(ids) + 1), rel=1e-5)


def test_a_sample_depends_on_nothing_beside_it():
    model, texts = RandomModel(20, end=0.3), sentences(8)
    together = sample(model, *padded(texts), PLAIN, n=4, seed=7)
    assert [drawn[:2] for drawn in together] == [sample(model, *padded([text]), PLAIN, n=2, seed=7)[0] for text in texts]
    assert together != sample(model, *padded(texts), PLAIN, n=4, seed=8)
    assert all(len({tuple(one.ids) for one in drawn}) > 1 for drawn in together)


def test_sentences_leave_when_all_their_samples_have_ended():
    model, texts = RandomModel(20, seed=3, end=0.5), sentences(30)
    sample(model, *padded(texts), PLAIN, n=3)
    assert model.rows_seen[0] == 90 and model.rows_seen[-1] < 45 and all(rows % 3 == 0 for rows in model.rows_seen)


def test_words_come_as_often_as_they_are_probable():
    model, text = RandomModel(7, seed=4, scale=1.0), [5, 2]
    drawn = [one.ids for one in sample(model, *padded([text]), PLAIN, n=20_000, max_length=1)[0]]
    wanted = np.exp(model.log_probabilities(tuple(text), (BOS,)))[EOS:]
    wanted /= wanted.sum()  # <pad> and <bos> are never said
    found = np.bincount([ids[0] if ids else EOS for ids in drawn], minlength=7)[EOS:] / 20_000
    np.testing.assert_allclose(found, wanted, atol=0.012)


def test_prefixes_and_limits_hold():
    model, texts = RandomModel(12, seed=5, end=-0.5), sentences(3)
    found = sample(model, *padded(texts), PLAIN, n=2, prefixes=[[3, 4], [], [11]])
    assert [ids[:2] for ids, _ in found[0]] == [[3, 4]] * 2 and [ids[0] for ids, _ in found[2]] == [11] * 2
    limits = length_limits(model, [len(text) for text in texts])
    assert max(len(ids) for ids, _ in found[1]) == limits[1]
