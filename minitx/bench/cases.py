"""The operations that are measured: at which sizes, on what inputs, and how many bytes and operations the mathematics asks for.

Bytes are the least that an operation has to move: what it takes is read once and what it gives is written once, forward and, where asked, backward
(which reads the arriving gradient and what it needs of the forward's inputs or output again). Operations are additions, multiplications and the like;
an exponential counts as one. The time that a machine needs for the larger of the two, at its own measured speeds, is the limit (Williams, Waterman and
Patterson 2009, "Roofline").
"""
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..autograd import fused
from ..nn.recurrent import gru, lstm

FLOAT = 4  # bytes of a float32
TOLERANCE = 1e-4  # largest difference from the reference, relative to the largest element: float32, sums of up to 65,536 terms


@dataclass(frozen=True)
class Cost:
    """What one call asks for at least."""

    bytes: int
    operations: int


@dataclass(frozen=True)
class Kernel:
    """An operation and its sizes.

    `inputs(generator, *shape)` gives {name: array}; `run(**inputs)` is minitx's operation on them, the `trained` ones as Tensors that want a gradient;
    `cost(backward, *shape)` is a `Cost`.
    """

    name: str
    axes: str  # what the numbers of a shape are
    shapes: tuple
    quick: tuple  # tiny shapes for a look and for tests
    trained: tuple
    inputs: Callable
    run: Callable
    cost: Callable
    random: bool = False  # every library draws its own mask
    updates: bool = False  # changes its inputs and has no backward: an optimizer
    large: tuple = ()  # more sizes, for a GPU
    only_cuda: bool = False  # in bfloat16, which minitx has on a GPU alone; on a CPU the same in float32
    tolerance: float = TOLERANCE  # of what a GPU computes

    @property
    def forward_only(self):
        """Whether there is no backward pass to measure."""
        return self.updates or self.only_cuda


def _normal(generator, *shape):
    return generator.standard_normal(shape, dtype=np.float32)


def _rows(generator, rows, columns):
    return {"x": _normal(generator, rows, columns)}


def _row_cost(forward_arrays, both_arrays, forward_operations, both_operations):
    """The cost of an operation on rows that moves so many arrays like x, and does so many operations on each element."""

    def cost(backward, rows, columns):
        arrays, operations = (both_arrays, both_operations) if backward else (forward_arrays, forward_operations)
        return Cost(arrays * rows * columns * FLOAT, operations * rows * columns)

    return cost


def _norm_inputs(generator, rows, columns):
    return {"x": _normal(generator, rows, columns), "weight": _normal(generator, columns), "bias": _normal(generator, columns)}


def _residual_inputs(generator, rows, columns):
    return {"x": _normal(generator, rows, columns), "residual": _normal(generator, rows, columns), "weight": _normal(generator, columns),
            "bias": _normal(generator, columns)}


def _loss_inputs(generator, rows, classes):
    return {"logits": _normal(generator, rows, classes), "targets": generator.integers(0, classes, rows).astype(np.int32)}


def _head_inputs(generator, rows, features, classes):
    return {"x": _normal(generator, rows, features), "weight": _normal(generator, classes, features) * np.float32(features ** -0.5),
            "targets": generator.integers(0, classes, rows).astype(np.int32)}


def _head_cost(backward, rows, features, classes):
    arrays = rows * features + classes * features
    return Cost(arrays * FLOAT * (2 if backward else 1), 2 * rows * features * classes * (3 if backward else 1) + (7 if backward else 4) * rows * classes)


def _linear_inputs(generator, rows, features, outputs):
    return {"x": _normal(generator, rows, features), "weight": _normal(generator, outputs, features) * np.float32(features ** -0.5),
            "bias": _normal(generator, outputs)}


def _linear_cost(backward, rows, features, outputs):
    x, weight, out = rows * features, features * outputs, rows * outputs
    arrays = x + weight + out + (out + x + weight + x + weight if backward else 0)
    return Cost(arrays * FLOAT, 2 * rows * features * outputs * (3 if backward else 1) + (10 if backward else 8) * out)


def _attention_inputs(generator, batch, heads, time, size):
    return {"qkv": _normal(generator, batch, time, 3 * heads * size), "heads": heads}


def _cross_inputs(generator, batch, heads, time, size):
    lengths = generator.integers((time + 1) // 2, time + 1, batch).astype(np.int32)
    return {"q": _normal(generator, batch, time, heads * size), "kv": _normal(generator, batch, time, 2 * heads * size), "heads": heads, "lengths": lengths}


def _attention_cost(pairs, arrays):
    """`pairs(time)`: how many (query, key) pairs of a head see each other; two products forward and four backward, of 2 operations a feature."""

    def cost(backward, batch, heads, time, size):
        seen = batch * heads * pairs(time)
        moved = (arrays + 1) * batch * time * heads * size  # q, k, v and out
        moved += (2 * arrays + 1) * batch * time * heads * size if backward else 0  # g, q, k, v and dq, dk, dv
        return Cost(moved * FLOAT, seen * ((12 if backward else 4) * size + (9 if backward else 5)))

    return cost


def _table_inputs(generator, tokens, features, vocabulary):
    return {"weight": _normal(generator, vocabulary, features), "ids": generator.integers(0, vocabulary, tokens).astype(np.int32)}


def _table_cost(backward, tokens, features, vocabulary):
    rows = tokens * features
    return Cost((3 * rows + vocabulary * features if backward else 2 * rows) * FLOAT, rows if backward else 0)


def _recurrent_inputs(gates):
    """Of a recurrent layer whose states are as wide as what comes in, with so many gates."""

    def inputs(generator, batch, time, features):
        projection, weight = (_normal(generator, gates * features, features) * np.float32(features ** -0.5) for _ in range(2))
        return {"x": _normal(generator, batch, time, features), "projection": projection, "weight": weight, "bias": _normal(generator, gates * features)}

    return inputs


def _recurrent_cost(gates):
    """Two products for every step, and 8 operations forward and 8 backward in each gate."""

    def cost(backward, batch, time, features):
        rows, weights = batch * time * features, 2 * gates * features * features
        moved = 2 * rows + weights + (4 * rows + 2 * weights if backward else 0)  # x, out; g, x, out and dx
        return Cost(moved * FLOAT, 2 * batch * time * weights * (3 if backward else 1) + gates * rows * (16 if backward else 8))

    return cost


def _adam_inputs(generator, parameters, tensors):
    sizes = np.diff(np.linspace(0, parameters, tensors + 1).astype(int))
    return {f"{kind}{i}": _normal(generator, size) for i, size in enumerate(sizes) for kind in ("parameter", "gradient")}


KERNELS = {kernel.name: kernel for kernel in (
    Kernel("softmax", "rows × columns", ((768, 65), (4096, 128), (4096, 1024), (4096, 10000)), ((3, 7), (64, 65)), ("x",),
           _rows, lambda x: fused.softmax(x), _row_cost(2, 5, 5, 9), large=((65536, 1024), (8192, 32000))),
    Kernel("layer-norm", "rows × features", ((768, 128), (4096, 512), (65536, 1024)), ((3, 8), (64, 128)), ("x", "weight", "bias"),
           _norm_inputs, lambda x, weight, bias: fused.layer_norm(x, weight, bias), _row_cost(2, 5, 7, 19),
           large=((65536, 4096),)),
    Kernel("add-layer-norm", "rows × features", ((768, 128), (4096, 128), (4096, 512)), ((3, 8), (64, 128)), ("x", "residual", "weight", "bias"),
           _residual_inputs, lambda x, residual, weight, bias: fused.add_layer_norm(x, residual, weight, bias),
           _row_cost(3, 7, 8, 20), large=((65536, 1024),)),
    Kernel("cross-entropy", "rows × classes", ((768, 65), (4096, 1000), (4096, 10000)), ((3, 7), (64, 65)), ("logits",),
           _loss_inputs, lambda logits, targets: fused.cross_entropy(logits, targets), _row_cost(1, 3, 4, 7), large=((8192, 32000),)),
    Kernel("linear-cross-entropy", "rows × features → classes", ((768, 128, 65), (1024, 384, 65), (4096, 128, 10000)), ((5, 4, 7), (64, 32, 65)),
           ("x", "weight"), _head_inputs, lambda x, weight, targets: fused.linear_cross_entropy(x, weight, None, targets), _head_cost,
           large=((8192, 512, 32000),)),
    Kernel("linear", "rows × features → outputs", ((768, 128, 384), (4096, 128, 384), (4096, 128, 128), (1024, 384, 1152), (256, 128, 10000)),
           ((5, 4, 7), (64, 32, 65)), ("x", "weight", "bias"),
           _linear_inputs, lambda x, weight, bias: fused.linear(x, weight, bias), _linear_cost, large=((25000, 512, 2048),)),
    Kernel("linear-gelu", "rows × features → outputs", ((768, 128, 512), (4096, 128, 512), (1024, 384, 1536)), ((5, 4, 7), (64, 32, 65)),
           ("x", "weight", "bias"),
           _linear_inputs, lambda x, weight, bias: fused.linear(x, weight, bias, activation="gelu"), _linear_cost, large=((25000, 512, 2048),)),
    Kernel("gelu", "rows × columns", ((768, 512), (4096, 512)), ((3, 7), (64, 65)), ("x",), _rows, lambda x: fused.gelu(x), _row_cost(2, 5, 3, 8),
           large=((65536, 2048),)),
    Kernel("dropout", "rows × columns", ((768, 128), (4096, 512), (4096, 10000)), ((3, 7), (64, 65)), ("x",),
           _rows, lambda x: fused.dropout(x, 0.1, key=7), _row_cost(2, 4, 1, 2), random=True, large=((65536, 2048),)),
    Kernel("adamw", "parameters in tensors", ((100_000, 60), (2_600_000, 60), (25_000_000, 60)), ((1000, 3),), (),
           _adam_inputs, None, lambda backward, parameters, tensors: Cost(7 * parameters * FLOAT, 14 * parameters), updates=True),
    Kernel("causal-attention", "batch × heads × time × features", ((12, 4, 64, 32), (256, 4, 16, 32), (4, 6, 256, 64), (1, 8, 1024, 64), (1, 8, 4096, 64)),
           ((2, 2, 5, 4), (2, 4, 40, 16)), ("qkv",),
           _attention_inputs, lambda qkv, heads: fused.self_attention(qkv, heads=heads, causal=True),
           _attention_cost(lambda time: time * (time + 1) // 2, 3), large=((4, 16, 2048, 64), (4, 8, 2048, 128))),
    Kernel("attention-bfloat16", "batch × heads × time × features", ((1, 8, 1024, 64), (4, 16, 2048, 64), (4, 8, 2048, 128)), ((2, 2, 5, 8), (2, 4, 40, 16)),
           ("qkv",), _attention_inputs, lambda qkv, heads: fused.self_attention(qkv, heads=heads, causal=True),
           _attention_cost(lambda time: time * (time + 1) // 2, 1), only_cuda=True, tolerance=3e-2),  # four arrays of 2 bytes count as two of 4
    Kernel("cross-attention", "batch × heads × time × features", ((256, 4, 16, 32), (64, 4, 64, 32), (4, 8, 512, 64)),
           ((2, 2, 5, 4), (2, 4, 40, 16)), ("q", "kv"),
           _cross_inputs, lambda q, kv, heads, lengths: fused.cross_attention(q, kv, heads=heads, lengths=lengths),
           _attention_cost(lambda time: time * time, 3), large=((16, 8, 512, 64),)),
    Kernel("embedding", "tokens × features of a vocabulary", ((768, 128, 65), (4096, 128, 10000), (4096, 512, 32000)), ((5, 4, 7), (64, 32, 65)),
           ("weight",), _table_inputs, lambda weight, ids: fused.embedding(weight, ids), _table_cost, large=((25000, 512, 32000),)),
    Kernel("gru", "batch × time × features", ((32, 16, 128), (64, 16, 256), (64, 32, 512)), ((2, 3, 4), (9, 5, 16)), ("x", "projection", "weight", "bias"),
           _recurrent_inputs(3), lambda x, projection, weight, bias: gru(fused.linear(x, projection), weight, bias), _recurrent_cost(3),
           large=((256, 64, 1024),)),
    Kernel("lstm", "batch × time × features", ((32, 16, 128), (64, 16, 256), (64, 32, 512)), ((2, 3, 4), (9, 5, 16)), ("x", "projection", "weight", "bias"),
           _recurrent_inputs(4), lambda x, projection, weight, bias: lstm(fused.linear(x, projection), weight, bias)[0], _recurrent_cost(4),
           large=((256, 64, 1024),)),
)}


def inputs_of(name, shape, seed=0):
    """{name: array} for a kernel at a shape: the same on every side."""
    return KERNELS[name].inputs(np.random.default_rng(seed), *shape)


def arriving_gradient(shape):
    """The gradient that arrives at an output of this shape, the same on every side; None at a loss, whose own is 1."""
    return np.random.default_rng(1).standard_normal(shape, dtype=np.float32) if shape else None
