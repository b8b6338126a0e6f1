"""`Tensor`: an array, its gradient, and the node that made it; with Python's operators, NumPy's functions and PyTorch's names.

Everything that computes is an op in `ops`; here is only what a Tensor *is* and how it is spoken to.
"""
import numpy as np

from ..hooks import RemovableHandle
from ..kernels.runtime import devices
from . import fused, graph, ops
from .backward import backward, own


class Tensor:
    """A NumPy (or CuPy) array that remembers how it was computed.

    Attributes:
        data: the array itself. Writing to it is unchecked and meant for optimizers, between one graph and the next.
        grad: a Tensor of the same shape once `backward` has run, for leaves with `requires_grad`; else None.
        requires_grad: whether gradients flow to it.
        node: the `Node` that made it; None for a leaf.
    """

    __slots__ = ("data", "grad", "requires_grad", "node", "version", "hooks", "grad_buffer", "__weakref__")
    __array_priority__ = 1000

    def __init__(self, data):
        self.data = data
        self.grad = self.node = self.hooks = self.version = self.grad_buffer = None
        self.requires_grad = False

    # What it is

    shape = property(lambda self: self.data.shape)
    dtype = property(lambda self: self.data.dtype)
    ndim = property(lambda self: self.data.ndim)
    size = property(lambda self: self.data.size)
    is_leaf = property(lambda self: self.node is None)
    T = property(lambda self: ops.transpose(self))
    mT = property(lambda self: ops.swapaxes(self, axis1=-1, axis2=-2))

    @property
    def device(self):
        """"cpu" or "cuda"."""
        return "cpu" if isinstance(self.data, np.ndarray) else "cuda"

    def item(self):
        """The value of a one-element Tensor as a Python number."""
        return self.data.item()

    def tolist(self):
        """The values as nested Python lists."""
        return self.data.tolist()

    def numpy(self):
        """The array; read-only when a graph needs it, so that it cannot be changed under a gradient."""
        if not isinstance(self.data, np.ndarray):
            return self.data.get()
        view = self.data.view()
        if self.version is None and not self.requires_grad:
            self.version = [graph.EXPOSED]  # from now on changes may come from outside, so nodes keep copies
        elif self.requires_grad or self.version[0] != graph.EXPOSED:  # a node keeps it, or it was written through here
            view.flags.writeable = False
        return view

    def __repr__(self):
        values = np.array2string(self.data if self.device == "cpu" else self.numpy(), separator=", ", threshold=100, edgeitems=3, precision=4, prefix="tensor(")
        made = f", op={self.node.op.name}" if self.node is not None else ", requires_grad=True" if self.requires_grad else ""
        place = "" if self.device == "cpu" else ", device='cuda'"
        return f"tensor({values}, shape={self.shape}, dtype={self.dtype}{place}{made})"

    def __len__(self):
        if not self.shape:
            raise TypeError("len() of a Tensor without axes")
        return self.shape[0]

    def __iter__(self):
        if not self.shape:
            raise TypeError("iteration over a Tensor without axes")
        return (self[i] for i in range(self.shape[0]))

    def __bool__(self):
        return bool(self.data)

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __format__(self, spec):
        return format(self.item(), spec) if spec else str(self)

    def __index__(self):
        return self.data.__index__()

    __hash__ = object.__hash__

    def __contains__(self, value):
        return value in self.data

    def __reduce_ex__(self, protocol):
        raise TypeError("a Tensor is not pickled: pickles run code when they are read. Save values with state_dict() and safetensors, or tensor.numpy()")

    def __deepcopy__(self, memo):
        if self.node is not None:
            raise RuntimeError(f"deepcopy: only leaf Tensors are copied, and this one was made by {self.node.op.name}; use .detach() first")
        copy = tensor(self.data, requires_grad=self.requires_grad)
        memo[id(self)] = copy
        return copy

    # Gradients

    def backward(self, gradient=None, *, retain_graph=False, create_graph=False):
        """Add the gradient of this Tensor to `.grad` of every leaf that it depends on and that requires one.

        Args:
            gradient: the cotangent, of this Tensor's shape; may be left out when it has one element (then 1).
            retain_graph: keep what the nodes saved, so that another backward may pass through them.
            create_graph: make `.grad` differentiable; implies retain_graph.
        """
        backward(self, gradient, retain_graph=retain_graph, create_graph=create_graph)

    def accumulate_grad(self, gradient, unshared=False):
        """Add `gradient` (array, or Tensor under create_graph) to `.grad`; keeps no reference to an array that others may hold (unless `unshared`)."""
        if isinstance(gradient, Tensor):
            gradient = gradient if gradient.requires_grad else Tensor(own(gradient.data))
            self.grad = gradient if self.grad is None else self.grad + gradient
        elif self.grad is None:
            buffer = self.grad_buffer
            if buffer is None:
                self.grad = Tensor(gradient if unshared else own(gradient))
            else:
                if gradient is not buffer.data:  # where a kernel wrote it there, it is
                    buffer.data[...] = gradient
                self.grad = buffer
        elif self.grad.requires_grad:
            self.grad = self.grad + gradient
        else:
            self.grad.data += gradient

    def zero_grad(self):
        """Forget the gradient."""
        self.grad = None

    def register_hook(self, hook):
        """Call `hook(gradient)` when this Tensor's gradient is known; what it returns, unless None, replaces it. Returns its `RemovableHandle`."""
        if not self.requires_grad:
            raise RuntimeError("register_hook: this Tensor does not require a gradient, so its hook would never run")
        owner = self.node or self
        owner.hooks = {} if owner.hooks is None else owner.hooks
        return RemovableHandle(owner.hooks, hook)

    def requires_grad_(self, requires_grad=True):
        """Switch the gradient of a leaf on or off; returns the Tensor itself."""
        if self.node is not None:
            raise RuntimeError(f"requires_grad_: only a leaf can be switched, and this Tensor was made by {self.node.op.name}; use .detach()")
        _check_differentiable(self.data, requires_grad)
        if requires_grad and self.version and self.version[0] == graph.EXPOSED:  # a writable array of it is about
            self.data, self.version = self.data.copy(), None
        self.requires_grad = requires_grad
        return self

    def detach(self):
        """A Tensor on the same array that is not part of the graph."""
        other = Tensor(self.data)
        other.version = graph._guard(self)
        return other

    def view(self, *shape):
        """A Tensor on the same elements that is one step further in the graph, in another shape if one is given."""
        return self.reshape(*shape) if shape else ops.identity(self)

    def to(self, where):
        """This Tensor on another device ("cpu", "cuda") or with another dtype; itself when it is there already."""
        if where in ("cpu", "cuda"):
            return ops.to_device(self, where)
        return self.astype(where)

    def astype(self, dtype):
        """This Tensor with another dtype; the gradient comes back in this one's."""
        return self if self.dtype == dtype else ops.astype(self, dtype=np.dtype(dtype))

    # Reading and writing parts

    def __getitem__(self, index):
        return ops.getitem(self, index=index)

    def __setitem__(self, index, value):
        """Write in place. Refused where a gradient would have to flow through the write: use `where` or `concatenate` there."""
        if self.requires_grad and graph.mode.recording:
            raise RuntimeError("a Tensor that requires a gradient is not changed in place; write under no_grad(), or build a new one with where or concatenate")
        if isinstance(value, Tensor) and value.requires_grad and graph.mode.recording:
            raise RuntimeError("the written value requires a gradient, which would be lost; write value.detach(), or build a new Tensor")
        graph.record_write(self)
        self.data[_plain(index)] = _plain(value)

    # NumPy's protocols

    def __array__(self, dtype=None, copy=None):
        if self.device != "cpu":
            raise TypeError("a Tensor on the GPU does not become a NumPy array unasked; move it with .to('cpu') or .numpy()")
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ValueError(f"cannot give a {self.dtype} Tensor as {np.dtype(dtype)} without copying")
            return array.astype(dtype)
        return array.copy() if copy else array

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        function = ops.NUMPY.get(ufunc) or ops.NUMPY.get(ufunc.__name__)
        if method == "reduce" and ufunc in ops.NUMPY_REDUCE:
            return ops.NUMPY_REDUCE[ufunc](*inputs, **{"axis": 0, **options})
        if function is None or method != "__call__":
            name = f"np.{ufunc.__name__}.{method}".removesuffix(".__call__")
            raise TypeError(f"{name} has no gradient rule here; write one with @minitx.op, or use np.asarray(tensor) where none is needed")
        if out is not None:
            raise TypeError(f"np.{ufunc.__name__}: out= is not possible with Tensors, whose values belong to a graph")
        return function(*inputs, **options)

    def __array_function__(self, function, types, args, kwargs):
        served = ops.NUMPY.get(function)
        if served is None:
            raise TypeError(f"np.{function.__name__} is not defined for Tensors; use np.asarray(tensor) where no gradient is needed")
        return served(*args, **kwargs)

    # Shapes: NumPy's methods, which take numbers one by one or as a tuple

    def reshape(self, *shape):
        """The same elements in another shape; one extent may be −1."""
        return ops.reshape(self, shape=_flat(shape))

    def transpose(self, *axes):
        """The axes in another order; without arguments, reversed."""
        return ops.transpose(self, axes=_flat(axes) or None)

    permute = transpose


_ARITHMETIC = {"add": ops.add, "sub": ops.subtract, "mul": ops.multiply, "truediv": ops.divide, "floordiv": ops.floor_divide, "mod": ops.mod,
               "pow": ops.power, "matmul": ops.matmul, "and": ops.bitwise_and, "or": ops.bitwise_or, "xor": ops.bitwise_xor}
_COMPARISONS = {"eq": ops.equal, "ne": ops.not_equal, "lt": ops.less, "le": ops.less_equal, "gt": ops.greater, "ge": ops.greater_equal}


def _operators(name, op):
    """`x + y` and, where x is something else, `y` asked to do it. `x += y` makes a new Tensor, but of a leaf under no_grad: there it is a step of training."""
    def in_place(self, other):
        if not self.requires_grad or self.node is not None or graph.mode.recording:
            return op(self, other)
        self[...] = op(self, other)
        return self

    setattr(Tensor, f"__{name}__", lambda self, other: NotImplemented if getattr(other, "__array_ufunc__", ...) is None else op(self, other))
    if name in _ARITHMETIC:
        setattr(Tensor, f"__r{name}__", lambda self, other: op(other, self))
        setattr(Tensor, f"__i{name}__", in_place)


for _name, _op in {**_ARITHMETIC, **_COMPARISONS}.items():
    _operators(_name, _op)


def _method(name, op):
    """A method that passes itself to an op; the ops' own docstrings say what they do."""
    def call(self, *args, **static):
        return op(self, *args, **static)

    call.__name__, call.__qualname__, call.__doc__ = name, f"Tensor.{name}", op.__doc__
    return call


for _name in ("sum", "mean", "var", "std", "max", "min", "prod", "cumsum", "argmax", "argmin", "argsort", "sort", "swapaxes", "clip", "repeat",
              "take", "diagonal", "trace", "dot", "round", "any", "all",
              "exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh", "sigmoid", "erf", "relu", "silu", "softplus", "abs", "sign", "square",
              "expand_dims", "broadcast_to", "moveaxis", "flip", "roll", "tile", "tril", "triu", "matmul", "outer", "logsumexp", "norm", "maximum",
              "minimum", "take_along_axis", "add", "subtract", "multiply", "divide", "negative", "power", "mod", "floor_divide", "floor", "ceil",
              "squeeze", "ravel", "copy", "split", "pad", "diag"):
    setattr(Tensor, _name, _method(_name, getattr(ops, _name)))

for _name, _op in {"__neg__": ops.negative, "__abs__": ops.abs, "__pos__": ops.identity, "__invert__": ops.invert, "__round__": ops.round,
                   "neg": ops.negative, "sub": ops.subtract, "mul": ops.multiply, "div": ops.divide, "pow": ops.power, "clamp": ops.clip,
                   "clone": ops.copy, "flatten": ops.ravel, "unsqueeze": ops.expand_dims,  # PyTorch's names
                   "softmax": fused.softmax, "log_softmax": fused.log_softmax, "gelu": fused.gelu}.items():
    setattr(Tensor, _name, _method(_name, _op))

graph.bind(Tensor)


def tensor(data, dtype=None, requires_grad=False, device=None):
    """A leaf Tensor with a copy of `data` (numbers, nested lists, an array, a Tensor), on `device` ("cpu", "cuda"), by default where the data is.

    float64 arrays stay float64; Python floats become float32, Python integers int64. `requires_grad` needs a floating-point dtype.
    """
    source = data.data if isinstance(data, Tensor) else data
    if isinstance(source, (list, tuple)) and (graph.graded(source) or any(isinstance(item, Tensor) for item in source)):
        raise TypeError("tensor: a list of Tensors is joined with stack or concatenate, which keep their gradients")
    array = np.array(source, dtype=dtype) if devices.of(source) == "cpu" else source.astype(dtype or source.dtype)
    if dtype is None and array.dtype == np.float64 and not any(hasattr(s, "dtype") for s in (source, *(source if isinstance(source, (list, tuple)) else ()))):
        array = array.astype(np.float32)
    if array.dtype == object:
        raise TypeError(f"tensor: cannot make an array of numbers from {type(data).__name__}; are the nested lists of equal lengths?")
    _check_differentiable(array, requires_grad)
    result = Tensor(array if device is None else ops.to_device(array, device))
    result.requires_grad = requires_grad
    return result


def _creator(function):
    """`np.zeros` and the like as a leaf Tensor, float32 unless a dtype is given."""
    def create(*args, dtype=np.float32, requires_grad=False, device=None, **options):
        return tensor(function(*args, **options), dtype, requires_grad, device)

    create.__name__ = create.__qualname__ = function.__name__
    create.__doc__ = f"np.{function.__name__} as a leaf Tensor; float32 by default."
    return create


zeros, ones, full, eye, arange, linspace = map(_creator, (np.zeros, np.ones, np.full, np.eye, np.arange, np.linspace))


def _check_differentiable(array, requires_grad):
    if requires_grad and array.dtype.kind != "f":
        raise TypeError(f"requires_grad: a gradient needs a floating-point dtype, and this is {array.dtype}; pass dtype=np.float32")


def _flat(numbers):
    """(2, 3) from 2, 3 or from (2, 3)."""
    return tuple(numbers[0]) if len(numbers) == 1 and isinstance(numbers[0], (tuple, list)) else tuple(numbers)


def _plain(value):
    """Arrays in place of Tensors, inside tuples too."""
    if isinstance(value, Tensor):
        return value.data
    return tuple(map(_plain, value)) if isinstance(value, tuple) else value
