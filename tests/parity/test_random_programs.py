"""Random programs of all operations, run here and in PyTorch in float64: values, first and second derivatives must agree.

MINITX_RANDOM_PROGRAMS says how many (200 by default). Shapes broadcast and have extents 0 and 1; values are used several times and
looked at through views. Where an operation has a kink or a tie, inputs that come near one are not given to it
(tests/autograd/test_conventions.py is about those).
"""
import os

import numpy as np
import pytest
import torch

import minitx as mx
from minitx.autograd import fused, gradients, ops, tensor

PROGRAMS = int(os.environ.get("MINITX_RANDOM_PROGRAMS", 200))
BATCH = 50
TOLERANCE = 1e-9  # of the norm


class Value:
    """One intermediate result in both libraries."""

    def __init__(self, ours, theirs):
        self.ours, self.theirs = ours, theirs
        self.array = theirs.numpy(force=True)
        self.shape, self.ndim, self.size = self.array.shape, self.array.ndim, self.array.size

    def apart(self, *others):
        """No element within 0.001 of an element of others (or of another of its own, without others)."""
        if others:
            return all(not np.any(np.abs(self.array - other) < 1e-3) for other in others)
        return np.all(np.diff(np.sort(self.array.ravel())) > 1e-3)


def test_table_names_every_differentiable_operation():
    from minitx.autograd import Op
    import inspect

    helpers = {"identity", "copy", "astype", "to_device", "scatter"}  # no functions of PyTorch; what calls them is here
    without = {name for name, op in vars(ops).items() if isinstance(op, Op) and not op.differentiable}
    public = {name for name, value in vars(ops).items() if isinstance(value, Op) or inspect.isfunction(value)}
    public = {name for name in public if not name.startswith("_")}
    assert public - without - helpers - {name for name, _ in OPERATIONS} == set()


@pytest.mark.parametrize("batch", range(-(-PROGRAMS // BATCH)))
def test_random_programs_agree_with_pytorch(batch, record_property):
    worst = 0.0
    for seed in range(batch * BATCH, min(PROGRAMS, (batch + 1) * BATCH)):
        worst = max(worst, compare(seed))
    record_property("worst relative error", worst)
    print(f"programs from {batch * BATCH}: worst error {worst:.1e} of the norm")


def compare(seed):
    """Run one program in both libraries; the largest difference, as a part of the norm."""
    rng = np.random.default_rng(seed)
    leaves, program, outputs = build(rng)
    wanted = [(leaf.ours, leaf.theirs) for leaf in leaves]
    weights = [rng.normal(size=out.shape) for out in outputs]
    ours = sum((ops.sum(out.ours * w) for out, w in zip(outputs, weights)), tensor(np.float64(0)))
    theirs = sum((out.theirs * torch.tensor(w)).sum() for out, w in zip(outputs, weights))
    results = {"value": ([ours.data], [theirs.detach().numpy()])}
    for order in ("first derivative", "second derivative"):
        if not theirs.requires_grad:
            found = gradients([ours], [leaf for leaf, _ in wanted]) if ours.requires_grad else []
            assert all(g is None or not np.any(g.data) for g in found)
            break
        pairs = list(zip(gradients([ours], [leaf for leaf, _ in wanted], create_graph=True),
                         torch.autograd.grad(theirs, [leaf for _, leaf in wanted], create_graph=True, allow_unused=True)))
        pairs = [(tensor(np.zeros(leaf.shape)) if g is None else g, torch.zeros_like(twin) if h is None else h)
                 for (g, h), (leaf, twin) in zip(pairs, wanted)]
        results[order] = [g.data for g, _ in pairs], [h.numpy(force=True) for _, h in pairs]
        again = [rng.normal(size=leaf.shape) for leaf, _ in wanted]
        ours = sum(ops.sum(g * w) for (g, _), w in zip(pairs, again))
        theirs = sum((h * torch.tensor(w)).sum() for (_, h), w in zip(pairs, again))
        if not ours.requires_grad:
            ours = ours + wanted[0][0].sum() * 0.0
    worst = 0.0
    for what, (got, expected) in results.items():
        text = "\n".join(program)
        assert [g.shape for g in got] == [e.shape for e in expected], f"seed {seed}, {what}: shapes\n{text}"
        norm = np.sqrt(sum(np.sum(e * e) for e in expected))
        error = np.sqrt(sum(np.sum((g - e) ** 2) for g, e in zip(got, expected))) / max(norm, 1e-3)
        assert error < TOLERANCE, f"seed {seed}: the {what} differs by {error:.2e} of its norm {norm:.3g}\n{text}"
        worst = max(worst, error)
    return worst


def build(rng):
    """A program: its leaves, its text, and the values that make up its result."""
    extents = [int(rng.choice([0, 1, 2, 3, 4], p=[0.02, 0.13, 0.35, 0.35, 0.15])) for _ in range(3)]
    leaves = []
    for _ in range(rng.integers(2, 5)):
        shape = tuple(1 if rng.random() < 0.2 else n for n in extents[rng.integers(0, 4):])
        array = rng.normal(size=shape)
        leaves.append(Value(tensor(array, requires_grad=True), torch.tensor(array, requires_grad=True)))
    values, program = list(leaves), [f"v{i} = leaf{leaf.shape}" for i, leaf in enumerate(leaves)]
    used = set()
    while len(program) < len(leaves) + 8:
        name, operation = OPERATIONS[rng.integers(len(OPERATIONS))]
        picked = []

        def pick(fits=lambda value: True):
            """One of the values that fit, the newer the likelier."""
            fitting = [i for i, value in enumerate(values) if fits(value)]
            if not fitting:
                raise Unfit
            picked.append(fitting[-1 - min(int(rng.exponential(3)), len(fitting) - 1)])
            return values[picked[-1]]

        try:
            ours, theirs, note = operation(rng, pick)
        except Unfit:
            continue
        value = Value(ours, theirs)
        if value.size > 300 or value.ndim > 4:
            continue
        size = np.abs(value.array).max(initial=0.0)
        assert np.isfinite(size), f"{name} of {picked} is not finite\n" + "\n".join(program)
        if size > 4:
            value = Value(ours * (4 / size), theirs * (4 / size))
        used.update(picked)
        program.append(f"v{len(values)} = {name}({', '.join(f'v{i}' for i in picked)}){note} {value.shape}")
        values.append(value)
    return leaves, program, [value for i, value in enumerate(values[len(leaves):], len(leaves)) if i not in used]


class Unfit(Exception):
    """No value at hand suits the operation."""


OPERATIONS = []


def operation(*names):
    def register(function):
        for name in names:
            OPERATIONS.append((name, lambda rng, pick, name=name: function(name, rng, pick)))
        return function

    return register


def broadcastable(a):
    def fits(b):
        try:
            return np.prod(np.broadcast_shapes(a.shape, b.shape)) <= 300
        except ValueError:
            return False

    return fits


def axis_of(rng, value, none=True):
    """An axis, several, or None; negative ones too."""
    choice = rng.integers(3 if none else 1)
    if value.ndim == 0 or choice == 1:
        if not none:
            raise Unfit
        return None
    if choice == 2 and value.ndim > 1:
        return tuple(int(a) for a in rng.permutation(value.ndim)[:2])
    return int(rng.integers(-value.ndim, value.ndim))


@operation("negative", "square", "exp", "expm1", "sin", "cos", "tanh", "sigmoid", "erf", "ravel", "gelu", "silu", "softplus")
def _(name, rng, pick):
    x = pick()
    theirs = getattr(torch.nn.functional if name in ("gelu", "silu", "softplus") else torch, name)
    return getattr(mx, name)(x.ours), theirs(x.theirs), ""


@operation("sqrt", "log", "log1p")
def _(name, rng, pick):
    x = pick()
    return getattr(np, name)(x.ours * x.ours + 0.5), getattr(torch, name)(x.theirs * x.theirs + 0.5), " of x² + 0.5"


@operation("abs", "relu", "sign")
def _(name, rng, pick):
    x = pick(lambda x: x.apart(0.0))
    return getattr(ops, name)(x.ours), getattr(torch, name)(x.theirs), ""


@operation("floor", "ceil", "trunc", "rint", "round")
def _(name, rng, pick):
    x = pick(lambda x: x.apart(np.round(2 * x.array) / 2))
    return getattr(np, name)(x.ours) + x.ours, {"rint": torch.round}.get(name, getattr(torch, name, None))(x.theirs) + x.theirs, " + x"


@operation("clip")
def _(name, rng, pick):
    x = pick(lambda x: x.apart(-0.5, 0.8))
    return np.clip(x.ours, -0.5, 0.8), torch.clamp(x.theirs, -0.5, 0.8), ""


@operation("add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "floor_divide", "mod", "where")
def _(name, rng, pick):
    x = pick()
    y = pick(broadcastable(x))
    if rng.random() < 0.2 and name in ("add", "subtract", "multiply"):
        theirs = getattr(torch, name)(torch.tensor(y.array), x.theirs)
        return getattr(np, name)(y.array, x.ours), theirs, " with a plain array"
    if name == "divide":
        return x.ours / (y.ours * y.ours + 0.5), x.theirs / (y.theirs * y.theirs + 0.5), " by y² + 0.5"
    if name == "power":
        if rng.random() < 0.5:
            exponent = int(rng.integers(0, 4))
            return x.ours ** exponent, x.theirs ** exponent, f" with {exponent}"
        theirs = (x.theirs * x.theirs + 0.5) ** torch.tanh(y.theirs)
        return (x.ours * x.ours + 0.5) ** np.tanh(y.ours), theirs, " of x² + 0.5 and tanh y"
    if name in ("floor_divide", "mod"):
        divisor = y.array * y.array + 1.0
        quotient = x.array / divisor
        if np.any(np.abs(quotient - np.round(quotient)) < 1e-3):
            raise Unfit
        if name == "floor_divide":
            theirs = torch.floor(x.theirs / (y.theirs * y.theirs + 1.0)) + x.theirs
            return x.ours // (y.ours * y.ours + 1.0) + x.ours, theirs, " by y² + 1, + x"
        return x.ours % (y.ours * y.ours + 1.0), torch.remainder(x.theirs, y.theirs * y.theirs + 1.0), " by y² + 1"
    if name in ("maximum", "minimum") and not x.apart(y.array):
        raise Unfit
    if name == "where":
        condition = np.broadcast_to(x.array, np.broadcast_shapes(x.shape, y.shape)) > 0.1
        return np.where(condition, x.ours, y.ours), torch.where(torch.tensor(condition), x.theirs, y.theirs), ""
    return getattr(ops, name)(x.ours, y.ours), getattr(torch, name)(x.theirs, y.theirs), ""


@operation("sum", "mean", "logsumexp", "norm", "var", "std", "max", "min")
def _(name, rng, pick):
    x = pick(lambda x: x.size > 0 and (name not in ("max", "min") or x.apart()))
    axis, keepdims = axis_of(rng, x), bool(rng.integers(2))
    axes = tuple(range(x.ndim)) if axis is None else axis
    note = f" over {axis}, keepdims={keepdims}"
    if name in ("var", "std"):
        if x.ndim == 0 or x.array.std(axis=axis).min() < 0.05:
            raise Unfit
        theirs = getattr(torch, name)(x.theirs, dim=axes, correction=0, keepdim=keepdims)
        return getattr(np, name)(x.ours, axis=axis, keepdims=keepdims), theirs, note
    if name == "norm":
        if np.sqrt(np.sum(x.array ** 2, axis=axis)).min() < 0.05:
            raise Unfit
        theirs = torch.sqrt((x.theirs * x.theirs).sum(dim=axes, keepdim=keepdims))
        return ops.norm(x.ours, axis=axis, keepdims=keepdims), theirs, note
    theirs = getattr(torch, {"max": "amax", "min": "amin"}.get(name, name))(x.theirs, dim=axes, keepdim=keepdims)
    return getattr(ops, name)(x.ours, axis=axis, keepdims=keepdims), theirs, note


@operation("prod", "cumsum")
def _(name, rng, pick):
    x = pick(lambda x: x.ndim > 0)
    axis = axis_of(rng, x, none=False)
    return getattr(np, name)(x.ours, axis=axis), getattr(torch, name)(x.theirs, dim=axis), f" over {axis}"


@operation("sort")
def _(name, rng, pick):
    x = pick(lambda x: x.ndim > 0 and x.apart())
    axis = axis_of(rng, x, none=False)
    return np.sort(x.ours, axis=axis), torch.sort(x.theirs, dim=axis)[0], f" along {axis}"


@operation("reshape", "transpose", "swapaxes", "moveaxis", "expand_dims", "squeeze", "flip", "roll", "broadcast_to", "pad",
           "tile", "repeat")
def _(name, rng, pick):
    x = pick()
    ours, theirs, n = x.ours, x.theirs, x.ndim
    if name == "reshape":
        shape = tuple(x.shape[::-1]) if rng.random() < 0.5 or not x.size else (-1, *x.shape[-1:])
        return ours.reshape(shape), theirs.reshape(shape), f" to {shape}"
    if name == "transpose":
        axes = tuple(int(a) for a in rng.permutation(n))
        return np.transpose(ours, axes), theirs.permute(axes), f" {axes}"
    if name == "expand_dims":
        axis = int(rng.integers(-n - 1, n + 1))
        return np.expand_dims(ours, axis), theirs.unsqueeze(axis), f" {axis}"
    if name == "squeeze":
        return np.squeeze(ours), theirs.squeeze(), ""
    if name == "broadcast_to":
        shape = (2, *(3 if extent == 1 else extent for extent in x.shape))
        return np.broadcast_to(ours, shape), torch.broadcast_to(theirs, shape), f" {shape}"
    if name == "tile":
        reps = tuple(int(r) for r in rng.integers(1, 3, size=n))
        return np.tile(ours, reps), torch.tile(theirs, reps), f" {reps}"
    if n == 0:
        raise Unfit
    axis, other = (int(a) for a in rng.integers(-n, n, size=2))
    if name == "flip":
        return np.flip(ours, axis), theirs.flip(axis), f" {axis}"
    if name == "roll":
        return np.roll(ours, 2, axis), theirs.roll(2, axis), f" {axis}"
    if name == "repeat":
        return np.repeat(ours, 2, axis), theirs.repeat_interleave(2, axis), f" {axis}"
    if name == "pad":
        return np.pad(ours, [(0, 0)] * (n - 1) + [(1, 2)]), torch.nn.functional.pad(theirs, (1, 2)), ""
    return getattr(np, name)(ours, axis, other), getattr(torch, name)(theirs, axis, other), f" {axis}, {other}"


@operation("concatenate", "stack")
def _(name, rng, pick):
    x = pick(lambda x: x.ndim > 0)
    y = pick(lambda y: y.shape == x.shape)
    axis = axis_of(rng, x, none=False)
    theirs = getattr(torch, name)([x.theirs, y.theirs, x.theirs], axis)
    return getattr(np, name)([x.ours, y.ours, x.ours], axis), theirs, f" x, y, x along {axis}"


@operation("split")
def _(name, rng, pick):
    x = pick(lambda x: x.ndim > 0 and x.shape[-1] > 1)
    (a, b), (c, d) = np.split(x.ours, [1], axis=-1), torch.tensor_split(x.theirs, [1], dim=-1)
    return a * b, c * d, " at 1, multiplied"


@operation("getitem", "take", "take_along_axis")
def _(name, rng, pick):
    x = pick(lambda x: x.ndim > 0 and x.shape[0] > 0)
    rows = rng.integers(0, x.shape[0], size=3)
    if name == "take":
        return np.take(x.ours, rows, axis=0), x.theirs[torch.tensor(rows)], f" {rows.tolist()}"
    if name == "take_along_axis":
        indices = rng.integers(0, x.shape[0], size=(2, *x.shape[1:]))
        theirs = torch.take_along_dim(x.theirs, torch.tensor(indices), dim=0)
        return np.take_along_axis(x.ours, indices, axis=0), theirs, " with repeated rows"
    kind = rng.integers(5)
    if kind == 0:
        return x.ours[rows], x.theirs[torch.tensor(rows)], f"[{rows.tolist()}]"
    if kind == 1:
        return x.ours[..., 1:], x.theirs[..., 1:], "[..., 1:]"
    if kind == 2:
        return x.ours[::2], x.theirs[::2], "[::2]"
    if kind == 3:
        return x.ours[-1, None], x.theirs[-1, None], "[-1, None]"
    mask = x.array > 0
    return x.ours[mask], x.theirs[torch.tensor(mask)], "[x > 0]"


@operation("tril", "triu", "diagonal", "trace", "diag")
def _(name, rng, pick):
    x = pick(lambda x: x.ndim == 1 and 0 < x.size < 6 if name == "diag" else x.ndim == 2)
    k = int(rng.integers(-1, 2)) if name in ("tril", "triu", "diag") else 0
    theirs = getattr(torch, name)(x.theirs, k) if name in ("tril", "triu", "diag") else torch.diagonal(x.theirs)
    return getattr(np, name)(x.ours, k), theirs.sum() if name == "trace" else theirs, f" {k}"


@operation("matmul", "matmul", "tensordot", "dot", "inner", "einsum")
def _(name, rng, pick):
    x = pick(lambda x: x.ndim > 0)
    if name in ("matmul", "dot") and rng.random() < 0.5:
        y = pick(lambda y: 0 < y.ndim < 3 and x.ndim < 3 and y.shape[0 if y.ndim == 1 else -2] == x.shape[-1])
        return getattr(np, name)(x.ours, y.ours), torch.matmul(x.theirs, y.theirs), ""
    if name in ("tensordot", "inner") or name == "dot":
        y = pick(lambda y: y.ndim > 0 and y.shape[-1] == x.shape[-1])
        theirs = torch.tensordot(x.theirs, y.theirs, ([x.ndim - 1], [y.ndim - 1]))
        if name == "dot" and y.ndim > 1:
            return np.dot(x.ours, np.swapaxes(y.ours, -1, -2)), theirs, " with y transposed"
        ours = np.tensordot(x.ours, y.ours, ([-1], [-1])) if name == "tensordot" else getattr(np, name)(x.ours, y.ours)
        return ours, theirs, ""
    if name == "matmul":
        fits = broadcastable(Shape(x.shape[:-2]))
        y = pick(lambda y: y.ndim > 1 and x.ndim > 1 and y.shape[-1] == x.shape[-1] and fits(Shape(y.shape[:-2])))
        return x.ours @ y.ours.mT, x.theirs @ y.theirs.mT, " with y transposed"
    y = pick(lambda y: y.ndim > 0 and y.shape[-1] == x.shape[-1])
    subscripts = "...i,...i->..." if broadcastable(x)(y) else "...i,zi->...z" if y.ndim == 2 else None
    if subscripts is None:
        raise Unfit
    return np.einsum(subscripts, x.ours, y.ours), torch.einsum(subscripts, x.theirs, y.theirs), f" {subscripts}"


class Shape:
    def __init__(self, shape):
        self.shape = shape


@operation("outer", "vdot")
def _(name, rng, pick):
    x = pick(lambda x: x.size <= 12)
    y = pick(lambda y: y.size <= 12 and (name == "outer" or y.size == x.size))
    a, b = x.theirs.reshape(-1), y.theirs.reshape(-1)
    return getattr(np, name)(x.ours, y.ours), a[:, None] * b if name == "outer" else (a * b).sum(), ""


@operation("softmax", "log_softmax", "layer_norm", "rms_norm", "linear", "attention", "cross_entropy", "embedding")
def _(name, rng, pick):
    x = pick(lambda x: x.ndim > 1 and 1 < x.shape[-1] and x.size > 0)
    ours, theirs, features = x.ours, x.theirs, x.shape[-1]
    if name in ("softmax", "log_softmax"):
        return getattr(fused, name)(ours, axis=-1), getattr(torch, name)(theirs, dim=-1), ""
    if name in ("layer_norm", "rms_norm"):
        if x.array.std(axis=-1).min() < 0.05:
            raise Unfit
        weight = pick(lambda w: w.shape == (features,))
        if name == "layer_norm":
            theirs = torch.nn.functional.layer_norm(theirs, (features,), weight.theirs, weight.theirs)
            return fused.layer_norm(ours, weight.ours, weight.ours), theirs, ""
        theirs = theirs / torch.sqrt((theirs * theirs).mean(-1, keepdim=True) + 1e-6) * weight.theirs
        return fused.rms_norm(ours, weight.ours), theirs, ""
    if name == "linear":
        weight = pick(lambda w: w.ndim == 2 and w.shape[1] == features and w.shape[0] > 0)
        theirs = torch.nn.functional.gelu(theirs @ weight.theirs.T)
        return fused.linear(ours, weight.ours, None, activation="gelu"), theirs, ""
    if name == "embedding":
        ids = rng.integers(0, x.shape[-2], size=(2, 3))
        rows = theirs.reshape(-1, features)
        return fused.embedding(ours.reshape(-1, features), ids), torch.nn.functional.embedding(torch.tensor(ids), rows), ""
    if name == "cross_entropy":
        targets = rng.integers(0, features, size=x.shape[:-1])
        rows, flat = theirs.reshape(-1, features), torch.tensor(targets.reshape(-1))
        theirs = torch.nn.functional.cross_entropy(rows, flat, label_smoothing=0.1)
        return fused.cross_entropy(ours, targets, label_smoothing=0.1), theirs, ""
    if x.ndim != 3:
        raise Unfit
    other = pick(lambda y: y.ndim == 3 and y.shape[0] == x.shape[0] and y.shape[2] == features and y.shape[1] > 0)
    weights = torch.softmax(theirs @ other.theirs.mT / features ** 0.5, dim=-1)
    return fused.attention(ours, other.ours, other.ours), weights @ other.theirs, ""
