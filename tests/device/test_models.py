"""Models on "cuda" agree with the CPU, step by step, and a training step never waits for the GPU."""
from types import SimpleNamespace

import numpy as np
import pytest

from minitx import optim, random
from minitx.autograd import tensor
from minitx.data.batches import make_batch
from minitx.decoding.ancestral import sample
from minitx.decoding.beam import beam_search
from minitx.decoding.greedy import greedy
from minitx.decoding.sampling import Sampling
from minitx.models import DecoderOnly, EncoderDecoder, PrefixLanguageModel, RecurrentTranslator
from minitx.nn import GRU
from minitx.training import metrics

from . import standin

BATCH = make_batch([([5, 6, 7], [8, 9]), ([4, 5], [6, 7, 8, 9, 4]), ([9] * 6, [5])])
IDS = np.random.default_rng(1).integers(1, 14, (3, 9)).astype(np.int32)
BLOCKS = SimpleNamespace(target_in=IDS[:, :-1], target_out=IDS[:, 1:], n_tokens=24, ignore=-100)
SIZES = dict(d_model=16, n_heads=4, n_layers=2, d_ff=24, max_length=12, dropout=0.2, attention_dropout=0.1)

MODELS = {
    "encoder-decoder": lambda: EncoderDecoder(14, 14, **SIZES, tie_embeddings="all"),
    "encoder-decoder-2017": lambda: EncoderDecoder(14, 12, **SIZES, norm="post", activation="gelu", positions="learned", tie_embeddings="none"),
    "cosine": lambda: EncoderDecoder(14, 14, **SIZES, score="cosine"),
    "batch-norms": lambda: EncoderDecoder(14, 14, **SIZES, normalization="batch", score="additive"),
    "sutskever": lambda: RecurrentTranslator(14, 14, score="none", d_model=16, n_layers=2),
    "bahdanau": lambda: RecurrentTranslator(14, 14, score="additive", context="input", bidirectional=True, d_model=16, attention_dropout=0.1),
    "luong": lambda: RecurrentTranslator(14, 14, cell="lstm", bidirectional=True, d_model=16, n_layers=2),
    "experts": lambda: EncoderDecoder(14, 14, **SIZES, experts=3),
    "prefix": lambda: PrefixLanguageModel(14, **SIZES),
    "gpt": lambda: DecoderOnly(14, **SIZES, activation="gelu_tanh"),
    "sinusoidal": lambda: DecoderOnly(14, **SIZES, positions="sinusoidal", activation="relu", bias=False),
    "llama": lambda: DecoderOnly(14, **SIZES, normalization="rms", activation="swiglu", positions="rotary", n_kv_heads=2, bias=False, tie_embeddings=False),
    "mistral": lambda: DecoderOnly(14, **SIZES, normalization="rms", activation="swiglu", positions="rotary", n_kv_heads=1, window=3),
}
TRANSLATORS = ("encoder-decoder", "encoder-decoder-2017", "prefix", "bahdanau", "luong")


def pair(name):
    """The same model twice, with weights far from their small beginnings: in main memory and on the GPU."""
    models = [MODELS[name](), MODELS[name]()]
    generator = np.random.default_rng(3)
    for parameter, twin in zip(*(model.parameters() for model in models)):
        parameter.data += generator.normal(0, 0.1, parameter.shape).astype(np.float32)
        twin.data[...] = parameter.data
    models[1].to("cuda")
    return models


def batch_of(model):
    return BLOCKS if type(model) is DecoderOnly else BATCH


def weights(model):
    return {name: value.to("cpu").data for name, value in model.named_parameters()}


def update(model, optimizer, step):
    """One step of training; returns the loss, where it was computed, and the norm of the gradients."""
    random.seed(0, step)
    batch = batch_of(model.train())
    loss = model.loss(batch, label_smoothing=0.1, reduction="sum") * (1.0 / batch.n_tokens)
    loss.backward()
    norm = optimizer.step(clip=0.5)
    optimizer.zero_grad()
    return loss.data, norm


@pytest.mark.parametrize("kind", [optim.AdamW, optim.SGD], ids=["adamw", "sgd"])
@pytest.mark.parametrize("name", MODELS)
def test_training_agrees_step_by_step_and_does_not_wait(cupy, name, kind):
    here, there = pair(name)
    optimizers = [kind(model.parameters(), 0.01) for model in (here, there)]
    for step in range(4):
        before = standin.waits
        loss, norm = update(there, optimizers[1], step)
        assert standin.waits - before == (4 if name == "experts" else 0)  # each layer of experts reads who takes which token
        expected = update(here, optimizers[0], step)
        assert isinstance(loss, cupy.ndarray) and isinstance(norm, cupy.ndarray)
        np.testing.assert_allclose([loss.item(), norm.item()], [*map(float, expected)], rtol=2e-6)
        for parameter, array in weights(here).items():
            np.testing.assert_allclose(weights(there)[parameter], array, rtol=1e-5, atol=1e-6, err_msg=parameter)
    assert all(isinstance(state, cupy.ndarray) for state in optimizers[1].state.values())


@pytest.mark.parametrize("name", TRANSLATORS)
def test_translations_are_the_same(cupy, name):
    source, lengths = BATCH.source, BATCH.source_lengths
    searches = [lambda model: greedy(model, source, lengths),
                lambda model: [[one.ids for one in found] for found in beam_search(model, source, lengths, beam=3, n_best=2)],
                lambda model: [[one.ids for one in found] for found in sample(model, source, lengths, Sampling(temperature=1.5), n=3)]]
    if name != "prefix":
        searches.append(lambda model: [[one.ids for one in found] for found in beam_search(model, source, lengths, beam=3, beta=0.3)])
    here, there = (model.eval() for model in pair(name))
    for search in searches:
        assert search(there) == search(here)
    np.testing.assert_allclose(there.attention_maps(source, lengths, BATCH.target_in), here.attention_maps(source, lengths, BATCH.target_in), rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in MODELS if type(MODELS[name]()) is DecoderOnly])
def test_generation_is_the_same_with_rows_of_several_lengths(cupy, name):
    found = []
    for model in pair(name):
        model.eval()
        cache = model.start(IDS[:, :4], np.array([4, 2, 3]), 6)
        steps = [model.step(IDS[:, 4], cache), model.step(IDS[:, 5], cache)]
        cache.select(np.array([2, 2, 0, 1]))
        steps.append(model.step(IDS[[2, 2, 0, 1], 6], cache))
        found.append([*steps, model.attention_maps(IDS)])
    for there, here in zip(*reversed(found)):
        assert type(there) is np.ndarray
        np.testing.assert_allclose(there, here, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_scores_agree_and_wait_once_for_each_sum(cupy, name):
    here, there = pair(name)
    before = standin.waits
    scores = metrics.score(there, [batch_of(there)] * 3)
    assert standin.waits - before == 2 or name == "experts"
    expected = metrics.score(here, [batch_of(here)] * 3)
    assert scores.pop("experts", None) == expected.pop("experts", None)
    assert scores == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_has_computed_here_computes_there(cupy, name):
    model = MODELS[name]().eval()
    expected = model.loss(batch_of(model)).item()
    for device in ("cuda", "cpu"):
        assert model.to(device).loss(batch_of(model)).item() == pytest.approx(expected, rel=1e-6)


def test_a_recurrent_layer_is_zero_where_a_row_has_ended(cupy):
    x, lengths = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32), np.array([2, 4])
    layer = GRU(3, 5, bidirectional=True, generator=np.random.default_rng(1))
    expected, _ = layer(tensor(x), lengths=lengths)
    found, _ = layer.to("cuda")(tensor(x, device="cuda"), lengths=lengths)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)
    assert (found.numpy()[0, 2:] == 0).all()


@pytest.mark.parametrize("name", ["encoder-decoder", "llama"])
def test_a_state_goes_from_either_device_to_either(cupy, name):
    here, there = pair(name)
    for source in (here, there):
        optimizer = optim.AdamW(source.parameters(), 0.01)
        update(source, optimizer, 0)
        for device in ("cpu", "cuda"):
            model = MODELS[name]().to(device).load_state_dict(source.state_dict())
            other = optim.AdamW(model.parameters(), 0.01)
            other.load_state_dict(optimizer.state_dict(), optimizer.steps)
            for arrays in (weights(model).values(), map(as_numpy, other.state.values())):
                assert all(type(array) is np.ndarray for array in arrays)
            for name_, array in weights(source).items():
                np.testing.assert_array_equal(weights(model)[name_], array)
            for name_, array in optimizer.state.items():
                np.testing.assert_array_equal(as_numpy(other.state[name_]), as_numpy(array))
            assert {type(value.data) for value in model.parameters()} == {np.ndarray if device == "cpu" else cupy.ndarray}


def as_numpy(array):
    return array if isinstance(array, np.ndarray) else array.get()
