"""GPT-2 and Llama as transformers describes them: what their options and weights are called there, and what they are here."""
from dataclasses import dataclass
from typing import Callable

from ..errors import UserError
from .decoder_only import DecoderOnly

_ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu", "relu": "relu"}
_SCALINGS = {"default": (), "dynamic": (),  # which stretches only what is longer than max_position_embeddings, and no text here is
             "linear": ("factor",),
             "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")}


@dataclass(frozen=True)
class Architecture:
    """How the names of one architecture correspond to those of `DecoderOnly`.

    Attributes:
        options: the arguments of a `DecoderOnly` for a config.json; ValueError for what is not here.
        prefix: of the names of all weights but the output layer's, where a model has one.
        layer: what precedes the number of a layer. names: of our parameters, and those of theirs whose rows lie one behind the other in ours.
        transposes: whether the matrices of layers are stored (in, out). needs_biases: whether a model cannot be without.
        no_weights: how the names of masks and angles end that older versions stored.
    """

    options: Callable
    prefix: str
    layer: str
    names: dict
    transposes: bool
    needs_biases: bool
    no_weights: tuple

    def sources(self, name):
        """The names of theirs that are our parameter `name`."""
        if not name.startswith("layers."):
            return self.names[name].split()
        _, number, rest = name.split(".", 2)
        return [f"{self.layer}.{number}.{source}" for source in self.names[rest].split()]

    def parameters(self, n_layers):
        """Our names of all parameters that a model of so many layers may have."""
        for name in self.names:
            if name.startswith(("self_attn", "linear", "norm1", "norm2")):
                yield from (f"layers.{i}.{name}" for i in range(n_layers))
            else:
                yield name

    def is_transposed(self, name, array):
        """Whether this parameter is stored (in, out)."""
        return self.transposes and name.startswith("layers.") and array.ndim == 2


def _gpt2(config):
    _refuse(config, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False)
    return {
        "vocabulary": _size(config, "vocab_size", 50257), "d_model": _size(config, "n_embd", 768), "n_heads": _size(config, "n_head", 12),
        "n_layers": _size(config, "n_layer", 12), "d_ff": _size(config, "n_inner"), "max_length": _size(config, "n_positions", 1024),
        "activation": _known(config, "activation_function", "gelu_new", _ACTIVATIONS), "eps": _number(config, "layer_norm_epsilon", 1e-5),
        "dropout": config.get("resid_pdrop", 0.1), "attention_dropout": config.get("attn_pdrop", 0.1), "activation_dropout": 0.0,
        "tie_embeddings": config.get("tie_word_embeddings", True)}


def _llama(config):
    _refuse({"mlp_bias": False, **config}, hidden_act="silu", mlp_bias=config.get("attention_bias", False))
    d_model, n_heads = _size(config, "hidden_size", 4096), _size(config, "num_attention_heads", 32)
    _refuse(config, head_dim=d_model // n_heads if config.get("head_dim") else None)
    rotary = config.get("rope_parameters") or config.get("rope_scaling") or {}
    rotary = {"rope_type": rotary.get("type", "default"), "rope_theta": config.get("rope_theta", 10000.0), **rotary}
    scaling = _known(rotary, "rope_type", "default", _SCALINGS)
    _refuse(rotary, partial_rotary_factor=1.0)
    if missing := [name for name in scaling if name not in rotary]:
        raise ValueError(f"rope_type is {rotary['rope_type']!r}, which needs {' and '.join(missing)} beside it")
    return {
        "vocabulary": _size(config, "vocab_size", 32000), "d_model": d_model, "n_heads": n_heads, "n_kv_heads": _size(config, "num_key_value_heads"),
        "n_layers": _size(config, "num_hidden_layers", 32), "d_ff": _size(config, "intermediate_size", 11008),
        "max_length": _size(config, "max_position_embeddings", 2048), "normalization": "rms", "eps": _number(config, "rms_norm_eps", 1e-6),
        "activation": "swiglu", "positions": "rotary", "rotary_base": _number(rotary, "rope_theta", 10000.0),
        "rotary_scaling": {name: _number(rotary, name) for name in scaling} or None, "bias": config.get("attention_bias", False),
        "attention_dropout": config.get("attention_dropout", 0.0), "tie_embeddings": config.get("tie_word_embeddings", False),
        "window": _size({"sliding_window": 4096, **config}, "sliding_window") if config["model_type"] == "mistral" else None}


_GPT2 = Architecture(_gpt2, "transformer.", "h", {
    "embedding.weight": "wte.weight", "positions.weight": "wpe.weight",
    "norm1.weight": "ln_1.weight", "norm1.bias": "ln_1.bias",
    "self_attn.in_proj_weight": "attn.c_attn.weight", "self_attn.in_proj_bias": "attn.c_attn.bias",
    "self_attn.out_proj.weight": "attn.c_proj.weight", "self_attn.out_proj.bias": "attn.c_proj.bias",
    "norm2.weight": "ln_2.weight", "norm2.bias": "ln_2.bias",
    "linear1.weight": "mlp.c_fc.weight", "linear1.bias": "mlp.c_fc.bias",
    "linear2.weight": "mlp.c_proj.weight", "linear2.bias": "mlp.c_proj.bias",
    "norm.weight": "ln_f.weight", "norm.bias": "ln_f.bias", "output.weight": "lm_head.weight",
}, transposes=True, needs_biases=True, no_weights=(".attn.bias", ".attn.masked_bias"))

_LLAMA = Architecture(_llama, "model.", "layers", {
    "embedding.weight": "embed_tokens.weight",
    "norm1.weight": "input_layernorm.weight",
    "self_attn.in_proj_weight": "self_attn.q_proj.weight self_attn.k_proj.weight self_attn.v_proj.weight",
    "self_attn.in_proj_bias": "self_attn.q_proj.bias self_attn.k_proj.bias self_attn.v_proj.bias",
    "self_attn.out_proj.weight": "self_attn.o_proj.weight", "self_attn.out_proj.bias": "self_attn.o_proj.bias",
    "norm2.weight": "post_attention_layernorm.weight",
    "linear1.weight": "mlp.gate_proj.weight mlp.up_proj.weight", "linear1.bias": "mlp.gate_proj.bias mlp.up_proj.bias",
    "linear2.weight": "mlp.down_proj.weight", "linear2.bias": "mlp.down_proj.bias",
    "norm.weight": "norm.weight", "output.weight": "lm_head.weight",
}, transposes=False, needs_biases=False, no_weights=("rotary_emb.inv_freq",))

ARCHITECTURES = {"gpt2": _GPT2, "llama": _LLAMA, "mistral": _LLAMA}
"""By the "model_type" of a config.json."""


def config_of(model):
    """The config.json of a `DecoderOnly`; a UserError where no architecture has its parts."""
    if not isinstance(model, DecoderOnly) or not model.layers:
        raise UserError("save_pretrained takes a decoder-only model with at least one layer")
    layer, norm = model.layers[0], type(model.norm).__name__
    if layer.experts is not None:
        raise UserError("save_pretrained writes GPT-2 and Llama, whose layers have one feed-forward network each; this model has experts")
    attention, activation = layer.self_attn, layer.linear1.activation
    if (norm, model.positions.kind, attention.n_kv_heads, attention.window) == ("LayerNorm", "learned", attention.n_heads, None) \
            and activation in _ACTIVATIONS.values():
        return _gpt2_config(model)
    if (norm, activation) == ("RMSNorm", "swiglu") and attention.rotary and not (attention.window and attention.in_proj_bias is not None):
        return _llama_config(model)
    raise UserError(f"no architecture of transformers has the parts of this model: {norm}, {'rotary' if attention.rotary else model.positions.kind} "
                    f"positions, {activation}, {attention.n_kv_heads} heads of keys for {attention.n_heads} of queries, window {attention.window}; "
                    f"GPT-2 has LayerNorm, learned positions and gelu, Llama RMSNorm, rotary positions and swiglu")


def _gpt2_config(model):
    layer = model.layers[0]
    return {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], **_shared_config(model),
            "n_positions": model.positions.length, "n_embd": model.d_model, "n_layer": len(model.layers), "n_head": layer.self_attn.n_heads,
            "n_inner": layer.linear2.weight.shape[1], "layer_norm_epsilon": model.norm.eps,
            "activation_function": next(theirs for theirs, ours in _ACTIVATIONS.items() if ours == layer.linear1.activation),
            "resid_pdrop": layer.dropout.p, "embd_pdrop": model.dropout.p, "attn_pdrop": layer.self_attn.dropout}


def _llama_config(model):
    layer, attention = model.layers[0], model.layers[0].self_attn
    bias, scaling = attention.in_proj_bias is not None, attention.rotary.scaling or {}
    kind = ({"model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": attention.window} if attention.window else
            {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "attention_bias": bias, "mlp_bias": bias})
    rope_type = next(name for name, needed in _SCALINGS.items() if set(needed) == set(scaling))
    return {**kind, **_shared_config(model), "hidden_size": model.d_model, "num_hidden_layers": len(model.layers),
            "num_attention_heads": attention.n_heads, "num_key_value_heads": attention.n_kv_heads, "intermediate_size": layer.linear2.weight.shape[1],
            "hidden_act": "silu", "max_position_embeddings": attention.rotary.length, "rms_norm_eps": model.norm.eps,
            "attention_dropout": attention.dropout, "rope_parameters": {"rope_type": rope_type, "rope_theta": attention.rotary.base, **scaling}}


def _shared_config(model):
    return {"vocab_size": len(model.embedding.weight), "tie_word_embeddings": model.output is None, "bos_token_id": None, "eos_token_id": None,
            "dtype": "float32"}


def _size(config, name, default=None):
    """A whole number from 1 of the configuration, or where there is none the default."""
    value = config.get(name, default)
    if value is not default and (type(value) is not int or value < 1):
        raise ValueError(f"{name} is {value!r} but must be a whole number from 1")
    return value


def _number(config, name, default=None):
    """A number above 0 of the configuration."""
    value = config.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ValueError(f"{name} is {value!r} but must be a number above 0")
    return value


def _known(config, name, default, meanings):
    """What a word of the configuration means."""
    word = config.get(name, default)
    if word not in meanings:
        raise ValueError(f"{name} is {word!r}; minitx has {', '.join(meanings)}")
    return meanings[word]


def _refuse(config, **only):
    """Options of theirs that are not here must have the value that leaves them out."""
    for name, value in only.items():
        if config.get(name, value) != value:
            raise ValueError(f"{name} is {config[name]!r}; minitx has {value!r} only")
