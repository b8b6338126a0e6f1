"""Whole models with experts or batch norm: their gradients, what padding may not change, and that translating them is as teaching them."""
import types

import numpy as np
import pytest

from minitx import gradients, no_grad
from minitx.data.batches import make_batch
from minitx.decoding.beam import beam_search
from minitx.models import DecoderOnly, EncoderDecoder, PrefixLanguageModel
from minitx.nn import BatchNorm, Experts

PAIRS = [([4, 5, 6, 7], [8, 9]), ([10], [4, 4, 5, 6, 7]), ([], [12]), ([7, 7], [])]
BATCH = make_batch(PAIRS)
IDS = np.random.default_rng(0).integers(1, 14, (3, 7)).astype(np.int32)
TEXT = types.SimpleNamespace(target_in=IDS[:, :-1], target_out=IDS[:, 1:], n_tokens=18, ignore=-1)
KINDS = pytest.mark.parametrize("kind", [EncoderDecoder, PrefixLanguageModel, DecoderOnly])
PARTS = pytest.mark.parametrize("options", [
    dict(normalization="batch"), dict(experts=3, balance=0.5), dict(experts=4, experts_per_token=1, normalization="batch"), dict(normalization="rms")], ids=str)


def small_model(kind, **options):
    """A float64 model whose vectors have been moved away from 0 and 1, where mistakes hide."""
    given = dict(d_model=8, n_heads=2, n_layers=2, d_ff=16, dropout=0.0, max_length=12) | options
    model = (kind(14, 14, **given) if kind is EncoderDecoder else kind(14, **given)).to("float64")
    generator = np.random.default_rng(3)
    for parameter in model.parameters():
        parameter.data += generator.normal(0, 0.3, parameter.shape)
    return model


def batch_of(kind):
    return TEXT if kind is DecoderOnly else BATCH


@KINDS
@PARTS
def test_the_gradient_of_every_parameter_agrees_with_differences(kind, options):
    model, batch, generator = small_model(kind, **options), batch_of(kind), np.random.default_rng(0)
    loss = model.loss(batch)
    for (name, parameter), gradient in zip(model.named_parameters(), gradients([loss], model.parameters(), allow_unused=False)):
        direction, start = generator.normal(size=parameter.shape), parameter.data.copy()
        values = []
        for step in (1e-7, -1e-7):
            parameter.data[...] = start + step * direction
            with no_grad():
                values.append(model.loss(batch).item())
        parameter.data[...] = start
        assert np.sum(gradient.data * direction) == pytest.approx((values[0] - values[1]) / 2e-7, rel=1e-4, abs=1e-7), name


@KINDS
def test_the_balance_is_part_of_the_loss_in_training_alone_and_per_token(kind):
    model, plain, batch = small_model(kind, experts=3, balance=0.5), small_model(kind, experts=3, balance=0.0), batch_of(kind)
    added = sum(module.last.loss.item() for _, module in plain.named_modules() if isinstance(module, Experts) and plain.loss(batch) is not None)
    for reduction, times in (("mean", 1), ("sum", batch.n_tokens)):
        alone = plain.loss(batch, reduction=reduction).item()
        assert model.loss(batch, reduction=reduction).item() == pytest.approx(alone + 0.5 * added * times, rel=1e-12)
        assert model.eval().loss(batch, reduction=reduction).item() == pytest.approx(alone, rel=1e-12)
        model.train()


@pytest.mark.parametrize("kind", [EncoderDecoder, PrefixLanguageModel])
@PARTS
def test_padding_changes_neither_the_loss_nor_what_is_learnt_from_it(kind, options):
    """The same pairs with three more columns of padding on either side."""
    wide = types.SimpleNamespace(**{name: getattr(BATCH, name) for name in ("source_lengths", "n_tokens")},
                                 **{name: np.pad(getattr(BATCH, name), ((0, 0), (0, 3))) for name in ("source", "target_in", "target_out")})
    results = []
    for batch in (BATCH, wide):
        model = small_model(kind, **options)
        loss = model.loss(batch)
        loss.backward()
        results.append((loss.item(), {name: parameter.grad.data for name, parameter in model.named_parameters()}, [one.data for one in model.buffers()],
                        [module.last.counts for _, module in model.named_modules() if isinstance(module, Experts)]))
    (loss, grads, buffers, counts), (other_loss, other_grads, other_buffers, other_counts) = results
    assert loss == pytest.approx(other_loss, rel=1e-12)
    for name in grads:
        np.testing.assert_allclose(grads[name], other_grads[name], rtol=1e-9, atol=1e-12, err_msg=name)
    for one, other in zip(buffers, other_buffers, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    for one, other in zip(counts, other_counts, strict=True):
        np.testing.assert_array_equal(one, other)


@PARTS
def test_a_translation_is_the_same_alone_in_a_batch_and_step_by_step(options):
    model = small_model(EncoderDecoder, **options)
    for _ in range(3):  # running statistics of their own
        model.loss(BATCH)
    model.eval()
    with no_grad():
        whole = model(BATCH.source, BATCH.source_lengths, BATCH.target_in).data
    cache = model.start(BATCH.source, BATCH.source_lengths)
    steps = [model.step(BATCH.target_in[:, i], cache) for i in range(BATCH.target_in.shape[1])]
    np.testing.assert_allclose(np.stack(steps, axis=1), whole, rtol=1e-10, atol=1e-12)
    together = beam_search(model, BATCH.source, BATCH.source_lengths, beam=3)
    for row, pair in enumerate(PAIRS):
        one = make_batch([pair])
        assert beam_search(model, one.source, one.source_lengths, beam=3)[0][0].ids == together[row][0].ids


def test_the_mean_of_a_feature_is_over_the_real_positions():
    """Of the first norm, whose input is known."""
    model = small_model(EncoderDecoder, normalization="batch")
    seen = []
    model.encoder[0].norm1.register_forward_hook(lambda module, inputs, out: seen.append(inputs[0].data))
    model.loss(BATCH)
    norm = model.encoder[0].norm1
    real = np.arange(BATCH.source.shape[1]) < BATCH.source_lengths[:, None]
    assert isinstance(norm, BatchNorm)
    np.testing.assert_allclose(norm.running_mean.data, 0.1 * seen[0][real].mean(axis=0), rtol=1e-12)
