"""Models and whole runs on the GPU beside the CPU: the same weights, batches and masks, step by step; and the same translations."""
import numpy as np
import pytest

from minitx import load, optim
from minitx.training.run import train

from ..device.test_models import (MODELS, pair, test_a_model_that_has_computed_here_computes_there, test_translations_are_the_same,  # noqa: F401
                                  update, weights)
from ..training.small import metrics_of, small_settings, small_text_settings

STEPS = 20


@pytest.mark.parametrize("name", MODELS)
def test_training_agrees_step_by_step(cupy, name):
    """Adam divides by the root of what it has seen: where a gradient is rounding alone, its step is not, so that weights part sooner than losses."""
    here, there = pair(name)
    optimizers = [optim.AdamW(model.parameters(), 0.001) for model in (here, there)]
    for step in range(STEPS):
        loss, norm = update(there, optimizers[1], step)
        expected = update(here, optimizers[0], step)
        assert isinstance(loss, cupy.ndarray) and isinstance(norm, cupy.ndarray)
        np.testing.assert_allclose([loss.item(), norm.item()], [*map(float, expected)], rtol=1e-4)
    for parameter, array in weights(here).items():
        np.testing.assert_allclose(weights(there)[parameter], array, atol=2e-3, err_msg=parameter)


@pytest.mark.parametrize("settings", [small_settings, small_text_settings], ids=["translator", "language-model"])
def test_a_run_is_that_of_the_cpu(cupy, tmp_path, settings):
    settings = settings(tmp_path, steps=30, validate_every=15)
    for device in ("cpu", "cuda"):
        train(settings.replace(device=device), out=tmp_path / device)
    for line, other in zip(*(metrics_of(tmp_path / device) for device in ("cpu", "cuda")), strict=True):
        for name in line.keys() & {"loss", "valid_loss"}:
            assert other[name] == pytest.approx(line[name], rel=1e-3)


@pytest.mark.parametrize("beam", [1, 3])
def test_a_run_of_the_cpu_translates_on_the_gpu(cupy, tmp_path, beam):
    train(small_settings(tmp_path, steps=30, validate_every=15), out=tmp_path / "run")
    texts = ["ant bee cat", "dog", "eel fox gnu hen ant"]
    assert load(tmp_path / "run", device="cuda").translate(texts, beam=beam) == load(tmp_path / "run").translate(texts, beam=beam)
