"""What is asked of every kernel on a GPU: calls with inputs of many sizes, forward, and backward from what the reference gives.

A case is a function of a `Source` of arrays and of sizes, and yields (function, positional arguments, options). Arguments are float64 with values of
float32, so that the reference and a kernel in either dtype are given the same numbers.
"""
import functools
from typing import NamedTuple

import numpy as np

from minitx.kernels.adam import adam, clipping
from minitx.kernels.additive_attention import additive_attention, additive_attention_backward
from minitx.kernels.attention import attention, attention_backward
from minitx.kernels.batch_norm import batch_norm, batch_norm_backward, moments
from minitx.kernels.cross_entropy import cross_entropy, cross_entropy_backward, linear_cross_entropy
from minitx.kernels.dropout import dropout
from minitx.kernels.embedding import embedding, embedding_backward
from minitx.kernels.gelu import gelu, gelu_backward
from minitx.kernels.gru import gru, gru_backward
from minitx.kernels.layer_norm import add_layer_norm, add_layer_norm_backward, layer_norm, layer_norm_backward
from minitx.kernels.linear import linear, linear_backward
from minitx.kernels.lstm import lstm, lstm_backward
from minitx.kernels.rms_norm import rms_norm, rms_norm_backward
from minitx.kernels.rotary import rotary
from minitx.kernels.softmax import log_softmax, log_softmax_backward, softmax, softmax_backward
from minitx.kernels.swiglu import swiglu, swiglu_backward

CASES = []
KEY = 2**63 + 5


class Case(NamedTuple):
    """A function of this file and one of its sizes; `small` ones are for the simulator."""

    calls: object
    sizes: tuple
    small: bool

    def __repr__(self):
        return f"{self.calls.__name__.removeprefix('calls_of_')} {'x'.join(map(str, self.sizes))}"


class Source:
    """Arrays that are the same each time."""

    def __init__(self, seed=0):
        self.generator = np.random.default_rng(seed)

    def normal(self, *shape):
        return self.generator.standard_normal(shape, dtype=np.float32).astype(np.float64)

    def integers(self, high, *shape):
        return self.generator.integers(0, high, shape).astype(np.int32)


def at(*sizes, small=()):
    """Decorate the calls of a kernel with its sizes, as on a GPU and `small`."""
    def decorate(calls):
        CASES.extend([Case(calls, size, True) for size in small] + [Case(calls, size, False) for size in sizes])
        return calls

    return decorate


ROWS = (1, 1), (5, 33), (1000, 65), (4096, 512), (999, 1028), (300, 10_000), (64, 50_257)


@at(*ROWS, small=[(2, 33), (3, 8)])
def calls_of_softmax(source, rows, columns):
    x, g = source.normal(rows, columns), source.normal(rows, columns)
    x[0, 1:] = -np.inf
    yield softmax, (x,), {}
    yield softmax_backward, (g, softmax.reference(x)), {}
    yield log_softmax, (x,), {}
    yield log_softmax_backward, (g, log_softmax.reference(x)), {}


@at(*ROWS[1:], small=[(2, 33), (5, 8)])
def calls_of_layer_norm(source, rows, columns):
    x, g, residual, total, weight, bias = (source.normal(*shape) for shape in [(rows, columns)] * 4 + [(columns,)] * 2)
    _, mean, rstd = layer_norm.reference(x, weight, bias)
    yield layer_norm, (x, weight, bias), {}
    yield layer_norm_backward, (g, x, weight, mean, rstd), {}
    _, added, mean, rstd = add_layer_norm.reference(x, residual, weight, bias, p=0.1, key=KEY)
    yield add_layer_norm, (x, residual, weight, bias), {"p": 0.1, "key": KEY}
    yield add_layer_norm_backward, (g, total, added, weight, mean, rstd), {"p": 0.1, "key": KEY}


@at(*ROWS, small=[(2, 33), (5, 8)])
def calls_of_rms_norm(source, rows, columns):
    x, g, weight = source.normal(rows, columns), source.normal(rows, columns), source.normal(columns)
    yield rms_norm, (x, weight), {}
    yield rms_norm_backward, (g, x, weight, rms_norm.reference(x, weight)[1]), {}


@at(*ROWS, small=[(2, 33), (5, 8)])
def calls_of_cross_entropy(source, rows, classes):
    logits, g, targets = source.normal(rows, classes), source.normal(rows), source.integers(classes, rows)
    targets[rows // 2] = -100
    for smoothing in (0.0, 0.1):
        yield cross_entropy, (logits, targets, smoothing), {}
        yield cross_entropy_backward, (g, logits, targets, cross_entropy.reference(logits, targets, smoothing)[1], smoothing), {}


@at((1, 1, 1), (1000, 33, 65), (4096, 128, 10_000), (700, 512, 50_257), small=[(3, 5, 8)])
def calls_of_linear_cross_entropy(source, rows, features, classes):
    x, weight, bias = source.normal(rows, features), source.normal(classes, features) / np.sqrt(features), source.normal(classes)
    yield linear_cross_entropy, (x, weight, bias, source.integers(classes, rows), 0.1), {}


@at((1, 1, 1), (33, 7, 5), (4096, 512, 512), (1000, 384, 1537), small=[(5, 3, 8), (3, 4, 5)])
def calls_of_linear(source, rows, features, outputs):
    x, weight, bias, g = source.normal(rows, features), source.normal(outputs, features) / np.sqrt(features), source.normal(outputs), source.normal(rows, outputs)
    for activation, p in (("none", 0.0), ("relu", 0.2), ("gelu", 0.0), ("gelu_tanh", 0.2)):
        yield linear, (x, weight, bias), {"activation": activation, "p": p, "key": KEY}
        saved = linear.reference(x, weight, bias, activation, p, KEY)[1]
        yield linear_backward, (g, x, weight, saved), {"activation": activation, "p": p}


@at((1,), (1001,), (4096, 512), small=[(9,)])
def calls_of_elements(source, *shape):
    x, g, gates = source.normal(*shape), source.normal(*shape), source.normal(*shape[:-1], 2 * shape[-1])
    yield gelu, (x,), {}
    yield gelu_backward, (g, x), {}
    yield dropout, (x, 0.3, KEY), {}
    yield swiglu, (gates,), {}
    yield swiglu_backward, (g, gates), {}


@at((1, 1, 1), (999, 33, 65), (4096, 512, 32_000), (20_000, 128, 3), small=[(9, 5, 3)])
def calls_of_embedding(source, tokens, features, vocabulary):
    weight, ids, g = source.normal(vocabulary, features), source.integers(vocabulary, tokens), source.normal(tokens, features)
    yield embedding, (weight, ids), {}
    yield embedding_backward, (g, ids, vocabulary), {}


@at((2, 9, 4, 32), (3, 257, 3, 20), small=[(2, 3, 2, 8)])
def calls_of_rotary(source, batch, time, heads, size):
    angles = np.float32(source.normal(time + 5, size // 2))
    cos, sin = (function(angles).astype(np.float64) for function in (np.cos, np.sin))
    yield rotary, (source.normal(batch, time, (heads + 2) * size), cos, sin, heads), {"start": source.integers(5, batch)}


def updated(parameter, gradient, m, v, decoupled, adam=adam):
    """What Adam, which writes over its arguments, makes of copies of them."""
    parameter, m, v = parameter.copy(), m.copy(), v.copy()
    adam(parameter, gradient, m, v, 0.01, 0.9, 0.98, 1e-9, 0.1, 3, decoupled, 0.5)
    return parameter, m, v


updated.__name__, updated.reference = "adam", functools.partial(updated, adam=adam.reference)


@at((1,), (1001,), (3_000_000,), small=[(9,)])
def calls_of_optimizers(source, size):
    parameter, gradient, m, v = (source.normal(size) for _ in range(4))
    yield updated, (parameter, gradient, m, v**2, True), {}
    yield updated, (parameter, gradient, m, v**2, False), {}
    yield clipping, (gradient, 0.5), {}


@at((1, 1, 1, 1, 1, 16), (2, 4, 2, 65, 65, 32), (3, 4, 4, 200, 131, 64), (2, 6, 1, 1, 500, 128), (1, 8, 8, 1024, 1024, 64), (2, 2, 2, 70, 70, 20),
    (1, 2, 2, 33, 130, 6), small=[(1, 2, 1, 3, 5, 16)])
def calls_of_attention(source, batch, heads, kv_heads, tq, tk, size):
    q, g = source.normal(batch, tq, heads * size), source.normal(batch, tq, heads * size)
    k, v = source.normal(batch, tk, kv_heads * size), source.normal(batch, tk, kv_heads * size)
    mask = source.generator.random((batch, 1, tq, tk)) < 0.7
    for options in ({}, {"causal": True}, {"causal": True, "window": 50}, {"lengths": 1 + source.integers(tk, batch)}, {"mask": mask}, {"p": 0.2, "key": KEY},
                    {"causal": True, "lengths": source.integers(tk + 1, batch), "mask": mask, "p": 0.2, "key": KEY}):
        options["kv_heads"] = kv_heads
        yield attention, (q, k, v, heads), options
        yield attention_backward, (g, q, k, v, *attention.reference(q, k, v, heads, **options), heads), options


@at((1, 1, 1, 1, 1), (2, 4, 33, 65, 32), (3, 1, 70, 20, 20), small=[(2, 1, 2, 3, 4)])
def calls_of_additive_attention(source, batch, heads, tq, tk, size):
    q, g = source.normal(batch, tq, heads * size), source.normal(batch, tq, heads * size)
    k, v, weight = source.normal(batch, tk, heads * size), source.normal(batch, tk, heads * size), source.normal(heads * size)
    for causal, p in ((False, 0.0), (True, 0.2)):
        arguments = q, k, v, weight, heads, causal, source.integers(tk + 1, batch), p, KEY
        yield additive_attention, arguments, {}
        yield additive_attention_backward, (g, q, k, v, weight, additive_attention.reference(*arguments)[1], heads, p, KEY), {}


@at((33, 7), (4096, 512), (3, 1030), small=[(5, 3)])
def calls_of_batch_norm(source, rows, features):
    x, g, weight, bias = source.normal(rows, features), source.normal(rows, features), source.normal(features), source.normal(features)
    for real in (None, source.generator.random(rows) < 0.8):
        mean, variance = moments.reference(x, real)
        yield moments, (x, real), {}
        yield batch_norm, (x, weight, bias, mean, variance, real), {}
        yield batch_norm_backward, (g, x, weight, mean, variance, real), {}


@at((1, 1, 1), (9, 5, 33), (64, 16, 256), small=[(3, 2, 4)])
def calls_of_recurrent_layers(source, batch, time, hidden):
    for cell, backward, gates, states in ((gru, gru_backward, 3, ()), (lstm, lstm_backward, 4, (2,))):
        projected, bias, start = source.normal(batch, time, gates * hidden), source.normal(gates * hidden), source.normal(*states, batch, hidden)
        weight, g, lengths = source.normal(gates * hidden, hidden) / np.sqrt(hidden), source.normal(*states, batch, time, hidden), source.integers(time + 1, batch)
        for reverse in (False, True):
            yield cell, (projected, weight, bias, start, lengths, reverse), {"needs_gradient": False}
            found, kept = cell.reference(projected, weight, bias, start, lengths, reverse)
            yield backward, (g, found, kept, weight, start, lengths, reverse), {}
