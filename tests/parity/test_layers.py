"""Layers and fused operations against PyTorch's of the same name, values and gradients."""
import numpy as np
import pytest
import torch
from torch import nn as torch_nn
from torch.nn import functional as F

from minitx import nn, tensor
from minitx.autograd import fused

torch.set_num_threads(1)  # two pools of threads on the same cores hinder each other
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
DTYPES = pytest.mark.parametrize("dtype", TOLERANCE)


def normal(*shape, dtype="float64", seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


def close(ours, theirs, dtype):
    """Whether the norm of the difference is small beside theirs, or beside 1: some gradients are 0 but for rounding."""
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    return np.linalg.norm(ours.astype(np.float64) - theirs) <= TOLERANCE[dtype] * max(np.linalg.norm(theirs), 1)


def compare(ours, theirs, arrays, dtype):
    """Call both with the arrays as Tensors that require a gradient; compare the outputs and the gradients of a random projection."""
    our_inputs = [tensor(array, requires_grad=True) for array in arrays]
    their_inputs = [torch.from_numpy(array.copy()).requires_grad_() for array in arrays]
    our_output, their_output = ours(*our_inputs), theirs(*their_inputs)
    assert close(our_output.data, their_output, dtype)
    cotangent = normal(*our_output.shape, dtype=dtype, seed=9)
    our_output.backward(cotangent)
    their_output.backward(torch.from_numpy(cotangent))
    for our_input, their_input in zip(our_inputs, their_inputs):
        assert close(our_input.grad.data, their_input.grad, dtype)


def with_weights_of(ours, theirs, dtype):
    """PyTorch's module with the weights of ours, moved away from their initial zeros and ones."""
    for i, parameter in enumerate(ours.to(dtype).parameters()):
        parameter.data += 0.2 * normal(*parameter.shape, dtype=dtype, seed=i)
    theirs = theirs.to(getattr(torch, dtype))
    theirs.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in ours.state_dict().items()})
    return theirs


def compare_modules(ours, theirs, arrays, dtype, our_options={}, their_options={}):
    """As `compare`, and the gradients of all parameters, by name."""
    compare(lambda *xs: ours(*xs, **our_options), lambda *xs: theirs(*xs, **their_options), arrays, dtype)
    compare_parameters(ours, theirs, dtype)


def compare_parameters(ours, theirs, dtype):
    """The gradients that a backward pass left in both."""
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    assert gradients.keys() == dict(ours.named_parameters()).keys()
    for name, parameter in ours.named_parameters():
        assert close(parameter.grad.data, gradients[name], dtype), name


@DTYPES
@pytest.mark.parametrize("shape", [(3, 8), (2, 5, 8), (1, 1), (0, 8)])
def test_layer_norm(shape, dtype):
    ours = nn.LayerNorm(shape[-1])
    compare_modules(ours, with_weights_of(ours, torch_nn.LayerNorm(shape[-1]), dtype), [normal(*shape, dtype=dtype)], dtype)


@DTYPES
@pytest.mark.parametrize("eps", [1e-5, 1e-2])
@pytest.mark.parametrize("shape", [(3, 8), (2, 5, 8), (1, 1), (0, 8)])
def test_rms_norm(shape, eps, dtype):
    ours = nn.RMSNorm(shape[-1], eps)
    compare_modules(ours, with_weights_of(ours, torch_nn.RMSNorm(shape[-1], eps), dtype), [normal(*shape, dtype=dtype)], dtype)


@DTYPES
@pytest.mark.parametrize("shape", [(3, 8), (2, 5, 70), (0, 8)])
def test_swiglu(shape, dtype):
    compare(fused.swiglu, lambda x: F.silu(x.chunk(2, -1)[0]) * x.chunk(2, -1)[1], [3 * normal(*shape, dtype=dtype)], dtype)


@DTYPES
def test_gelu_as_gpt2_approximates_it(dtype):
    arrays = [3 * normal(40, 8, dtype=dtype), normal(5, 8, dtype=dtype), normal(5, dtype=dtype)]
    compare(lambda *xs: fused.linear(*xs, activation="gelu_tanh"), lambda *xs: F.gelu(F.linear(*xs), approximate="tanh"), arrays, dtype)


@DTYPES
@pytest.mark.parametrize("eps", [1e-5, 1e-2])
@pytest.mark.parametrize("weight, bias", [(True, True), (True, False), (False, True), (False, False)])
def test_functional_layer_norm(weight, bias, eps, dtype):
    arrays = [normal(4, 6, dtype=dtype), *[normal(6, dtype=dtype, seed=i) for i in range(weight + bias)]]

    def apply(function, x, given):
        given = list(given)
        return function(x, given.pop(0) if weight else None, given.pop(0) if bias else None)

    compare(lambda x, *given: apply(lambda x, w, b: fused.layer_norm(x, w, b, eps=eps), x, given),
            lambda x, *given: apply(lambda x, w, b: F.layer_norm(x, (6,), w, b, eps), x, given), arrays, dtype)


@DTYPES
def test_rms_norm(dtype):
    compare(lambda x, w: fused.rms_norm(x, w, eps=1e-6), lambda x, w: F.rms_norm(x, (6,), w, 1e-6),
            [normal(4, 6, dtype=dtype), normal(6, dtype=dtype)], dtype)


@DTYPES
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(name, axis, dtype):
    compare(lambda x: getattr(fused, name)(x, axis=axis), lambda x: getattr(F, name)(x, dim=axis),
            [10 * normal(3, 5, 4, dtype=dtype)], dtype)


@DTYPES
@pytest.mark.parametrize("activation", ["none", "relu", "gelu"])
@pytest.mark.parametrize("bias", [True, False])
def test_linear(activation, bias, dtype):
    arrays = [normal(2, 7, 5, dtype=dtype), normal(9, 5, dtype=dtype)] + [normal(9, dtype=dtype)] * bias
    activate = {"none": lambda x: x, "relu": F.relu, "gelu": F.gelu}[activation]
    compare(lambda *xs: fused.linear(*xs, activation=activation), lambda *xs: activate(F.linear(*xs)), arrays, dtype)


@DTYPES
def test_embedding(dtype):
    ids = np.array([[2, 0, 2, 2], [4, 2, 0, 1]])
    ours = nn.Embedding(6, 3)
    theirs = with_weights_of(ours, torch_nn.Embedding(6, 3), dtype)
    our_output, their_output = ours(ids), theirs(torch.from_numpy(ids))
    cotangent = normal(2, 4, 3, dtype=dtype)
    our_output.backward(cotangent)
    their_output.backward(torch.from_numpy(cotangent))
    assert np.array_equal(our_output.data, their_output.detach().numpy())
    assert close(ours.weight.grad.data, theirs.weight.grad, dtype)


@DTYPES
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("ignore_index", [-100, 0])
def test_cross_entropy(reduction, smoothing, ignore_index, dtype):
    targets = np.array([3, 0, 6, 1, 0, 2])
    options = dict(label_smoothing=smoothing, ignore_index=ignore_index, reduction=reduction)
    compare(lambda z: fused.cross_entropy(z, targets, **options), lambda z: F.cross_entropy(z, torch.from_numpy(targets), **options),
            [5 * normal(6, 7, dtype=dtype)], dtype)


@DTYPES
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("rows", [1, 300])
def test_linear_cross_entropy(reduction, rows, dtype):
    targets = np.random.default_rng(0).integers(0, 50, rows)
    targets[0] = 7
    options = dict(label_smoothing=0.1, ignore_index=0, reduction=reduction)
    compare(lambda *xs: fused.linear_cross_entropy(*xs, targets, **options),
            lambda *xs: F.cross_entropy(F.linear(*xs), torch.from_numpy(targets), **options),
            [normal(rows, 8, dtype=dtype), normal(50, 8, dtype=dtype), normal(50, dtype=dtype)], dtype)


def heads_of(x, heads):
    """(batch, time, heads · d) as PyTorch's (batch, heads, time, d)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


@DTYPES
@pytest.mark.parametrize("masking, tq, tk", [(masking, tq, tk) for masking in ("none", "causal", "lengths", "mask")
                                             for tq, tk in ((5, 5), (1, 7), (7, 1), (70, 80)) if masking != "causal" or tq <= tk])
def test_scaled_dot_product_attention(masking, tq, tk, dtype):
    heads, batch = 3, 4
    lengths = np.random.default_rng(1).integers(1, tk + 1, batch)
    mask = np.random.default_rng(2).random((batch, heads, tq, tk)) < 0.5
    mask[..., 0] = True  # PyTorch gives NaN where a query sees nothing, hence no causal case with tq > tk either
    seen = {"none": np.ones((1, 1, tq, tk), bool), "causal": np.tri(tq, tk, tk - tq, dtype=bool)[None, None],
            "lengths": (np.arange(tk) < lengths[:, None])[:, None, None], "mask": mask}[masking]
    options = {"none": {}, "causal": {"causal": True}, "lengths": {"lengths": lengths}, "mask": {"mask": mask}}[masking]

    def theirs(q, k, v):
        attn_mask = torch.from_numpy(seen).expand(batch, heads, tq, tk)
        out = F.scaled_dot_product_attention(*(heads_of(x, heads) for x in (q, k, v)), attn_mask=attn_mask)
        return out.transpose(1, 2).flatten(2)

    def ours(q, k, v):
        given = dict(options)
        return fused.attention(q, k, v, given.pop("mask", None), heads=heads, **given)

    compare(ours, theirs, [normal(batch, t, heads * 4, dtype=dtype, seed=i) for i, t in enumerate((tq, tk, tk))], dtype)


@DTYPES
@pytest.mark.parametrize("memory_time, causal", [(None, False), (None, True), (6, False)], ids=["self", "causal", "cross"])
def test_multi_head_attention(memory_time, causal, dtype):
    ours = nn.MultiHeadAttention(8, 2)
    theirs = with_weights_of(ours, torch_nn.MultiheadAttention(8, 2, batch_first=True), dtype)
    lengths = np.array([4, 2, 1])
    padding = torch.arange(memory_time or 4) >= torch.from_numpy(lengths)[:, None]
    blocked = torch.ones(4, 4, dtype=torch.bool).triu(1) if causal else None

    def call(x, memory=None):
        memory = x if memory is None else memory
        return theirs(x, memory, memory, key_padding_mask=padding, attn_mask=blocked, need_weights=False)[0]

    arrays = [normal(3, 4, 8, dtype=dtype)] + ([normal(3, memory_time, 8, dtype=dtype, seed=1)] if memory_time else [])
    compare(lambda *xs: ours(*xs, lengths=lengths, causal=causal), call, arrays, dtype)
    compare_parameters(ours, theirs, dtype)


@DTYPES
@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_encoder_layer(norm, activation, dtype):
    ours = nn.EncoderLayer(8, 2, 24, dropout=0.0, norm=norm, activation=activation)
    theirs = torch_nn.TransformerEncoderLayer(8, 2, 24, 0.0, activation, batch_first=True, norm_first=norm == "pre")
    theirs = with_weights_of(ours, theirs, dtype)
    lengths = np.array([5, 1, 3])
    padding = torch.arange(5) >= torch.from_numpy(lengths)[:, None]
    compare_modules(ours, theirs, [normal(3, 5, 8, dtype=dtype)], dtype, {"lengths": lengths}, {"src_key_padding_mask": padding})


@DTYPES
@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_decoder_layer(norm, activation, dtype):
    ours = nn.DecoderLayer(8, 2, 24, dropout=0.0, norm=norm, activation=activation)
    theirs = torch_nn.TransformerDecoderLayer(8, 2, 24, 0.0, activation, batch_first=True, norm_first=norm == "pre")
    theirs = with_weights_of(ours, theirs, dtype)
    lengths = np.array([6, 1, 3])
    padding, blocked = torch.arange(6) >= torch.from_numpy(lengths)[:, None], torch.ones(4, 4, dtype=torch.bool).triu(1)
    compare_modules(ours, theirs, [normal(3, 4, 8, dtype=dtype), normal(3, 6, 8, dtype=dtype, seed=1)], dtype,
                    {"memory_lengths": lengths}, {"tgt_mask": blocked, "memory_key_padding_mask": padding})
