"""The encoder-decoder against PyTorch's own layers with the same weights: logits, loss and every gradient."""
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from minitx.data.batches import make_batch
from minitx.models import EncoderDecoder
from minitx.nn import sinusoidal_positions

torch.set_num_threads(1)  # two pools of threads on the same cores hinder each other
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}
VOCABULARY = 23
CONFIGURATIONS = [("pre", "relu", "sinusoidal", "decoder"), ("post", "relu", "sinusoidal", "decoder"), ("pre", "gelu", "learned", "none"),
                  ("post", "gelu", "sinusoidal", "all"), ("pre", "gelu", "sinusoidal", "all"), ("post", "relu", "learned", "none")]
LENGTHS = {  # (source length, target length) of each sentence, without <bos> and <eos>
    "ragged": [(7, 3), (1, 9), (4, 4), (0, 1), (12, 0)],
    "one sentence": [(5, 6)],
    "one token a side": [(0, 0), (0, 0)],
    "even": [(6, 6)] * 4,
    "longer than a tile": [(90, 70), (33, 75), (1, 1)],
}


class Twin(nn.Module):
    """The same model out of torch.nn's Transformer layers."""

    def __init__(self, d_model, n_heads, n_layers, d_ff, norm, activation, positions, tie_embeddings, max_length):
        super().__init__()
        layer = dict(d_model=d_model, nhead=n_heads, dim_feedforward=d_ff, dropout=0.0, activation=activation, batch_first=True,
                     norm_first=norm == "pre")
        self.source_embedding = nn.Embedding(VOCABULARY, d_model)
        self.target_embedding = self.source_embedding if tie_embeddings == "all" else nn.Embedding(VOCABULARY, d_model)
        if positions == "learned":
            self.source_positions, self.target_positions = nn.Embedding(max_length, d_model), nn.Embedding(max_length, d_model)
        self.encoder = nn.ModuleList([nn.TransformerEncoderLayer(**layer) for _ in range(n_layers)])
        self.decoder = nn.ModuleList([nn.TransformerDecoderLayer(**layer) for _ in range(n_layers)])
        self.encoder_norm, self.decoder_norm = (nn.LayerNorm(d_model) if norm == "pre" else None for _ in range(2))
        if tie_embeddings == "none":
            self.output = nn.Linear(d_model, VOCABULARY, bias=False)
        self.d_model, self.positions, self.tie_embeddings = d_model, positions, tie_embeddings

    def embed(self, embedding, ids, side):
        if self.positions == "learned":
            table = getattr(self, side + "_positions").weight[:ids.shape[1]]
        else:
            table = torch.from_numpy(sinusoidal_positions(ids.shape[1], self.d_model)).to(embedding.weight.dtype)
        return embedding(ids) * math.sqrt(self.d_model) + table

    def forward(self, source, lengths, target):
        padding = torch.arange(source.shape[1]) >= lengths[:, None]
        causal = torch.ones(target.shape[1], target.shape[1], dtype=torch.bool).triu(1)
        memory = self.embed(self.source_embedding, source, "source")
        for layer in self.encoder:
            memory = layer(memory, src_key_padding_mask=padding)
        memory = memory if self.encoder_norm is None else self.encoder_norm(memory)
        x = self.embed(self.target_embedding, target, "target")
        for layer in self.decoder:
            x = layer(x, memory, tgt_mask=causal, memory_key_padding_mask=padding)
        x = x if self.decoder_norm is None else self.decoder_norm(x)
        return F.linear(x, self.target_embedding.weight if self.tie_embeddings != "none" else self.output.weight)


def twins(norm, activation, positions, tie_embeddings, dtype, d_model=32, n_heads=4, n_layers=2, d_ff=64, max_length=100):
    """Our model and PyTorch's, with the same weights, none of which is 0 or 1."""
    options = dict(d_model=d_model, n_heads=n_heads, n_layers=n_layers, d_ff=d_ff, norm=norm, activation=activation,
                   positions=positions, tie_embeddings=tie_embeddings, max_length=max_length)
    ours = EncoderDecoder(VOCABULARY, VOCABULARY, dropout=0.0, **options).to(dtype)
    theirs = Twin(**options).to(getattr(torch, dtype))
    generator = np.random.default_rng(0)
    for parameter in ours.parameters():
        parameter.data += generator.normal(0, 0.1, parameter.shape).astype(dtype)
    state = {name: torch.from_numpy(array.copy()) for name, array in ours.state_dict().items()}
    missing, unknown = theirs.load_state_dict(state, strict=False)
    assert not unknown and set(missing) <= {"target_embedding.weight"}  # missing where it is the source's
    return ours, theirs


def batch_of(lengths, seed=1):
    generator = np.random.default_rng(seed)
    return make_batch([tuple(generator.integers(4, VOCABULARY, n).tolist() for n in pair) for pair in lengths])


def relative_error(ours, theirs, all_gradients=0.0):
    """The norm of the difference over the norm of theirs; over that of all gradients together where theirs is rounding around zero.

    It is so where there is a single key: its weight is 1 whatever the query.
    """
    theirs = theirs.detach().numpy()
    norm, zero = np.linalg.norm(theirs.astype(np.float64)), 100 * np.finfo(theirs.dtype).eps * all_gradients
    return float(np.linalg.norm(ours.astype(np.float64) - theirs) / (norm if norm > zero else all_gradients))


def errors(configuration, lengths, dtype, label_smoothing, **sizes):
    """{name: relative error} of the logits, the loss and the gradient of each parameter."""
    ours, theirs = twins(*configuration, dtype, **sizes)
    batch = batch_of(lengths)
    logits = ours(batch.source, batch.source_lengths, batch.target_in)
    loss = ours.loss(batch, label_smoothing)
    loss.backward()
    source, source_lengths, target_in, target_out = (torch.from_numpy(array).long() for array in (
        batch.source, batch.source_lengths, batch.target_in, batch.target_out))
    their_logits = theirs(source, source_lengths, target_in)
    their_loss = F.cross_entropy(their_logits.flatten(0, 1), target_out.flatten(), ignore_index=0, label_smoothing=label_smoothing)
    their_loss.backward()
    found = {"logits": relative_error(logits.data, their_logits), "loss": relative_error(loss.data, their_loss)}
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    together = float(torch.cat([gradient.flatten() for gradient in gradients.values()]).norm())
    for name, parameter in ours.named_parameters():
        found[name] = relative_error(parameter.grad.data, gradients.pop(name), together)
    assert not gradients
    return found


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids="-".join)
def test_logits_loss_and_every_gradient_equal_pytorch_s(configuration, dtype, lengths, label_smoothing):
    found = errors(configuration, LENGTHS[lengths], dtype, label_smoothing)
    wrong = {name: error for name, error in found.items() if not error < TOLERANCE[dtype]}
    assert not wrong


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("d_model, n_heads, n_layers, d_ff", [(128, 4, 3, 512), (6, 1, 1, 5), (48, 16, 1, 33)])
def test_other_sizes_equal_pytorch_s_too(d_model, n_heads, n_layers, d_ff, dtype):
    found = errors(("pre", "relu", "sinusoidal", "decoder"), LENGTHS["ragged"] * 6, dtype, 0.1,
                   d_model=d_model, n_heads=n_heads, n_layers=n_layers, d_ff=d_ff)
    wrong = {name: error for name, error in found.items() if not error < TOLERANCE[dtype]}
    assert not wrong
