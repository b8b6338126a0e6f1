"""`backward` and `gradients`: from the last node to the first, each rule once, gradients of what was used twice added up.

The walk is a loop and not a recursion, so a chain of any length works. Creation order is a topological order: a node is made after those it stands on.
"""
import sys
from operator import attrgetter

import numpy as np

from ..kernels.runtime import memory
from . import graph
from .graph import Node, grad_mode, mode


def backward(tensor, gradient=None, *, retain_graph=False, create_graph=False):
    """Add d(tensor)/d(leaf), contracted with `gradient`, to `.grad` of every leaf that requires it. See `Tensor.backward`."""
    _check_root(tensor)
    seeds = [seed_of(tensor, gradient, create_graph)]
    propagate([tensor], seeds, None, retain_graph or create_graph, create_graph)


def gradients(outputs, inputs, cotangents=None, *, create_graph=False, retain_graph=None, allow_unused=True):
    """Gradients of `outputs`, contracted with `cotangents`, with respect to `inputs`, without touching any `.grad`.

    Args:
        outputs, inputs: Tensors or lists of them; inputs may be leaves or anything that the outputs were computed from.
        cotangents: one gradient per output; None stands for 1 and needs a scalar output.
        create_graph: build the graph of the gradients, so that they can be differentiated again; implies retain_graph.
        retain_graph: keep what the nodes saved; by default only with create_graph.
        allow_unused: give None for an input that the outputs do not depend on (the default, unlike PyTorch's); False makes that an error.

    Returns: a list with one Tensor (or None) per input.

    Raises ValueError for an input that requires no gradient, RuntimeError for an output that depends on nothing that does, or whose graph is gone.
    """
    outputs, inputs, cotangents = ([x] if hasattr(x, "shape") else x for x in (outputs, inputs, cotangents))
    for tensor in outputs:
        _check_root(tensor, "gradients")
    for position, tensor in enumerate(inputs):
        if not tensor.requires_grad:
            raise ValueError(f"gradients: input {position} (shape {tensor.shape}) does not require a gradient; create it with requires_grad=True")
    cotangents = [None] * len(outputs) if cotangents is None else cotangents
    seeds = [seed_of(tensor, gradient, create_graph, "gradients") for tensor, gradient in zip(outputs, cotangents, strict=True)]
    found = propagate(outputs, seeds, [tensor.node or tensor for tensor in inputs], retain_graph or create_graph, create_graph)
    for position, gradient in enumerate(found):
        if gradient is None and not allow_unused:
            raise ValueError(f"gradients: the outputs do not depend on input {position} (shape {inputs[position].shape})")
    return [g if g is None or isinstance(g, graph._Tensor) else graph._Tensor(own(g)) for g in found]


def propagate(roots, seeds, targets, retain_graph, create_graph, since=None):
    """Walk the graph from the roots. Leaves collect into `.grad` when `targets` is None; otherwise return the gradients of the targets.

    In essence:

        pending = {root: seed}
        for node in order:                                       # the last created first
            g = pending.pop(node)
            for parent, gradient in zip(node.parents, node.gradients(g)):
                pending[parent] += gradient                      # 0 before the first

    What makes it longer: gradients of broadcast inputs are summed, those that nobody else holds are added to in place, memory goes as soon as it can, and
    hooks, monitors, writes and optimizers' buffers are seen to.

    With targets, only what leads to one of them is walked, and freed.

    With `since`, a creation order, only nodes made from then on are walked: what arrives at older targets is a part of their gradient (no hooks run).
    """
    wanted = None if targets is None else {key: None for key in targets}
    lowest = since or (0 if targets is None else min((key.order if isinstance(key, Node) else 0) for key in targets))
    order = reachable(roots, lowest)
    if wanted is not None:
        leading = set(wanted)
        leading.update(node for node in reversed(order) if not leading.isdisjoint(node.parents))
        order = [node for node in order if node in leading]
    pending, alone = {}, set()  # gradients on their way, by node; those in `alone` are held by nobody else
    leaves = dict.fromkeys(root for root in roots if root.node is None)

    def deliver(parent, gradient, unshared=False):
        if parent not in pending:
            pending[parent] = gradient
        elif parent in alone:
            pending[parent] += gradient
            return
        else:
            pending[parent] = pending[parent] + gradient
            unshared = not create_graph
        if unshared:
            alone.add(parent)

    for root, seed in zip(roots, seeds):
        deliver(root.node or root, seed)
    monitor = mode.monitor
    with grad_mode(create_graph):
        for node in order:
            g = pending.pop(node, None)
            if g is not None:
                if node.hooks:
                    g = _run_hooks(node.hooks, g)
                if wanted is not None and node in wanted:
                    wanted[node] = g
                    if leading.isdisjoint(node.parents):
                        continue
                if node.stamp != graph._writes and any(cell[0] > node.stamp for cell in node.guards):
                    raise RuntimeError(f"{node.op.name}: a tensor that it kept for its gradient was changed in place before backward; "
                                       "make the change on a copy, or after backward")
                if monitor is not None:
                    results = monitor.backward(node, g, create_graph)
                elif create_graph:
                    results = differentiable_gradients(node, g)
                else:
                    results = node.gradients(g, _places(node) if wanted is None and node.op.into_slot is not None else None)
                results = list(results)
                for i, parent in enumerate(node.parents):
                    gradient, results[i] = results[i], None
                    if parent is None or gradient is None or wanted is not None and parent not in leading:
                        continue
                    gradient = gradient if hasattr(gradient, "dtype") else np.asarray(gradient, parent.dtype)
                    if gradient.shape != parent.shape:
                        gradient = _unbroadcast(node, gradient, parent.shape)
                    if gradient.dtype != parent.dtype:
                        gradient = gradient.astype(parent.dtype)
                    unshared = not create_graph and sys.getrefcount(gradient) == _ALONE and memory.owns(gradient)
                    if isinstance(parent, Node):
                        deliver(parent, gradient, unshared)
                    elif wanted is None and not parent.hooks and not create_graph:
                        parent.accumulate_grad(gradient, unshared)
                    else:
                        leaves[parent] = True
                        deliver(parent, gradient, unshared)
            results = gradient = None  # or the next rule would run while these are still held
            if not retain_graph and not (wanted and leading.isdisjoint(node.parents)):  # of a target below which nothing is wanted, the rule did not run
                node.free()
        for leaf in leaves:
            g = _run_hooks(leaf.hooks, pending[leaf]) if leaf.hooks and since is None else pending[leaf]
            if wanted is None:
                leaf.accumulate_grad(g)
            elif leaf in wanted:
                wanted[leaf] = g
    return None if wanted is None else [pending.get(key) if wanted[key] is None else wanted[key] for key in targets]


def _places(node):
    """For each parent the optimizer's buffer that its gradient may be written to: that of a leaf which has no gradient yet and is used once here."""
    return tuple(parent.grad_buffer.data if isinstance(parent, graph._Tensor) and parent.grad is None and parent.grad_buffer is not None
                 and not parent.hooks and sum(other is parent for other in node.parents) == 1 else None for parent in node.parents)


def differentiable_gradients(node, g):
    """The rule of a node applied to Tensors, so that the gradients can be differentiated again; `g` is a Tensor."""
    op, arguments = node.op, list(node.saved)
    if op.reference is not None:
        return _through_reference(node, g, [_rewrap(array, parent) for array, parent in zip(node.inputs, node.parents)])
    arguments[op.g_slot] = g
    for slot, i in op.keeps:
        arguments[slot] = tuple(map(_rewrap, arguments[slot], node.parents)) if op.variadic else _rewrap(arguments[slot], node.parents[i])
    if op.keeps_out is not None:
        arguments[op.keeps_out] = _rewrap(arguments[op.keeps_out], node)
    return node.checked(op.rule(*arguments))


def _through_reference(node, g, inputs):
    """The gradients of a fused node: those of its reference, computed anew on Tensors that are one step further in the graph."""
    aliases = [x.view() if isinstance(x, graph._Tensor) and x.requires_grad else x for x in inputs]
    static = {name: value for name, value in node.static.items() if name != "needs"}
    out = node.op.reference(*aliases, **static)
    wanted = [x for x in aliases if isinstance(x, graph._Tensor) and x.requires_grad]
    found = iter(gradients([out], wanted, [g], create_graph=True))
    return tuple(next(found) if isinstance(x, graph._Tensor) and x.requires_grad else None for x in aliases)


def _rewrap(array, parent):
    """The Tensor that held `array`, or one like it: connected to the same place in the graph."""
    if isinstance(parent, Node):
        tensor = graph._Tensor(array)
        tensor.node, tensor.requires_grad = parent, True
        return tensor
    return array if parent is None else parent


def reachable(roots, lowest):
    """All nodes that the roots came from and whose order is at least `lowest`, last created first. Iterative: a chain of any length works."""
    seen = {root.node for root in roots if root.node is not None and root.node.order >= lowest}
    order, stack = list(seen), list(seen)
    while stack:
        node = stack.pop()
        if node.saved is None:
            raise RuntimeError(f"{node.op.name}: backward has already been through here and freed what it kept; "
                               "pass retain_graph=True to the first backward, or compute the forward again")
        for parent in node.parents:
            if isinstance(parent, Node) and parent not in seen and parent.order >= lowest:
                seen.add(parent)
                stack.append(parent)
                order.append(parent)
    order.sort(key=attrgetter("order"), reverse=True)
    return order


def frontier(outputs, since):
    """Where the graph of `outputs` that was made from `since` on begins: the leaves and older nodes it stands on, and the guards of all that it keeps."""
    nodes = reachable(outputs, since)
    found = dict.fromkeys(parent for node in nodes for parent in node.parents if parent is not None)
    found.update(dict.fromkeys(tensor.node or tensor for tensor in outputs if tensor.requires_grad))
    beginning = [key for key in found if not isinstance(key, Node) or key.order < since]
    return beginning, [cell for node in nodes for cell in node.guards]


def _unbroadcast(node, gradient, shape):
    """Sum over the axes along which NumPy repeated an input of `shape`."""
    extra = gradient.ndim - len(shape)
    if extra < 0 or any(n not in (1, m) for n, m in zip(shape, gradient.shape[extra:])):
        raise RuntimeError(f"{node.op.name}: its VJP rule returned a gradient of shape {gradient.shape} for an input of shape {shape}")
    repeated = [extra + i for i, n in enumerate(shape) if n == 1]
    return gradient.sum(axis=(*range(extra), *repeated)).reshape(shape)


def _run_hooks(hooks, g):
    for hook in tuple(hooks.values()):
        tensor = g if isinstance(g, graph._Tensor) else graph._Tensor(np.asarray(g) if isinstance(g, np.generic) else g)  # of 0 axes, a NumPy scalar
        if (result := hook(tensor)) is not None:
            if np.shape(result) != tensor.shape:
                raise RuntimeError(f"backward: a hook returned shape {np.shape(result)} for a gradient of shape {tensor.shape}; it must keep the shape")
            g = result.data if isinstance(result, graph._Tensor) and not isinstance(g, graph._Tensor) else result
            g = g.astype(tensor.dtype, copy=False) if isinstance(g, np.ndarray) else g if hasattr(g, "shape") else np.asarray(g, tensor.dtype)
    return g


def _check_root(tensor, name="backward"):
    if not tensor.requires_grad:
        raise RuntimeError(f"{name}: this tensor (shape {tensor.shape}) does not depend on anything that requires a gradient. "
                           "Was it computed under no_grad, or did no input have requires_grad=True?")


def seed_of(tensor, gradient, create_graph, name="backward"):
    """What the walk starts with at an output: its cotangent, checked, or 1."""
    if gradient is None:
        if tensor.size != 1:
            raise RuntimeError(f"{name}: the output has shape {tensor.shape}, not one element; pass its cotangent, of the same shape, to {name}, "
                               "or reduce it first (.sum(), .mean())")
        gradient = np.ones_like(tensor.data)
    array = gradient.data if isinstance(gradient, graph._Tensor) else gradient if hasattr(gradient, "dtype") else np.asarray(gradient)
    if array.shape != tensor.shape:
        raise ValueError(f"{name}: the cotangent has shape {array.shape} but the output has shape {tensor.shape}")
    if create_graph:
        return gradient if isinstance(gradient, graph._Tensor) else graph._Tensor(array.astype(tensor.dtype))
    return array.astype(tensor.dtype, copy=False)


def own(gradient):
    """A copy that belongs to nobody else: rules may return views, the same array twice, or a NumPy scalar."""
    if not isinstance(gradient, (np.ndarray, np.generic)):
        return gradient.copy()
    copy = memory.empty(gradient.shape, gradient.dtype)
    copy[...] = gradient
    return copy


def _references():
    array = np.empty(0)
    return sys.getrefcount(array)


_ALONE = _references()  # what getrefcount says of an array that one local name holds: it depends on Python's version
