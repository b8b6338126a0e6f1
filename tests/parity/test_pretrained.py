"""Folders that transformers writes, read here, and the other way round: logits, loss, every gradient, and what is said greedily."""
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers

from minitx import no_grad, optim
from minitx.models import DecoderOnly, from_pretrained, save_pretrained
from minitx.models.architectures import ARCHITECTURES

torch.set_num_threads(1)  # two pools of threads on the same cores hinder each other
transformers.logging.set_verbosity_error()
TOLERANCE = 1e-5
VOCABULARY, LENGTH = 101, 256
GPT2 = dict(vocab_size=VOCABULARY, n_positions=LENGTH, n_embd=48, n_layer=3, n_head=4, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
            bos_token_id=None, eos_token_id=None)
LLAMA = dict(vocab_size=VOCABULARY, max_position_embeddings=LENGTH, hidden_size=48, num_hidden_layers=3, num_attention_heads=6, intermediate_size=64,
             bos_token_id=None, eos_token_id=None, attn_implementation="eager")
STRETCHED = {"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
             "original_max_position_embeddings": 64}
MODELS = {
    "GPT-2": lambda: transformers.GPT2Config(**GPT2),
    "GPT-2, untied, exact GELU, narrow": lambda: transformers.GPT2Config(**GPT2, tie_word_embeddings=False, activation_function="gelu", n_inner=40),
    "Llama": lambda: transformers.LlamaConfig(**LLAMA),
    "Llama, grouped heads, tied, biases": lambda: transformers.LlamaConfig(
        **LLAMA, num_key_value_heads=2, tie_word_embeddings=True, attention_bias=True, mlp_bias=True, rms_norm_eps=1e-3),
    "Llama, grouped heads, stretched": lambda: transformers.LlamaConfig(**LLAMA, num_key_value_heads=3, rope_parameters=STRETCHED),
    "Llama, one head of keys, stretched evenly": lambda: transformers.LlamaConfig(
        **LLAMA, num_key_value_heads=1, rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}),
    "Llama, stretched when longer than it ever is": lambda: transformers.LlamaConfig(
        **LLAMA, rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}),
    "Mistral": lambda: transformers.MistralConfig(**LLAMA, num_key_value_heads=2, sliding_window=20),
}


def theirs(name, dtype=torch.float32):
    """A model of transformers with weights far from their small beginnings, and norms away from 1."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(MODELS[name]()).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model.to(dtype)


@pytest.fixture(params=MODELS)
def both(request, tmp_path):
    """(ours, theirs), the one read from what the other has written."""
    model = theirs(request.param)
    model.save_pretrained(tmp_path)
    return from_pretrained(tmp_path), model


def relative_error(ours, theirs):
    theirs = theirs.detach().numpy()
    return float(np.linalg.norm(np.asarray(ours, np.float64) - theirs) / np.linalg.norm(theirs.astype(np.float64)))


def random_ids(rows, time, seed=0):
    return np.random.default_rng(seed).integers(0, VOCABULARY, (rows, time))


def logits_of(model, ids):
    with no_grad():
        return model(ids).data


def test_logits_loss_and_every_gradient_are_theirs(both):
    ours, model = both
    ids = random_ids(3, 70)
    batch = SimpleNamespace(target_in=ids[:, :-1], target_out=ids[:, 1:], ignore=-100)
    found = {"logits": relative_error(logits_of(ours, ids), model(torch.from_numpy(ids)).logits)}
    loss, their_loss = ours.loss(batch), model(torch.from_numpy(ids), labels=torch.from_numpy(ids)).loss
    found["loss"] = relative_error(loss.data, their_loss)
    loss.backward()
    their_loss.backward()
    architecture, gradients = ARCHITECTURES[model.config.model_type], {name: parameter.grad for name, parameter in model.named_parameters()}
    for name, parameter in ours.named_parameters():
        sources = [source if source == "lm_head.weight" else architecture.prefix + source for source in architecture.sources(name)]
        gradient = torch.cat([gradients.pop(source) for source in sources])
        if name.endswith("in_proj_bias") and model.config.model_type == "gpt2":  # that of the keys shifts all scores of a query alike: only rounding
            parameter.grad.data[ours.d_model:2 * ours.d_model] = gradient[ours.d_model:2 * ours.d_model] = 0
        found[name] = relative_error(parameter.grad.data, gradient.T if architecture.is_transposed(name, parameter) else gradient)
    assert not gradients
    assert not {name: error for name, error in found.items() if not error < TOLERANCE}


def test_two_hundred_tokens_said_greedily_are_theirs(both):
    ours, model = both
    prompt = random_ids(2, 7, seed=1)
    expected = model.generate(torch.from_numpy(prompt), max_new_tokens=200, do_sample=False, pad_token_id=0).numpy()
    cache, ids = ours.start(prompt[:, :-1]), prompt
    for _ in range(200):
        logits = ours.step(ids[:, -1], cache)
        ids = np.concatenate([ids, logits.argmax(-1)[:, None]], axis=1)
    assert np.array_equal(ids, expected)
    assert len(np.unique(ids[:, 7:])) > 10  # it does not say one word again and again
    assert relative_error(logits, torch.from_numpy(logits_of(ours, ids[:, :-1])[:, -1])) < TOLERANCE


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["GPT-2", "Llama, grouped heads, stretched"])
def test_weights_of_sixteen_bits_are_read(name, dtype, tmp_path):
    theirs(name, dtype).save_pretrained(tmp_path)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)  # .float() would keep angles of sixteen bits
    ids = random_ids(2, 40)
    assert relative_error(logits_of(from_pretrained(tmp_path), ids), model(torch.from_numpy(ids)).logits) < TOLERANCE


@pytest.mark.parametrize("name", ["GPT-2", "Llama"])
def test_weights_in_several_files_are_read(name, tmp_path):
    model = theirs(name)
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    ids = random_ids(2, 40)
    assert relative_error(logits_of(from_pretrained(tmp_path), ids), model(torch.from_numpy(ids)).logits) < TOLERANCE


@pytest.mark.parametrize("options", [
    {}, {"bias": False, "tie_embeddings": False}, {"activation": "relu"},
    {"normalization": "rms", "activation": "swiglu", "positions": "rotary", "n_kv_heads": 2, "bias": False},
    {"normalization": "rms", "activation": "swiglu", "positions": "rotary", "tie_embeddings": False, "rotary_base": 500.0,
     "rotary_scaling": {name: value for name, value in STRETCHED.items() if "rope" not in name}},
    {"normalization": "rms", "activation": "swiglu", "positions": "rotary", "window": 9, "bias": False, "rotary_scaling": {"factor": 2.0}},
], ids=lambda options: "-".join(str(value) for value in options.values()) or "GPT")
def test_what_is_trained_here_is_read_there(options, tmp_path):
    ours = DecoderOnly(VOCABULARY, d_model=32, n_heads=4, n_layers=2, max_length=64, **options)
    optimizer, ids = optim.AdamW(ours.parameters(), 1e-2), random_ids(4, 33)
    for _ in range(20):
        loss = ours.loss(SimpleNamespace(target_in=ids[:, :-1], target_out=ids[:, 1:], ignore=-100))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss.item() < 4.3  # beginning at log 101 = 4.6
    save_pretrained(ours.eval(), tmp_path)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert relative_error(logits_of(ours, ids), model(torch.from_numpy(ids)).logits) < TOLERANCE
    assert relative_error(logits_of(from_pretrained(tmp_path), ids), model(torch.from_numpy(ids)).logits) < TOLERANCE


def test_a_tokenizer_saved_here_cuts_text_alike_there(tmp_path):
    from minitx.data.pretrained import PretrainedTokenizer
    from minitx.data.tokenizers import Tokenizer

    text = "the cats don't see\tthe  dog,\nnor 猫."
    tokenizer = Tokenizer.train("byte-bpe", [text] * 3, 300)
    save_pretrained(DecoderOnly(len(tokenizer), d_model=8, n_heads=2, n_layers=1), tmp_path, tokenizer)
    read_there = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    assert read_there(text)["input_ids"] == tokenizer.encode(text) == PretrainedTokenizer.load(tmp_path / "tokenizer.json").encode(text)
