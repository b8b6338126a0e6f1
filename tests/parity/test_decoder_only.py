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
CONFIGURATIONS = [("gelu", "learned", True, True), ("gelu", "learned", False, True), ("relu", "learned", True, False),
                  ("relu", "sinusoidal", False, False), ("gelu", "sinusoidal", True, True)]


class GPT(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)), layer upon layer."""

    def __init__(self, weights, n_heads, activation):
        super().__init__()
        self.names = list(weights)
        self.weights = nn.ParameterList(torch.from_numpy(array.copy()) for array in weights.values())
        self.n_heads, self.activation = n_heads, getattr(F, activation)

    def forward(self, ids):
        w = dict(zip(self.names, self.weights))
        x = w["embedding.weight"][ids]
        if "positions.weight" in w:
            x = x + w["positions.weight"][:ids.shape[1]]
        else:
            x = x * x.shape[-1] ** 0.5 + torch.from_numpy(sinusoidal_positions(ids.shape[1], x.shape[-1])).to(x.dtype)
        for i in range(1 + max(int(name.split(".")[1]) for name in w if name.startswith("layers."))):
            layer = {name.removeprefix(f"layers.{i}."): value for name, value in w.items()}
            x = x + self.attention(self.norm(x, layer, "norm1"), layer)
            hidden = self.activation(F.linear(self.norm(x, layer, "norm2"), layer["linear1.weight"], layer.get("linear1.bias")))
            x = x + F.linear(hidden, layer["linear2.weight"], layer.get("linear2.bias"))
        return F.linear(self.norm(x, w, "norm"), w.get("output.weight", w["embedding.weight"]))

    @staticmethod
    def norm(x, weights, name):
        return F.layer_norm(x, x.shape[-1:], weights[name + ".weight"], weights.get(name + ".bias"))

    def attention(self, x, layer):
        batch, time, d_model = x.shape
        qkv = F.linear(x, layer["self_attn.in_proj_weight"], layer.get("self_attn.in_proj_bias"))
        q, k, v = (part.view(batch, time, self.n_heads, -1).transpose(1, 2) for part in qkv.split(d_model, dim=2))
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(batch, time, d_model)
        return F.linear(out, layer["self_attn.out_proj.weight"], layer.get("self_attn.out_proj.bias"))


def relative_error(ours, theirs):
    theirs = theirs.detach().numpy()
    return float(np.linalg.norm(ours.astype(np.float64) - theirs) / np.linalg.norm(theirs.astype(np.float64)))


def errors(activation, positions, tie_embeddings, bias, dtype, batch=3, time=17, label_smoothing=0.0, n_heads=4, **sizes):
    """{name: relative error} of the logits, the loss and the gradient of each parameter; no weight is 0 or 1, some targets do not count."""
    sizes = dict(d_model=32, n_layers=3, d_ff=48) | sizes
    ours = DecoderOnly(VOCABULARY, n_heads=n_heads, activation=activation, positions=positions, tie_embeddings=tie_embeddings, bias=bias,
                       max_length=time, **sizes).to(dtype)
    generator = np.random.default_rng(0)
    for parameter in ours.parameters():
        parameter.data += generator.normal(0, 0.1, parameter.shape).astype(dtype)
    theirs = GPT(ours.state_dict(), n_heads, activation)
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
        if name.endswith("in_proj_bias"):  # that of the keys shifts all scores of a query alike: its gradient is rounding around zero
            d_model = sizes["d_model"]
            assert abs(parameter.grad.data[d_model:2 * d_model]).max() < TOLERANCE[dtype]
            parameter.grad.data[d_model:2 * d_model], their_parameter.grad[d_model:2 * d_model] = 0, 0
        found[name] = relative_error(parameter.grad.data, their_parameter.grad)
    return found


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda configuration: "-".join(str(option) for option in configuration))
def test_logits_loss_and_every_gradient_equal_pytorch_s(configuration, dtype, label_smoothing):
    found = errors(*configuration, dtype, label_smoothing=label_smoothing)
    assert not {name: error for name, error in found.items() if not error < TOLERANCE[dtype]}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("sizes", [dict(d_model=128, n_heads=4, n_layers=4, d_ff=512, batch=12, time=64), dict(d_model=6, n_heads=1, n_layers=1, d_ff=5),
                                   dict(d_model=48, n_heads=16, n_layers=1, d_ff=33, batch=2, time=150)],
                         ids=["the public small one", "tiny", "longer than a tile"])
def test_other_sizes_equal_pytorch_s_too(sizes, dtype):
    found = errors("gelu", "learned", True, True, dtype, **sizes)
    assert not {name: error for name, error in found.items() if not error < TOLERANCE[dtype]}
