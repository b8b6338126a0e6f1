"""The mean of the last epochs' weights: which epochs, which numbers, and that a kill changes nothing."""
import numpy as np
import pytest

from minitx.run_folder import RunFolder, read_safetensors
from minitx.presets import choose_resumed
from minitx.training.average import EpochAverage
from minitx.training.run import train

from .small import At, Stopped, files_of, kill, metrics_of, small_settings
from .test_trainer import trainer_of

AVERAGED = dict(average=3, validate_every=0, best_by="bleu")


def test_the_mean_is_of_the_last_epochs(tmp_path):
    average = EpochAverage(tmp_path / "last", 3)
    for epoch in range(1, 6):
        average.add(epoch, {"w": np.full((2, 2), 10.0 ** epoch, np.float32)})
    mean, epochs = average.mean(5)
    assert epochs == 3 and mean["w"].dtype == np.float32
    np.testing.assert_allclose(mean["w"], (1e3 + 1e4 + 1e5) / 3)
    assert len(list((tmp_path / "last").iterdir())) == 3
    average.clear()
    assert not list((tmp_path / "last").iterdir())


def test_an_update_that_spans_epochs_leaves_the_end_of_the_last(tmp_path):
    average = EpochAverage(tmp_path, 5)
    for epoch in (2, 4, 6, 8, 9):
        average.add(epoch, {"w": np.full(2, epoch, np.float32)})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-6.safetensors", "epoch-8.safetensors", "epoch-9.safetensors"]
    mean, epochs = average.mean(9)
    assert epochs == 3 and mean["w"].tolist() == [np.float32(23 / 3)] * 2


def test_a_short_run_averages_the_epochs_there_are(tmp_path):
    average = EpochAverage(tmp_path, 10)
    average.add(1, {"w": np.ones(3, np.float32)})
    average.add(2, {"w": np.full(3, 2, np.float32)})
    mean, epochs = average.mean(2)
    assert epochs == 2 and mean["w"].tolist() == [1.5] * 3
    assert EpochAverage(tmp_path, 10).mean(0) == ({}, 0)


def test_a_run_without_a_whole_epoch_says_that_there_is_no_mean(tmp_path):
    trainer = trainer_of(tmp_path, console := At(), steps=1, average=3)
    trainer.fit()
    assert console.notes == ["no epoch ended, so there is no mean over the last ones; the best weights are kept"]
    assert trainer.folder.model.exists() and not any("averaged" in line for line in metrics_of(trainer.folder.path))


def test_the_sum_loses_no_small_change(tmp_path):
    """2²⁴ + 1 is no float32: the sum is taken in float64."""
    average = EpochAverage(tmp_path, 2)
    average.add(1, {"w": np.array([2.0 ** 24], np.float32)})
    average.add(2, {"w": np.array([2.0], np.float32)})
    assert average.mean(2)[0]["w"][0] == 2.0 ** 23 + 1


def test_a_run_ends_with_the_mean_over_its_last_epochs(tmp_path):
    ends = []

    class Ends(At):
        def step(self, step, *rest):
            super().step(step, *rest)
            if trainer.batches.epoch > len(ends):
                ends.append({name: array.copy() for name, array in trainer.model.state_dict().items()})

    trainer = trainer_of(tmp_path, Ends(), **AVERAGED)
    trainer.fit()
    kept, _ = read_safetensors(trainer.folder.model)
    assert len(ends) > 4
    for name, array in kept.items():
        np.testing.assert_allclose(array, np.mean([end[name] for end in ends[-3:]], axis=0), rtol=1e-6, atol=1e-7)
    own = trainer.model.state_dict()
    last = read_safetensors(trainer.folder.last)[0]
    assert all(np.array_equal(last["model." + name], array) for name, array in own.items())  # training could go on from the last weights
    assert any(not np.array_equal(kept[name], array) for name, array in own.items())
    lines = metrics_of(trainer.folder.path)
    assert [line.get("averaged") for line in lines if "valid_loss" in line][-1] == 3
    assert not list(trainer.folder.last.parent.glob("epoch-*"))


def test_a_run_of_less_than_an_epoch_keeps_its_best_weights(tmp_path):
    trainer = trainer_of(tmp_path, **AVERAGED | {"steps": 2})
    trainer.fit()
    assert all(np.array_equal(array, trainer.model.state_dict()[name]) for name, array in read_safetensors(trainer.folder.model)[0].items())


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    place = tmp_path_factory.mktemp("averaged")
    settings = small_settings(place, **AVERAGED)
    return settings, train(settings, out=place / "run")


@pytest.mark.parametrize("step", [1, 30, 59, 60])
def test_a_killed_run_resumes_to_the_same_mean(straight, tmp_path, step):
    settings, run = straight
    with pytest.raises(Stopped):
        train(settings, out=tmp_path / "run", console=At(step, kill))
    train(choose_resumed(tmp_path / "run", {}), resume=tmp_path / "run")
    assert files_of(tmp_path / "run") == files_of(run)
    assert [line["step"] for line in metrics_of(tmp_path / "run")] == [line["step"] for line in metrics_of(run)]


def test_a_run_killed_while_it_averages_averages_again(straight, tmp_path):
    class Killed(At):
        def validation(self, step, metrics, samples, best):
            if "averaged" in RunFolder(tmp_path / "run").metrics.read_text(encoding="utf-8"):
                raise Stopped

    settings, run = straight
    with pytest.raises(Stopped):
        train(settings, out=tmp_path / "run", console=Killed())
    train(choose_resumed(tmp_path / "run", {}), resume=tmp_path / "run")
    assert files_of(tmp_path / "run") == files_of(run)
    lines = metrics_of(tmp_path / "run")
    assert sum("averaged" in line for line in lines) == 1 and lines == sorted(lines, key=lambda line: line["step"])


def test_a_run_killed_when_all_is_saved_leaves_no_epoch_behind(straight, tmp_path, monkeypatch):
    settings, run = straight
    monkeypatch.setattr(EpochAverage, "clear", lambda _: kill())
    with pytest.raises(Stopped):
        train(settings, out=tmp_path / "run")
    monkeypatch.undo()
    assert list((tmp_path / "run" / "last").glob("epoch-*"))
    train(choose_resumed(tmp_path / "run", {}), resume=tmp_path / "run")
    assert files_of(tmp_path / "run") == files_of(run)
    assert [path.name for path in (tmp_path / "run" / "last").iterdir()] == ["state.safetensors"]
