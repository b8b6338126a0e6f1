"""Derivatives of functions: `grad`, `vjp`, `jvp`, `jacobian`, `hessian`, `hvp`; and `checkpoint`, which keeps less and computes it again.

    slope = grad(lambda x: np.tanh(x).sum())
    slope(x), grad(lambda x: slope(x).sum())(x)          # they nest: derivatives of any order

A function here takes Tensors, arrays or numbers and returns a Tensor; the arguments that it is differentiated by arrive in it as Tensors.
What comes back is a Tensor. It can be differentiated further where something outside that requires a gradient took part, and is a constant elsewhere.
"""
import functools

import numpy as np

from . import graph, ops, random
from .backward import frontier, own, propagate, seed_of
from .graph import Node, grad_mode, mode, op
from .tensor import Tensor, tensor


def grad(function, argnums=0):
    """A function that gives the gradient of `function`, which returns one number, by its argument(s) `argnums`.

    Args:
        argnums: the position of an argument, or a tuple of positions: then the gradients come as a tuple.
    """
    with_value = value_and_grad(function, argnums)
    return functools.wraps(function)(lambda *args, **options: with_value(*args, **options)[1])


def value_and_grad(function, argnums=0):
    """As `grad`, with the value in front: `(value, gradient)`."""
    def call(*args, **options):
        trace = _Trace("grad", function, args, argnums, options)
        (out,) = trace.outputs
        if out.size != 1:
            raise ValueError(f"grad: the function returned shape {out.shape}, not one number; reduce it (.sum()), or use vjp or jacobian")
        gradients = trace.gradients([None])
        return trace.value, gradients if isinstance(argnums, (tuple, list)) else gradients[0]

    return call


def vjp(function, *inputs):
    """The value at `inputs`, and the function that maps a cotangent of the output to a tuple with one gradient per input: u ↦ uᵀJ.

    It may be called again and again. Where `function` returns a tuple, it takes one cotangent for each part.
    """
    trace = _Trace("vjp", function, inputs, tuple(range(len(inputs))), {})
    return trace.value, lambda *cotangents: trace.gradients(cotangents, retain_graph=True)


def jvp(function, inputs, tangents):
    """The value at `inputs` and the derivative along `tangents`, Jv, which has the shape of the output.

    Reverse mode twice: u ↦ uᵀJ is linear, so its own VJP with v is Jv, for any u.
    (Townsend, "A new trick for calculating Jacobian vector products", 2017.)
    """
    inputs, tangents = _several(inputs), _several(tangents)
    trace = _Trace("jvp", function, inputs, tuple(range(len(inputs))), {})
    along = _like(trace.starts, tangents, "jvp: tangent")
    dummies = [tensor(np.zeros_like(out.data), requires_grad=True) for out in trace.outputs]
    since = next(graph._count)
    pulled = trace.gradients(dummies, create_graph=True)
    result = _contract(pulled, along, dummies, since, trace.nested)
    return trace.value, result if isinstance(trace.value, tuple) else result[0]


def hvp(function, inputs, vectors):
    """The Hessian of `function`, which returns one number, times `vectors`, without forming it: one gradient more than a gradient costs.

    `inputs` and `vectors` are one array each, or tuples of them; the product has the same form.
    """
    several = isinstance(inputs, (tuple, list))
    inputs, vectors = _several(inputs), _several(vectors)
    trace = _Trace("hvp", function, inputs, tuple(range(len(inputs))), {})
    along = _like(trace.starts, vectors, "hvp: vector")
    result = _contract(trace.gradients([None], create_graph=True), along, trace.starts, trace.since, trace.nested)
    return result if several else result[0]


def jacobian(function, argnums=0):
    """A function that gives ∂output/∂argument, of shape output.shape + argument.shape: one backward pass per element of the output.

    Tuples of `argnums`, and of outputs, give tuples: `jacobian(f, (0, 1))(x, y)[output][argument]` where there are both.
    """
    def call(*args, **options):
        trace = _Trace("jacobian", function, args, argnums, options)
        blocks = []
        for position, out in enumerate(trace.outputs):
            cotangents, rows = [np.zeros_like(o.data) for o in trace.outputs], []
            for i in np.ndindex(out.shape):
                cotangents[position][i] = 1
                rows.append(trace.gradients(list(map(np.copy, cotangents)), retain_graph=True))
                cotangents[position][i] = 0
            parts = [(ops.stack([row[k] for row in rows]) if rows else Tensor(np.zeros(0, start.dtype))).reshape(out.shape + start.shape)
                     for k, start in enumerate(trace.starts)]
            blocks.append(tuple(parts) if isinstance(argnums, (tuple, list)) else parts[0])
        return tuple(blocks) if isinstance(trace.value, tuple) else blocks[0]

    return call


def hessian(function, argnums=0):
    """A function that gives the second derivatives of `function`, which returns one number: the Jacobian of its gradient."""
    return jacobian(grad(function, argnums), argnums)


def checkpoint(function, *inputs):
    """`function(*inputs)`, keeping only its inputs: backward computes the inside again, with the same random masks, and frees it at once.

    Gradients are those of `function(*inputs)`, also for Tensors that the function takes from around it (the weights of a layer), and of any order.
    Memory is traded for one more forward (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016). The function must do the same when
    it runs again; it returns a Tensor or a tuple of them.
    """
    if not mode.recording:
        return function(*inputs)
    inputs = [x.view() if isinstance(x, Tensor) and x.requires_grad else x for x in inputs]  # told apart from what the function takes from around it
    since, state, shapes = next(graph._count), random.state(), []
    out = _packed(function, inputs, shapes)
    beginning, guards = frontier([out], since)
    if beginning:
        own = tuple((x.node or x) if isinstance(x, Tensor) and x.requires_grad else None for x in inputs)
        taken = set(own)
        captured = tuple(key for key in beginning if key not in taken)
        arrays, wrapped = [x.data if isinstance(x, Tensor) else x for x in inputs], [isinstance(x, Tensor) for x in inputs]
        static = {"function": function, "state": state, "captured": captured, "wrapped": wrapped}
        inner, out = out, Tensor(out.data)
        out.version = graph._guard(inner)
        out.requires_grad, out.node = True, Node(_checkpoint, own + captured, inputs, arrays, static, out, out.data)
        out.node.guards += tuple(guards)
        if mode.monitor is not None:
            mode.monitor.recorded(out.node)
    if not shapes:
        return out
    ends = np.cumsum([int(np.prod(shape)) for shape, _ in shapes])
    return tuple(part.reshape(shape).astype(dtype) for part, (shape, dtype) in zip(ops.split(out, ends[:-1]), shapes))


def _packed(function, inputs, shapes):
    """The function's Tensor; or its tuple of Tensors end to end in one, with their shapes and dtypes put in `shapes`."""
    out = function(*inputs)
    if isinstance(out, tuple):
        shapes[:] = [(part.shape, part.dtype) for part in out]
        out = ops.concatenate([part.reshape(-1) for part in out])
    return _tensors("checkpoint", out)[0]


@op
def _checkpoint(*xs, function, state, captured, wrapped):
    raise NotImplementedError("made by checkpoint() alone")


@_checkpoint.vjp
def _(g, xs, needs, function, state, captured, wrapped):
    differentiable, now, since = mode.recording, random.state(), next(graph._count)
    random.restore(state)
    try:
        with grad_mode(True):
            xs = [Tensor(x) if was_tensor and not isinstance(x, Tensor) else x for x, was_tensor in zip(xs, wrapped)]
            starts = [_start(x, differentiable) if need else x for x, need in zip(xs, needs)]
            out = _packed(function, starts, [])
    finally:
        random.restore(now)
    if out.shape != g.shape:
        raise RuntimeError(f"checkpoint: the function gave shape {out.shape} when it ran again and {g.shape} before; it must do the same each time")
    targets = [start.node or start for start, need in zip(starts, needs) if need]
    found = iter(propagate([out], [g], [*targets, *captured], differentiable, differentiable, since))
    return (*(next(found) if need else None for _, need in zip(xs, needs)), *found)


class _Trace:
    """One call of a function whose chosen arguments begin a graph of their own."""

    def __init__(self, name, function, args, argnums, options):
        positions = _several(argnums)
        if any(not -len(args) <= i < len(args) for i in positions):
            raise ValueError(f"{name}: argnums is {argnums} but {len(args)} positional arguments were given")
        args, outside, self.since = list(args), mode.recording, next(graph._count)
        with grad_mode(True):
            self.starts = []
            for i in positions:
                args[i] = _start(args[i], outside)
                self.starts.append(args[i])
            value = function(*args, **options)
        self.outputs = _tensors(name, value)
        beginning, _ = frontier(self.outputs, self.since)
        self.nested = outside and not set(beginning) <= set(self.starts)  # then results stay differentiable by what is outside
        self.value = value if self.nested else tuple(o.detach() for o in self.outputs) if isinstance(value, tuple) else value.detach()

    def gradients(self, cotangents, create_graph=False, retain_graph=False):
        if len(cotangents) != len(self.outputs):
            raise ValueError(f"{len(cotangents)} cotangents were given for {len(self.outputs)} outputs")
        return _contract(self.outputs, cotangents, self.starts, self.since, create_graph or self.nested, retain_graph)


def _contract(outputs, cotangents, inputs, since, create_graph, retain_graph=False):
    """The gradients of Σ outputs · cotangents by `inputs`, as Tensors; zeros where nothing depends. Walks only what was made from `since` on."""
    create_graph = create_graph or mode.recording and any(getattr(c, "requires_grad", False) for c in cotangents)
    roots = [(out, seed_of(out, cotangent, create_graph, "vjp")) for out, cotangent in zip(outputs, cotangents) if out.requires_grad]
    found = propagate([out for out, _ in roots], [seed for _, seed in roots], [x.node or x for x in inputs], create_graph or retain_graph,
                      create_graph, since)
    return tuple(Tensor(np.zeros_like(x.data)) if g is None else g if isinstance(g, Tensor) else Tensor(own(g)) for g, x in zip(found, inputs))


def _start(x, outside):
    """`x` as the beginning of a graph: still connected to where it came from if that is to be differentiated too."""
    if isinstance(x, Tensor):
        return x.view() if x.requires_grad and outside else x.detach().requires_grad_()
    return tensor(x, requires_grad=True)


def _tensors(name, value):
    outputs = value if isinstance(value, tuple) else (value,)
    for out in outputs:
        if not isinstance(out, Tensor):
            raise TypeError(f"{name}: the function returned {type(out).__name__}, not a Tensor; were .numpy(), .item() or np.asarray used inside?")
    return outputs


def _several(x):
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


def _like(tensors, vectors, what):
    """The vectors as Tensors of the shapes and dtypes of `tensors`."""
    if len(tensors) != len(vectors):
        raise ValueError(f"{what}s: {len(vectors)} were given for {len(tensors)} inputs")
    result = []
    for position, (like, vector) in enumerate(zip(tensors, vectors)):
        if np.shape(vector) != like.shape:
            raise ValueError(f"{what} {position} has shape {np.shape(vector)} but its input has shape {like.shape}")
        result.append(vector.astype(like.dtype) if isinstance(vector, Tensor) else Tensor(np.asarray(vector, like.dtype)))
    return result
