"""The translator as a task: what is told of its data, BPE dropout, and batches that fit into memory."""
import pytest

from minitx.presets import choose_resumed
from minitx.run_folder import RunFolder, build_model
from minitx.settings import Settings
from minitx.training import memory
from minitx.training.run import train
from minitx.training.translation import Translation

from .small import At, Stopped, files_of, kill, metrics_of, small_settings


def test_pairs_left_out_of_training_and_of_validation_are_told(tmp_path):
    settings = small_settings(tmp_path, steps=2, max_length=6)
    (tmp_path / "v.src").write_text("ant bee\n\nant bee cat dog eel fox gnu\ncat\n", encoding="utf-8")
    (tmp_path / "v.tgt").write_text("BEE ANT\nANT\nGNU FOX EEL DOG CAT BEE ANT\nCAT\n", encoding="utf-8")
    console = At()
    train(settings.replace(valid_src=str(tmp_path / "v.src"), valid_tgt=str(tmp_path / "v.tgt")), out=tmp_path / "run", console=console)
    assert "120 of 120 pairs kept" in console.notes
    assert "validation: 3 of 4 pairs kept; left out: 1 with an empty side" in console.notes
    assert "1 validation pairs are longer than max_length and left out of the loss" in console.notes
    assert any(note.endswith("training pairs are longer than max_length and left out") for note in console.notes)


def test_how_much_of_the_batches_is_padding_is_told(tmp_path):
    """Two batches of two: sources of 2 and 4 tokens, then of 5 and 5; targets of 4 and 4, then of 5 and 6."""
    for name, lines in (("src", ["a", "b c d", "a b c d", "d c b a"]), ("tgt", ["A B C", "D A B", "A B C D", "D C B A A"])):
        (tmp_path / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    files = {name: str(tmp_path / name[-3:]) for name in ("src", "tgt", "valid_src", "valid_tgt")}
    task, console = Translation(Settings(pair=None, max_length=16, batch_tokens=12, **files)), At()
    task.tokenise()
    task.trainer(build_model(task.settings, 8, 8), RunFolder(tmp_path / "run"), console)
    assert console.notes == ["2 batches an epoch, padded by 11.1% of the source and 5.0% of the target"]


def bpe_settings(folder, **changes):
    return small_settings(folder, tokenizer="bpe", vocab_size=60, max_length=60, bpe_dropout=0.2, **changes)


def test_bpe_dropout_cuts_the_training_pairs_anew_in_every_epoch(tmp_path):
    settings = bpe_settings(tmp_path)
    task = Translation(settings)
    task.tokenise()
    trainer = task.trainer(build_model(settings, 60, 60), RunFolder(tmp_path / "run"), At())
    epochs = [sorted(tuple(row[row != 0]) for batch in trainer.batches for row in batch.source) for _ in range(3)]
    texts = [sorted(task.tokenizers.source.decode(ids) for ids in epoch) for epoch in epochs]
    assert texts[0] == texts[1] == texts[2] == sorted(pair.source for pair in task.corpus.train)
    assert epochs[0] != epochs[1] != epochs[2]
    assert trainer.valid_ids == [(task.tokenizers.source.encode(pair.source), task.tokenizers.target.encode(pair.target)) for pair in task.corpus.validation]


def test_a_killed_run_with_bpe_dropout_resumes_to_the_same_bits(tmp_path):
    settings = bpe_settings(tmp_path)
    expected = files_of(train(settings, out=tmp_path / "straight"))
    for step in (17, 43):
        with pytest.raises(Stopped):
            train(settings, out=tmp_path / str(step), console=At(step, kill))
        assert files_of(train(choose_resumed(tmp_path / str(step), {}), resume=tmp_path / str(step))) == expected
    without = files_of(train(settings.replace(bpe_dropout=0.0), out=tmp_path / "without"))
    assert without["model.safetensors"] != expected["model.safetensors"] and without["tokenizer.json"] == expected["tokenizer.json"]


def test_batches_that_do_not_fit_are_divided_told_and_kept_for_the_resume(tmp_path, monkeypatch):
    settings, console = small_settings(tmp_path, steps=40, batch_tokens=400, accumulate=1), At()
    monkeypatch.setattr(memory, "available", lambda: 1)
    run = train(settings, out=tmp_path / "run", console=console)
    kept = RunFolder(run).settings()
    assert (kept.batch_tokens, kept.accumulate) == (25, 16)
    assert any("16 batches of 25 take the place of each" in note for note in console.notes)
    whole = train(settings.replace(batch_tokens=25, accumulate=16), out=tmp_path / "small")
    assert files_of(whole) == files_of(run) and metrics_of(whole)[0]["loss"] == metrics_of(run)[0]["loss"]


def test_a_text_with_punctuation_apart_is_told(tmp_path):
    settings, console = small_settings(tmp_path, steps=2), At()
    for side in ("src", "tgt"):
        path = tmp_path / f"{side}.txt"
        path.write_text(path.read_text(encoding="utf-8").replace("\n", " .\n"), encoding="utf-8")
    run = train(settings, out=tmp_path / "run", console=console)
    assert any(note.startswith("punctuation stands apart") for note in console.notes)
    assert all(RunFolder(run).tokenizers().punctuation)
