"""Scores of a run on text of the user's: the form of the text does not matter, and the search is the one that was asked for."""
import shutil
from types import SimpleNamespace

import pytest

import minitx
from minitx.data import files
from minitx.errors import UserError
from minitx.training.evaluate import evaluate, held_out
from minitx.training.run import train

from .small import small_settings, small_text_settings

RAW = [("Ant bee, cat.", "CAT BEE, ANT."), ("dog eel!", "EEL DOG!"), ("fox \"gnu\" hen.", "HEN \"GNU\" FOX.")]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on text whose punctuation stands apart."""
    place = tmp_path_factory.mktemp("split")
    settings = small_settings(place, steps=120, learning_rate=1e-2, lowercase=True)
    for side in ("src", "tgt"):
        path = place / f"{side}.txt"
        path.write_text("".join(f"{line} .\n" for line in files.read_lines(path)), encoding="utf-8")
    return train(settings, out=place / "run")


def write(folder, name, lines):
    (folder / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return folder / name


def test_raw_text_is_scored_as_the_same_text_with_its_punctuation_apart(run, tmp_path):
    form = minitx.load(run).tokenizers.punctuation[0]
    raw = evaluate(run, *(write(tmp_path, name, side) for name, side in zip(("s", "t"), zip(*RAW))))
    split = evaluate(run, *(write(tmp_path, name, map(form.split, side)) for name, side in zip(("s2", "t2"), zip(*RAW))))
    assert list(raw["splits"].values()) == list(split["splits"].values())
    assert raw["scores"] == split["scores"] and raw["lengths"] == split["lengths"]
    assert [(one["measure"], one["form"]) for one in raw["scores"]] == [("BLEU", "tokenised, lowercased"), ("BLEU", "raw text"), ("chrF", "raw text")]
    assert sum(group["sentences"] for group in raw["lengths"]) == 3


def test_the_search_and_the_ensemble_are_those_that_were_asked_for(run, tmp_path, monkeypatch):
    shutil.copytree(run, tmp_path / "twin")
    asked = {}
    monkeypatch.setattr("minitx.decoding.translator.Translator.translate", lambda self, texts, **options: asked.update(options, me=self) or list(texts))
    evaluate(run, beam=3, alpha=0.5, beta=0.1, ensemble=[tmp_path / "twin"], copy_unknown=True)
    me = asked.pop("me")
    assert me._speaker is not me.model
    assert asked == {"beam": 3, "alpha": 0.5, "beta": 0.1, "copy_unknown": True, "tokenised": True}


def test_references_are_compared_as_the_model_could_write_them(run, tmp_path, monkeypatch):
    """Capitals that it has not, letters in another Unicode form and odd spaces are no mistakes of its."""
    said = "zoë bee , cat ant ."
    monkeypatch.setattr("minitx.decoding.translator.Translator.translate", lambda self, texts, **options: [said] * len(texts))
    paths = write(tmp_path, "s", ["ant bee ."] * 2), write(tmp_path, "t", [" ZOE\u0308  Bee , Cat Ant .", said])
    [scores] = evaluate(run, *paths)["splits"].values()
    assert scores["exact_match"] == 1 and scores["bleu"] == pytest.approx(100)


@pytest.mark.parametrize("option", [{"beam": 4}, {"alpha": 0.5}, {"beta": 0.1}, {"ensemble": ["other"]}, {"copy_unknown": True}])
def test_a_language_model_is_not_searched_with(option, tmp_path):
    run = train(small_text_settings(tmp_path, steps=2), out=tmp_path / "run")
    with pytest.raises(UserError, match=f"run is a language model, and {next(iter(option))} is for translations"):
        evaluate(run, **option)


def test_characters_that_a_model_has_never_seen_are_told(tmp_path):
    run = train(small_text_settings(tmp_path, steps=2), out=tmp_path / "run")
    with pytest.warns(UserWarning, match="t: 2 never seen in training and scored as <unk>: '猫', '犬'"):
        evaluate(run, text=write(tmp_path, "t", ["猫 犬 猫"]))


def test_without_files_the_held_out_pairs_are_scored(run):
    found = evaluate(run)
    assert set(found["splits"]) == set(held_out(run)) == {"validation"}
    assert sum(group["sentences"] for group in found["lengths"]) == found["speed"]["sentences"] == len(held_out(run)["validation"])


def test_what_is_loaded_or_compiled_once_is_not_counted_as_translation(run, monkeypatch):
    now, calls = [0.0], []

    def translate(self, texts, **options):
        calls.append(texts)
        now[0] += 100.0 if len(calls) == 1 else 4.0
        return list(texts)

    monkeypatch.setattr("minitx.decoding.translator.Translator.translate", translate)
    monkeypatch.setattr("minitx.training.evaluate.time", SimpleNamespace(perf_counter=lambda: now[0]))
    found, sentences = evaluate(run), len(held_out(run)["validation"])
    assert found["speed"] == {"sentences": sentences, "seconds": 4.0, "sentences_per_second": sentences / 4}
    assert len(calls) == 2 and len(calls[1]) == sentences
