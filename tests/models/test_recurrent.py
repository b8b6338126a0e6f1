"""Recurrent translators: what a prediction may depend on, that steps say what training computes at once, and that beams share their memory."""
import copy

import numpy as np
import pytest

from minitx import Tensor, gradients, no_grad, optim, random
from minitx.data.batches import make_batch
from minitx.decoding.beam import beam_search
from minitx.decoding.greedy import greedy
from minitx.errors import UserError
from minitx.models import RecurrentTranslator
from minitx.models.recurrent import unstack

PAIRS = [([4, 5, 6, 7], [8, 9]), ([10], [4, 4, 5, 6, 7]), ([], [12]), ([7, 7], [])]
BATCH = make_batch(PAIRS)
BOTTLENECKS = [("none", "start"), ("none", "input")]
ATTENTIVE = [(score, context) for score in ("additive", "bilinear", "dot", "scaled-dot", "cosine") for context in ("input", "output")]
CELLS = pytest.mark.parametrize("cell", ["gru", "lstm"])
KINDS = pytest.mark.parametrize("score, context", BOTTLENECKS + ATTENTIVE)


def small_model(**options):
    options = dict(d_model=8, n_layers=2, dropout=0.0, max_length=12, bidirectional=True) | options
    return RecurrentTranslator(14, 14, **options).to("float64")


def logits_of(model, batch=BATCH):
    with no_grad():
        return model(batch.source, batch.source_lengths, batch.target_in).data


@CELLS
@KINDS
def test_the_gradient_of_every_parameter_agrees_with_differences(cell, score, context):
    model, generator = small_model(cell=cell, score=score, context=context), np.random.default_rng(0)
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
    assert model.loss(BATCH).item() == pytest.approx(losses.mean(), rel=1e-12)
    assert model.loss(BATCH, reduction="sum").item() == pytest.approx(losses.sum(), rel=1e-12)


@CELLS
@KINDS
def test_a_prediction_depends_on_no_later_word(cell, score, context):
    model, target = small_model(cell=cell, score=score, context=context), BATCH.target_in.copy()
    target[:, 3:] = 13
    with no_grad():
        changed = model(BATCH.source, BATCH.source_lengths, target).data
    assert np.array_equal(changed[:, :3], logits_of(model)[:, :3])
    assert not np.array_equal(changed[:, 3:], logits_of(model)[:, 3:])


@KINDS
def test_what_stands_in_the_padding_changes_nothing(score, context):
    model, source = small_model(score=score, context=context), BATCH.source.copy()
    for row, length in enumerate(BATCH.source_lengths):
        source[row, length:] = 13
    with no_grad():
        assert np.array_equal(model(source, BATCH.source_lengths, BATCH.target_in).data, logits_of(model))


@CELLS
@KINDS
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_sentence_is_scored_alike_alone_and_in_a_batch(cell, score, context, bidirectional):
    model = small_model(cell=cell, score=score, context=context, bidirectional=bidirectional)
    together = logits_of(model)
    for row, pair in enumerate(PAIRS):
        alone = logits_of(model, make_batch([pair]))[0]
        np.testing.assert_allclose(together[row, :len(alone)], alone, rtol=1e-10, atol=1e-12)


def influence(model):
    """Of each source position on the logits after the target has been read: (source time,)."""
    embedded = []
    with model.source_embedding.register_forward_hook(lambda module, inputs, out: embedded.append(out)):
        logits = model(*(BATCH.source[:1], BATCH.source_lengths[:1], BATCH.target_in[:1]))
    found, = gradients([logits[:, -1].sum()], embedded)
    return np.zeros(BATCH.source.shape[1]) if found is None else np.abs(found.data[0]).sum(axis=-1)


def test_without_attention_the_source_reaches_a_word_through_the_last_state_alone():
    """When the last state is cut off, so is the source; attention has a way around it."""
    for score, reached in (("none", False), ("dot", True)):
        model = small_model(score=score, bidirectional=False, n_layers=1)
        assert influence(model).all()
        read = model.read

        def cut(*args):
            cache = read(*args)
            cache.states = cache.first = [Tensor(state.data) for state in cache.states]
            return cache

        model.read = cut
        assert influence(model).any() == reached


# Parameters

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


@pytest.mark.parametrize("kind", ["dropout", "attention_dropout"])
def test_dropout_is_decided_by_the_key_s_seed_and_acts_in_training_only(kind):
    model = small_model(**{kind: 0.3})

    def loss(seed):
        random.seed(seed)
        return model.loss(BATCH).item()

    assert loss(1) == loss(1) != loss(2)
    model.eval()
    assert loss(1) == loss(2)


@pytest.mark.parametrize("options, said", [
    (dict(cell="rnn"), "cell: 'rnn' is not one of gru, lstm"),
    (dict(score="manhattan"), "score: 'manhattan' is not one of"),
    (dict(score="none", context="output"), "context: 'output' is not one of start, input, which go without attention"),
    (dict(context="start"), "context: 'start' is not one of output, input, which go with attention"),
    (dict(tie_embeddings="both"), "'both' is not one of none, decoder, all"),
    (dict(tie_embeddings="all", target_vocabulary=15), "needs one vocabulary, but there are 14 source and 15 target ids"),
    (dict(d_model=7, bidirectional=True), "d_model = 7 is odd"),
])
def test_a_model_that_cannot_be_built_says_why(options, said):
    with pytest.raises(ValueError, match=said):
        RecurrentTranslator(**{**dict(source_vocabulary=14, target_vocabulary=14, d_model=8), **options})


@pytest.mark.parametrize("time", [1, 2, 3, 7])
def test_steps_are_cut_out_in_order(time):
    x = Tensor(np.arange(2 * time * 3.0).reshape(2, time, 3))
    assert [step.shape for step in unstack(x)] == [(2, 1, 3)] * time
    np.testing.assert_array_equal(np.concatenate([step.data for step in unstack(x)], axis=1), x.data)


# Translation, word by word

@CELLS
@KINDS
def test_steps_give_the_logits_of_teacher_forcing(cell, score, context):
    model = small_model(cell=cell, score=score, context=context)
    whole, cache = logits_of(model), model.start(BATCH.source, BATCH.source_lengths)
    steps = [model.step(BATCH.target_in[:, i], cache) for i in range(BATCH.target_in.shape[1])]
    np.testing.assert_allclose(np.stack(steps, axis=1), whole, rtol=1e-11, atol=1e-12)


@CELLS
@KINDS
def test_selected_rows_go_on_with_their_own_sentences(cell, score, context):
    """As in a beam: rows are dropped, doubled and put in another order after each word."""
    model = small_model(cell=cell, score=score, context=context)
    whole, cache, rows = logits_of(model), model.start(BATCH.source, BATCH.source_lengths), np.arange(len(PAIRS))
    for time, chosen in enumerate([[1, 3, 2, 0], [3, 1, 1, 0], [2, 1], [1, 1, 0, 0, 0]]):
        cache.select(np.array(chosen))
        rows = rows[chosen]
        logits = model.step(BATCH.target_in[rows, time], cache)
        np.testing.assert_allclose(logits, whole[rows, time], rtol=1e-11, atol=1e-12)


@CELLS
@pytest.mark.parametrize("score, context", [("none", "input"), ("additive", "input"), ("dot", "output")])
def test_hypotheses_about_one_sentence_share_its_memory(cell, score, context):
    model = small_model(cell=cell, score=score, context=context)
    whole, cache, rows = logits_of(model), model.start(BATCH.source, BATCH.source_lengths), np.arange(len(PAIRS))
    for time, (chosen, hypotheses) in enumerate([([0, 0, 1, 1, 2, 2, 3, 3], 2), ([1, 0, 1, 4, 5, 5], 3), ([3, 3, 4], 3), ([2], 1)]):
        cache.select(np.array(chosen), hypotheses)
        rows = rows[chosen]
        assert len(cache.memory) == len(rows) // hypotheses
        logits = model.step(BATCH.target_in[rows, time], cache)
        np.testing.assert_allclose(logits, whole[rows, time], rtol=1e-11, atol=1e-12)
        if score != "none":
            maps = model.attention_maps(BATCH.source, BATCH.source_lengths, BATCH.target_in)
            np.testing.assert_allclose(model.attention(cache), maps[0, rows, 0, time], rtol=1e-11, atol=1e-13)


@CELLS
@KINDS
def test_a_sentence_alone_is_translated_as_in_a_batch(cell, score, context):
    model = small_model(cell=cell, score=score, context=context).eval()
    given = BATCH.source, BATCH.source_lengths
    alone = [make_batch([pair]) for pair in PAIRS]
    assert greedy(model, *given) == [greedy(model, one.source, one.source_lengths)[0] for one in alone]
    together = beam_search(model, *given, beam=3)
    assert [best[0].ids for best in together] == [beam_search(model, one.source, one.source_lengths, beam=3)[0][0].ids for one in alone]


def test_steps_are_not_recorded():
    model = small_model()
    cache = model.start(BATCH.source, BATCH.source_lengths)
    logits = model.step(BATCH.target_in[:, 0], cache)
    assert isinstance(logits, np.ndarray) and not any(tensor.requires_grad for tensor in (cache.memory, cache.keys, *cache.states))


@pytest.mark.parametrize("score, context", ATTENTIVE)
def test_attention_maps_show_where_each_word_looks(score, context):
    model = small_model(score=score, context=context)
    maps = model.attention_maps(BATCH.source, BATCH.source_lengths, BATCH.target_in)
    assert maps.shape == (1, len(PAIRS), 1, BATCH.target_in.shape[1], BATCH.source.shape[1])
    np.testing.assert_allclose(maps.sum(-1), 1, rtol=1e-12)
    for row, length in enumerate(BATCH.source_lengths):
        assert not maps[:, row, :, :, length:].any()
    assert not model.score.__dict__.get("_forward_hooks")


def test_without_attention_there_is_none_to_show():
    model = small_model(score="none")
    cache = model.start(BATCH.source, BATCH.source_lengths)
    for ask in (lambda: model.attention(cache), lambda: model.attention_maps(BATCH.source, BATCH.source_lengths, BATCH.target_in)):
        with pytest.raises(UserError, match="this model has no attention"):
            ask()


# Learning

@CELLS
@pytest.mark.parametrize("score, context", [("none", "start"), ("none", "input"), ("additive", "input"), ("scaled-dot", "output")])
def test_it_learns_to_copy(cell, score, context):
    drawn = np.random.default_rng(0)
    texts = [drawn.integers(4, 10, 3).tolist() for _ in range(40)]
    batch = make_batch([(text, text) for text in texts])
    model = RecurrentTranslator(10, 10, cell=cell, score=score, context=context, d_model=24, dropout=0.0)
    optimizer = optim.Adam(model.parameters(), 0.02)
    for _ in range(150):
        model.loss(batch).backward()
        optimizer.step(clip=1.0)
        optimizer.zero_grad()
    found = greedy(model.eval(), batch.source, batch.source_lengths)
    assert sum(one == text for one, text in zip(found, texts)) >= 36
