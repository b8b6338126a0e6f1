"""The encoder-decoder: what a prediction may depend on, and that translation step by step says what training computes at once."""
import copy

import numpy as np
import pytest

from minitx import Tensor, gradients, no_grad, random
from minitx.data.batches import make_batch
from minitx.models import EncoderDecoder

PAIRS = [([4, 5, 6, 7], [8, 9]), ([10], [4, 4, 5, 6, 7]), ([], [12]), ([7, 7], [])]
BATCH = make_batch(PAIRS)
CONFIGURATIONS = [dict(norm="pre", activation="relu", positions="sinusoidal", tie_embeddings="decoder"),
                  dict(norm="post", activation="gelu", positions="learned", tie_embeddings="none"),
                  dict(norm="post", activation="relu", positions="sinusoidal", tie_embeddings="all")]


def small_model(**options):
    """A float64 model whose biases and norms have been moved away from 0 and 1, where mistakes hide."""
    options = dict(d_model=8, n_heads=2, n_layers=2, d_ff=16, dropout=0.0, max_length=12) | options
    model = EncoderDecoder(14, 14, **options).to("float64")
    generator = np.random.default_rng(3)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data += generator.normal(0, 0.3, parameter.shape)
    return model


def logits_of(model, batch=BATCH):
    with no_grad():
        return model(batch.source, batch.source_lengths, batch.target_in).data


@pytest.mark.parametrize("options", CONFIGURATIONS, ids=lambda options: "-".join(options.values()))
def test_the_gradient_of_every_parameter_agrees_with_differences(options):
    model, generator = small_model(**options), np.random.default_rng(0)
    loss = model.loss(BATCH, label_smoothing=0.1)
    for (name, parameter), gradient in zip(model.named_parameters(), gradients([loss], model.parameters(), allow_unused=False)):
        direction, start = generator.normal(size=parameter.shape), parameter.data.copy()
        values = []
        for step in (1e-6, -1e-6):
            parameter.data[...] = start + step * direction
            with no_grad():
                values.append(model.loss(BATCH, label_smoothing=0.1).item())
        parameter.data[...] = start
        assert np.sum(gradient.data * direction) == pytest.approx((values[0] - values[1]) / 2e-6, rel=2e-5, abs=1e-9), name


def test_the_loss_is_the_mean_over_real_words_of_the_logits_cross_entropy():
    model = small_model()
    logits, targets = logits_of(model), BATCH.target_out
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    losses = -np.take_along_axis(log_p, targets[..., None], -1)[..., 0][targets != 0]
    assert losses.size == BATCH.n_tokens == 12
    assert model.loss(BATCH).item() == pytest.approx(losses.mean(), rel=1e-12)
    assert model.loss(BATCH, reduction="sum").item() == pytest.approx(losses.sum(), rel=1e-12)


def test_a_prediction_depends_on_no_later_word():
    model, target = small_model(), BATCH.target_in.copy()
    target[:, 3:] = 13
    with no_grad():
        changed = model(BATCH.source, BATCH.source_lengths, target).data
    assert np.array_equal(changed[:, :3], logits_of(model)[:, :3])
    assert not np.array_equal(changed[:, 3:], logits_of(model)[:, 3:])


def test_what_stands_in_the_padding_changes_nothing():
    model, source = small_model(), BATCH.source.copy()
    for row, length in enumerate(BATCH.source_lengths):
        source[row, length:] = 13
    with no_grad():
        assert np.array_equal(model(source, BATCH.source_lengths, BATCH.target_in).data, logits_of(model))


@pytest.mark.parametrize("options", CONFIGURATIONS, ids=lambda options: "-".join(options.values()))
def test_a_sentence_is_scored_alike_alone_and_in_a_batch(options):
    model, together = small_model(**options), logits_of(small_model(**options))
    for row, pair in enumerate(PAIRS):
        alone = logits_of(model, make_batch([pair]))[0]
        np.testing.assert_allclose(together[row, :len(alone)], alone, rtol=1e-11, atol=1e-12)


def test_the_loss_of_a_batch_is_that_of_its_sentences():
    model = small_model()
    alone = [model.loss(make_batch([pair]), label_smoothing=0.1, reduction="sum").item() for pair in PAIRS]
    assert model.loss(BATCH, label_smoothing=0.1, reduction="sum").item() == pytest.approx(sum(alone), rel=1e-12)


# Embeddings and parameters

def test_tied_embeddings_are_one_parameter():
    counts = {tie: small_model(tie_embeddings=tie).n_parameters() for tie in ("none", "decoder", "all")}
    assert counts["none"] - counts["decoder"] == counts["decoder"] - counts["all"] == 14 * 8
    model = small_model(tie_embeddings="all")
    assert model.output_weight is model.source_embedding.weight is model.target_embedding.weight
    assert copy.deepcopy(model).output_weight is not model.output_weight


def test_the_seed_decides_the_weights():
    def weights(seed):
        return np.concatenate([array.ravel() for array in small_model(seed=seed).state_dict().values()])

    assert np.array_equal(weights(1), weights(1)) and not np.array_equal(weights(1), weights(2))


def test_the_first_loss_is_near_that_of_a_uniform_guess():
    model = EncoderDecoder(500, 500, d_model=64, n_heads=4, n_layers=2, d_ff=128)
    loss = model.eval().loss(make_batch([([4 + i, 30 + i], [90 + i, 200 + i]) for i in range(20)])).item()
    assert abs(loss - np.log(500)) < 1.0


def test_dropout_is_decided_by_the_key_s_seed():
    model = small_model(dropout=0.3)

    def loss(seed):
        random.seed(seed)
        return model.loss(BATCH).item()

    assert loss(1) == loss(1) != loss(2)
    model.eval()
    assert loss(1) == loss(2)


@pytest.mark.parametrize("options, said", [
    (dict(tie_embeddings="both"), "'both' is not one of none, decoder, all"),
    (dict(tie_embeddings="all", target_vocabulary=15), "needs one vocabulary, but there are 14 source and 15 target ids"),
    (dict(norm="mid"), "'mid' is not one of pre, post"),
    (dict(positions="rotary"), "'rotary' is not one of"),
    (dict(d_model=9), "2 heads do not divide d_model = 9"),
])
def test_a_model_that_cannot_be_built_says_why(options, said):
    with pytest.raises(ValueError, match=said):
        EncoderDecoder(**{**dict(source_vocabulary=14, target_vocabulary=14, d_model=8, n_heads=2, n_layers=1, d_ff=8), **options})


def test_an_id_that_the_vocabulary_lacks_is_refused():
    with pytest.raises(IndexError, match="does the vocabulary fit the data"):
        small_model().loss(make_batch([([14], [4])]))


# Translation, word by word

@pytest.mark.parametrize("options", CONFIGURATIONS, ids=lambda options: "-".join(options.values()))
def test_decoding_with_the_cache_gives_the_logits_of_teacher_forcing(options):
    model = small_model(**options)
    whole, cache = logits_of(model), model.start(BATCH.source, BATCH.source_lengths)
    steps = [model.step(BATCH.target_in[:, i], cache) for i in range(BATCH.target_in.shape[1])]
    np.testing.assert_allclose(np.stack(steps, axis=1), whole, rtol=1e-11, atol=1e-12)


def test_selected_rows_go_on_with_their_own_sentences():
    """As in a beam: rows are dropped, doubled and put in another order after each word."""
    model, whole = small_model(), logits_of(small_model())
    cache, rows = model.start(BATCH.source, BATCH.source_lengths), np.arange(len(PAIRS))
    for time, chosen in enumerate([[1, 3, 2, 0], [3, 1, 1, 0], [2, 1], [1, 1, 0, 0, 0]]):
        cache.select(np.array(chosen))
        rows = rows[chosen]
        logits = model.step(BATCH.target_in[rows, time], cache)
        np.testing.assert_allclose(logits, whole[rows, time], rtol=1e-11, atol=1e-12)


def test_steps_are_not_recorded_and_leave_the_model_s_mode_alone():
    model = small_model().eval()
    cache = model.start(BATCH.source, BATCH.source_lengths)
    logits = model.step(BATCH.target_in[:, 0], cache)
    assert isinstance(logits, np.ndarray) and not cache.memory.requires_grad and cache.memory.node is None
    assert not model.training and cache.length == 1


def test_a_cache_holds_as_many_words_as_the_model_and_no_more():
    model = small_model(max_length=7)
    cache = model.start(BATCH.source, BATCH.source_lengths)
    for _ in range(7):
        model.step(np.full(len(PAIRS), 4), cache)
    with pytest.raises(ValueError, match="8 positions are needed but the model has 7; raise max_length"):
        model.step(np.full(len(PAIRS), 4), cache)


def test_attention_maps_show_where_each_word_looks():
    model = small_model()
    maps = model.attention_maps(BATCH.source, BATCH.source_lengths, BATCH.target_in)
    assert maps.shape == (2, len(PAIRS), 2, BATCH.target_in.shape[1], BATCH.source.shape[1])
    np.testing.assert_allclose(maps.sum(-1), 1, rtol=1e-12)
    for row, length in enumerate(BATCH.source_lengths):
        assert not maps[:, row, :, :, length:].any()
    assert not any(layer.multihead_attn.__dict__.get("_forward_hooks") for layer in model.decoder)
    assert isinstance(model(BATCH.source, BATCH.source_lengths, BATCH.target_in), Tensor)
