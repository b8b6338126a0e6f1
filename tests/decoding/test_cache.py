"""Decoding with the key-value cache: the logits of the full forward pass, one position at a time."""
import numpy as np
import pytest

from minitx.autograd import no_grad
from minitx.data.batches import BOS
from minitx.decoding.beam import beam_search
from minitx.decoding.greedy import greedy
from minitx.models import EncoderDecoder

from .random_model import padded

TEXTS = [[5, 6, 7, 2], [9, 2], [8, 8, 4, 11, 10, 2], [2], [4, 5, 2]]


def small_model(norm="pre", dtype="float64", **settings):
    sizes = {"d_model": 16, "n_heads": 2, "n_layers": 2, "d_ff": 24, "max_length": 20, "seed": 3}
    model = EncoderDecoder(13, 11, norm=norm, **{**sizes, **settings}).eval()
    return model.to(dtype) if dtype != "float32" else model


@pytest.fixture
def target():
    words = np.random.default_rng(0).integers(3, 11, (len(TEXTS), 6))
    return np.concatenate([np.full((len(TEXTS), 1), BOS), words], axis=1).astype(np.int32)


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-12), ("float32", 1e-5)])
def test_steps_give_the_logits_of_the_full_forward(norm, positions, dtype, tolerance, target):
    model, (source, lengths) = small_model(norm, dtype, positions=positions), padded(TEXTS)
    with no_grad():
        full = np.asarray(model(source, lengths, target))  # (batch, target time, vocabulary)
    cache = model.start(source, lengths, target.shape[1])
    for position in range(target.shape[1]):
        np.testing.assert_allclose(model.step(target[:, position], cache), full[:, position], rtol=0, atol=tolerance)


def test_selected_rows_go_on_with_their_own_past(target):
    model, (source, lengths) = small_model(), padded(TEXTS)
    with no_grad():
        full = np.asarray(model(source, lengths, target))
    cache, rows = model.start(source, lengths, target.shape[1]), np.arange(len(TEXTS))
    choices = [[4, 3, 2, 1, 0], [0, 0, 3, 1], [3, 2, 1, 0], [1, 2], [0, 1, 1, 0, 1]]
    for position, chosen in enumerate(choices):
        np.testing.assert_allclose(model.step(target[rows, position], cache), full[rows, position], rtol=0, atol=1e-12)
        cache.select(np.array(chosen))
        rows = rows[chosen]


def test_hypotheses_about_a_sentence_share_its_memory_and_keep_their_own_past(target):
    model, (source, lengths) = small_model(), padded(TEXTS)
    with no_grad():
        full = np.asarray(model(source, lengths, target))
    cache = model.start(source, lengths, target.shape[1])
    rows = np.arange(len(TEXTS))
    model.step(target[:, 0], cache)
    for position, (chosen, hypotheses) in enumerate([([0, 0, 1, 1, 2, 2, 3, 3, 4, 4], 2), ([3, 2, 2, 8, 9, 8], 3), ([5, 0], 1), ([1, 0, 0, 0], 1)], 1):
        shared = cache.layers[0][1].keys_and_values()[0]
        cache.select(np.array(chosen), hypotheses)
        rows = rows[chosen]
        assert len(cache.memory_lengths) == len(chosen) // hypotheses
        np.testing.assert_allclose(model.step(target[rows, position], cache), full[rows, position], rtol=0, atol=1e-12)
        copied = cache.layers[0][1].keys_and_values()[0]
        assert np.shares_memory(shared, copied) == (position == 1), "nothing is copied while no sentence leaves"
    assert rows.tolist() == [1, 4, 4, 4]


def test_the_attention_of_a_step_is_that_of_the_full_forward(target):
    model, (source, lengths) = small_model(), padded(TEXTS)
    maps = model.attention_maps(source, lengths, target)[-1].mean(axis=1)  # (batch, target time, source time)
    cache, rows = model.start(source, lengths, target.shape[1]), np.arange(len(TEXTS))
    for position in range(3):
        model.step(target[rows, position], cache)
        np.testing.assert_allclose(model.attention(cache), maps[rows, position], rtol=0, atol=1e-12)
        chosen = np.repeat(np.arange(len(rows)), 2) if position == 0 else np.arange(len(rows))[::-1]
        cache.select(chosen, 2)
        rows = rows[chosen]


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_sentence_alone_is_translated_as_in_a_batch(norm):
    model, batch = small_model(norm), padded(TEXTS)
    assert greedy(model, *batch) == [greedy(model, *padded([text]))[0] for text in TEXTS]
    together = beam_search(model, *batch, beam=4, n_best=2)
    alone = [beam_search(model, *padded([text]), beam=4, n_best=2)[0] for text in TEXTS]
    assert [[one.ids for one in found] for found in together] == [[one.ids for one in found] for found in alone]


def test_a_beam_of_one_is_greedy():
    model, batch = small_model(), padded(TEXTS)
    assert [best.ids for [best] in beam_search(model, *batch, beam=1)] == greedy(model, *batch)


def test_the_longest_translation_fits_the_model():
    """As many words as there are positions behind <bos>: neither the cache nor the positions overflow."""
    model, batch = small_model(), padded(TEXTS)
    model.target_embedding.weight.data[2] = 0  # also the output layer: <eos> has logit 0, some word more
    assert max(map(len, greedy(model, *batch, max_length=1000))) == 19
    assert max(len(best.ids) for [best] in beam_search(model, *batch, max_length=1000, alpha=2.0)) == 19
