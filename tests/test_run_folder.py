"""The files of a run: what is written comes back, and what does not fit is said."""
import numpy as np
import pytest

from minitx.data.tokenizers import TokenizerPair
from minitx.errors import UserError
from minitx.run_folder import RunFolder, build_model, load_weights, read_safetensors, save_safetensors
from minitx.settings import Settings

SETTINGS = Settings(d_model=8, n_heads=2, n_layers=1, d_ff=16, max_length=20, seed=3)
PAIRS = [("a b c", "x y"), ("b", "z")]


def new_run(path, settings=SETTINGS, **facts):
    folder = RunFolder(path)
    folder.create(settings, **facts)
    return folder


def test_settings_and_facts_come_back(tmp_path):
    folder = RunFolder(tmp_path / "deep" / "run")
    assert not folder.exists()
    folder.create(SETTINGS, hashes={"src": "12"}, minitx="0.1")
    assert folder.exists() and folder.settings() == SETTINGS
    assert folder.facts()["hashes"] == {"src": "12"} and folder.facts()["minitx"] == "0.1"


def test_a_run_exists_once_its_settings_are_written(tmp_path, monkeypatch):
    """Whoever sees the folder of checkpoints, which is made last, can resume the run."""
    folder, seen = RunFolder(tmp_path / "run"), []
    monkeypatch.setattr("minitx.run_folder.write_atomically", lambda *_: seen.append(folder.last.parent.exists()))
    folder.create(SETTINGS)
    assert seen == [False] and folder.last.parent.is_dir()


def test_a_new_run_removes_what_an_earlier_one_left(tmp_path):
    folder = new_run(tmp_path)
    pictures_and_notes = tmp_path / "loss.png", tmp_path / "notes.txt"
    for path in (folder.model, folder.last, folder.metrics, folder.tokenizer, folder.validation, *pictures_and_notes):
        path.write_text("old", encoding="utf-8")
    folder.create(SETTINGS.replace(seed=4))
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "last", "notes.txt"}
    assert not list(folder.last.parent.iterdir()) and folder.settings().seed == 4


def test_the_model_comes_back_with_its_weights_in_eval_mode(tmp_path):
    folder, tokenizers = new_run(tmp_path), TokenizerPair.train("words", PAIRS)
    tokenizers.save(folder.tokenizer)
    model = build_model(SETTINGS, len(tokenizers.source), len(tokenizers.target))
    for parameter in model.parameters():
        parameter.data += 1
    save_safetensors(folder.model, model.state_dict())
    loaded = folder.load_model()
    assert not loaded.training
    assert all(np.array_equal(array, loaded.state_dict()[name]) for name, array in model.state_dict().items())
    assert folder.tokenizers().source.encode("c b a") == tokenizers.source.encode("c b a")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_settings_decide_the_model(dtype):
    settings = SETTINGS.replace(dtype=dtype, norm="post", activation="gelu", positions="learned", tie_embeddings="none", n_layers=2,
                                dropout=0.25)
    model = build_model(settings, 7, 9)
    assert {array.dtype.name for array in model.state_dict().values()} == {dtype}
    assert len(model.encoder) == len(model.decoder) == 2 and model.encoder_norm is None
    assert model.encoder[0].linear1.activation == "gelu" and model.dropout.p == 0.25 and not model.encoder[0].norm_first
    assert model.source_positions.weight.shape == (20, 8) and model.output.weight.shape == (9, 8)
    again, other = (build_model(settings.replace(seed=seed), 7, 9) for seed in (3, 4))
    assert np.array_equal(again.output.weight.data, model.output.weight.data)
    assert not np.array_equal(other.output.weight.data, model.output.weight.data)


def test_settings_decide_the_language_model():
    settings = Settings(text="a", pair=None, model="decoder-only", tokenizer="characters", d_model=16, n_heads=4, n_layers=2, d_ff=24, block=33,
                        n_kv_heads=2, normalization="rms", activation="swiglu", positions="rotary", window=5, bias=False, tie_embeddings="none",
                        attention_dropout=0.25)
    model = build_model(settings, 7, 7)
    attention = model.layers[0].self_attn
    assert type(model).__name__ == "DecoderOnly" and model.max_length == 33 and len(model.layers) == 2
    assert (attention.n_kv_heads, attention.window, attention.dropout) == (2, 5, 0.25) and attention.rotary is not None
    assert not [name for name in model.state_dict() if name.endswith("bias")] and model.output.weight.shape == (7, 16)
    assert type(model.norm).__name__ == "RMSNorm"
    plain = build_model(settings.replace(n_kv_heads=0, window=0, positions="learned", tie_embeddings="decoder", bias=True), 7, 7)
    assert plain.layers[0].self_attn.n_kv_heads == 4 and plain.layers[0].self_attn.window is None and plain.output is None
    assert plain.positions.weight.shape == (33, 16) and plain.layers[0].linear2.bias is not None


def test_a_decoder_only_translator_has_positions_for_both_sides():
    model = build_model(SETTINGS.replace(model="decoder-only", joint_vocabulary=True, positions="learned"), 7, 7)
    assert type(model).__name__ == "PrefixLanguageModel" and model.max_length == 20 and model.positions.weight.shape == (40, 8)


def test_arrays_and_text_come_back_from_safetensors(tmp_path):
    arrays = {"matrix": np.arange(6, dtype=np.float32).reshape(2, 3).T, "empty": np.zeros((0, 3)), "number": np.array(2.5),
              "ids": np.array([1, 2], np.int32)}
    save_safetensors(tmp_path / "f", arrays, {"about": "ünï"})
    found, about = read_safetensors(tmp_path / "f")
    assert about == {"about": "ünï"}
    assert all(np.array_equal(array, found[name]) and array.dtype == found[name].dtype for name, array in arrays.items())


def test_equal_arrays_make_equal_files(tmp_path):
    for name in "ab":
        save_safetensors(tmp_path / name, {"x": np.ones(3), "y": np.zeros(2)}, {"about": "text"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("content", [b"", b"x", b"\x08\0\0\0\0\0\0\0{      }"[:12], b"\xff" * 100])
def test_a_file_that_is_no_safetensors_is_said_to_be_damaged(tmp_path, content):
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(UserError, match="is damaged or not a safetensors file"):
        read_safetensors(tmp_path / "f")


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_said_to_be_damaged(tmp_path, keep):
    save_safetensors(tmp_path / "f", {"x": np.ones(1000)})
    data = (tmp_path / "f").read_bytes()
    (tmp_path / "f").write_bytes(data[:int(keep * len(data))])
    with pytest.raises(UserError, match="is damaged"):
        read_safetensors(tmp_path / "f")


def test_a_missing_file_says_why_it_may_be(tmp_path):
    for path in (tmp_path / "f", tmp_path):
        with pytest.raises(UserError, match="does not exist: the run was stopped before its first save, or not copied whole"):
            read_safetensors(path)


def test_weights_of_another_model_are_refused(tmp_path):
    save_safetensors(tmp_path / "f", build_model(SETTINGS, 7, 9).state_dict())
    for settings, vocabulary in ((SETTINGS, 8), (SETTINGS.replace(n_layers=2), 7), (SETTINGS.replace(d_ff=8), 7)):
        with pytest.raises(UserError, match="f does not fit the settings beside it"):
            load_weights(build_model(settings, vocabulary, 9), tmp_path / "f")


@pytest.mark.parametrize("version", ["2", '"1"', "null"])
def test_a_run_of_another_version_is_refused(tmp_path, version):
    folder = new_run(tmp_path)
    folder.config.write_bytes(folder.config.read_bytes().replace(b'"format": 1', f'"format": {version}'.encode()))
    for read in (folder.settings, folder.facts, folder.load_model):
        with pytest.raises(UserError, match="this minitx reads format 1"):
            read()
