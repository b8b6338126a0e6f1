"""The tape: an `Op` computes and says how to differentiate itself, a `Node` remembers one call of it.

    @op
    def exp(x):
        return np.exp(x)

    @exp.vjp
    def _(g, out):            # names `out`: the tape keeps the output, not the input
        return g * out

Reverse mode rests on one identity. For y = f(x) and a scalar loss L, the gradient of x is the vector-Jacobian product (VJP)
(∂L/∂x)ᵀ = (∂L/∂y)ᵀ ∂y/∂x. Each op knows its own; backward.py multiplies them together from the last node to the first.
(Griewank and Walther, "Evaluating Derivatives", 2008, chapter 3.)

A rule may find that what it kept was changed in place meanwhile, and its gradient would be silently wrong. So writes are counted: a Tensor and its views
share a *cell* with the number of the last write to them, a node notes how many writes there had been when it was made (its *stamp*) and the cells of what
it keeps (its *guards*), and backward refuses where a guard is later than the stamp.
"""
import contextlib
import dis
import inspect
import itertools
import threading

import numpy as np

from ..kernels.runtime import devices

_Tensor = None  # the class that ops unwrap and wrap: tensor.py stands above this file and says so through `bind`
_count = itertools.count(1)  # creation order of nodes, which is a topological order
_writes = 0  # in-place changes of Tensors so far: the clock against which nodes check what they kept
_writing = threading.Lock()
EXPOSED = -1  # in a Tensor's version cell: its array was handed out writable, so writes to it go unseen


class _Mode(threading.local):
    """What differs between threads: two of them build and differentiate their own graphs without disturbing each other."""

    recording = True
    monitor = None  # inspect.py's eyes: a profiler or an anomaly detector


mode = _Mode()


@contextlib.contextmanager
def grad_mode(enabled):
    """Record operations in this thread within the block (True), or do not (False)."""
    previous, mode.recording = mode.recording, enabled
    try:
        yield
    finally:
        mode.recording = previous


def no_grad():
    """A context manager, and a decorator, under which this thread records nothing: outputs require no gradient."""
    return grad_mode(False)


def enable_grad():
    """The opposite, for a part of what runs under `no_grad`: this thread records again."""
    return grad_mode(True)


def op(forward=None, *, reference=None, residuals=(), differentiable=True):
    """Make an `Op` of a function on arrays; as a decorator, with or without arguments.

    Positional parameters are the tensors, keyword-only ones are static arguments; a parameter called `needs` receives which tensors want a gradient.

    Args:
        reference: for a fused op, one served by a kernel: the same function written in NumPy operations, which also runs on Tensors.
            It is what `create_graph=True` differentiates.
        residuals: names of what a fused forward returns after its output, kept for the rule: `return out, mean, rstd`.
        differentiable: False for comparisons and the like, whose outputs never require a gradient.
    """
    if forward is None:
        return lambda function: Op(function, reference, residuals, differentiable)
    return Op(forward, reference, residuals, differentiable)


class Op:
    """An operation: a forward function on arrays and a VJP rule whose parameter names say what the tape keeps.

    Called with Tensors it returns a Tensor, and records a Node where one of them requires a gradient. Called with plain arrays it returns an array:
    this is why a rule written with ops and NumPy functions serves both the ordinary backward (arrays) and `create_graph=True` (Tensors).
    """

    def __init__(self, forward, reference=None, residuals=(), differentiable=True):
        self.name = forward.__name__.lstrip("_")
        self.forward, self.reference, self.differentiable = forward, reference, differentiable
        self.residuals = tuple(residuals.split() if isinstance(residuals, str) else residuals)
        self.__doc__, self.__name__, self.__qualname__ = forward.__doc__, self.name, self.name
        self.__wrapped__, self.__module__ = forward, forward.__module__
        parameters = inspect.signature(forward).parameters.values()
        self.variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        self.tensors = tuple(p.name for p in parameters if p.kind is not p.KEYWORD_ONLY)
        self.static = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "needs"}
        self.defaults = {name: default for name, default in self.static.items() if default is not inspect.Parameter.empty}
        self.optional = {p.name: p.default for p in parameters if p.default is not p.empty}
        self.tells_needs = any(p.name == "needs" for p in parameters)
        self.rule = None
        if self.residuals and reference is None:
            raise TypeError(f"op {self.name}: residuals {self.residuals} without a reference. Under create_graph=True a residual would silently become "
                            "a constant; pass reference=, or compute it again in the rule")
        if self.variadic and len(self.tensors) > 1:
            raise TypeError(f"op {self.name}: *{self.tensors[-1]} cannot stand beside other tensors; pass them all in it")
        taken = {"g", "out", "shapes", "into"} & {*self.tensors, *self.static, *self.residuals}
        if taken:
            raise TypeError(f"op {self.name}: {', '.join(sorted(taken))} cannot name an argument or residual, because VJP rules read the tape's own by it")

    def vjp(self, rule):
        """Register the rule: a function of `g`, the gradient of the output, that returns one gradient (or None) per tensor, in order.

        Its other parameters are kept by the tape and passed by name: `out`, the forward's arguments, its residuals, `needs` (one bool per tensor)
        and `shapes` (of the tensors, which costs no memory). Checked here: a wrong name is an error now, not at the first backward.
        `into`, one array or None per tensor, is where a rule may write the gradient that it then returns: an optimizer's buffer, without a copy.
        """
        if not self.differentiable:
            raise TypeError(f"op {self.name}: declared differentiable=False, so it takes no VJP rule")
        known = {"g", "out", "needs", "shapes", "into", *self.tensors, *self.static, *self.residuals}
        reads = list(inspect.signature(rule).parameters)
        unknown = [name for name in reads if name not in known]
        if unknown:
            raise TypeError(f"op {self.name}: the VJP rule asks for {', '.join(map(repr, unknown))}, which the tape does not know. "
                            f"It can have: {', '.join(sorted(known))}")
        if "g" not in reads:
            raise TypeError(f"op {self.name}: the VJP rule must take `g`, the gradient of the output")
        _check_returns(self, rule)
        self.rule = rule
        self.slots = {name: slot for slot, name in enumerate(reads)}
        self.g_slot = self.slots["g"]
        self.template = [None] * len(reads)
        self.keeps = tuple((self.slots[name], i) for i, name in enumerate(self.tensors) if name in self.slots)
        self.keeps_out = self.slots.get("out")
        self.into_slot = self.slots.get("into")
        self.keeps_others = tuple((slot, name) for name, slot in self.slots.items() if name not in ("g", "out", "into", *self.tensors))
        return rule

    def __call__(self, *args, **static):
        if len(args) != len(self.tensors) and not self.variadic:
            args, static = self._positional(args, static)
        if self.static:
            static = {**self.defaults, **static}
        arrays, parents, recording, wrap, scalars = [], [], False, False, False
        for arg in args:
            parent = None
            if isinstance(arg, _Tensor):
                wrap = True
                if arg.requires_grad:
                    parent = arg.node or arg
                    recording = True
                arg = arg.data
            elif isinstance(arg, np.generic):
                scalars = True
            elif isinstance(arg, (list, tuple)):
                if graded(arg):
                    raise TypeError(f"{self.name}: a list of Tensors is joined with stack or concatenate, which keep their gradients")
                arg = np.asarray(arg)
            arrays.append(arg)
            parents.append(parent)
        if scalars and wrap:  # a NumPy scalar is as weak as a Python one: np.sqrt(d) must not make float32 into float64
            arrays = [array.item() if isinstance(array, np.generic) else array for array in arrays]
        recording = recording and mode.recording and self.differentiable
        if self.tells_needs:
            static["needs"] = tuple(recording and parent is not None for parent in parents)
        monitor = mode.monitor
        try:
            result = self.forward(*arrays, **static) if monitor is None else monitor.forward(self, arrays, static)
        except (ValueError, TypeError, IndexError) as error:
            raise _explain(self, arrays, static, error) from None
        if not wrap:
            return result[0] if self.residuals else result
        out = result[0] if self.residuals else result
        if not isinstance(out, np.ndarray):
            out = _as_array(self, out)
        tensor = _Tensor(out)
        if out.base is not None or arrays and (out is arrays[0] or out is arrays[-1]):
            _share_version(tensor, args)
        if recording and out.dtype.kind == "f":
            tensor.requires_grad = True
            tensor.node = node = Node(self, tuple(parents), args, arrays, static, tensor, result)
            if monitor is not None:
                monitor.recorded(node)
        return tensor

    def _positional(self, args, static):
        """The tensors and the static arguments, each given by its place or its name: `sum(x, 0)`, `layer_norm(x, bias=b)`."""
        names = [*self.tensors, *self.static]
        named = dict(zip(names, args))
        twice = named.keys() & static.keys()
        if twice:
            raise TypeError(f"{self.name}: {', '.join(twice)} given twice")
        named.update(static)
        if len(args) > len(names) or any(name not in named and name not in self.optional for name in self.tensors):
            raise TypeError(f"{self.name}: takes {', '.join(self.tensors)}; {len(args)} given")
        return tuple([named.pop(name, self.optional.get(name)) for name in self.tensors]), named

    def __repr__(self):
        return f"<op {self.name}({', '.join([*self.tensors, *(f'{k}=' for k in self.static)])})>"


class Node:
    """One recorded call: the op, the nodes (or leaf Tensors) its inputs came from, and what its rule asked to keep.

    It never holds its own output Tensor, so there is no reference cycle: memory goes when the last name goes, without the garbage collector.
    """

    # order: of creation. shape, dtype: of the output. saved: one entry for each parameter of the rule; inputs: of all tensors, where create_graph=True would
    # differentiate a reference. guards, stamp: see above. hooks: a Tensor's own, on its gradient. where: the line that called, for detect_anomaly.
    __slots__ = ("op", "parents", "order", "shape", "dtype", "inputs", "saved", "static", "guards", "stamp", "hooks", "where", "__weakref__")

    def __init__(self, op, parents, args, arrays, static, tensor, result):
        if op.rule is None:
            raise TypeError(f"{op.name}: an input requires a gradient but the op has no VJP rule; add one with @{op.name}.vjp")
        if static:  # lengths and the like, which their owner may change before backward
            static = {name: devices.frozen(value) for name, value in static.items()}
        self.op, self.parents, self.static = op, parents, static
        self.order, self.stamp = next(_count), _writes
        out = tensor.data
        self.shape, self.dtype = out.shape, out.dtype
        self.inputs = self.hooks = self.where = None
        saved, guards = op.template[:], []
        if op.variadic:
            if op.keeps:
                saved[op.keeps[0][0]] = tuple([_keep(i, args, arrays, guards) for i in range(len(args))])
        else:
            for slot, i in op.keeps:
                saved[slot] = _keep(i, args, arrays, guards)
        if op.reference is not None:
            self.inputs = tuple([_keep(i, args, arrays, guards) for i in range(len(args))])
        if op.keeps_out is not None:
            saved[op.keeps_out] = out
            guards.append(_guard(tensor))
        for slot, name in op.keeps_others:
            if name == "needs":
                saved[slot] = tuple([parent is not None for parent in parents])
            elif name == "shapes":
                saved[slot] = tuple([np.shape(array) for array in arrays])
            else:
                saved[slot] = static[name] if name in op.static else result[1 + op.residuals.index(name)]
        self.saved, self.guards = tuple(saved), tuple(guards)  # tuples of arrays are no burden to the garbage collector; lists are

    def free(self):
        """Let go of everything kept for the rule."""
        self.saved = self.inputs = self.guards = self.static = None
        self.parents = ()

    def gradients(self, g, into=None):
        """The rule applied to arrays: a tuple with one gradient (or None) per parent."""
        arguments = list(self.saved)
        arguments[self.op.g_slot] = g
        if self.op.into_slot is not None:
            arguments[self.op.into_slot] = into or (None,) * len(self.parents)
        results = self.op.rule(*arguments)
        return results if type(results) is tuple and len(results) == len(self.parents) else self.checked(results)

    def checked(self, results):
        """What a rule returned, as a tuple with one entry per parent."""
        results = results if isinstance(results, (tuple, list)) else (results,)
        if len(results) != len(self.parents):
            raise RuntimeError(f"{self.op.name}: its VJP rule returned {len(results)} gradients for {len(self.parents)} tensors; "
                               "return one, or None, for each")
        return results

    def __repr__(self):
        return f"<node {self.op.name} -> {self.dtype} {self.shape}>"


def _keep(i, args, arrays, guards):
    """Array `i` as the tape keeps it: guarded against later writes, or a copy where nothing could tell of them."""
    arg = args[i]
    if isinstance(arg, _Tensor):
        cell = arg.version or _guard(arg)
        if cell[0] == EXPOSED:
            arrays[i] = arrays[i].copy()
        else:
            guards.append(cell)
    elif hasattr(arg, "dtype"):  # a bare array
        arrays[i] = devices.frozen(arg)
    return arrays[i]


def _guard(tensor):
    """The cell [time of the last write] that a Tensor shares with its views; made when first asked for."""
    if tensor.version is None:
        tensor.version = [0]
    return tensor.version


def record_write(tensor):
    """Note that the array of `tensor` is changed in place now; a node that keeps it refuses its backward."""
    global _writes
    with _writing:
        _writes += 1
        if _guard(tensor)[0] != EXPOSED:
            tensor.version[0] = _writes


def _share_version(tensor, args):
    """A view shares the cell of what it looks into, so that a write through either is seen by both."""
    base = tensor.data.base
    for arg in args:
        if isinstance(arg, _Tensor) and (arg.data is tensor.data or base is not None and (base is arg.data or base is arg.data.base)):
            tensor.version = _guard(arg)
            return


def _as_array(op, out):
    """The output as an array, where it is a number or lives on a device; else an error that says what a forward returns."""
    if isinstance(out, (np.generic, float, int)):
        return np.asarray(out)
    if not hasattr(out, "dtype") or isinstance(out, _Tensor):
        raise TypeError(f"op {op.name}: its forward returned {type(out).__name__} where an array was expected; a forward takes and returns arrays "
                        "(and after it residuals, if it declares them)")
    return out


def _check_returns(op, rule):
    """Read the rule's bytecode: it must return something, and a tuple that it writes out must have one gradient per tensor."""
    returned = list(dis.get_instructions(rule)) if hasattr(rule, "__code__") else []
    something = not returned
    for before, instruction in zip(returned, returned[1:]):
        if instruction.opname in ("RETURN_VALUE", "RETURN_CONST"):
            constant = instruction.argval if instruction.opname == "RETURN_CONST" else before.argval if before.opname == "LOAD_CONST" else ...
            something |= constant is not None
            count = before.arg if before.opname == "BUILD_TUPLE" else len(constant) if isinstance(constant, tuple) else None
            if count is not None and count != len(op.tensors) and not op.variadic:
                raise TypeError(f"op {op.name}: the VJP rule returns {count} gradients for {len(op.tensors)} tensors ({', '.join(op.tensors)}); "
                                "return one, or None, for each")
    if not something:
        raise TypeError(f"op {op.name}: the VJP rule returns nothing; it must return one gradient, or None, per tensor")


def _explain(op, arrays, static, error):
    shapes = ", ".join(f"{np.shape(a)} {getattr(a, 'dtype', type(a).__name__)}" for a in arrays)
    options = "".join(f", {k}={v!r}" for k, v in static.items() if k != "needs" and v is not op.static.get(k))
    message = str(error)
    hint = next((f"; {hint}" for part, hint in _HINTS.items() if part in message), "")
    mixed = devices.mixed(op.name, op.tensors, arrays)
    text = mixed or message if mixed or message.startswith(op.name + ":") and not hint else f"{op.name}({shapes}{options}): {message.removeprefix(op.name + ': ')}{hint}"
    return (TypeError if isinstance(error, TypeError) else type(error))(text)  # NumPy's own take other arguments


_HINTS = {"gufunc signature": "the last axis of the first must be as long as the last but one of the second; is one to be transposed (.mT)?",
          "could not be broadcast": "shapes are compared from the right; is an axis of extent 1 missing (x[:, None], expand_dims)?",
          "axes don't match": "give a place for every axis; two are exchanged by swapaxes",
          "cannot reshape": "the numbers of elements must agree; one extent may be -1"}


def graded(x):
    """Whether a Tensor that requires a gradient stands somewhere in nested lists."""
    return isinstance(x, _Tensor) and x.requires_grad or isinstance(x, (list, tuple)) and any(map(graded, x))


def bind(tensor_class):
    """Tell this file which class ops unwrap and wrap."""
    global _Tensor
    _Tensor = tensor_class
