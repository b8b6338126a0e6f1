"""Whole runs on a text: they learn it, score what they were not shown, and stopped in any way they go on to the same bits."""
import io
import json
import os
import shutil
import signal

import numpy as np
import pytest

import minitx
from minitx.autograd import no_grad
from minitx.console import Console
from minitx.data.text import Blocks
from minitx.errors import UserError
from minitx.run_folder import RunFolder, build_model, read_safetensors
from minitx.presets import choose_resumed
from minitx.training.evaluate import evaluate
from minitx.training.language_model import LanguageModel
from minitx.training.run import Interrupted, train

from .small import At, Stopped, files_of, kill, metrics_of, small_settings, small_text_settings


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A run that was never interrupted: (settings, folder)."""
    place = tmp_path_factory.mktemp("straight")
    settings = small_text_settings(place)
    return settings, train(settings, out=place / "run")


def resume(run, **named):
    console = At()
    return train(choose_resumed(run, named), resume=run, console=console), console


def score_by_hand(run, text):
    """The mean of −log P over all characters of a text but the first, each predicted from those before it in its block."""
    model, tokenizer = RunFolder(run).load_model(), RunFolder(run).tokenizers().target
    ids, losses = np.array(tokenizer.encode(text), np.int32), []
    for start in range(0, len(ids) - 1, model.max_length):
        block = ids[start:start + model.max_length + 1]
        with no_grad():
            logits = np.asarray(model(block[None, :-1]))[0].astype(np.float64)
        losses.append(np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(block) - 1), block[1:]])
    return float(np.concatenate(losses).mean())


LLAMA = {"normalization": "rms", "activation": "swiglu", "positions": "rotary", "n_kv_heads": 1, "window": 12, "bias": False}


@pytest.mark.parametrize("changes", [{}, {"tokenizer": "bpe", "vocab_size": 280}, LLAMA], ids=["characters", "bpe", "Llama"])
def test_a_tiny_model_learns_what_follows_what(tmp_path, changes):
    settings = small_text_settings(tmp_path, d_model=32, d_ff=64, dropout=0.0, label_smoothing=0.0, learning_rate=1e-2, steps=300,
                                   batch_sequences=8, accumulate=1, validate_every=150, **changes)
    run = train(settings, out=tmp_path / "run")
    found = minitx.load(run).generate("cat dog eel", max_tokens=24, temperature=0, stop="\n")
    assert " fox gnu hen ant bee cat".startswith(found.rstrip())
    losses = [line["loss"] for line in metrics_of(run) if "loss" in line]
    assert losses[-1] < 0.8 < 2 < losses[0]


def test_the_score_is_the_mean_over_the_whole_of_the_held_out_text(straight):
    settings, run = straight
    text = RunFolder(run).validation_text.read_text(encoding="utf-8")
    whole = open(settings.text, encoding="utf-8").read()
    assert whole.endswith(text) and len(text) == len(whole) - int(len(whole) * 0.9)
    scores = evaluate(run)
    assert set(scores) == {"validation"} and set(scores["validation"]) == {"loss", "perplexity"}
    assert scores["validation"]["loss"] == pytest.approx(score_by_hand(run, text), rel=1e-5)
    assert scores["validation"]["perplexity"] == pytest.approx(np.exp(scores["validation"]["loss"]))
    best = [line for line in metrics_of(run) if line.get("best")][-1]
    assert best["valid_loss"] == pytest.approx(scores["validation"]["loss"], rel=1e-6)


def test_any_text_can_be_scored(straight, tmp_path):
    run = straight[1]
    (tmp_path / "new.txt").write_bytes("cat dog eel\r\nfox Ω\r\n".encode())
    scores = evaluate(run, text=tmp_path / "new.txt")
    assert scores[str(tmp_path / "new.txt")]["loss"] == pytest.approx(score_by_hand(run, "cat dog eel\nfox Ω\n"), rel=1e-5)
    (tmp_path / "new.txt").write_text("c", encoding="utf-8")
    with pytest.raises(UserError, match="new.txt has 1 tokens"):
        evaluate(run, text=tmp_path / "new.txt")


def test_translators_and_language_models_are_not_scored_as_each_other(straight, tmp_path):
    with pytest.raises(UserError, match="is a language model and does not translate; score it with --text FILE"):
        evaluate(straight[1], "a", "b")
    RunFolder(tmp_path / "run").create(small_settings(tmp_path))
    with pytest.raises(UserError, match="is a translator; score it with --src and --ref"):
        evaluate(tmp_path / "run", text="a")


def test_a_run_holds_all_that_generation_needs(straight, tmp_path):
    settings, run = straight
    assert {path.name for path in run.iterdir()} == {
        "config.json", "tokenizer.json", "validation.txt", "model.safetensors", "last", "metrics.jsonl", "loss.png", "attention.png"}
    shutil.copytree(run, tmp_path / "elsewhere")
    assert minitx.load(tmp_path / "elsewhere").generate("cat", seed=4) == minitx.load(run).generate("cat", seed=4)
    assert evaluate(tmp_path / "elsewhere") == evaluate(run)


def test_the_same_settings_give_the_same_bits_on_one_and_two_threads(straight, tmp_path):
    settings, run = straight
    for threads in (1, 2):
        assert files_of(train(settings.replace(threads=threads), out=tmp_path / str(threads))) == files_of(run)


def test_another_seed_gives_another_run(straight, tmp_path):
    settings, run = straight
    assert files_of(train(settings.replace(seed=1), out=tmp_path / "run"))["model.safetensors"] != files_of(run)["model.safetensors"]


def test_settings_reach_the_batches(tmp_path):
    task = LanguageModel(small_text_settings(tmp_path, seed=5, batch_sequences=3, block=11))
    task.tokenise()
    run = RunFolder(tmp_path / "run")
    trainer = task.trainer(build_model(task.settings, *[len(task.tokenizers.target)] * 2), run, At())
    assert isinstance(trainer.batches, Blocks)
    assert (trainer.batches.seed, trainer.batches.batch_sequences, trainer.batches.block) == (5, 3, 11)


@pytest.mark.parametrize("step", [1, 20, 33])
def test_a_killed_run_resumes_to_the_bits_of_the_uninterrupted_one(straight, tmp_path, step):
    settings, run = straight
    with pytest.raises(Stopped):
        train(settings, out=tmp_path / "run", console=At(step, kill))
    resume(tmp_path / "run")
    assert files_of(tmp_path / "run") == files_of(run)


def test_a_killed_llama_resumes_to_the_same_bits(tmp_path):
    settings = small_text_settings(tmp_path, n_kv_heads=1, normalization="rms", activation="swiglu", positions="rotary", window=7, steps=40)
    run = train(settings, out=tmp_path / "straight")
    with pytest.raises(Stopped):
        train(settings, out=tmp_path / "run", console=At(33, kill))
    resume(tmp_path / "run")
    assert files_of(tmp_path / "run") == files_of(run)
    assert len(minitx.load(run).generate("cat", max_tokens=60)) == 60


def test_ctrl_c_saves_and_the_run_resumes_to_the_same_bits(straight, tmp_path):
    settings, run = straight
    with pytest.raises(Interrupted):
        train(settings, out=tmp_path / "run", console=At(33, lambda: os.kill(os.getpid(), signal.SIGINT)))
    assert json.loads(read_safetensors(RunFolder(tmp_path / "run").last)[1]["trainer"])["step"] == 33
    _, console = resume(tmp_path / "run")
    assert "resumed at step 33 of 60" in console.notes
    assert files_of(tmp_path / "run") == files_of(run)


def test_a_text_that_has_moved_is_named_again_and_another_one_refused(straight, tmp_path):
    settings, run = straight[0].replace(text=str(shutil.copy(straight[0].text, tmp_path / "text.txt"))), tmp_path / "run"
    with pytest.raises(Stopped):
        train(settings, out=run, console=At(33, kill))
    os.rename(tmp_path / "text.txt", tmp_path / "moved.txt")
    with pytest.raises(UserError, match="text.txt does not exist"):
        resume(run)
    (tmp_path / "other.txt").write_text("cat dog\n" * 100, encoding="utf-8")
    with pytest.raises(UserError, match="other.txt is not the file that the run was started with; name the right one with --text"):
        resume(run, text=str(tmp_path / "other.txt"))
    resume(run, text=str(tmp_path / "moved.txt"))
    assert files_of(run)["model.safetensors"] == files_of(straight[1])["model.safetensors"]


def test_the_vocabulary_is_that_of_the_training_part_alone(tmp_path):
    settings = small_text_settings(tmp_path, steps=1)
    with open(settings.text, "a", encoding="utf-8") as file:
        file.write("zzz\n")
    task = LanguageModel(settings)
    task.tokenise()
    assert task.tokenizers.target.unknown("cat z") == ["z"]


def test_a_run_without_a_name_is_called_as_its_text(straight, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(train(straight[0].replace(steps=1), console=At())) == os.path.join("runs", "rhyme")


def test_each_validation_goes_on_with_the_same_prompt(straight, tmp_path):
    console = At()
    train(straight[0], out=tmp_path / "run", console=console)
    assert len(console.samples) == 3
    for [(prompt, reference, text)] in console.samples:
        assert prompt == console.samples[0][0][0] and reference is None and len(text) == 200
    assert prompt.endswith("\n") and prompt in open(straight[0].text, encoding="utf-8").read()


def test_a_run_shows_what_it_learns_from_and_what_it_writes(straight, tmp_path):
    screen = io.StringIO()
    with Console(screen, preset="language-model", width=90) as console:
        train(straight[0].replace(steps=25, validate_every=25), out=tmp_path / "run", console=console)
    text = screen.getvalue()
    for part in ("Learning to go on with", "tokens to train on", "tokens are characters: a vocabulary of", "preset language-model",
                 "it reads", "and predicts", "decoder-only, 1 layer, 2 heads", "25 steps, about", "★ best so far", "What it writes now",
                 "validation  loss", "loss.png", "attention.png", "minitx generate"):
        assert part in text, part


@pytest.mark.parametrize("changes, said", [
    ({"block": 5000}, "block is 5000, but .*rhyme.txt gives .* tokens to train on .* take a smaller --block, or a longer text"),
    ({"text": "nowhere.txt"}, "nowhere.txt does not exist"),
    ({"tokenizer": "bpe", "vocab_size": 100}, "vocab_size is 100, but there are 256 different bytes .* take at least 260"),
])
def test_a_mistake_in_the_data_is_named_before_anything_is_written(tmp_path, changes, said):
    with pytest.raises(UserError, match=said):
        train(small_text_settings(tmp_path, **changes), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
