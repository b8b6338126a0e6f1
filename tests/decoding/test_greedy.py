"""Greedy decoding: the most probable word at every position, whatever else is in the batch."""
import numpy as np
import pytest

from minitx.data.batches import BOS, EOS
from minitx.decoding.greedy import greedy
from minitx.decoding.limits import length_limits
from minitx.errors import UserError

from .random_model import RandomModel, padded, sentences


def word_by_word(model, source, limit):
    """The definition, for one sentence."""
    said = [BOS]
    while len(said) <= limit:
        logits = model.logits(tuple(source), tuple(said))
        word = EOS + int(logits[EOS:].argmax())
        if word == EOS:
            break
        said.append(word)
    return said[1:]


@pytest.mark.parametrize("vocabulary, end, levels", [(6, 0.0, None), (30, 0.4, None), (200, 0.6, 1)])
def test_every_row_is_what_the_definition_gives(vocabulary, end, levels):
    model, texts = RandomModel(vocabulary, seed=1, end=end, levels=levels), sentences(20)
    limits = length_limits(model, [len(text) for text in texts])
    assert greedy(model, *padded(texts)) == [word_by_word(model, text, n) for text, n in zip(texts, limits)]


def test_a_sentence_alone_is_translated_as_in_a_batch():
    model, texts = RandomModel(20, end=0.3), sentences(12)
    assert greedy(model, *padded(texts)) == [greedy(model, *padded([text]))[0] for text in texts]


def test_finished_rows_leave_the_batch():
    model, texts = RandomModel(20, seed=2, end=0.4), sentences(40)
    greedy(model, *padded(texts))
    assert model.rows_seen[0] == 40 and model.rows_seen[-1] < 20
    assert model.rows_seen == sorted(model.rows_seen, reverse=True)


def test_an_endless_sentence_stops_at_its_limit():
    model, texts = RandomModel(50, max_length=40), sentences(3)
    model.logits = lambda source, said: np.arange(50, dtype=np.float32)
    limits = length_limits(model, [len(text) for text in texts])
    assert [len(ids) for ids in greedy(model, *padded(texts))] == limits.tolist()
    assert [len(ids) for ids in greedy(model, *padded(texts), max_length=7)] == [7] * 3
    assert [len(ids) for ids in greedy(model, *padded(texts), max_length=1000)] == [39] * 3  # there are 40 positions


def test_pad_and_bos_are_never_said():
    model = RandomModel(5, seed=3)
    model.logits = lambda source, said, inner=model.logits: inner(source, said) + np.float32([99, 98, 0, 0, 0])
    assert set().union(*greedy(model, *padded(sentences(10)))) == {3, 4}


def test_limits_follow_from_each_sentence_alone():
    model = RandomModel(5, max_length=30)
    assert length_limits(model, np.array([1, 2, 20], np.int32)).tolist() == [14, 18, 29]
    assert length_limits(model, [1, 20], max_length=5).tolist() == [5, 5]
    with pytest.raises(UserError, match="max_length is 0"):
        length_limits(model, [1], max_length=0)
