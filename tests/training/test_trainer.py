"""The training loop: what one update is made of, what is written down, and when it ends."""
import math
from types import SimpleNamespace

import numpy as np
import pytest

from minitx import random
from minitx.data.batches import Batch, Batches, make_batch
from minitx.data.tokenizers import TokenizerPair
from minitx.run_folder import RunFolder, build_model, read_safetensors
from minitx.training import corpus as corpora
from minitx.training.evaluate import encode_pairs
from minitx.training.trainer import Trainer

from .small import At, metrics_of, small_settings


def trainer_of(folder, console=None, name="run", **changes):
    """A trainer on the small task, before its first step."""
    settings = small_settings(folder, **changes)
    corpus = corpora.load(settings)
    tokenizers = TokenizerPair.train(settings.tokenizer, corpus.train, lowercase=settings.lowercase)
    train_ids, valid_ids = (encode_pairs(tokenizers, pairs, settings.max_length)[0] for pairs in (corpus.train, corpus.validation))
    model = build_model(settings, len(tokenizers.source), len(tokenizers.target))
    run = RunFolder(folder / name)
    run.create(settings)
    return Trainer(settings, model, tokenizers, corpus, train_ids, valid_ids, run, console or At())


def weights_of(trainer):
    return {name: array.copy() for name, array in trainer.model.state_dict().items()}


def feed(trainer, batches):
    """Let the next updates be made of these batches."""
    given = iter(batches)
    trainer.batches = SimpleNamespace(next=lambda: next(given))
    return trainer


PAIRS = [([4, 5], [6]), ([7], [8, 9, 10, 4]), ([5, 5, 5], [7, 7]), ([9, 4], [5, 11, 6])]


# One update

@pytest.mark.parametrize("halves", [(PAIRS[:2], PAIRS[2:]), (PAIRS[:1], PAIRS[1:])], ids=["even", "uneven"])
def test_two_half_batches_are_one_batch(tmp_path, halves):
    """Every target word weighs the same, whichever batch it stands in."""
    options = dict(dropout=0.0, dtype="float64", clip=0.0)
    whole = feed(trainer_of(tmp_path, accumulate=1, **options), [make_batch(PAIRS)])
    parts = feed(trainer_of(tmp_path, accumulate=2, **options), map(make_batch, halves))
    (loss, tokens), (loss_of_parts, tokens_of_parts) = whole.update(), parts.update()
    assert tokens == tokens_of_parts == 14
    assert loss_of_parts == pytest.approx(loss, rel=1e-12)
    for name, array in weights_of(whole).items():
        np.testing.assert_allclose(weights_of(parts)[name], array, rtol=1e-6, atol=1e-9, err_msg=name)


def test_the_loss_of_an_update_is_the_mean_over_real_words(tmp_path):
    padded = make_batch(PAIRS)
    wider = Batch(**{name: np.pad(getattr(padded, name), ((0, 0), (0, 3))) for name in ("source", "target_in", "target_out")},
                  source_lengths=padded.source_lengths, target_lengths=padded.target_lengths, n_tokens=padded.n_tokens)
    options = dict(accumulate=1, dropout=0.0, dtype="float64", label_smoothing=0.1)
    one, other = (feed(trainer_of(tmp_path, **options), [batch]) for batch in (padded, wider))
    assert one.update()[0] == pytest.approx(other.update()[0], rel=1e-12)
    for name, array in weights_of(one).items():
        np.testing.assert_allclose(weights_of(other)[name], array, rtol=1e-6, atol=1e-9, err_msg=name)


def test_the_warm_up_counts_updates_whatever_the_model_and_the_batches(tmp_path):
    """Not parameters, layers or batches: step k of the warm-up has k / warmup of the peak."""
    for changes in (dict(n_layers=3, accumulate=1), dict(n_layers=1, accumulate=3)):
        trainer = trainer_of(tmp_path, warmup=4, learning_rate=0.01, schedule="constant", **changes)
        rates = [trainer.update() and trainer.optimizer.learning_rate for _ in range(6)]
        np.testing.assert_allclose(rates, [0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01])
        assert trainer.step == trainer.optimizer.steps == 6


@pytest.mark.parametrize("clip", [0.0, 1e-3, 1e6])
def test_gradients_are_clipped_as_the_settings_say(tmp_path, clip):
    trainer, seen = trainer_of(tmp_path, clip=clip), []
    trainer.optimizer.update = lambda scale: seen.append((scale, trainer.optimizer.gradient_norm()))
    trainer.update()
    (scale, norm), = seen
    assert scale == 1 if clip != 1e-3 else scale * norm == pytest.approx(clip, rel=1e-3)


def test_dropout_and_batches_follow_from_the_seed_and_the_step_alone(tmp_path):
    """So it does not matter what else has used random keys, or what an earlier run of this process has done."""
    one, other = trainer_of(tmp_path), trainer_of(tmp_path)
    for _ in range(3):
        one.update()
        random.next_key()
        other.seconds_per_update()
        random.seed(99)
        other.update()
    assert all(np.array_equal(array, weights_of(other)[name]) for name, array in weights_of(one).items())


def test_each_update_drops_others(tmp_path):
    trainer, losses = feed(trainer_of(tmp_path, learning_rate=1e-12, accumulate=1, dropout=0.5), [make_batch(PAIRS)] * 5), set()
    for _ in range(5):
        losses.add(round(trainer.update()[0], 4))
    assert len(losses) == 5


def test_gradients_do_not_leak_into_the_next_update(tmp_path):
    trainer = trainer_of(tmp_path)
    trainer.update()
    assert all(parameter.grad is None for parameter in trainer.model.parameters())


def test_estimating_the_time_changes_nothing(tmp_path):
    trainer = trainer_of(tmp_path)
    weights, position, moments = weights_of(trainer), trainer.batches.state(), trainer.optimizer.state_dict()["m"].copy()
    assert trainer.seconds_per_update() > 0
    assert trainer.step == 0 and trainer.batches.state() == position
    assert all(np.array_equal(array, weights[name]) for name, array in weights_of(trainer).items())
    assert np.array_equal(trainer.optimizer.state_dict()["m"], moments)
    assert all(parameter.grad is None for parameter in trainer.model.parameters())


def test_a_loss_that_is_no_number_stops_the_run_before_it_is_saved(tmp_path):
    trainer = trainer_of(tmp_path)
    trainer.model.target_embedding.weight.data[...] = np.nan
    with pytest.raises(FloatingPointError, match="the loss became nan at step 1; try a lower --learning-rate"):
        trainer.fit()
    assert not trainer.folder.last.exists() and not trainer.folder.model.exists()


# How long

def test_epochs_become_steps(tmp_path):
    trainer = trainer_of(tmp_path, steps=0, epochs=3, accumulate=2)
    assert trainer.steps == math.ceil(3 * len(trainer.batches) / 2)
    trainer = trainer_of(tmp_path, steps=0, epochs=1, accumulate=1)
    trainer.fit()
    assert trainer.batches.state() == {"epoch": 1, "index": 0}


def test_training_stops_when_validation_no_longer_improves(tmp_path):
    console = At()
    trainer = trainer_of(tmp_path, console, learning_rate=1e-9, validate_every=5, patience=2, dropout=0.0, steps=1000)
    scores = iter([3.0, 2.0, 2.5, 2.0, 1.0])
    trainer.validate = lambda: validate_as(trainer, next(scores))
    trainer.fit()
    assert trainer.step == 20 and trainer.finished
    assert console.notes == ["stopped early: no better validation loss in 2 validations"]


def validate_as(trainer, loss):
    trainer.worse = 0 if loss < trainer.best else trainer.worse + 1
    trainer.best = min(trainer.best, loss)


def test_the_best_weights_are_kept_not_the_last(tmp_path):
    trainer = trainer_of(tmp_path, learning_rate=0.01, steps=1000)
    for _ in range(20):
        trainer.update()
    trainer.validate()
    best = trainer.folder.model.read_bytes()
    for parameter in trainer.model.parameters():
        parameter.data *= -1
    trainer.validate()
    assert trainer.folder.model.read_bytes() == best
    assert trainer.worse == 1 and [line["best"] for line in trainer.lines] == [True, False]


def test_the_best_may_be_chosen_by_bleu(tmp_path):
    console = At()
    trainer = trainer_of(tmp_path, console, best_by="bleu", patience=2, steps=1000, validate_every=5)
    scored = iter([(3.0, 10.0), (2.0, 9.0), (4.0, 11.0), (1.0, 11.0), (1.0, 0.0)])
    trainer._scores = lambda: (dict(zip(("loss", "bleu"), next(scored))), [])
    trainer.fit()
    assert [line["best"] for line in trainer.lines if "bleu" in line] == [True, False, True, False, False]
    assert read_safetensors(trainer.folder.model)[1] == {"step": "15"}
    assert trainer.step == 25 and console.notes == ["stopped early: no better BLEU in 2 validations"]


def test_a_validation_compares_with_what_the_model_could_write(tmp_path, monkeypatch):
    """The targets are in capitals, which a tokenizer of small letters has not."""
    trainer = trainer_of(tmp_path, console := At(), lowercase=True)
    targets = [pair.target for pair in trainer.corpus.validation]
    monkeypatch.setattr("minitx.training.metrics.translate", lambda *_: [target.lower() for target in targets])
    trainer.validate()
    assert all(target != target.lower() for target in targets)
    assert trainer.lines[-1]["exact_match"] == 1 and trainer.lines[-1]["bleu"] > 50
    assert all(reference == hypothesis for _, reference, hypothesis in console.samples[-1])


@pytest.mark.parametrize("accumulate", [1, 2, 5])
def test_a_validation_may_come_at_the_end_of_each_epoch(tmp_path, accumulate):
    trainer = trainer_of(tmp_path, steps=0, epochs=4, validate_every=0, accumulate=accumulate)
    per_epoch, trainer.validate, seen = len(trainer.batches), lambda: seen.append(trainer.step), []
    trainer.fit()
    assert seen == [math.ceil(epoch * per_epoch / accumulate) for epoch in (1, 2, 3, 4)]


# metrics.jsonl

def test_the_record_has_the_first_step_every_25_and_the_last(tmp_path):
    console = At()
    trainer = trainer_of(tmp_path, console, steps=63, validate_every=30)
    trainer.fit()
    lines = metrics_of(trainer.folder.path)
    assert [line["step"] for line in lines if "loss" in line] == [1, 25, 50, 63]
    assert [line["step"] for line in lines if "valid_loss" in line] == [30, 60, 63]
    assert [line["step"] for line in lines] == sorted(line["step"] for line in lines)
    assert all(line["tokens_per_second"] > 0 for line in lines)
    scores = {"perplexity", "token_accuracy", "exact_match", "bleu", "best"}
    assert all(scores <= line.keys() for line in lines if "valid_loss" in line)
    assert lines[0]["loss"] == console.steps[0][1]
    assert lines[1]["loss"] == pytest.approx(np.mean([loss for _, loss, _ in console.steps[1:25]]))
    assert trainer.lines == lines


def clocked(trainer, monkeypatch, **seconds):
    """The trainer with a clock that goes on by so many seconds in each method, and the lists of (method, step) that were called."""
    now, calls = [0.0], []

    def takes(name, method):
        def act(*arguments):
            now[0] += seconds[name]
            result = method(*arguments) if name == "update" else None
            calls.append((name, trainer.step))
            return result
        return act

    monkeypatch.setattr("minitx.training.trainer.time", SimpleNamespace(monotonic=lambda: now[0]))
    for name in seconds:
        monkeypatch.setattr(trainer, name, takes(name, getattr(trainer, name)))
    return trainer, calls


def test_the_time_that_no_update_had_is_counted(tmp_path, monkeypatch):
    trainer, told = clocked(trainer_of(tmp_path, steps=6, validate_every=2), monkeypatch, update=10.0, validate=3.0, save=0.5)[0], []
    monkeypatch.setattr(trainer.console, "trained", lambda *what: told.append(what))
    trainer.fit()
    assert told == [(6, 71.0, {"validations": 9.0, "saving": 2.0})]


@pytest.mark.parametrize("seconds, saved", [(0.5, [7, 14, 20, 20]), (2.0, [7, 20, 20]), (0.6, [7, 15, 20, 20])])
def test_what_takes_long_to_save_is_saved_less_often(tmp_path, monkeypatch, seconds, saved):
    trainer, calls = clocked(trainer_of(tmp_path, steps=20, validate_every=100), monkeypatch, update=10.0, validate=0.0, save=seconds)
    trainer.fit()
    assert [step for name, step in calls if name == "save"] == saved


def test_an_early_stop_is_recorded_too(tmp_path):
    trainer = trainer_of(tmp_path, validate_every=10, patience=1, learning_rate=1e-12, steps=1000)
    trainer.fit()
    assert metrics_of(trainer.folder.path)[-1]["step"] == trainer.step == 20
    assert "valid_loss" in metrics_of(trainer.folder.path)[-1]


# The saved state

def test_a_trainer_loaded_in_the_middle_of_an_epoch_goes_on_bit_for_bit(tmp_path):
    straight, stopped = trainer_of(tmp_path, name="a"), trainer_of(tmp_path, name="b")
    for _ in range(17):
        straight.update()
    for _ in range(8):
        stopped.update()
    assert stopped.batches.state()["index"] != 0
    stopped.save()
    random.seed(123)
    resumed = trainer_of(tmp_path, name="c")
    resumed.folder = stopped.folder
    resumed.load()
    assert (resumed.step, resumed.optimizer.steps, resumed.batches.state()) == (8, 8, stopped.batches.state())
    for _ in range(9):
        resumed.update()
    assert all(np.array_equal(array, weights_of(resumed)[name]) for name, array in weights_of(straight).items())


def test_saving_counts_the_best_loss_and_the_patience(tmp_path):
    trainer = trainer_of(tmp_path)
    trainer.save()
    trainer.best, trainer.worse = 1.0, 3
    trainer.load()
    assert (trainer.best, trainer.worse) == (math.inf, 0)
    trainer.best, trainer.worse = 1.25, 2
    trainer.save()
    trainer.best, trainer.worse = 1.0, 0
    trainer.load()
    assert (trainer.best, trainer.worse) == (1.25, 2)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_settings_reach_the_optimizer(tmp_path, optimizer):
    decay = {"weight_decay": 0.3} if optimizer == "adamw" else {}
    trainer = trainer_of(tmp_path, optimizer=optimizer, beta1=0.8, beta2=0.95, **decay)
    assert type(trainer.optimizer).__name__.lower() == optimizer
    assert trainer.optimizer.betas == (0.8, 0.95)
    assert trainer.optimizer.weight_decay == decay.get("weight_decay", 0.0)
    assert isinstance(trainer.batches, Batches) and trainer.batches.seed == trainer.settings.seed
