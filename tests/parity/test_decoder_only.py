"""The decoder-only model against a small GPT written in PyTorch, with the same weights: logits, loss and every gradient."""
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from minitx.models import DecoderOnly
from minitx.nn import sinusoidal_positions

torch.set_num_threads(1)  # two pools of threads on the same cores hinder each other
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}
VOCABULARY = 23
LLAMA = dict(activation="swiglu", normalization="rms", positions="rotary", tie_embeddings=False, bias=False)
CONFIGURATIONS = {
    "GPT": {}, "GPT, untied": dict(tie_embeddings=False), "GPT-2": dict(activation="gelu_tanh"),
    "ReLU, no bias": dict(activation="relu", bias=False), "sinusoidal": dict(activation="relu", positions="sinusoidal", tie_embeddings=False, bias=False),
    "sinusoidal, tied": dict(positions="sinusoidal"), "window": dict(window=5), "shared keys": dict(n_kv_heads=2),
    "Llama": LLAMA, "Llama, shared keys": LLAMA | dict(n_kv_heads=2), "Llama, one head of keys, window": LLAMA | dict(n_kv_heads=1, window=6),
    "Llama, tied, biases": LLAMA | dict(tie_embeddings=True, bias=True), "layer norm, rotary": dict(positions="rotary")}


class GPT(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)), layer upon layer."""

    def __init__(self, weights, n_heads, activation="gelu", normalization="layer", positions="learned", n_kv_heads=None, window=None, **_):
        super().__init__()
        self.names = list(weights)
        self.weights = nn.ParameterList(torch.from_numpy(array.copy()) for array in weights.values())
        self.n_heads, self.n_kv_heads, self.window = n_heads, n_kv_heads or n_heads, window
        self.activation, self.normalization, self.positions = activation, normalization, positions

    def forward(self, ids):
        w = dict(zip(self.names, self.weights))
        x = w["embedding.weight"][ids]
        if self.positions == "learned":
            x = x + w["positions.weight"][:ids.shape[1]]
        elif self.positions == "sinusoidal":
            x = x * x.shape[-1] ** 0.5 + torch.from_numpy(sinusoidal_positions(ids.shape[1], x.shape[-1])).to(x.dtype)
        for i in range(1 + max(int(name.split(".")[1]) for name in w if name.startswith("layers."))):
            layer = {name.removeprefix(f"layers.{i}."): value for name, value in w.items()}
            x = x + self.attention(self.norm(x, layer, "norm1"), layer)
            hidden = self.activate(F.linear(self.norm(x, layer, "norm2"), layer["linear1.weight"], layer.get("linear1.bias")))
            x = x + F.linear(hidden, layer["linear2.weight"], layer.get("linear2.bias"))
        return F.linear(self.norm(x, w, "norm"), w.get("output.weight", w["embedding.weight"]))

    def activate(self, x):
        if self.activation == "swiglu":
            gate, value = x.chunk(2, -1)
            return F.silu(gate) * value
        return {"relu": F.relu, "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh")}[self.activation](x)

    def norm(self, x, weights, name):
        if self.normalization == "rms":
            return F.rms_norm(x, x.shape[-1:], weights[name + ".weight"], 1e-5)
        return F.layer_norm(x, x.shape[-1:], weights[name + ".weight"], weights.get(name + ".bias"))

    def attention(self, x, layer):
        batch, time, d_model = x.shape
        qkv = F.linear(x, layer["self_attn.in_proj_weight"], layer.get("self_attn.in_proj_bias"))
        heads = [self.n_heads, self.n_kv_heads, self.n_kv_heads]
        parts = qkv.split([n * d_model // self.n_heads for n in heads], dim=2)
        q, k, v = (part.reshape(batch, time, n, -1).transpose(1, 2) for part, n in zip(parts, heads))
        if self.positions == "rotary":
            q, k = rotated(q), rotated(k)
        seen = torch.ones(time, time, dtype=torch.bool).tril()
        if self.window:
            seen = seen & ~torch.ones(time, time, dtype=torch.bool).tril(-self.window)
        out = F.scaled_dot_product_attention(q, k, v, seen, enable_gqa=True).transpose(1, 2).reshape(batch, time, d_model)
        return F.linear(out, layer["self_attn.out_proj.weight"], layer.get("self_attn.out_proj.bias"))


def rotated(x):
    """x (batch, heads, time, d) as complex numbers, feature i with i + d/2, times exp(i · angle)."""
    angles = torch.arange(x.shape[2]).double()[:, None] * 10000.0 ** (-torch.arange(0, x.shape[3], 2).double() / x.shape[3])
    first, second = x.double().chunk(2, -1)
    turned = torch.complex(first, second) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([turned.real, turned.imag], -1).to(x.dtype)


def relative_error(ours, theirs):
    theirs = theirs.detach().numpy()
    return float(np.linalg.norm(ours.astype(np.float64) - theirs) / np.linalg.norm(theirs.astype(np.float64)))


def errors(dtype, batch=3, time=17, label_smoothing=0.0, **options):
    """{name: relative error} of the logits, the loss and the gradient of each parameter; no weight is 0 or 1, some targets do not count."""
    options = dict(d_model=32, n_heads=4, n_layers=3, d_ff=48) | options
    ours = DecoderOnly(VOCABULARY, max_length=time, **options).to(dtype)
    generator = np.random.default_rng(0)
    for parameter in ours.parameters():
        parameter.data += generator.normal(0, 0.1, parameter.shape).astype(dtype)
    theirs = GPT(ours.state_dict(), **options)
    ids = generator.integers(1, VOCABULARY, (batch, time + 1))
    targets = ids[:, 1:].copy()
    targets[0, :time // 2] = 0
    logits = ours(ids[:, :-1])
    loss = ours.loss(SimpleNamespace(target_in=ids[:, :-1], target_out=targets), label_smoothing)
    loss.backward()
    their_logits = theirs(torch.from_numpy(ids[:, :-1]))
    their_loss = F.cross_entropy(their_logits.flatten(0, 1), torch.from_numpy(targets).flatten(), ignore_index=0, label_smoothing=label_smoothing)
    their_loss.backward()
    found = {"logits": relative_error(logits.data, their_logits), "loss": relative_error(loss.data, their_loss)}
    for (name, parameter), their_parameter in zip(ours.named_parameters(), theirs.weights, strict=True):
        if name.endswith("in_proj_bias") and theirs.positions != "rotary":  # that of the keys shifts all scores of a query alike: rounding around zero
            keys = slice(options["d_model"], (options["d_model"] + len(parameter.grad)) // 2)
            assert abs(parameter.grad.data[keys]).max() < TOLERANCE[dtype]
            parameter.grad.data[keys], their_parameter.grad[keys] = 0, 0
        found[name] = relative_error(parameter.grad.data, their_parameter.grad)
    return found


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_logits_loss_and_every_gradient_equal_pytorch_s(name, dtype, label_smoothing):
    found = errors(dtype, label_smoothing=label_smoothing, **CONFIGURATIONS[name])
    assert not {name: error for name, error in found.items() if not error < TOLERANCE[dtype]}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("sizes", [dict(d_model=128, n_heads=4, n_layers=4, d_ff=512, batch=12, time=64), dict(d_model=6, n_heads=1, n_layers=1, d_ff=5),
                                   dict(d_model=48, n_heads=16, n_layers=1, d_ff=33, batch=2, time=150),
                                   dict(d_model=64, n_heads=8, n_kv_heads=2, n_layers=1, d_ff=33, batch=2, time=300, window=40) | LLAMA],
                         ids=["the public small one", "tiny", "longer than a tile", "windows shorter than a tile"])
def test_other_sizes_equal_pytorch_s_too(sizes, dtype):
    found = errors(dtype, **sizes)
    assert not {name: error for name, error in found.items() if not error < TOLERANCE[dtype]}
