"""The translator as people use it: texts in, one text out for each, whatever they are."""
import types
import warnings

import numpy as np
import pytest

from minitx.data.tokenizers import TokenizerPair
from minitx.decoding.beam import Hypothesis, beam_search
from minitx.decoding.ensemble import Ensemble
from minitx.decoding.translator import Translator, load
from minitx.errors import UserError
from minitx.models import EncoderDecoder, PrefixLanguageModel
from minitx.run_folder import RunFolder, save_safetensors
from minitx.settings import Settings

from .random_model import padded

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


def test_the_logits_of_a_step_are_few_enough(translator, monkeypatch):
    expected, rows, step = translator.translate(TEXTS, beam=2), [], translator.model.step
    monkeypatch.setattr(translator.model, "step", lambda ids, cache: rows.append(len(ids)) or step(ids, cache))
    monkeypatch.setattr("minitx.decoding.translator.MOST_LOGITS", 4 * len(translator.tokenizers.target))
    assert translator.translate(TEXTS, beam=2) == expected and max(rows) == 4


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


def test_a_prefix_begins_every_translation(translator):
    found = translator.translate(TEXTS, prefix="un perro")
    assert all(text.startswith("un perro") for text in found if text) and found != translator.translate(TEXTS)
    assert [text == "" for text in found] == [not text.strip() for text in TEXTS]
    each = ["dos", "un", "", "el x gato", "x", "", "perro", ""]
    begun = translator.translate(TEXTS, beam=3, prefix=each)
    for text, wanted, plain in zip(begun, each, translator.translate(TEXTS, beam=3)):
        assert text.split()[:len(wanted.split())] == wanted.split() if text else not plain
        assert wanted or text == plain
    assert translator.translate("the cat", beam=2, prefix="dos") == translator.translate(["the cat"], beam=2, prefix=["dos"])[0]
    with pytest.raises(UserError, match="there are 2 for 1 texts"):
        translator.translate(["the cat"], prefix=["un", "dos"])


def test_alpha_and_beta_reach_the_search(translator):
    ids = translator.tokenizers.source.encode("the dog sees a cat") + [2]
    batch = np.array([ids], np.int32), np.array([len(ids)], np.int32)
    for options in ({"alpha": 0.0}, {"alpha": 2.0}, {"beta": 3.0}):
        [found] = beam_search(translator.model, *batch, beam=4, n_best=4, **options)
        expected = [(translator.tokenizers.target.decode(one.ids), one.score) for one in found]
        assert translator.translate("the dog sees a cat", beam=4, n_best=4, **options) == expected
        assert expected != translator.translate("the dog sees a cat", beam=4, n_best=4)


def test_unknown_words_are_copied_from_where_the_decoder_looked(translator):
    """What was said is set, and so is where each position looks: the <unk>s look at the third and the first word."""
    text, said = "Zoë saw Ægir's cat", [3, 5, 3]
    maps = np.zeros((2, 1, 2, 4, 5))  # (layers, batch, heads, target time, source time)
    maps[:, :, :, [0, 1, 2, 3], [2, 1, 0, 4]] = 1
    model = types.SimpleNamespace(eval=lambda: model, attention_maps=lambda source, lengths, target: maps)
    stand_in = Translator(model, translator.tokenizers)
    stand_in._source_ids = translator._source_ids
    model.max_length, stand_in._search = 12, lambda batch, beam, n_best, **options: [[Hypothesis(said, -1.0)]] * len(batch.rows)
    word = translator.tokenizers.target.tokens([5])[0]
    assert stand_in.translate(text) == f"<unk> {word} <unk>"
    assert stand_in.translate(text, copy_unknown=True) == f"Ægir's {word} Zoë"
    maps[:, :, 1, 0, [2, 4]] = 0, 5  # <eos> is never copied, however much one looks at it
    assert stand_in.translate([text, ""], copy_unknown=True) == [f"Ægir's {word} Zoë", ""]
    assert stand_in.translate(text, prefix=f"Zaß {word}", copy_unknown=True) == f"Zaß {word} Zoë"  # one's own words stay
    assert stand_in.translate(text, prefix=f"Zaß {word}") == f"Zaß {word} <unk>"


def test_copying_changes_nothing_but_unknown_words(translator):
    copied = translator.translate(TEXTS, beam=3, copy_unknown=True)
    changed = 0
    for text, with_copies, plain in zip(TEXTS, copied, translator.translate(TEXTS, beam=3)):
        for one, other in zip(with_copies.split(), plain.split(), strict=True):
            assert one == other or (other == "<unk>" and one in text.split())
            changed += one != other
    assert changed


def test_an_ensemble_of_twins_translates_as_each_of_them(translator):
    twins = Translator(translator.model, translator.tokenizers, ensemble=[translator.model])
    assert twins.translate(TEXTS) == translator.translate(TEXTS)
    for one, other in zip(twins.translate(TEXTS, 3, 2, beta=0.3), translator.translate(TEXTS, 3, 2, beta=0.3)):
        assert [text for text, _ in one] == [text for text, _ in other]
        np.testing.assert_allclose([score for _, score in one], [score for _, score in other], rtol=1e-6)


def test_an_ensemble_reads_as_much_as_its_shortest_member(translator):
    both = Translator(translator.model, translator.tokenizers, ensemble=[small_model(translator.tokenizers, max_length=4)])
    with pytest.warns(UserWarning, match="is cut to the 3 that the model takes"):
        assert isinstance(both.translate(max(TEXTS, key=len)), str)


def test_an_ensemble_says_the_words_of_the_highest_mean_probability(translator):
    models = [small_model(translator.tokenizers, seed=seed, n_layers=layers).eval() for seed, layers in ((1, 2), (5, 1), (7, 2))]
    both, (source, lengths) = Ensemble(models), padded([[5, 6, 2], [4, 2]])
    caches, alone = both.start(source, lengths, 9), [model.start(source, lengths, 9) for model in models]
    for ids in ([1, 1], [5, 7], [4, 4]):  # at the end the rows pass for one sentence's
        ids = np.array(ids, np.int32)
        each = [np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)) for logits in (m.step(ids, c) for m, c in zip(models, alone))]
        np.testing.assert_allclose(np.exp(both.step(ids, caches)), np.mean(each, axis=0), rtol=1e-9)
        np.testing.assert_allclose(both.attention(caches), np.mean([m.attention(c) for m, c in zip(models, alone)], axis=0), rtol=1e-9)
        for cache in (caches, *alone):
            cache.select(np.array([1, 0]), 2 if ids[1] == 4 else 1)
    assert [len(cache.memory_lengths) for cache in caches.caches] == [1, 1, 1], "the members know which rows share a sentence"
    assert both.max_length == 12 and Ensemble([*models, small_model(translator.tokenizers, max_length=7)]).max_length == 7


def test_runs_of_the_same_vocabularies_are_loaded_as_an_ensemble(tmp_path, translator):
    for name, seed, pairs in (("one", 1, PAIRS), ("two", 5, PAIRS), ("other", 1, PAIRS[1:])):
        tokenizers = TokenizerPair.train("words", pairs)
        folder = RunFolder(tmp_path / name)
        folder.create(Settings(d_model=16, n_heads=2, n_layers=2, d_ff=32, max_length=12))
        tokenizers.save(folder.tokenizer)
        save_safetensors(folder.model, {name: 3 * array for name, array in small_model(tokenizers, seed=seed).to("float32").state_dict().items()})
    loaded = load(tmp_path / "one", ensemble=[tmp_path / "two"])
    models = [load(tmp_path / name).model for name in ("one", "two")]
    assert loaded.translate(TEXTS, beam=2) == Translator(models[0], translator.tokenizers, ensemble=models[1:]).translate(TEXTS, beam=2)
    assert loaded.translate(TEXTS, beam=2) != load(tmp_path / "one").translate(TEXTS, beam=2)
    with pytest.raises(UserError, match="other has other vocabularies than .*one"):
        load(tmp_path / "one", ensemble=[tmp_path / "two", tmp_path / "other"])


def test_samples_are_texts_with_scores(translator):
    found = translator.sample(TEXTS, n=3, seed=2, temperature=2.0)
    assert [len(drawn) for drawn in found] == [3] * len(TEXTS) and [one.text for one in found[1]] == [""] * 3
    alone, other = (translator.sample("the cat", n=3, seed=seed, temperature=2.0) for seed in (2, 3))
    assert [one.text for one in found[0]] == [one.text for one in alone] != [one.text for one in other]
    assert [one.score for one in found[0]] == pytest.approx([one.score for one in alone])  # few rows are added up in another order
    assert [drawn[0].text for drawn in translator.sample(TEXTS, temperature=0.0)] == translator.translate(TEXTS)
    assert all(one.text.startswith("dos") and one.score < 0 for one in translator.sample("the cat", n=5, prefix="dos"))
    for wrong, said in (({"n": 0}, "n is 0"), ({"temperature": -1}, "temperature is -1"), ({"max_length": 0}, "max_length is 0")):
        with pytest.raises(UserError, match=said):
            translator.sample("a", **wrong)


SPLIT = [("it &apos;s a cat , a red cat .", "es un gato , un gato rojo ."), ("two dogs !", "&quot; dos perros &quot; !")]


@pytest.fixture(scope="module")
def split_translator():
    tokenizers = TokenizerPair.train("words", SPLIT)
    assert all(tokenizers.punctuation)
    model = small_model(tokenizers, seed=2)
    for parameter in model.parameters():
        parameter.data *= 3
    return Translator(model, tokenizers)


def test_a_model_of_split_text_reads_and_writes_as_people_do(split_translator):
    translator = split_translator
    as_trained = translator.translate(["it &apos;s a cat , a cat .", "two dogs !"], beam=2, tokenised=True)
    as_people_write = translator.translate(["It's a cat, a cat.", "Two dogs!"], beam=2)
    assert as_people_write == [translator.tokenizers.punctuation[1].join(text) for text in as_trained] != as_trained
    assert translator.unknown("It's a dog, two cats!") == ["dog", "cats"]
    assert translator.attention("It's a cat.")[0] == ["it", "&apos;s", "a", "cat", ".", "<eos>"]
    np.testing.assert_array_equal(translator.encode("It's a cat."), translator.encode("it &apos;s a cat ."))


def test_prefixes_and_samples_of_split_text_are_as_people_write_too(split_translator):
    translator = split_translator
    assert translator.translate("two dogs", prefix="Un gato, dos").startswith("un gato, dos")
    assert translator.translate("two dogs", prefix="un gato , dos", tokenised=True).startswith("un gato , dos")
    [drawn], [plain] = translator.sample("it's", prefix="un gato,"), translator.sample("it &apos;s", prefix="un gato ,", tokenised=True)
    assert drawn.text == translator.tokenizers.punctuation[1].join(plain.text) != plain.text


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


def test_all_maps_are_those_that_attention_shows_one_by_one(translator):
    source, target, maps = translator.attention_maps("the red cat", beam=3)
    assert maps.shape == (2, 2, len(target), len(source))
    for layer in range(2):
        for head in range(2):
            np.testing.assert_array_equal(translator.attention("the red cat", layer, head, beam=3)[2], maps[layer, head])


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


def test_neighbours_are_the_texts_of_the_nearest_embeddings(translator):
    among = ["two dogs", "a cat", "the red cat sees a dog", "", "a cat", "the dog sees a cat", "dogs"]
    texts = ["a cat", "two cat"]
    [same, other] = translator.neighbours(texts, among, n=3)
    assert same[0].text == "a cat" and same[0].similarity == pytest.approx(1) and len({one.text for one in same}) == 3
    for alone, beside in zip(translator.neighbours("two cat", among, n=3), other, strict=True):
        assert alone.text == beside.text and alone.similarity == pytest.approx(beside.similarity, abs=1e-12)
    different = list(dict.fromkeys(text for text in among if text))
    vectors = translator.encode(different)
    centred = vectors - vectors.mean(axis=0)
    wanted = translator.encode("two cat") - vectors.mean(axis=0)
    cosines = centred @ wanted / np.linalg.norm(centred, axis=1) / np.linalg.norm(wanted)
    assert [one.text for one in other] == [different[place] for place in np.argsort(-cosines)[:3]]
    np.testing.assert_allclose([one.similarity for one in other], np.sort(cosines)[::-1][:3])
    assert len(translator.neighbours("a cat", among, n=99)) == 5
    assert translator.neighbours("a cat", ["a cat"]) == [("a cat", 0.0)], "alone, a text has nothing to differ from"
    with pytest.raises(UserError, match="no text to look for neighbours among"):
        translator.neighbours("a cat", ["", " "])


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


def test_a_translator_without_an_encoder_says_so():
    tokenizers = TokenizerPair.train("words", [("a b", "b a")], joint=True)
    translator = Translator(PrefixLanguageModel(len(tokenizers.target), d_model=8, n_heads=2, n_layers=1), tokenizers)
    with pytest.raises(UserError, match="a decoder-only model has no encoder"):
        translator.encode("a")
