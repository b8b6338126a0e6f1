"""Whole updates by the CUDA kernels, on arrays that refuse what CuPy refuses, against the references: nothing between two kernels is NumPy's either."""
import numpy as np
import pytest

from minitx import optim, random
from minitx.data.batches import make_batch
from minitx.decoding.beam import beam_search
from minitx.kernels.runtime.registry import backend
from minitx.models import DecoderOnly, EncoderDecoder, RecurrentTranslator

from ..device import standin

BATCH = make_batch([([5, 6], [8, 9]), ([4, 5, 7], [6])])
SIZES = dict(d_model=32, n_heads=2, n_layers=1, d_ff=20, dropout=0.2, attention_dropout=0.1, max_length=8)
MODELS = {
    "encoder-decoder": lambda n_heads=2: EncoderDecoder(12, 12, **SIZES | {"n_heads": n_heads}, tie_embeddings="all"),
    "batch norms and additive scores": lambda: EncoderDecoder(12, 12, **SIZES | {"d_model": 16}, normalization="batch", score="additive"),
    "gru": lambda: RecurrentTranslator(12, 12, score="none", context="input", d_model=16, dropout=0.2),
    "lstm": lambda: RecurrentTranslator(12, 12, cell="lstm", score="additive", context="input", bidirectional=True, d_model=16, attention_dropout=0.1),
    "llama": lambda: DecoderOnly(12, **SIZES, normalization="rms", activation="swiglu", positions="rotary", n_kv_heads=1, bias=False, window=2),
}


def update(model):
    """The loss of an update, and the weights after it."""
    optimizer = optim.AdamW(model.train().parameters(), 0.01, eps=1e-3)  # keys have a bias whose gradient is rounding alone
    random.seed(0)
    before = standin.waits
    loss = model.loss(BATCH, label_smoothing=0.1, reduction="sum") * (1.0 / BATCH.n_tokens)
    loss.backward()
    optimizer.step(clip=0.5)
    optimizer.zero_grad()
    assert standin.waits == before
    return loss.item(), {name: value.to("cpu").data for name, value in model.named_parameters()}


@pytest.mark.parametrize("name", MODELS)
def test_an_update_is_that_of_the_references(name):
    with backend("reference"):
        loss, weights = update(MODELS[name]())
    with standin.installed():
        found, found_weights = update(MODELS[name]().to("cuda"))
    assert found == pytest.approx(loss, rel=1e-5)
    for parameter, array in weights.items():
        np.testing.assert_allclose(found_weights[parameter], array, rtol=1e-3, atol=1e-5, err_msg=parameter)


@pytest.mark.parametrize("name", ["encoder-decoder", "lstm"])
def test_a_beam_finds_the_translations_of_the_references(name):
    def search(model):
        return beam_search(model.eval(), BATCH.source, BATCH.source_lengths, beam=2, max_length=2)

    def model():
        return MODELS[name](1) if name == "encoder-decoder" else MODELS[name]()

    with backend("reference"):
        expected = search(model())
    with standin.installed():
        found = search(model().to("cuda"))
    assert [[one.ids for one in rows] for rows in found] == [[one.ids for one in rows] for rows in expected]
