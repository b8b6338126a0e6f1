"""A stand-in for CuPy where there is no GPU: arrays that are not NumPy's, answer as CuPy's do, and refuse what CuPy refuses.

`answers.py` holds what CuPy itself answered to the same lines. The "device memory" is NumPy's, and only `get` and the like bring it to main memory;
`waits` counts how often that happened, because there the CPU waits for the GPU. Fresh memory is full of NaN, or of absurd integers.
"""
import contextlib
import sys
import types

import numpy as np
import scipy.special

UFUNCS = set("""
    add subtract multiply divide true_divide floor_divide remainder mod power float_power negative positive absolute sign sqrt square exp expm1 log log1p
    sin cos tanh maximum minimum floor ceil trunc rint equal not_equal less less_equal greater greater_equal logical_and logical_or logical_not isnan isinf isfinite
    bitwise_and bitwise_or bitwise_xor invert left_shift right_shift logaddexp matmul divmod
""".split())

FUNCTIONS = {  # what is used of CuPy's functions, with the arguments that they have there
    **dict.fromkeys("sum prod".split(), "a axis dtype out keepdims"), **dict.fromkeys("max min amax amin".split(), "a axis out keepdims"),
    **dict.fromkeys("var std".split(), "a axis dtype out ddof keepdims"), **dict.fromkeys("any all".split(), "a axis out keepdims"),
    **dict.fromkeys("argmax argmin".split(), "a axis dtype out keepdims"), "mean": "a axis dtype out keepdims", "cumsum": "a axis dtype out",
    "count_nonzero": "a axis", "clip": "a a_min a_max out", "where": "condition x y", "round": "a decimals out", "ptp": "a axis out keepdims",
    "zeros_like": "a dtype order subok shape", "ones_like": "a dtype order subok shape", "empty_like": "a dtype order subok shape",
    "full_like": "a fill_value dtype order subok shape", "copy": "a order", "reshape": "a newshape order", "ravel": "a order",
    "transpose": "a axes", "swapaxes": "a axis1 axis2", "moveaxis": "a source destination", "expand_dims": "a axis", "squeeze": "a axis",
    "broadcast_to": "array shape", "concatenate": "tup axis out", "stack": "tup axis out", "split": "ary indices_or_sections axis", "flip": "a axis",
    "roll": "a shift axis", "tile": "A reps", "repeat": "a repeats axis", "pad": "array pad_width mode constant_values", "diagonal": "a offset axis1 axis2",
    "take_along_axis": "a indices axis", "argsort": "a axis kind", "einsum": "subscripts *operands optimize", "dot": "a b out", "tensordot": "a b axes",
    "isneginf": "x out", "isclose": "a b rtol atol equal_nan", "allclose": "a b rtol atol equal_nan", "array_equal": "a1 a2 equal_nan",
    "nonzero": "a", "flatnonzero": "a", "argwhere": "a", "shape": "a", "ndim": "a", "size": "a",
}
_COMPARISONS = {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}
_TAKE_NUMPY = {"take_along_axis", "einsum"}  # CuPy brings their NumPy arrays to the GPU itself
_WAIT = {"nonzero", "flatnonzero", "argwhere"}  # the size of the result depends on values
_OF_THE_SHAPE = {"shape", "ndim", "size"}
_NUMBERS = (int, float, bool, complex, np.generic)

waits = 0


def _wait():
    global waits
    waits += 1


class Flags:
    """There is no `writeable` among them."""

    def __init__(self, flags):
        self.c_contiguous, self.f_contiguous, self.owndata = flags.c_contiguous, flags.f_contiguous, flags.owndata


class Pointer:
    """`ptr`, an address."""

    def __init__(self, address):
        self.ptr = address


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):
    """CuPy's array. `simulated` is its memory, for what stands for kernels."""

    __module__ = "cupy"
    __hash__ = None
    __array_priority__ = 100

    def __init__(self, shape, dtype=float):
        dtype = np.dtype(dtype)
        self.simulated, self.base = np.full(shape, np.nan if dtype.kind == "f" else dtype.type(12345), dtype), None

    shape = property(lambda self: self.simulated.shape)
    dtype = property(lambda self: self.simulated.dtype)
    ndim = property(lambda self: self.simulated.ndim)
    size = property(lambda self: self.simulated.size)
    nbytes = property(lambda self: self.simulated.nbytes)
    itemsize = property(lambda self: self.simulated.itemsize)
    strides = property(lambda self: self.simulated.strides)
    flags = property(lambda self: Flags(self.simulated.flags))
    data = property(lambda self: Pointer(self.simulated.ctypes.data))
    T = property(lambda self: self if self.ndim < 2 else wrap(self.simulated.T, self))
    mT = property(lambda self: wrap(self.simulated.mT, self))

    # To main memory

    def get(self):
        _wait()
        return self.simulated.copy()

    def item(self):
        if self.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        return self.get().item()

    def tolist(self):
        return self.get().tolist()

    def __float__(self):
        return float(self.get())

    def __int__(self):
        return int(self.get())

    def __bool__(self):
        if self.size != 1:
            raise ValueError("The truth value of an array with more than one element is ambiguous. Use a.any() or a.all()")
        return bool(self.get())

    def __repr__(self):
        return repr(self.get())

    def __format__(self, spec):
        return format(self.get(), spec)

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array explicitly.")

    # Elements

    def __len__(self):
        return len(self.simulated)

    def __iter__(self):
        return (self[place] for place in range(len(self)))

    def __getitem__(self, index):
        return wrap(self.simulated[_index(index)], self)

    def __setitem__(self, index, value):
        if isinstance(value, list) or isinstance(value, np.ndarray) and value.ndim:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        self.simulated[_index(index)] = value.simulated if isinstance(value, ndarray) else value

    def __deepcopy__(self, memo):
        return self.copy()

    __copy__ = lambda self: self.copy()

    # NumPy's protocols

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        if ufunc.__name__ not in UFUNCS or not all(isinstance(x, (ndarray, np.ndarray, *_NUMBERS)) for x in inputs):
            return NotImplemented
        if method == "reduce" and ufunc is not np.add:
            raise NotImplementedError(f"`cupy_{ufunc.__name__}.reduce` is not supported yet")
        if method not in ("__call__", "at", "reduce", "outer"):
            return NotImplemented
        if ufunc.__name__ in _COMPARISONS:  # which turn NumPy's scalars into arrays before they ask
            inputs = [x.item() if isinstance(x, np.ndarray) and x.shape == () else x for x in inputs]
        if method == "at":
            return _at(ufunc, *inputs)
        plain = [_plain(x) for x in inputs]
        if out is None:
            return wrap(getattr(ufunc, method)(*plain, **options), *inputs)
        getattr(ufunc, method)(*plain, out=_plain(out[0]), **options)
        return out[0]

    def __array_function__(self, function, kinds, args, options):
        name = function.__name__
        if name not in FUNCTIONS or not all(issubclass(kind, (ndarray, np.ndarray)) for kind in kinds):
            return NotImplemented
        known = FUNCTIONS[name].split()
        for option in options:
            if option not in known:
                raise TypeError(f"{name}() got an unexpected keyword argument {option!r}")
        if name.endswith("_like") and options.get("shape") == ():
            options = {**options, "shape": None}  # CuPy takes () for None
        if name in _WAIT or name == "where" and len(args) == 1:
            _wait()
        plain = _plain(args, name in _TAKE_NUMPY), _plain(options, name in _TAKE_NUMPY)
        result = function(*plain[0], **plain[1])
        if name in _OF_THE_SHAPE:
            return result
        return type(result)(wrap(part, *args) for part in result) if isinstance(result, (list, tuple)) else wrap(result, *args)


def _method(name):
    def call(self, *args, **options):
        result = getattr(self.simulated, name)(*_plain(args), **_plain(options))
        return self if result is self.simulated else None if result is None else wrap(result, self, *args)

    call.__name__ = name
    return call


for _name in """all any argmax argmin astype clip copy cumsum diagonal dot fill flatten max mean min prod ravel repeat reshape round squeeze std sum swapaxes
        take transpose var view""".split():
    setattr(ndarray, _name, _method(_name))
ndarray.ptp = lambda self, axis=None: np.ptp(self, axis)


def _plain(value, takes_numpy=False):
    """The memory of arrays, inside lists, tuples and dictionaries too; NumPy's arrays are refused."""
    if isinstance(value, ndarray):
        return value.simulated
    if isinstance(value, np.ndarray) and not takes_numpy:
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, dict):
        return {name: _plain(part, takes_numpy) for name, part in value.items()}
    return type(value)(_plain(part, takes_numpy) for part in value) if type(value) in (list, tuple) else value


def wrap(result, *sources):
    """An array of this memory; its base is the source that it is a view of. There are no scalars: what has no axes is an array, too."""
    array = ndarray.__new__(ndarray)
    array.simulated, array.base = np.asarray(result), None
    for source in sources:
        if isinstance(source, ndarray) and array.simulated.base is not None and np.may_share_memory(array.simulated, source.simulated):
            array.base = source if source.base is None else source.base
    return array


def _index(index):
    """Of NumPy: CuPy takes its arrays as indices. For a mask, the CPU waits."""
    if isinstance(index, tuple):
        return tuple(map(_index, index))
    index = index.simulated if isinstance(index, ndarray) else index
    if isinstance(index, np.ndarray) and index.dtype == bool:
        _wait()
    return index


def _at(ufunc, target, index, value):
    ufunc.at(target.simulated, _index(index), _plain(value))


# The modules

def _asarray(value, dtype=None):
    return value if isinstance(value, ndarray) and dtype in (None, value.dtype) else wrap(np.array(_plain(value, takes_numpy=True), dtype))


class _Ufunc:
    """CuPy's own, whose `at` takes tuples, as NumPy's does not when it is given CuPy's arrays."""

    def __init__(self, ufunc):
        self._ufunc = ufunc

    def __call__(self, *inputs, out=None):
        return _asarray(inputs[0]).__array_ufunc__(self._ufunc, "__call__", *inputs, out=None if out is None else (out,))

    def at(self, target, index, value):
        _at(self._ufunc, target, index, value)


def _modules():
    cupy, cupyx, scipy_, special, lib, tricks = map(types.ModuleType, ("cupy", "cupyx", "cupyx.scipy", "cupyx.scipy.special", "lib", "stride_tricks"))
    cupy.ndarray, cupy.asarray, cupy.array = ndarray, _asarray, lambda value, dtype=None: wrap(np.array(_plain(value, True), dtype))
    cupy.empty = ndarray
    for name in ("zeros", "ones"):
        setattr(cupy, name, lambda shape, dtype=float, function=getattr(np, name): wrap(function(shape, dtype)))
    cupy.full = lambda shape, value, dtype=None: wrap(np.full(shape, _plain(value), dtype))
    for name in UFUNCS - {"divmod"}:
        setattr(cupy, name, _Ufunc(getattr(np, name)))
    special.expit, special.erf = (lambda x, function=function: wrap(function(_plain(x))) for function in (scipy.special.expit, scipy.special.erf))
    tricks.as_strided = lambda x, shape, strides: wrap(np.lib.stride_tricks.as_strided(x.simulated, shape, strides), x)
    lib.stride_tricks, cupy.lib, cupyx.scipy, scipy_.special = tricks, lib, scipy_, special
    return {"cupy": cupy, "cupyx": cupyx, "cupyx.scipy": scipy_, "cupyx.scipy.special": special}


@contextlib.contextmanager
def installed():
    """Within the block, `import cupy` gives the stand-in."""
    before = {name: sys.modules.get(name) for name in _modules()}
    sys.modules.update(_modules())
    try:
        yield sys.modules["cupy"]
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module
