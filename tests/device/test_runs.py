"""Whole runs on "cuda": the files of a run are those of the CPU, and it goes on from either device on the other."""
import math

import numpy as np
import pytest

from minitx import load
from minitx.decoding.generator import Generator
from minitx.run_folder import RunFolder, read_safetensors
from minitx.training.evaluate import evaluate
from minitx.training.run import train

from ..training.small import At, Stopped, kill, metrics_of, small_settings, small_text_settings
from . import standin

STEPS = dict(steps=16, validate_every=8)
KINDS = {"translator": small_settings, "language-model": small_text_settings}


def close(one, other):
    """Whether two runs are alike: their weights, moments and records, to what rounding of a loss in float32 may do."""
    for path in ("last", "model"):
        arrays, others = (read_safetensors(getattr(RunFolder(run), path))[0] for run in (one, other))
        assert arrays.keys() == others.keys()
        for name, array in arrays.items():
            np.testing.assert_allclose(others[name], array, rtol=1e-4, atol=1e-6, err_msg=name)
    for line, line_of_other in zip(metrics_of(one), metrics_of(other), strict=True):
        assert {**line, "tokens_per_second": 0} == pytest.approx({**line_of_other, "tokens_per_second": 0}, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_that_of_the_cpu_and_its_files_serve_both(cupy, tmp_path, kind):
    settings = KINDS[kind](tmp_path, **STEPS)
    train(settings, out=tmp_path / "cpu")
    train(settings.replace(device="cuda"), out=tmp_path / "cuda")
    close(tmp_path / "cpu", tmp_path / "cuda")
    if kind == "translator":
        assert evaluate(tmp_path / "cpu", device="cuda")["splits"] == evaluate(tmp_path / "cpu")["splits"]
        texts = ["ant bee cat", "dog", "eel fox gnu hen ant"]
        for run in ("cpu", "cuda"):
            assert load(tmp_path / run, device="cuda").translate(texts, beam=3) == load(tmp_path / run).translate(texts, beam=3)
    else:
        here, there = (load(tmp_path / "cpu", device=device) for device in ("cpu", "cuda"))
        assert isinstance(there, Generator) and isinstance(there.model.embedding.weight.data, cupy.ndarray)
        for options in (dict(temperature=0.8, n=3, seed=1), dict(temperature=0.0, max_tokens=40), dict(top_k=3, repetition_penalty=1.2)):
            assert there.generate(["ant bee", "c"], **options) == here.generate(["ant bee", "c"], **options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first, then", [("cuda", "cpu"), ("cpu", "cuda"), ("cuda", "cuda")])
def test_a_run_goes_on_from_either_device_on_either(cupy, tmp_path, first, then, kind):
    settings = KINDS[kind](tmp_path, **STEPS)
    train(settings, out=tmp_path / "whole")
    with pytest.raises(Stopped):
        train(settings.replace(device=first), out=tmp_path / "run", console=At(12, kill))
    train(settings.replace(device=then), resume=tmp_path / "run")
    close(tmp_path / "whole", tmp_path / "run")


def test_between_what_is_printed_a_run_does_not_wait(cupy, tmp_path, monkeypatch):
    """Updates 2 to 15 print nothing: the losses stay on the GPU, and are read together when a line is written."""
    monkeypatch.setattr("minitx.training.trainer.READ_EVERY", math.inf)
    waits, console = [], At()
    console.step = lambda step, loss, *_: (waits.append(standin.waits), console.steps.append(loss))
    train(small_settings(tmp_path, device="cuda", steps=16, validate_every=100), out=tmp_path / "run", console=console)
    assert len(set(waits[:15])) == 1 and waits[15] - waits[14] == 15
    assert len(set(console.steps[:15])) == 1 and console.steps[15] != console.steps[0]


@pytest.mark.parametrize("name, seconds", [("READ_EVERY", math.inf), ("SAVE_EVERY", -1.0)], ids=["validation", "save"])
def test_a_loss_that_is_no_number_is_found_before_anything_is_saved(cupy, tmp_path, monkeypatch, name, seconds):
    monkeypatch.setattr("minitx.training.trainer.READ_EVERY", math.inf)
    monkeypatch.setattr(f"minitx.training.trainer.{name}", seconds)
    console = At()
    trainer = train(small_settings(tmp_path, device="cuda", **STEPS), out=tmp_path / "run", console=console, instead=lambda trainer: trainer)
    update = trainer.update
    trainer.update = lambda: (trainer.step == 5 and trainer.optimizer.data.fill(np.nan), update())[1]
    with pytest.raises(FloatingPointError, match="the loss became nan at step 6; try a lower --learning-rate"):
        trainer.fit()
    assert console.steps[-1][0] == (8 if name == "READ_EVERY" else 6)
    assert not any(np.isnan(array).any() for path in (tmp_path / "run").rglob("*.safetensors") for array in read_safetensors(path)[0].values())


def test_the_run_says_what_it_computes_on(cupy, tmp_path, monkeypatch):
    said = []
    console = At()
    console.machine = said.append
    monkeypatch.setattr("minitx.kernels.runtime.gpu.describe", lambda: {"gpu 0": "NVIDIA H200"})
    train(small_settings(tmp_path, device="cuda", steps=2), out=tmp_path / "run", console=console)
    assert said[0]["cuda"] == "NVIDIA H200"
    assert any("compile its kernels, once" in note for note in console.notes)
