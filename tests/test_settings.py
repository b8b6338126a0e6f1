"""Settings: every bad value has one clear sentence, and config.json gives back what went in."""
import dataclasses
import gzip
import json

import pytest

from minitx.errors import UserError
from minitx.presets import CHANGED_ON_RESUME, LANGUAGE_MODELS, PRESETS, choose, choose_resumed
from minitx.settings import Settings, read_config

FIELDS = dataclasses.fields(Settings)
TEXT = {"text": "a", "pair": None, "model": "decoder-only", "tokenizer": "characters"}


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_every_setting_has_a_help_and_a_group(field):
    assert field.metadata["help"] and field.metadata["group"] in {"Data", "Text", "Model", "Training", "Machine"}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_valid_and_names_only_settings(preset):
    assert choose({"text": "a"} if preset in LANGUAGE_MODELS else {}, preset)[1] == preset
    assert set(PRESETS[preset]) <= {field.name for field in FIELDS}


@pytest.mark.parametrize(
    "changes",
    [{}, {"pair": "zh-ko", "dropout": 0.25, "joint_vocabulary": True}, {"src": "a", "tgt": "b", "pair": None}],
    ids=["defaults", "changed", "own text"],
)
def test_json_gives_back_the_same_settings(changes):
    settings = Settings(**changes)
    assert Settings.from_json(json.loads(json.dumps(settings.to_json()))) == settings


def test_a_whole_number_is_welcome_where_a_number_is_wanted():
    assert type(Settings.from_json({"dropout": 0}).dropout) is float


@pytest.mark.parametrize(
    "values, said",
    [
        ({"d_model": 130, "n_heads": 4}, ["d_model is 130", "n_heads, 4", "128 or 132"]),
        ({"d_model": 3, "n_heads": 1}, ["sinusoidal", "try 4"]),
        ({"d_model": -8}, ["d_model is -8", "at least 1"]),
        ({"d_model": 10**30}, ["d_model", "at most 16,384"]),
        ({"n_layers": 2.0}, ["n_layers is 2.0", "a whole number"]),
        ({"steps": -1}, ["steps is -1", "at least 0"]),
        ({"steps": 0, "epochs": 0}, ["steps and epochs are both 0"]),
        ({"steps": True}, ["steps is True", "a whole number"]),
        ({"learning_rate": float("nan")}, ["learning_rate is nan", "above 0"]),
        ({"learning_rate": float("inf")}, ["learning_rate is inf"]),
        ({"learning_rate": 10**400}, ["learning_rate"]),
        ({"learning_rate": "0.1"}, ["learning_rate is '0.1'", "a number"]),
        ({"dropout": 1.0}, ["dropout is 1.0", "below 1"]),
        ({"joint_vocabulary": 1}, ["joint_vocabulary is 1", "true or false"]),
        ({"device": "tpu"}, ["device: 'tpu'", "cpu, cuda"]),
        ({"tokenizer": ["bpe"]}, ["tokenizer", "words, characters, bpe"]),
        ({"tie_embeddings": "all"}, ["--joint-vocabulary"]),
        ({"weight_decay": 0.1}, ["--optimizer adamw"]),
        ({"bpe_dropout": 0.1}, ["bpe_dropout is 0.1", "--tokenizer bpe"]),
        ({"unicode": "nfd"}, ["nfc, nfkc"]),
        ({"pair": None}, ["nothing to train on"]),
        ({"src": "a"}, ["src is given without tgt"]),
        ({"src": "a", "tgt": "b", "valid_tgt": "c"}, ["valid_tgt is given without valid_src"]),
        ({"src": "a", "tgt": "b", "tsv": "c"}, ["src and tsv"]),
        ({"tsv": "a", **TEXT}, ["text and tsv", "--text for a language model"]),
        ({"text": "a"}, ["decoder-only", "drop --model encoder-decoder"]),
        ({**TEXT, "best_by": "bleu"}, ["drop --best-by bleu"]),
        ({**TEXT, "tokenizer": "words"}, ["--tokenizer characters or bpe"]),
        ({**TEXT, "validation_tail": 1.0}, ["validation_tail is 1.0", "below 1"]),
        ({**TEXT, "norm": "post"}, ["norm is post", "take --norm pre"]),
        ({**TEXT, "n_kv_heads": 3}, ["n_kv_heads is 3", "n_heads, 4", "1, 2, 4"]),
        ({**TEXT, "positions": "rotary", "d_model": 12}, ["3 features", "--d-model 16"]),
        ({"model": "decoder-only"}, ["one vocabulary", "--joint-vocabulary"]),
        ({"n_kv_heads": 2}, ["n_kv_heads is 2", "take --n-kv-heads 0", "--model decoder-only"]),
        ({"experts": 2, "experts_per_token": 3}, ["experts_per_token is 3", "2 experts"]),
        ({"activation": "swiglu"}, ["activation is swiglu", "--model decoder-only"]),
        ({"positions": "rotary"}, ["positions is rotary", "--model decoder-only"]),
        ({"window": 8}, ["window is 8", "--model decoder-only"]),
        ({"bias": False}, ["bias is false", "drop --no-bias", "--model decoder-only"]),
        ({"score": "none"}, ["score is none", "take --score scaled-dot", "--model recurrent"]),
        ({"cell": "lstm"}, ["cell is lstm", "an encoder-decoder model", "--model recurrent"]),
        ({"bidirectional": True}, ["bidirectional is true", "drop --bidirectional,", "--model recurrent"]),
        ({"score": "cosine", "model": "decoder-only", "joint_vocabulary": True}, ["score is cosine", "--model encoder-decoder"]),
        ({"text": "a", "model": "recurrent"}, ["decoder-only", "drop --model recurrent"]),
        ({"model": "recurrent", "score": "none", "context": "output"}, ["--context start or input"]),
        ({"model": "recurrent", "context": "start"}, ["--context input or output, or --score none"]),
        ({"model": "recurrent", "bidirectional": True, "d_model": 65}, ["d_model is 65", "try 66"]),
        ({"valid_src": "a", "valid_tgt": "b"}, ["valid_src is given without training text"]),
    ],
    ids=str,
)
def test_a_bad_value_is_named_with_what_was_expected(values, said):
    with pytest.raises(UserError) as error:
        Settings(**values)
    assert all(part in str(error.value) for part in said) and "\n" not in str(error.value)


def test_an_unknown_setting_suggests_the_nearest():
    with pytest.raises(UserError, match="run/config.json: unknown setting 'd_modle'; did you mean 'd_model'"):
        Settings.from_json({"d_modle": 64}, "run/config.json")


def test_a_setting_like_no_other_suggests_nothing():
    with pytest.raises(UserError, match="unknown setting 'zzzzzz'$"):
        Settings.from_json({"zzzzzz": 64})


def test_a_bad_value_in_a_file_names_the_file():
    with pytest.raises(UserError, match="config.json: n_heads is 0"):
        Settings.from_json({"n_heads": 0})


def test_settings_that_are_no_object_are_refused():
    with pytest.raises(UserError, match="must be an object"):
        Settings.from_json([1, 2])


def test_what_is_named_wins_over_the_preset_and_the_preset_over_the_default():
    settings, preset = choose({"src": "a", "tgt": "b", "dropout": 0.3})
    assert preset == "small" and settings.pair is None and settings.own_text
    assert settings.tokenizer == PRESETS["small"]["tokenizer"] and settings.dropout == 0.3 and settings.seed == 0


@pytest.mark.parametrize("pairs, preset", [(1, "small"), (49_999, "small"), (50_000, "laptop")])
def test_the_preset_follows_from_the_size_of_the_data_when_none_is_named(tmp_path, pairs, preset):
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"a b\n" * pairs))
    files = {"src": str(tmp_path / "a.gz"), "tgt": str(tmp_path / "a.gz")}
    assert choose(files)[1] == choose({"tsv": str(tmp_path / "a.gz")})[1] == preset
    assert choose(files, "multi30k-tiny")[1] == "multi30k-tiny"


def test_text_starts_from_the_small_configuration_that_is_public():
    settings, preset = choose({"text": "a", "seed": 3})
    assert preset == "language-model" and settings.pair is None and settings.model == "decoder-only" and not settings.own_text
    assert (settings.tokenizer, settings.n_layers, settings.n_heads, settings.d_model, settings.d_ff) == ("characters", 4, 4, 128, 512)
    assert (settings.batch_sequences, settings.block, settings.steps, settings.warmup, settings.dropout) == (12, 64, 2000, 100, 0)
    assert (settings.learning_rate, settings.learning_rate * settings.final_learning_rate, settings.schedule) == (1e-3, 1e-4, "cosine")
    assert (settings.optimizer, settings.beta1, settings.beta2, settings.weight_decay, settings.clip) == ("adamw", 0.9, 0.99, 0.1, 1.0)
    assert (settings.activation, settings.norm, settings.positions, settings.tie_embeddings, settings.bias) == (
        "gelu", "pre", "learned", "decoder", False)


def test_a_decoder_only_translator_gets_the_one_vocabulary_it_needs():
    assert choose({"model": "decoder-only"})[0].joint_vocabulary
    with pytest.raises(UserError, match="add --joint-vocabulary"):
        choose({"model": "decoder-only", "joint_vocabulary": False})


def test_epochs_that_are_named_replace_the_steps_of_the_preset():
    assert (choose({"epochs": 2})[0].steps, choose({"epochs": 2})[0].epochs) == (0, 2)


@pytest.mark.parametrize(
    "named, preset, said",
    [
        ({"pair": "en-es", "tsv": "x"}, None, "drop one"),
        ({"steps": 5, "epochs": 5}, None, "drop the other"),
        ({}, "toys", "toy, small"),
        ({"pair": "en-xx"}, None, "en, es, ko, zh"),
        ({"pair": "en-es", "text": "a"}, None, "drop one"),
        ({"text": "a", "src": "b", "tgt": "c"}, None, "text and src are both given"),
        ({"text": "a"}, "toy", "drop --text"),
        ({}, "language-model", "add --text FILE"),
        ({"text": "a", "batch_tokens": 100}, None, "drop --batch-tokens: a language model takes --batch-sequences and --block"),
        ({"text": "a", "max_length": 100}, None, "drop --max-length"),
        ({"block": 100}, None, "drop --block: pairs of sentences take --batch-tokens and --max-length"),
    ],
    ids=str,
)
def test_contradictions_are_refused(named, preset, said):
    with pytest.raises(UserError, match=said):
        choose(named, preset)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"settings": Settings(seed=7).to_json(), "files": {}}), "utf-8")
    return tmp_path


def test_a_run_gives_back_its_settings(run):
    settings, config = read_config(run)
    assert settings == Settings(seed=7) and config["files"] == {}


def test_a_resumed_run_may_move_but_not_change(run):
    assert choose_resumed(run, {"threads": 1}) == Settings(seed=7, threads=1)
    with pytest.raises(UserError, match="d_model cannot change"):
        choose_resumed(run, {"d_model": 64})
    assert set(CHANGED_ON_RESUME) <= {field.name for field in FIELDS}


@pytest.mark.parametrize(
    "content, said",
    [
        (None, "holds no run"),
        ("{", "damaged"),
        ("[" * 100_000, "damaged"),
        ("[]", "no settings"),
        ("{}", "no settings"),
        ('{"settings": {"d_model": "x"}}', "config.json: d_model is 'x'"),
    ],
    ids=["missing", "truncated", "nested too deep", "a list", "empty", "bad value"],
)
def test_a_damaged_run_is_a_mistake_of_the_user(tmp_path, content, said):
    if content is not None:
        (tmp_path / "config.json").write_text(content, "utf-8")
    with pytest.raises(UserError, match=said):
        read_config(tmp_path)


def test_a_missing_run_is_named():
    with pytest.raises(UserError, match="nowhere: there is no such folder"):
        read_config("nowhere")


def test_bytes_that_are_not_text_are_a_damaged_run(tmp_path):
    (tmp_path / "config.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(UserError, match="damaged"):
        read_config(tmp_path)


@pytest.mark.parametrize("named, said", [
    ({"experts_per_token": 1}, "experts_per_token says nothing about a single feed-forward network; add --experts 4"),
    ({"balance": 0.1, "experts": 1}, "balance says nothing about a single"),
    ({"experts": 4, "model": "recurrent"}, "experts says nothing about a recurrent model"),
])
def test_experts_are_asked_for_before_their_number_per_token(named, said):
    with pytest.raises(UserError, match=said):
        choose(named)
    assert choose({"experts": 4, "experts_per_token": 1})[0].experts == 4


def test_a_recurrent_model_refuses_what_says_nothing_about_it():
    with pytest.raises(UserError, match="n_heads says nothing about a recurrent model; drop --n-heads, or take --model encoder-decoder"):
        choose({"model": "recurrent", "n_heads": 4})
    settings, _ = choose({"model": "recurrent", "cell": "lstm", "score": "none", "d_model": 66})
    assert (settings.n_layers, settings.cell, settings.context) == (1, "lstm", "auto")
