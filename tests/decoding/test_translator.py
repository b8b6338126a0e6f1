"""The translator as people use it: texts in, one text out for each, whatever they are."""
import warnings

import numpy as np
import pytest

from minitx.data.tokenizers import TokenizerPair
from minitx.decoding.translator import Translator, load
from minitx.errors import UserError
from minitx.models import EncoderDecoder
from minitx.run_folder import RunFolder, save_safetensors
from minitx.settings import Settings

PAIRS = [("the red cat sees a dog", "el gato rojo ve un perro"), ("two dogs", "dos perros"), ("a cat", "un gato")]
TEXTS = ["the cat", "", "two red dogs", "a", "   ", "the dog sees a cat", "a", "the cat sees"]


def small_model(tokenizers, **settings):
    sizes = {"d_model": 16, "n_heads": 2, "n_layers": 2, "d_ff": 32, "max_length": 12, "seed": 1}
    return EncoderDecoder(len(tokenizers.source), len(tokenizers.target), **{**sizes, **settings}).to("float64")


@pytest.fixture(scope="module")
def translator():
    tokenizers = TokenizerPair.train("words", PAIRS)
    model = small_model(tokenizers)
    # Untrained weights would say one word over and over; louder ones make a sentence of every source.
    for parameter in model.parameters():
        parameter.data *= 3
    return Translator(model, tokenizers)


@pytest.mark.parametrize("beam", [1, 3])
def test_one_line_out_per_line_in_in_their_order(translator, beam):
    found = translator.translate(TEXTS, beam=beam)
    assert found == [translator.translate(text, beam=beam) for text in TEXTS]
    assert [not text.strip() for text in TEXTS] == [text == "" for text in found]
    assert len(set(found)) > 3


def test_the_size_of_the_batches_changes_nothing(translator, monkeypatch):
    expected = translator.translate(TEXTS, beam=2)
    monkeypatch.setattr("minitx.decoding.translator.BATCH_TOKENS", 10)
    assert translator.translate(iter(TEXTS), beam=2) == expected


def test_no_text_gives_no_translation(translator):
    assert translator.translate([]) == [] and translator.encode([]).shape == (0, 16)


def test_n_best_gives_texts_with_scores_best_first(translator):
    found = translator.translate(["the cat", ""], beam=4, n_best=3)
    assert len(found[0]) == 3 and len({one.text for one in found[0]}) == 3
    assert sorted((one.score for one in found[0]), reverse=True) == [one.score for one in found[0]]
    assert [one.text for one in found[1]] == [""]
    assert translator.translate("the cat", beam=4, n_best=3) == found[0]
    assert translator.translate("the cat", beam=4) == found[0][0].text


def test_what_the_search_cannot_do_is_refused(translator):
    with pytest.raises(UserError, match="beam is 0"):
        translator.translate(["a"], beam=0)
    with pytest.raises(UserError, match="n_best is 2"):
        translator.translate(["a"], n_best=2)
    with pytest.raises(UserError, match="max_length is 0"):
        translator.translate(["a"], max_length=0)


def test_max_length_bounds_the_translation(translator):
    assert max(len(text.split()) for text in translator.translate(TEXTS)) > 2
    assert max(len(text.split()) for text in translator.translate(TEXTS, max_length=2)) == 2


def test_a_text_too_long_is_cut_with_a_warning(translator):
    cut = "the cat sees a dog the cat sees a dog the"  # 11 tokens and <eos>
    with pytest.warns(UserWarning, match="13 tokens is cut to the 11 .*: the cat sees") as caught:
        found = translator.translate(["a", cut + " red dog"])
    assert len(caught) == 1 and "\n" not in str(caught[0].message)
    with warnings.catch_warnings(action="error"):
        assert found == translator.translate(["a", cut])


def test_unknown_words_are_named_and_still_translated(translator):
    assert translator.unknown("the xenon cat xenon") == ["xenon"] and translator.unknown("the cat") == []
    assert isinstance(translator.translate("xenon"), str)


def test_dropout_is_off(translator):
    tokenizers = translator.tokenizers
    dropping = Translator(small_model(tokenizers, dropout=0.5).train(), tokenizers)
    assert dropping.translate(TEXTS) == Translator(small_model(tokenizers, dropout=0.0), tokenizers).translate(TEXTS)


def test_attention_has_a_row_for_each_target_token(translator):
    source, target, matrix = translator.attention("the red cat")
    assert source == ["the", "red", "cat", "<eos>"]
    assert target == [*translator.translate("the red cat").split(), "<eos>"]
    assert matrix.shape == (len(target), len(source))
    np.testing.assert_allclose(matrix.sum(axis=1), 1)


def test_attention_of_one_head_or_the_mean_of_all(translator):
    last = [translator.attention("a cat", head=head)[2] for head in range(2)]
    np.testing.assert_allclose(translator.attention("a cat")[2], np.mean(last, axis=0))
    np.testing.assert_allclose(translator.attention("a cat", layer=1)[2], np.mean(last, axis=0))
    assert not np.allclose(translator.attention("a cat", layer=0)[2], np.mean(last, axis=0))
    with pytest.raises(UserError, match="layer is 2, but the model has 2"):
        translator.attention("a cat", layer=2)
    with pytest.raises(UserError, match="head is -3"):
        translator.attention("a cat", head=-3)


def test_attention_is_of_the_translation_that_the_search_finds(translator):
    for text in TEXTS:
        target = translator.attention(text, beam=4)[1]
        assert target == [*translator.translate(text, beam=4).split(), "<eos>"]


def test_embeddings_are_means_over_real_positions(translator):
    texts = ["the cat", "a dog sees a red cat", ""]
    found = translator.encode(texts)
    assert found.shape == (3, 16) and np.isfinite(found).all()
    for text, embedding in zip(texts, found):  # alone, a text has no padding
        ids = [*translator.tokenizers.source.encode(text), 2]
        alone = np.asarray(translator.model.encode(np.array([ids], np.int32), np.array([len(ids)], np.int32)))
        np.testing.assert_allclose(embedding, alone[0].mean(axis=0), atol=1e-12)
        np.testing.assert_allclose(translator.encode(text), embedding, atol=1e-12)


def test_a_run_folder_is_all_that_load_needs(tmp_path, translator):
    settings = Settings(d_model=16, n_heads=2, n_layers=2, d_ff=32, max_length=12)
    model = small_model(translator.tokenizers).to("float32")
    folder = RunFolder(tmp_path / "run")
    folder.create(settings)
    translator.tokenizers.save(folder.tokenizer)
    save_safetensors(folder.model, model.state_dict())
    loaded = load(tmp_path / "run")
    assert loaded.translate(TEXTS, beam=2) == Translator(model, translator.tokenizers).translate(TEXTS, beam=2)
    assert loaded.settings == settings


def test_a_missing_run_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        load(tmp_path / "nowhere")
