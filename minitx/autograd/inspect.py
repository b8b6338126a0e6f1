"""To see a graph: print it, draw it, and find the operation that made the first NaN. (`bench/profile.py` times the operations.)

    print_graph(loss)                       # one line per operation, oldest first
    draw(loss, "graph.svg")                 # or .dot, or .png
    with detect_anomaly():                  # the line of the program and the ranges of the inputs where a NaN or infinity first appears
        loss(x).backward()
"""
import linecache
import os
import sys

import numpy as np

from .backward import differentiable_gradients, reachable
from .graph import Node, mode


def print_graph(tensor, names=None):
    """Print what `graph_text` gives."""
    print(graph_text(tensor, names))


def graph_text(tensor, names=None):
    """The graph that made `tensor`, one line per leaf and operation, in the order of their creation: what it takes, gives, and keeps for backward.

    `names`, a dict from names to Tensors (or what a module's `named_parameters()` gives), names the leaves.
    """
    rows = [(f"%{number} = {call}", value, f"keeps {bytes_text(kept)}" if kept else "")
            for number, (_, call, value, kept, _) in enumerate(_rows(tensor, names))]
    width, middle = (max(len(row[i]) for row in rows) for i in (0, 1))
    return "\n".join(f"{call:{width}}   {value:{middle}}   {kept}".rstrip() for call, value, kept in rows)


def draw(tensor, path, names=None):
    """Save a picture of the graph that made `tensor`: .svg and .dot are written directly, .png by matplotlib. `names` as for `graph_text`."""
    from .. import diagrams

    rows = _rows(tensor, names)
    boxes = [(key.op.name, value, "operation") if isinstance(key, Node) else (call, value, "leaf") for key, call, value, _, _ in rows]
    diagrams.save(path, boxes, [(parent, child) for child, row in enumerate(rows) for parent in row[4]])


class Monitor:
    """Stands between the engine and its operations in this thread, for the length of a `with` block; monitors nest."""

    inner = inside = None

    def __enter__(self):
        self.inner, mode.monitor = mode.monitor, self
        return self

    def __exit__(self, *_):
        mode.monitor = self.inner

    def forward(self, op, arrays, static):
        def run():
            return op.forward(*arrays, **static) if self.inner is None else self.inner.forward(op, arrays, static)

        if self.inside == "forward" or self.inside == "backward" and not mode.recording:
            return run()  # a part of another operation, or of its rule
        return self._within("forward", self.watch_forward, op, arrays, run)

    def recorded(self, node):
        if self.inner is not None:
            self.inner.recorded(node)

    def backward(self, node, g, create_graph):
        def run():
            if self.inner is not None:
                return self.inner.backward(node, g, create_graph)
            return differentiable_gradients(node, g) if create_graph else node.gradients(g)

        return self._within("backward", self.watch_backward, node, g, run)

    def _within(self, inside, watch, *args):
        before, self.inside = self.inside, inside
        try:
            return watch(*args)
        finally:
            self.inside = before


class AnomalyError(FloatingPointError):
    """The first NaN or infinity: which operation, where in the program, and what it was given."""


class detect_anomaly(Monitor):
    """A context manager under which the operation that makes the first NaN or infinity, forward or backward, raises an `AnomalyError`.

    An infinity that came in with the inputs (a mask of −inf) may go on; a NaN may not. Every result is searched, so this is for debugging.
    """

    node = None  # whose backward is running

    def watch_forward(self, op, arrays, run):
        result = run()
        names = op.tensors if not op.variadic else [f"{op.tensors[0]}[{i}]" for i in range(len(arrays))]
        during = "" if self.node is None else f", in the backward of {self.node.op.name}"
        _demand_finite(f"{op.name}{during}: its output", result[0] if op.residuals else result, dict(zip(names, arrays)), self._line)
        return result

    def recorded(self, node):
        super().recorded(node)
        node.where = _where()

    def watch_backward(self, node, g, run):
        given = {"g": g, **dict(zip(node.op.tensors, node.inputs or ()))}
        given.update({name: node.saved[slot] for name, slot in node.op.slots.items() if name != "g"})
        outer, self.node = self.node, node
        results = run()
        for i, gradient in enumerate(results):
            if node.parents[i] is not None:
                name = node.op.tensors[0 if node.op.variadic else i]
                _demand_finite(f"{node.op.name}, backward: the gradient of {name}", gradient, given, self._line)
        self.node = outer
        return results

    def _line(self):
        return _where() if self.node is None else self.node.where or "a line before detect_anomaly()"


def _demand_finite(what, result, given, where):
    """Raise if `result` has a NaN, or an infinity that nothing in `given` (values by name) had."""
    array, given = _floats(result), {name: _floats(value) for name, value in given.items() if _floats(value) is not None}
    if array is None or np.isfinite(array).all() or not np.isnan(array).any() and any(np.isinf(x).any() for x in given.values()):
        return
    lines = [f"{what} is not finite: {_range(array)}", f"  called at {where()}", *(f"  {name}: {_range(x)}" for name, x in given.items())]
    raise AnomalyError("\n".join(lines))


def _floats(x):
    """x as a floating-point array; None if it is something else."""
    array = x if isinstance(x, np.ndarray) else np.asarray(x) if isinstance(x, (float, np.floating)) else getattr(x, "data", None)
    return array if getattr(getattr(array, "dtype", None), "kind", "") == "f" else None


def _range(array):
    finite = array[np.isfinite(array)]
    bounds = f"from {finite.min():.6g} to {finite.max():.6g}" if finite.size else "no finite element"
    return f"{array.dtype} {array.shape}, {bounds}" + "".join(
        f", {n} {what}" for n, what in ((np.isnan(array).sum(), "NaN"), (np.isinf(array).sum(), "infinite")) if n)


def _rows(tensor, names):
    """For each leaf and node, oldest first: itself, its call, its value's dtype and shape, the bytes it keeps, and the numbers of its parents."""
    names = {id(leaf): name for name, leaf in dict(names or {}).items()}
    rows, number, counted = [], {}, {}

    def place(key, call, parents=(), kept=0):
        number[key] = len(rows)
        rows.append((key, call, f"{key.dtype} {tuple(key.shape)}", kept, [number[parent] for parent in parents]))

    for node in reversed(reachable([tensor], 0)) if tensor.node else []:
        parents = [parent for parent in node.parents if parent is not None]
        for leaf in parents:
            if leaf not in number:
                place(leaf, names.get(id(leaf), "leaf"))
        arguments = ["constant" if parent is None else f"%{number[parent]}" for parent in node.parents]
        static = [f"{name}={_short(value)}" for name, value in node.static.items() if name != "needs" and value is not node.op.defaults.get(name)]
        place(node, f"{node.op.name}({', '.join(arguments + static)})", parents, kept_bytes(node, counted))
    if tensor.node is None:
        place(tensor, names.get(id(tensor), "leaf"))
    return rows


def kept_bytes(node, counted):
    """Bytes that `node` keeps and that neither a leaf nor a node in `counted` held before."""
    for parent in node.parents:
        if parent is not None and not isinstance(parent, Node):
            counted[id(_owner(parent.data))] = _owner(parent.data)
    total, waiting = 0, [node.saved, node.inputs]
    while waiting:
        value = waiting.pop()
        if isinstance(value, tuple):
            waiting += value
        elif isinstance(value, np.ndarray) and counted.get(id(_owner(value))) is not _owner(value):
            counted[id(_owner(value))] = _owner(value)
            total += _owner(value).nbytes
    return total


def _owner(array):
    """The array whose memory a view looks into."""
    while isinstance(getattr(array, "base", None), np.ndarray):
        array = array.base
    return array


def _where():
    """The line of the program that called the operation; with the line of minitx in between, if a layer of it did."""
    engine = os.path.dirname(os.path.abspath(__file__)) + os.sep
    package, lines, frame = os.path.dirname(engine[:-1]) + os.sep, [], sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(package) or not lines and not name.startswith(engine):
            lines.append(f"{name}:{frame.f_lineno} in {frame.f_code.co_name}: {linecache.getline(name, frame.f_lineno).strip()}")
            if not name.startswith(package):
                break
        frame = frame.f_back
    return "\n  from ".join(lines)


def _short(value):
    text = f"array{value.shape}" if isinstance(value, np.ndarray) else getattr(value, "__name__", None) or repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def bytes_text(n):
    """A number of bytes as people read it: 12.3 MB."""
    for unit in ("B", "KB", "MB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} GB"
