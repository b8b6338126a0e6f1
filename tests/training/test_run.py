"""Whole runs: they learn, and stopped in any way they go on to the same bits."""
import errno
import io
import json
import os
import shutil
import signal
import subprocess
import threading

import numpy as np
import pytest

import minitx
from minitx.console import Console
from minitx.data import files
from minitx.errors import UserError
from minitx.kernels.runtime import compiled
from minitx.run_folder import RunFolder, read_safetensors, save_safetensors
from minitx.presets import choose_resumed
from minitx.settings import Settings
from minitx.training.evaluate import evaluate
from minitx.training.run import Interrupted, _kernels, _next_command, train

from .small import At, Stopped, files_of, kill, metrics_of, record_of, small_settings, small_text_settings


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A run that was never interrupted: (settings, folder)."""
    place = tmp_path_factory.mktemp("straight")
    settings = small_settings(place)
    return settings, train(settings, out=place / "run")


@pytest.fixture
def copied(straight, tmp_path):
    """A copy of it that a test may spoil."""
    shutil.copytree(straight[1], tmp_path / "run")
    return straight[0], tmp_path / "run"


def resume(run, **named):
    console = At()
    return train(choose_resumed(run, named), resume=run, console=console), console


def test_a_tiny_model_learns_to_reverse_its_training_sentences(tmp_path):
    settings = small_settings(tmp_path, d_model=32, d_ff=64, dropout=0.0, label_smoothing=0.0, learning_rate=1e-2, steps=400,
                              accumulate=1, batch_tokens=600, validate_every=200)
    run = train(settings.replace(valid_src=settings.src, valid_tgt=settings.tgt), out=tmp_path / "run")  # nothing is held out
    scores = evaluate(run, settings.src, settings.tgt)["splits"][settings.src]
    assert scores["exact_match"] >= 0.99 and scores["bleu"] > 99 and scores["loss"] < 0.1
    sources = files.read_lines(settings.src)[:5]
    assert minitx.load(run).translate(sources) == [" ".join(reversed(source.upper().split())) for source in sources]
    losses = [line["loss"] for line in metrics_of(run) if "loss" in line]
    assert losses[-1] < 0.1 < 1 < losses[0]


def test_a_decoder_only_model_learns_it_as_a_prefix_language_model(tmp_path):
    settings = small_settings(tmp_path, model="decoder-only", joint_vocabulary=True, d_model=32, d_ff=64, dropout=0.0, label_smoothing=0.0,
                              learning_rate=1e-2, steps=900, accumulate=1, batch_tokens=600, validate_every=450)
    screen = io.StringIO()
    with Console(screen, width=100) as console:
        run = train(settings.replace(valid_src=settings.src, valid_tgt=settings.tgt), out=tmp_path / "run", console=console)
    scores = evaluate(run, settings.src, settings.tgt)["splits"][settings.src]
    assert scores["exact_match"] >= 0.95 and scores["loss"] < 0.1
    sources = files.read_lines(settings.src)[:5]
    assert minitx.load(run).translate(sources) == minitx.load(run).translate(sources, beam=3) == [
        " ".join(reversed(source.upper().split())) for source in sources]
    assert "One sequence: behind every word of the target" in screen.getvalue() and "decoder-only, 1 layer, 2 heads" in screen.getvalue()


def test_a_recurrent_model_with_attention_learns_it_as_well(tmp_path):
    settings = small_settings(tmp_path, model="recurrent", score="additive", d_model=32, dropout=0.0, label_smoothing=0.0, learning_rate=1e-2,
                              steps=400, accumulate=1, batch_tokens=600, validate_every=200)
    screen = io.StringIO()
    with Console(screen, width=100) as console:
        run = train(settings.replace(valid_src=settings.src, valid_tgt=settings.tgt), out=tmp_path / "run", console=console)
    assert evaluate(run, settings.src, settings.tgt)["splits"][settings.src]["exact_match"] >= 0.95
    source = files.read_lines(settings.src)[0]
    translator, right = minitx.load(run), " ".join(reversed(source.upper().split()))
    assert translator.translate([source]) == translator.translate([source], beam=3) == [right]
    assert [hypotheses[0].text for hypotheses in translator.translate([source], beam=3, n_best=2)] == [right]
    weights = np.array(translator.attention(source)[2])
    assert weights.shape == (len(right.split()) + 1, len(source.split()) + 1)
    where = weights.argmax(axis=1)[:-1]
    assert where[0] > where[-1] and (np.diff(where) <= 0).all()  # the last word is written first
    assert "recurrent, 1 + 1 layer, GRU, d_model 32, additive attention" in screen.getvalue() and "Attention" in screen.getvalue()
    assert (run / "attention.png").exists()


def test_a_model_without_attention_shows_none(tmp_path):
    screen = io.StringIO()
    with Console(screen, width=100) as console:
        run = train(small_settings(tmp_path, model="recurrent", cell="lstm", score="none"), out=tmp_path / "run", console=console)
    assert "LSTM, d_model 16, no attention" in screen.getvalue() and not (run / "attention.png").exists()
    with pytest.raises(UserError, match="this model has no attention"):
        minitx.load(run).attention("cat dog")


@pytest.mark.parametrize("changes", [
    dict(model="decoder-only", joint_vocabulary=True),
    dict(model="recurrent", score="additive", context="input", bidirectional=True, attention_dropout=0.2, n_layers=2),
    dict(model="recurrent", cell="lstm", score="none"),
    dict(score="cosine"),
    dict(normalization="batch", experts=3, experts_per_token=1),
    dict(model="decoder-only", joint_vocabulary=True, normalization="batch", experts=2),
], ids=str)
def test_a_killed_run_of_another_model_resumes_to_the_same_bits(tmp_path, changes):
    settings = small_settings(tmp_path, **changes)
    run = train(settings, out=tmp_path / "straight")
    with pytest.raises(Stopped):
        train(settings, out=tmp_path / "run", console=At(33, kill))
    resume(tmp_path / "run")
    assert files_of(tmp_path / "run") == files_of(run)


def test_a_run_compiles_the_kernels_that_its_model_needs_and_no_others():
    llama = {"normalization": "rms", "positions": "rotary", "activation": "swiglu", "model": "decoder-only", "joint_vocabulary": True}
    assert _kernels(Settings(model="recurrent", cell="lstm", score="additive")) == ("lstm", "additive_attention", "top_k")
    assert _kernels(Settings(normalization="batch")) == ("batch_norm", "top_k")
    assert _kernels(Settings()) == ("layer_norm", "top_k") and _kernels(Settings(**llama)) == ("rms_norm", "rotary", "swiglu", "top_k")
    assert "top_k" not in _kernels(Settings(text="a", pair=None, model="decoder-only", tokenizer="characters")), "nothing is translated"


def test_a_run_holds_all_that_translation_needs(straight, tmp_path):
    settings, run = straight
    assert {path.name for path in run.iterdir()} == {
        "config.json", "tokenizer.json", "validation.tsv", "model.safetensors", "last", "metrics.jsonl", "loss.png", "attention.png"}
    shutil.copytree(run, tmp_path / "elsewhere")
    assert minitx.load(tmp_path / "elsewhere").translate(["cat dog"]) == minitx.load(run).translate(["cat dog"])
    assert evaluate(tmp_path / "elsewhere")["splits"] == evaluate(run)["splits"]
    assert not list(run.rglob("*.tmp"))


def test_the_same_settings_give_the_same_bits_on_one_and_two_threads(straight, tmp_path):
    settings, run = straight
    for threads in (1, 2):
        again = train(settings.replace(threads=threads), out=tmp_path / str(threads))
        assert files_of(again) == files_of(run)


def test_another_seed_gives_another_run(straight, tmp_path):
    settings, run = straight
    assert files_of(train(settings.replace(seed=1), out=tmp_path / "run"))["model.safetensors"] != files_of(run)["model.safetensors"]


# Stopped and resumed

@pytest.mark.parametrize("step", [1, 19, 20, 33, 60])
def test_a_killed_run_resumes_to_the_bits_of_the_uninterrupted_one(straight, tmp_path, step):
    settings, run = straight
    with pytest.raises(Stopped):
        train(settings, out=tmp_path / "run", console=At(step, kill))
    resume(tmp_path / "run")
    assert files_of(tmp_path / "run") == files_of(run)
    assert record_of(tmp_path / "run") == record_of(run)


@pytest.mark.parametrize("step", [1, 23, 60])
def test_ctrl_c_saves_and_the_run_resumes_to_the_same_bits(straight, tmp_path, step):
    settings, run = straight
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted) as caught:
        train(settings, out=tmp_path / "run", console=At(step, lambda: os.kill(os.getpid(), signal.SIGINT)))
    assert caught.value.run == tmp_path / "run"
    assert signal.getsignal(signal.SIGINT) is before
    state = json.loads(read_safetensors(RunFolder(tmp_path / "run").last)[1]["trainer"])
    assert state["step"] == step and not state["finished"]
    _, console = resume(tmp_path / "run")
    assert f"resumed at step {step} of 60" in console.notes
    assert [number for number, *_ in console.steps] == list(range(step + 1, 61))
    assert files_of(tmp_path / "run") == files_of(run)
    assert record_of(tmp_path / "run") == record_of(run), "the mean loss between two lines counts the updates before the stop"


def test_a_second_ctrl_c_stops_at_once(straight, tmp_path):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    settings, run = straight
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(settings, out=tmp_path / "run", console=At(33, twice))
    assert signal.getsignal(signal.SIGINT) is before
    resume(tmp_path / "run")
    assert files_of(tmp_path / "run") == files_of(run)


def test_a_run_in_another_thread_gives_the_same_bits(straight, tmp_path):
    settings, run = straight
    other = threading.Thread(target=train, args=(settings, tmp_path / "run"))
    other.start()
    other.join()
    assert files_of(tmp_path / "run") == files_of(run)


def test_a_run_may_be_stopped_many_times(straight, tmp_path):
    settings, run = straight
    with pytest.raises(Interrupted):
        train(settings, out=tmp_path / "run", console=At(7, lambda: os.kill(os.getpid(), signal.SIGINT)))
    for step in (8, 30, 41):
        with pytest.raises((Interrupted, Stopped)):
            train(choose_resumed(tmp_path / "run", {}), resume=tmp_path / "run",
                  console=At(step, kill if step == 30 else lambda: os.kill(os.getpid(), signal.SIGINT)))
    resume(tmp_path / "run")
    assert files_of(tmp_path / "run") == files_of(run)


def test_a_run_saves_by_the_clock_between_validations(straight, tmp_path, monkeypatch):
    settings, run = straight
    monkeypatch.setattr("minitx.training.trainer.SAVE_EVERY", 0)
    with pytest.raises(Stopped):
        train(settings, out=tmp_path / "run", console=At(33, kill))
    _, console = resume(tmp_path / "run")
    assert "resumed at step 32 of 60" in console.notes
    assert files_of(tmp_path / "run") == files_of(run)


def test_a_run_killed_before_its_first_save_starts_over(straight, tmp_path, monkeypatch):
    settings, run = straight
    monkeypatch.setattr(At, "plan", lambda *_, **__: kill(), raising=False)
    with pytest.raises(Stopped):
        train(settings, out=tmp_path / "run", console=At())
    monkeypatch.undo()
    assert not RunFolder(tmp_path / "run").last.exists()
    _, console = resume(tmp_path / "run")
    assert any("was stopped before its first save, and starts over" in note for note in console.notes)
    assert files_of(tmp_path / "run") == files_of(run)


def test_a_run_killed_before_its_first_validation_is_saved_starts_over(straight, tmp_path, monkeypatch):
    """There are weights then, and no update has been saved."""
    settings, run = straight
    monkeypatch.setattr(At, "validation", lambda *_, **__: kill())
    with pytest.raises(Stopped):
        train(settings, out=tmp_path / "run", console=At())
    monkeypatch.undo()
    assert RunFolder(tmp_path / "run").model.exists()
    resume(tmp_path / "run")
    assert files_of(tmp_path / "run") == files_of(run)


def test_a_run_whose_state_was_thrown_away_keeps_its_weights(copied):
    _, run = copied
    shutil.rmtree(RunFolder(run).last.parent)
    before = files_of(run)
    with pytest.raises(UserError, match="has its weights, but .*state.safetensors is gone.*--overwrite"):
        resume(run)
    assert files_of(run) == before


def test_a_finished_run_says_so_and_stays_as_it_is(copied):
    _, run = copied
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in run.rglob("*") if path.is_file()}
    path, console = resume(run)
    assert path == run and "is finished" in console.notes[0] and not console.steps
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in run.rglob("*") if path.is_file()} == before


def test_a_resumed_run_reads_with_the_tokenizer_that_it_saved(straight, tmp_path, monkeypatch):
    """Another version of the library may learn other tokens from the same text; the ids must stay those of the saved weights."""
    settings, run = straight
    with pytest.raises(Stopped):
        train(settings, out=tmp_path / "run", console=At(33, kill))
    monkeypatch.setattr("minitx.training.translation.TokenizerPair.train", lambda *_, **__: pytest.fail("the vocabulary was built again"))
    resume(tmp_path / "run")
    assert files_of(tmp_path / "run") == files_of(run)


def test_a_line_of_the_record_that_a_kill_cut_in_two_is_forgotten(straight, tmp_path):
    settings, run = straight
    with pytest.raises(Stopped):
        train(settings, out=tmp_path / "run", console=At(33, kill))
    with open(RunFolder(tmp_path / "run").metrics, "a", encoding="utf-8") as file:
        file.write('{"step": 34, "lo')
    resume(tmp_path / "run")
    assert [line["step"] for line in metrics_of(tmp_path / "run")] == [line["step"] for line in metrics_of(run)]


# What the folder already holds

def test_a_folder_with_a_run_is_refused_and_left_alone(copied):
    settings, run = copied
    before = files_of(run)
    with pytest.raises(UserError, match="already holds a run.*--resume.*--overwrite"):
        train(settings, out=run)
    assert files_of(run) == before


def test_overwrite_replaces_the_run_and_its_pictures(copied):
    settings, run = copied
    (run / "old.png").write_bytes(b"")
    train(settings.replace(seed=1, steps=20), out=run, overwrite=True)
    assert RunFolder(run).settings().seed == 1
    assert [line["step"] for line in metrics_of(run)] == [1, 20, 20]
    assert not (run / "old.png").exists()


def test_a_mistake_in_the_data_leaves_the_run_that_was_to_be_replaced(copied):
    settings, run = copied
    before = files_of(run)
    for changes in ({"src": "nowhere.txt"}, {"max_length": 2}):
        with pytest.raises(UserError):
            train(settings.replace(**changes), out=run, overwrite=True)
    assert files_of(run) == before


def test_other_files_in_a_folder_are_not_touched(straight, tmp_path):
    settings, run = straight
    (tmp_path / "photo.png").write_bytes(b"mine")
    train(settings, out=tmp_path)
    assert (tmp_path / "photo.png").read_bytes() == b"mine"
    assert files_of(tmp_path) == files_of(run)


def test_without_a_name_runs_are_numbered(straight, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = straight[0].replace(steps=1)
    assert [str(train(settings, console=At())) for _ in range(2)] == [os.path.join("runs", "tgt"), os.path.join("runs", "tgt-2")]
    (tmp_path / "file").write_text("", encoding="utf-8")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match="file is a file; name a folder"):
            train(settings, out=out)
    shutil.copy(settings.tgt, tmp_path / ".hidden.txt")
    assert str(train(settings.replace(tgt=str(tmp_path / ".hidden.txt")), console=At())) == os.path.join("runs", "hidden")


@pytest.mark.parametrize("sentence, typed", [
    ("the cat", '"the cat"'), ("it's a cat", '"it\'s a cat"'), ('"Stop" for $5 (`date`)!', "'\"Stop\" for $5 (`date`)!'"), ("- Hello", '"Hello"')])
def test_the_next_command_can_be_pasted_into_a_shell(sentence, typed):
    assert _next_command(RunFolder("runs/x"), Settings(), sentence) == f"minitx translate runs/x {typed}"
    said = subprocess.run(["sh", "-c", f"printf %s {typed}"], capture_output=True, encoding="utf-8", check=True).stdout
    assert said == sentence.removeprefix("- ")


# The user's files

def stopped_run(tmp_path):
    settings = small_settings(tmp_path)
    with pytest.raises(Stopped):
        train(settings, out=tmp_path / "run", console=At(33, kill))
    return settings, tmp_path / "run"


def test_other_text_than_the_run_was_started_with_is_refused(tmp_path):
    settings, run = stopped_run(tmp_path)
    before = files_of(run)
    with open(settings.tgt, "a", encoding="utf-8") as file:
        file.write("DOG\n")
    with open(settings.src, "a", encoding="utf-8") as file:
        file.write("dog\n")
    with pytest.raises(UserError, match="src.txt is not the file that the run was started with; name the right one with --src"):
        resume(run)
    assert files_of(run) == before


def test_text_that_the_run_was_started_without_is_refused(tmp_path):
    settings, run = stopped_run(tmp_path)
    with pytest.raises(UserError, match="valid_src: the run was started without such text, and goes on without it; drop --valid-src"):
        resume(run, valid_src=settings.src, valid_tgt=settings.tgt)
    with pytest.raises(UserError, match="drop --text"):
        resume(run, text=settings.src)


def test_text_that_has_moved_is_named_again(straight, tmp_path):
    settings, run = stopped_run(tmp_path)
    os.rename(settings.src, tmp_path / "moved.txt")
    with pytest.raises(UserError, match="src.txt does not exist"):
        resume(run)
    resume(run, src=str(tmp_path / "moved.txt"))
    assert files_of(run)["model.safetensors"] == files_of(straight[1])["model.safetensors"]


def test_the_vocabulary_is_that_of_the_training_text_alone(tmp_path):
    settings = small_settings(tmp_path, steps=2, validate_every=1)
    (tmp_path / "valid.src").write_text("cat zebra\n", encoding="utf-8")
    (tmp_path / "valid.tgt").write_text("ZEBRA CAT\n", encoding="utf-8")
    settings = settings.replace(valid_src=str(tmp_path / "valid.src"), valid_tgt=str(tmp_path / "valid.tgt"))
    run = train(settings, out=tmp_path / "run")
    tokenizers = RunFolder(run).tokenizers()
    assert tokenizers.source.unknown("cat zebra") == ["zebra"] and tokenizers.target.unknown("ZEBRA CAT") == ["ZEBRA"]
    assert set(evaluate(run)["splits"]) == {"validation"}
    assert RunFolder(run).validation.read_text(encoding="utf-8") == "cat zebra\tZEBRA CAT\n"


def test_evaluation_uses_the_vocabulary_of_the_run(straight, tmp_path):
    """A vocabulary built again on the text to be scored would give every word another id."""
    settings, run = straight
    (tmp_path / "s").write_text("hen hen gnu\ncat\n", encoding="utf-8")
    (tmp_path / "t").write_text("GNU HEN HEN\nCAT\n", encoding="utf-8")
    scores = evaluate(run, tmp_path / "s", tmp_path / "t")["splits"][str(tmp_path / "s")]
    assert scores["loss"] < 2.5  # a uniform guess over 12 tokens


@pytest.mark.filterwarnings("ignore:a sentence of")
def test_sentences_longer_than_the_model_are_left_out_and_counted(tmp_path):
    settings = small_settings(tmp_path, steps=1, max_length=5)
    console = At()
    train(settings, out=tmp_path / "run", console=console)
    assert any("are longer than max_length and left out" in note for note in console.notes)
    with pytest.raises(UserError, match="max_length is 2, and every training pair is longer; raise --max-length"):
        train(settings.replace(max_length=2), out=tmp_path / "other")


# Damage

def test_a_full_disk_leaves_the_previous_checkpoint_whole(straight, tmp_path, monkeypatch):
    settings, run = straight
    kept = {}

    def fill_the_disk():
        kept.update(files_of(tmp_path / "run"))

        def refuse(_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(files.os, "fsync", refuse)

    with pytest.raises(OSError, match="No space left"):
        train(settings, out=tmp_path / "run", console=At(33, fill_the_disk))
    monkeypatch.undo()
    assert files_of(tmp_path / "run") == kept
    assert not list((tmp_path / "run").rglob("*.tmp"))
    resume(tmp_path / "run")
    assert files_of(tmp_path / "run") == files_of(run)


def test_a_kill_while_a_file_is_written_leaves_the_previous_one(copied, monkeypatch):
    _, run = copied
    before = files_of(run)
    monkeypatch.setattr(files.os, "replace", lambda *_: kill())
    with pytest.raises(Stopped):
        save_safetensors(RunFolder(run).model, {"x": np.zeros(3)})
    assert files_of(run) == before


@pytest.mark.parametrize("spoil, said", [
    (lambda run: run.model.write_bytes(run.model.read_bytes()[:-100]), "model.safetensors is damaged or not a safetensors file"),
    (lambda run: run.model.write_bytes(b""), "model.safetensors is damaged"),
    (lambda run: run.model.unlink(), "model.safetensors does not exist: the run was stopped before its first save"),
    (lambda run: save_safetensors(run.model, {"x": np.zeros(3)}), "does not fit the settings beside it"),
    (lambda run: run.tokenizer.write_bytes(run.tokenizer.read_bytes()[:50]), "tokenizer.json"),
    (lambda run: run.config.write_bytes(run.config.read_bytes().replace(b'"format": 1', b'"format": 9')),
     "has format 9; this minitx reads format 1"),
    (lambda run: run.config.write_bytes(run.config.read_bytes().replace(b'"d_model": 16', b'"d_model": 32')), "does not fit the settings"),
])
def test_a_damaged_run_is_the_user_s_to_know(copied, spoil, said):
    _, run = copied
    spoil(RunFolder(run))
    with pytest.raises(UserError, match=said):
        minitx.load(run)


@pytest.mark.parametrize("spoil, said", [
    (lambda run: run.last.write_bytes(run.last.read_bytes()[:-100]), "state.safetensors is damaged or not a safetensors file"),
    (lambda run: save_safetensors(run.last, {"model.x": np.zeros(3)}), "state.safetensors does not fit this run"),
    (lambda run: save_safetensors(run.last, *less(run, "optimizer.m")), "state.safetensors does not fit this run.*'m'"),
    (lambda run: save_safetensors(run.last, *less(run, "model.decoder_norm.bias")), "state.safetensors does not fit this run.*1 missing"),
])
def test_a_damaged_state_is_not_gone_on_from(tmp_path, spoil, said):
    _, run = stopped_run(tmp_path)
    spoil(RunFolder(run))
    before = files_of(run)
    with pytest.raises(UserError, match=said):
        resume(run)
    assert files_of(run) == before


def less(run, name):
    """The last state, less one of its arrays."""
    arrays, metadata = read_safetensors(run.last)
    del arrays[name]
    return arrays, metadata


def test_a_run_compiles_the_kernels_of_its_own_model(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(compiled, "missing", lambda dtype, folders: asked.append(folders) or [])
    train(small_settings(tmp_path, steps=1), out=tmp_path / "translator")
    train(small_text_settings(tmp_path, steps=1, normalization="rms", positions="rotary", activation="swiglu"), out=tmp_path / "llama")
    assert asked == [("layer_norm", "top_k"), ("rms_norm", "rotary", "swiglu")]
