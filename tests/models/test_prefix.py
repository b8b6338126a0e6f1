"""A language model that translates: the loss is on the target alone, and each row is what it would be by itself."""
import numpy as np
import pytest

from minitx.autograd import no_grad
from minitx.data.batches import BOS, EOS, make_batch
from minitx.decoding.beam import beam_search
from minitx.decoding.greedy import greedy
from minitx.errors import UserError
from minitx.models import DecoderOnly, PrefixLanguageModel

PAIRS = [([5, 6, 7], [8, 9]), ([4], [10, 11, 12, 4, 5]), ([9, 9, 8, 7, 6, 5], []), ([], [7, 7])]
SIZES = {"d_model": 16, "n_heads": 2, "n_layers": 2, "d_ff": 24, "seed": 3}


def model_of(dtype="float64", **options):
    model = PrefixLanguageModel(13, max_length=12, **SIZES | options)
    for parameter in model.parameters():  # far from uniform, so that a mistake shows
        parameter.data *= 5
    return model.to(dtype).eval()


def losses_by_hand(model, source, target):
    """−log P of each target id and of <eos>, by the plain language model on the one sequence, alone and without padding."""
    ids = [*source, EOS, BOS, *target]
    with no_grad():
        logits = np.asarray(DecoderOnly.forward(model, np.array([ids], np.int32)))[0, len(source) + 1:]
    logits = logits.astype(np.float64)
    return np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(target) + 1), [*target, EOS]]


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_the_loss_is_that_of_the_target_behind_its_source(positions):
    model = model_of(positions=positions)
    expected = np.concatenate([losses_by_hand(model, *pair) for pair in PAIRS])
    batch = make_batch(PAIRS)
    assert model.loss(batch, reduction="sum").item() == pytest.approx(expected.sum(), rel=1e-12)
    assert model.loss(batch).item() == pytest.approx(expected.mean(), rel=1e-12)


def test_a_batch_has_the_gradients_of_its_rows():
    together, apart = model_of(), model_of()
    together.loss(make_batch(PAIRS), reduction="sum").backward()
    for pair in PAIRS:
        apart.loss(make_batch([pair]), reduction="sum").backward()
    for (name, one), other in zip(together.named_parameters(), apart.parameters()):
        np.testing.assert_allclose(one.grad.data, other.grad.data, rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-12), ("float32", 1e-5)])
def test_steps_give_the_hidden_vectors_of_training(dtype, tolerance):
    model, batch = model_of(dtype), make_batch(PAIRS)
    with no_grad():
        full = np.asarray(model.hidden(batch)) @ model.output_weight.data.T  # (batch, target time, vocabulary)
    cache = model.start(batch.source, batch.source_lengths, batch.target_in.shape[1])
    for position in range(batch.target_in.shape[1]):
        found = model.step(batch.target_in[:, position], cache)
        real = batch.target_lengths > position
        np.testing.assert_allclose(found[real], full[real, position], rtol=0, atol=tolerance * np.abs(full).max())


def test_a_sentence_is_translated_in_a_batch_as_alone():
    model, batch = model_of(), make_batch(PAIRS)
    together = greedy(model, batch.source, batch.source_lengths)
    searched = beam_search(model, batch.source, batch.source_lengths, beam=3)
    for row, pair in enumerate(PAIRS):
        one = make_batch([pair])
        assert greedy(model, one.source, one.source_lengths) == [together[row]]
        [[best]] = beam_search(model, one.source, one.source_lengths, beam=3)
        assert best.ids == searched[row][0].ids and best.score == pytest.approx(searched[row][0].score)


def test_coverage_is_not_known_and_that_is_said():
    batch = make_batch(PAIRS)
    with pytest.raises(UserError, match="beta is above 0.*take beta 0"):
        beam_search(model_of(), batch.source, batch.source_lengths, beam=2, beta=0.2)


def test_both_sides_may_be_as_long_as_the_model_takes():
    model = model_of()
    batch = make_batch([([5] * 11, [6] * 11)])
    assert np.isfinite(model.loss(batch).item())
    assert len(greedy(model, batch.source, batch.source_lengths, max_length=99)[0]) <= 11


def test_attention_maps_show_the_source_beneath_the_target():
    model, batch = model_of(), make_batch(PAIRS)
    maps = model.attention_maps(batch.source, batch.source_lengths, batch.target_in)
    assert maps.shape == (2, 4, 2, 6, 7)  # (layers, batch, heads, target time, source time)
    for row, (source, target) in enumerate(PAIRS):
        words, said = len(source) + 1, len(target) + 1  # with <eos> and with <bos>
        alone = DecoderOnly.attention_maps(model, np.array([[*source, EOS, BOS, *target]], np.int32))
        np.testing.assert_allclose(maps[:, row, :, :said, :words], alone[:, 0, :, words:, :words], rtol=1e-9)
        assert not maps[:, row, :, :, words:].any()
    assert (maps.sum(axis=-1) < 1).all()  # the rest is on the target
