"""Folders of pretrained weights: what is written is read again, in any of its forms, without a copy where it need not be one; and what is wrong is said."""
import json
import mmap
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import tokenizers

import minitx
from minitx import cli, no_grad, optim
from minitx.errors import UserError
from minitx.models import DecoderOnly, from_pretrained, is_pretrained, save_pretrained

IDS = np.random.default_rng(0).integers(0, 30, (3, 12))
LLAMA = dict(normalization="rms", activation="swiglu", positions="rotary", bias=False)
OPTIONS = {"GPT-2": {}, "GPT-2, untied": dict(tie_embeddings=False, activation="gelu_tanh"), "GPT-2, no biases": dict(bias=False),
           "Llama": LLAMA | dict(n_kv_heads=1), "Llama, biases": LLAMA | dict(bias=True, tie_embeddings=False), "Mistral": LLAMA | dict(window=4)}


def new_model(name):
    """A model whose weights are far from their beginnings."""
    model = DecoderOnly(30, **dict(d_model=16, n_heads=2, n_layers=2, d_ff=24, max_length=20) | OPTIONS[name])
    generator = np.random.default_rng(1)
    for parameter in model.parameters():
        parameter.data += generator.normal(0, 0.2, parameter.shape).astype(np.float32)
    return model.eval()


def saved(name, folder):
    model = new_model(name)
    save_pretrained(model, folder)
    return model


def logits_of(model):
    with no_grad():
        return model(IDS).data


def arrays_in(folder):
    return safetensors.numpy.load_file(folder / "model.safetensors")


def write_arrays(folder, arrays, name="model.safetensors"):
    safetensors.numpy.save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / name)


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


@pytest.mark.parametrize("name", OPTIONS)
def test_a_model_comes_back(name, tmp_path):
    model = saved(name, tmp_path)
    loaded = from_pretrained(tmp_path)
    assert is_pretrained(tmp_path) and not loaded.training and loaded.max_length == 20
    np.testing.assert_allclose(logits_of(loaded), logits_of(model), rtol=1e-4, atol=1e-5)
    for name, array in model.state_dict().items():
        assert np.array_equal(loaded.state_dict()[name], array)


def test_weights_have_the_names_and_shapes_of_transformers(tmp_path):
    saved("GPT-2", tmp_path / "gpt2")
    saved("Llama, biases", tmp_path / "llama")
    gpt2 = {name: array.shape for name, array in arrays_in(tmp_path / "gpt2").items() if ".1." not in name}
    assert gpt2 == {
        "transformer.wte.weight": (30, 16), "transformer.wpe.weight": (20, 16), "transformer.h.0.ln_1.weight": (16,), "transformer.h.0.ln_1.bias": (16,),
        "transformer.h.0.attn.c_attn.weight": (16, 48), "transformer.h.0.attn.c_attn.bias": (48,), "transformer.h.0.attn.c_proj.weight": (16, 16),
        "transformer.h.0.attn.c_proj.bias": (16,), "transformer.h.0.ln_2.weight": (16,), "transformer.h.0.ln_2.bias": (16,),
        "transformer.h.0.mlp.c_fc.weight": (16, 24), "transformer.h.0.mlp.c_fc.bias": (24,), "transformer.h.0.mlp.c_proj.weight": (24, 16),
        "transformer.h.0.mlp.c_proj.bias": (16,), "transformer.ln_f.weight": (16,), "transformer.ln_f.bias": (16,)}
    llama = {name: array.shape for name, array in arrays_in(tmp_path / "llama").items() if ".1." not in name}
    assert {name: shape for name, shape in llama.items() if not name.endswith("bias")} == {
        "model.embed_tokens.weight": (30, 16), "model.norm.weight": (16,), "lm_head.weight": (30, 16), "model.layers.0.input_layernorm.weight": (16,),
        "model.layers.0.post_attention_layernorm.weight": (16,), "model.layers.0.self_attn.q_proj.weight": (16, 16),
        "model.layers.0.self_attn.k_proj.weight": (16, 16), "model.layers.0.self_attn.v_proj.weight": (16, 16),
        "model.layers.0.self_attn.o_proj.weight": (16, 16), "model.layers.0.mlp.gate_proj.weight": (24, 16),
        "model.layers.0.mlp.up_proj.weight": (24, 16), "model.layers.0.mlp.down_proj.weight": (16, 24)}
    assert {name.removesuffix("bias") for name in llama if name.endswith("bias")} == {
        name.removesuffix("weight") for name in llama if "_proj" in name and name.endswith("weight")}


# Without a copy

def memory_of(array):
    """What an array is finally a view of."""
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array


def test_gpt2_s_weights_stay_in_the_file(tmp_path):
    saved("GPT-2, untied", tmp_path)
    loaded = from_pretrained(tmp_path)
    assert all(isinstance(memory_of(array), mmap.mmap) for array in loaded.state_dict().values())
    loaded = loaded.layers[0]
    assert loaded.linear1.weight.data.flags.f_contiguous and not loaded.linear1.weight.data.flags.c_contiguous


def test_of_llama_s_weights_only_those_are_copied_that_lie_apart_in_the_file(tmp_path):
    saved("Llama", tmp_path)
    copied = [name for name, array in from_pretrained(tmp_path).state_dict().items() if not isinstance(memory_of(array), mmap.mmap)]
    assert copied == [f"layers.{i}.{name}" for i in range(2) for name in ("self_attn.in_proj_weight", "linear1.weight")]


@pytest.mark.parametrize("name", ["GPT-2", "Llama"])
def test_training_goes_on_from_pretrained_weights_and_leaves_the_file_alone(name, tmp_path):
    saved(name, tmp_path)
    before, model = (tmp_path / "model.safetensors").read_bytes(), from_pretrained(tmp_path).train()
    optimizer, losses = optim.SGD(model.parameters(), 0.1), []
    for _ in range(10):
        loss = model.loss(SimpleNamespace(target_in=IDS[:, :-1], target_out=IDS[:, 1:], ignore=-100))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1
    model.embedding.weight.data[...] = 0
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert from_pretrained(tmp_path).embedding.weight.data.any()


def test_a_model_without_weights_yet_takes_no_time_to_draw_them():
    assert not any(parameter.data.any() for name, parameter in DecoderOnly(30, seed=None).named_parameters() if parameter.ndim == 2)


# The forms in which weights are stored

def store_as(folder, kind):
    """Store the weights as numbers of another kind; returns them, rounded to it, as float32."""
    header, data, rounded = {}, b"", {}
    for name, array in arrays_in(folder).items():
        if kind == "BF16":  # the upper half of a float32
            stored = (array.view(np.uint32) >> 16).astype("<u2")
            rounded[name] = (stored.astype(np.uint32) << 16).view(np.float32)
        else:
            stored = array.astype({"F16": "<f2", "F64": "<f8"}[kind])
            rounded[name] = stored.astype(np.float32)
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": (len(data), len(data) + stored.nbytes)}
        data += stored.tobytes()
    header = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + data)
    return rounded


@pytest.mark.parametrize("kind", ["F16", "BF16", "F64"])
@pytest.mark.parametrize("name", ["GPT-2", "Llama"])
def test_numbers_of_other_kinds_become_float32(name, kind, tmp_path):
    saved(name, tmp_path / "other")
    saved(name, tmp_path / "same")
    write_arrays(tmp_path / "same", store_as(tmp_path / "other", kind))
    expected, found = (from_pretrained(tmp_path / folder).state_dict() for folder in ("same", "other"))
    for name, array in expected.items():
        assert found[name].dtype == np.float32 and np.array_equal(found[name], array)


def test_large_arrays_are_converted_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr("minitx.models.stored._PIECE", 7)
    test_numbers_of_other_kinds_become_float32("Llama", "BF16", tmp_path)


def in_shards(folder, arrays):
    names = list(arrays)
    parts = {"model-00001-of-00002.safetensors": names[:5], "model-00002-of-00002.safetensors": names[5:]}
    for part, chosen in parts.items():
        write_arrays(folder, {name: arrays[name] for name in chosen}, part)
    (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {name: part for part, chosen in parts.items() for name in chosen}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


FORMS = {
    "shards": in_shards,
    "names without a prefix": lambda folder, arrays: write_arrays(folder, {name.removeprefix("transformer."): array for name, array in arrays.items()}),
    "masks of old versions": lambda folder, arrays: write_arrays(folder, arrays | {
        "transformer.h.0.attn.bias": np.ones((1, 1, 20, 20), np.float32), "transformer.h.0.attn.masked_bias": np.float32([-1e4])}),
    "the tied output layer": lambda folder, arrays: write_arrays(folder, arrays | {"lm_head.weight": arrays["transformer.wte.weight"]}),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_weights_in_other_forms(form, tmp_path):
    model = saved("GPT-2", tmp_path)
    FORMS[form](tmp_path, arrays_in(tmp_path))
    np.testing.assert_allclose(logits_of(from_pretrained(tmp_path)), logits_of(model), rtol=1e-4, atol=1e-5)


def test_arrays_at_odd_places_are_read_too(tmp_path):
    """The library writes headers of a multiple of 8 bytes, but nothing demands it."""
    model, path = saved("GPT-2", tmp_path), tmp_path / "model.safetensors"
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    path.write_bytes((length + 1).to_bytes(8, "little") + content[8:8 + length] + b" " + content[8 + length:])
    np.testing.assert_allclose(logits_of(from_pretrained(tmp_path)), logits_of(model), rtol=1e-4, atol=1e-5)


def test_older_names_of_rotary_options_are_understood(tmp_path):
    model = saved("Llama", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    del config["rope_parameters"]
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    np.testing.assert_allclose(logits_of(from_pretrained(tmp_path)), logits_of(model), rtol=1e-4, atol=1e-5)
    change_config(tmp_path, rope_theta=50.0, rope_scaling={"type": "linear", "factor": 2.0})
    rotary = from_pretrained(tmp_path).layers[1].self_attn.rotary
    np.testing.assert_allclose(rotary.frequencies, 50.0 ** (-np.arange(0, 8, 2) / 8) / 2)


# Generation

def byte_level_tokenizer(vocabulary):
    """A tokenizer of single bytes with an end of text, in the library's format."""
    library = tokenizers.Tokenizer(tokenizers.models.BPE({piece: i for i, piece in enumerate(sorted(vocabulary))}, []))
    library.pre_tokenizer, library.decoder = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False), tokenizers.decoders.ByteLevel()
    library.add_special_tokens(["<|end|>"])
    return library


def saved_with_a_tokenizer(folder):
    """A GPT-2 and a tokenizer of fewer tokens than it has rows; returns the tokenizer, as the library has it."""
    model = new_model("GPT-2, untied")
    model.positions.weight.data *= 10  # so that it does not say one thing again and again
    save_pretrained(model, folder)
    library = byte_level_tokenizer("abcdefghijklmnopqrstĠ")
    library.save(str(folder / "tokenizer.json"))
    return library


def test_a_pretrained_folder_generates_text(tmp_path):
    library = saved_with_a_tokenizer(tmp_path)
    generator = minitx.load(tmp_path)
    assert len(generator.tokenizer) == 22 and generator.never == list(range(22, 30)) and generator.tokenizer.tokens([20, 0]) == ["▁", "a"]
    text = generator.generate("the cat", max_tokens=10, temperature=0)
    prompt = library.encode("the cat").ids
    assert [library.id_to_token(i) for i in prompt] == list("theĠcat") and generator.unknown("x") == []
    ids = list(prompt)
    for _ in range(10):
        with no_grad():
            ids.append(int(generator.model(np.array([ids])).data[0, -1, :22].argmax()))
    assert text == library.decode(ids[7:])
    said = ids[7:]
    first, second = list(dict.fromkeys(said))[1:3]  # neither is what comes at once
    change_config(tmp_path, eos_token_id=second)
    assert minitx.load(tmp_path).generate("the cat", max_tokens=10, temperature=0) == library.decode(said[:said.index(second)])
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [29, first]}), encoding="utf-8")
    assert minitx.load(tmp_path).generate("the cat", max_tokens=10, temperature=0) == library.decode(said[:said.index(first)])


# The command line

def test_a_pretrained_folder_is_used_like_a_run(tmp_path, capfd):
    saved_with_a_tokenizer(tmp_path)
    expected = minitx.load(tmp_path).generate("the cat", max_tokens=10, seed=3, top_k=5)
    for how in ([], ["--stream"]):
        assert cli.main(["generate", str(tmp_path), "--prompt", "the cat", "--max-tokens", "10", "--seed", "3", "--top-k", "5", *how]) == 0
        assert capfd.readouterr().out == f"the cat{expected}\n"
    assert cli.main(["generate", str(tmp_path), "--prompt", "the cat", "--show-distribution"]) == 0
    [first, *_] = minitx.load(tmp_path).next_tokens("the cat")
    assert f"{first.token}" in capfd.readouterr().out


def test_a_text_is_scored_by_a_pretrained_model_in_blocks_as_long_as_it_sees(tmp_path, capfd):
    """Id 0 is a token like the others there, not padding."""
    library, text = saved_with_a_tokenizer(tmp_path), tmp_path / "text.txt"
    text.write_text("a cat and a dog and a hat and a pie", encoding="utf-8")
    assert cli.main(["evaluate", str(tmp_path), "--text", str(text), "--json"]) == 0
    ids = library.encode(text.read_text(encoding="utf-8")).ids
    assert 0 in ids and len(ids) == 35
    losses, model = [], from_pretrained(tmp_path)
    for start in (0, 20):
        block = np.array([ids[start:start + 21]])
        with no_grad():
            logits = model(block[:, :-1]).data[0].astype(np.float64)
        losses += list(np.log(np.exp(logits).sum(1)) - logits[np.arange(len(logits)), block[0, 1:]])
    assert len(losses) == 34
    assert json.loads(capfd.readouterr().out)[str(text)]["loss"] == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize("command, said", [
    ("evaluate", "holds no text of its own; name one with --text FILE"), ("evaluate --src a --ref a", "does not translate; score it with --text FILE"),
    ("translate", "is a language model; use it with minitx generate"), ("train --resume", "config.json"),
])
def test_what_a_pretrained_folder_is_not_for_is_said(command, said, tmp_path, capfd):
    saved_with_a_tokenizer(tmp_path)
    name, *rest = command.split()
    assert cli.main([name, *rest, str(tmp_path)] if name == "train" else [name, str(tmp_path), *rest]) == 2
    out, err = capfd.readouterr()
    assert out == "" and said in " ".join(err.split()) and err.count("\n") <= 3


def test_an_architecture_that_is_not_here_is_named_on_the_command_line(tmp_path, capfd):
    saved_with_a_tokenizer(tmp_path)
    change_config(tmp_path, model_type="bert")
    for command in (["generate", str(tmp_path)], ["evaluate", str(tmp_path), "--text", str(tmp_path / "config.json")]):
        assert cli.main(command) == 2
        assert "architecture 'bert'; minitx reads gpt2, llama, mistral" in " ".join(capfd.readouterr().err.split())


# Mistakes

def without(folder, name):
    arrays = arrays_in(folder)
    del arrays[name]
    write_arrays(folder, arrays)


def in_parts(folder, index):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def truncated(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


MISTAKES = {
    "no such folder": (lambda folder: [file.unlink() for file in folder.iterdir()], "config.json does not exist"),
    "no JSON": (lambda folder: (folder / "config.json").write_text("{", encoding="utf-8"), "config.json is damaged"),
    "a list": (lambda folder: (folder / "config.json").write_text("[]", encoding="utf-8"), "config.json is damaged: it is not an object"),
    "another architecture": (lambda folder: change_config(folder, model_type="bert"), "architecture 'bert'; minitx reads gpt2, llama, mistral"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors does not exist"),
    "truncated": (truncated, "model.safetensors is damaged"),
    "empty": (lambda folder: (folder / "model.safetensors").write_bytes(b""), "model.safetensors is damaged"),
    "missing": (lambda folder: without(folder, "transformer.h.1.ln_2.bias"), "lacks the weights h.1.ln_2.bias; is it copied whole"),
    "other sizes": (lambda folder: change_config(folder, vocab_size=31), r"wte.weight: \(31, 16\) numbers are expected .* but \(30, 16\) are stored"),
    "a size of nothing": (lambda folder: change_config(folder, n_layer=0), "n_layer is 0 but must be a whole number from 1"),
    "heads": (lambda folder: change_config(folder, n_head=3), "config.json: n_heads: 3 heads do not divide"),
    "more layers stored": (lambda folder: change_config(folder, n_layer=1), "weights that a gpt2 model does not have here: h.1.attn.c_attn.bias"),
    "an activation": (lambda folder: change_config(folder, activation_function="silu"), "activation_function is 'silu'; minitx has gelu_new"),
    "an option": (lambda folder: change_config(folder, scale_attn_weights=False), "scale_attn_weights is False; minitx has True only"),
    "integers": (lambda folder: write_arrays(folder, {name: array.astype(np.int32) for name, array in arrays_in(folder).items()}),
                 "stored as I32; minitx reads F32, F16"),
    "an index of nothing": (lambda folder: in_parts(folder, {}), "index.json is damaged"),
    "an index that points elsewhere": (lambda folder: in_parts(folder, {"weight_map": {"wte.weight": "../elsewhere.safetensors"}}),
                                       "index.json is damaged: .* files of this folder"),
    "a kind of model that is no word": (lambda folder: change_config(folder, model_type=["gpt2"]), "architecture .'gpt2'.; minitx reads"),
    "a number that is none": (lambda folder: change_config(folder, layer_norm_epsilon="1e-5"), "layer_norm_epsilon is '1e-5' but must be a number above 0"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_is_wrong_with_a_folder_is_said(mistake, tmp_path):
    spoil, said = MISTAKES[mistake]
    saved("GPT-2", tmp_path)
    spoil(tmp_path)
    with pytest.raises(UserError, match=said):
        from_pretrained(tmp_path)


@pytest.mark.parametrize("changes, said", [
    ({"hidden_act": "gelu"}, "hidden_act is 'gelu'; minitx has 'silu' only"), ({"mlp_bias": True}, "mlp_bias is True; minitx has False only"),
    ({"rope_parameters": [1]}, "config.json"), ({"rope_parameters": {"rope_theta": None}}, "rope_theta is None but must be a number above 0"),
    ({"head_dim": 4}, "head_dim is 4; minitx has 8 only"), ({"rope_parameters": {"rope_theta": 1e4, "rope_type": "yarn"}}, "rope_type is 'yarn'; minitx has default, dynamic, linear, llama3"),
    ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor is 0.5; minitx has 1.0 only"),
    ({"rope_parameters": {"rope_type": "llama3", "factor": 2.0, "low_freq_factor": 1.0}},
     "'llama3', which needs high_freq_factor and original_max_position_embeddings"),
])
def test_options_of_llama_that_are_not_here_are_refused(changes, said, tmp_path):
    saved("Llama", tmp_path)
    change_config(tmp_path, **changes)
    with pytest.raises(UserError, match=said):
        from_pretrained(tmp_path)


@pytest.mark.parametrize("options, said", [
    ({"positions": "sinusoidal"}, "LayerNorm, sinusoidal positions, gelu, 2 heads of keys for 2 of queries, window None"),
    ({"n_kv_heads": 1}, "1 heads of keys"), ({"window": 3}, "window 3"), ({"normalization": "rms"}, "RMSNorm, learned"),
    (LLAMA | {"window": 3, "bias": True}, "window 3"), (LLAMA | {"activation": "gelu"}, "RMSNorm, rotary positions, gelu"), ({"n_layers": 0}, "at least one layer"),
    ({"experts": 2}, "this model has experts"), ({"normalization": "batch"}, "BatchNorm, learned"),
])
def test_a_model_that_transformers_does_not_have_is_not_written(options, said, tmp_path):
    with pytest.raises(UserError, match=said):
        save_pretrained(DecoderOnly(30, **dict(d_model=16, n_heads=2, n_layers=1) | options), tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_options_that_a_config_leaves_out_are_those_of_transformers(tmp_path):
    saved("Llama, biases", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    del config["mlp_bias"]  # which is false then, whatever attention_bias is
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(UserError, match="mlp_bias is False; minitx has True only"):
        from_pretrained(tmp_path)
    saved("Mistral", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    for window, expected in ((3, 3), (None, None), (..., 4096)):
        given = {name: value for name, value in (config | {"sliding_window": window}).items() if value is not ...}
        (tmp_path / "config.json").write_text(json.dumps(given), encoding="utf-8")
        assert from_pretrained(tmp_path).layers[0].self_attn.window == expected
    saved("GPT-2", tmp_path)
    change_config(tmp_path, embd_pdrop=0.25, resid_pdrop=0.125)
    model = from_pretrained(tmp_path)
    assert (model.dropout.p, model.layers[0].dropout.p) == (0.25, 0.125)


def test_weights_written_over_others_in_parts_are_those_that_are_read(tmp_path):
    model = saved("GPT-2", tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "part.safetensors")
    names = {name: "part.safetensors" for name in safetensors.numpy.load_file(tmp_path / "part.safetensors")}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}), encoding="utf-8")
    before = logits_of(from_pretrained(tmp_path))
    model.embedding.weight.data += 1
    save_pretrained(model, tmp_path)
    assert not (tmp_path / "model.safetensors.index.json").exists()
    np.testing.assert_array_equal(logits_of(from_pretrained(tmp_path)), logits_of(model))
    assert not np.allclose(before, logits_of(model))


def test_what_ends_a_text_is_written_as_well(tmp_path):
    saved_with_a_tokenizer(tmp_path / "one")
    change_config(tmp_path / "one", eos_token_id=7)
    one = minitx.load(tmp_path / "one")
    save_pretrained(one.model, tmp_path / "two", one.tokenizer, one.end)
    save_pretrained(one.model, tmp_path / "three", one.tokenizer)
    assert (minitx.load(tmp_path / "two").end, minitx.load(tmp_path / "three").end) == ([7], [])


def test_a_run_written_as_a_folder_never_says_special_tokens_and_knows_what_it_never_saw(tmp_path):
    from minitx.data.tokenizers import Tokenizer

    ours = Tokenizer.train("characters", ["the old man"])
    save_pretrained(DecoderOnly(len(ours), d_model=8, n_heads=2, n_layers=1), tmp_path, ours)
    generator = minitx.load(tmp_path)
    assert generator.never == [0, 1, 2, 3] and generator.unknown("the xyz x") == ["x", "y", "z"]


def test_tokens_show_a_space_before_them_though_the_library_strips_it(tmp_path):
    from minitx.data.pretrained import PretrainedTokenizer

    library = tokenizers.Tokenizer(tokenizers.models.WordLevel({"▁the": 0, "the": 1, "▁": 2}, "the"))
    library.decoder = tokenizers.decoders.Metaspace()
    assert PretrainedTokenizer(library).tokens([0, 1]) == ["▁the", "the"]


def test_a_token_without_a_vector_is_named(tmp_path, capfd):
    library = saved_with_a_tokenizer(tmp_path)
    library.add_special_tokens([f"<|{i}|>" for i in range(9)])  # ids 22 to 30, for 30 vectors
    library.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "text.txt").write_text("a <|8|> b", encoding="utf-8")
    for command in (["generate", str(tmp_path), "--prompt", "a <|8|> b"], ["evaluate", str(tmp_path), "--text", str(tmp_path / "text.txt")]):
        assert cli.main(command) == 2
        assert "reads '<|8|>' as token 30, but the model has vectors of 30 only" in " ".join(capfd.readouterr().err.split())


@pytest.mark.parametrize("kind", ["words", "characters", "bpe", "byte-bpe"])
def test_a_tokenizer_of_ours_reads_and_writes_text_from_a_pretrained_folder_as_from_a_run(kind, tmp_path):
    from minitx.data.pretrained import PretrainedTokenizer
    from minitx.data.tokenizers import Tokenizer

    text = "the old man, and the sea: 猫"
    ours = Tokenizer.train(kind, [text] * 3, None if kind in ("words", "characters") else 300)
    save_pretrained(DecoderOnly(len(ours), d_model=8, n_heads=2, n_layers=1), tmp_path, ours)
    read = PretrainedTokenizer.load(tmp_path / "tokenizer.json")
    assert read.encode(text) == ours.encode(text)
    assert read.decode(read.encode(text)) == text


@pytest.mark.parametrize("content", ["{", "[1]", '{"version": "1.0", "model": {}}'])
def test_a_broken_tokenizer_is_named(content, tmp_path):
    saved("GPT-2", tmp_path)
    with pytest.raises(UserError, match="tokenizer.json does not exist"):
        minitx.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match="tokenizer.json is no tokenizer that the tokenizers library can read"):
        minitx.load(tmp_path)
