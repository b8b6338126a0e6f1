"""{line: answer} of lines that are asked of CuPy and of its stand-in: what comes back, and how often the CPU waits for it.

The answers are those of CuPy 14.2.0. They are about shapes, dtypes, refusals and waiting, which need no GPU to be known: CuPy gave them with a driver
underneath that does nothing.
"""
import numpy as np

SETUP = {"a": ((4, 8), "float32"), "b": ((8, 4), "float32"), "i": ((3,), "int32"), "n": ((), "float32"), "c": ((2, 3, 4), "float32")}


def answer(line, library, waits):
    """What `line` gives with fresh arrays of zeros: "ndarray float32 (4, 8)", the type of another value, or that of an error; with ", waits 1" behind it."""
    names = {name: library.zeros(shape, dtype) for name, (shape, dtype) in SETUP.items()}
    names |= {"np": np, "cupy": library}
    before = waits()
    try:
        result = eval(line, names)
    except Exception as error:
        return type(error).__name__  # what it waits for to print an array is its own affair
    said = type(result).__name__
    if said == "ndarray":
        said = f"{'NumPy ' if isinstance(result, np.ndarray) else ''}{said} {result.dtype} {result.shape}"
    return said + (f", waits {waits() - before}" if waits() > before else "")


LINES = dict(line.split("  ->  ") for line in """
a + 1  ->  ndarray float32 (4, 8)
a * 2.0  ->  ndarray float32 (4, 8)
a + np.float32(1)  ->  ndarray float32 (4, 8)
np.float32(2) * a  ->  ndarray float32 (4, 8)
a + np.float64(1)  ->  ndarray float64 (4, 8)
np.float64(2) * a  ->  ndarray float64 (4, 8)
n * np.float32(2)  ->  ndarray float32 ()
0.0 + n  ->  ndarray float32 ()
n * (1.0 / 3)  ->  ndarray float32 ()
a * n  ->  ndarray float32 (4, 8)
a + np.ones((4, 8), "f4")  ->  TypeError
np.ones((4, 8), "f4") + a  ->  TypeError
a + np.array(1.0)  ->  TypeError
a == np.ones((4, 8), "f4")  ->  TypeError
a + [1] * 8  ->  TypeError
a.__iadd__(a)  ->  ndarray float32 (4, 8)
a.__iadd__(np.ones((4, 8), "f4"))  ->  TypeError
a.__imul__(0.5)  ->  ndarray float32 (4, 8)
1 / a  ->  ndarray float32 (4, 8)
a // 2  ->  ndarray float32 (4, 8)
a % a  ->  ndarray float32 (4, 8)
a ** 2  ->  ndarray float32 (4, 8)
2 ** a  ->  ndarray float32 (4, 8)
-a  ->  ndarray float32 (4, 8)
abs(a)  ->  ndarray float32 (4, 8)
~(a > 0)  ->  ndarray bool (4, 8)
a > np.float32(0)  ->  ndarray bool (4, 8)
np.float32(3) < a  ->  ndarray bool (4, 8)
a @ b  ->  ndarray float32 (4, 4)
a @ np.ones((8, 4), "f4")  ->  TypeError
np.ones((4, 8), "f4") @ b  ->  TypeError
np.matmul(a, b)  ->  ndarray float32 (4, 4)
np.matmul(a, b, out=cupy.zeros((4, 4), "f4"))  ->  ndarray float32 (4, 4)
a.dot(b)  ->  ndarray float32 (4, 4)
a.dot(b, out=cupy.zeros((4, 4), "f4"))  ->  ndarray float32 (4, 4)
a.T.dot(a, out=cupy.zeros((8, 8), "f4"))  ->  ndarray float32 (8, 8)
np.multiply(a, np.float32(2), out=None)  ->  ndarray float32 (4, 8)
np.multiply(a, n, out=a)  ->  ndarray float32 (4, 8)
np.multiply(a, 2, out=np.zeros((4, 8), "f4"))  ->  TypeError
np.add(a, np.ones(8, "f4"))  ->  TypeError
np.maximum(a, 0)  ->  ndarray float32 (4, 8)
np.maximum(1, n)  ->  ndarray float32 ()
(1 / np.maximum(1, n)).astype("f4")  ->  ndarray float32 ()
np.exp(a)  ->  ndarray float32 (4, 8)
np.logaddexp(a, np.float32(0))  ->  ndarray float32 (4, 8)
np.isfinite(a)  ->  ndarray bool (4, 8)
np.isneginf(a)  ->  ndarray bool (4, 8)
np.sign(a)  ->  ndarray float32 (4, 8)
np.round(a, 2)  ->  ndarray float32 (4, 8)
np.logical_and(a > 0, a > 1)  ->  ndarray bool (4, 8)
np.add.reduce(a)  ->  ndarray float32 (8,)
np.maximum.reduce(a, axis=0)  ->  NotImplementedError
np.add.at(a, 0, 1)  ->  NoneType
np.add.at(a, np.array([0, 0]), a[0])  ->  NoneType
np.add.at(a, cupy.array([0, 0]), a[0])  ->  NoneType
np.add.at(a, (np.array([0, 0]),), a[0])  ->  TypeError
cupy.add.at(a, (np.array([0, 0]),), a[0])  ->  NoneType
cupy.add.at(a, (cupy.array([0, 0]),), a[0])  ->  NoneType
np.sum(a)  ->  ndarray float32 ()
a.sum()  ->  ndarray float32 ()
a.sum(dtype=np.float64)  ->  ndarray float64 ()
a.sum(axis=(0, 1))  ->  ndarray float32 ()
np.sum(a, axis=0, keepdims=True)  ->  ndarray float32 (1, 8)
a.mean(-1)  ->  ndarray float32 (4,)
np.var(a, axis=0, ddof=1)  ->  ndarray float32 (8,)
np.max(a)  ->  ndarray float32 ()
np.max(a, axis=1, keepdims=True)  ->  ndarray float32 (4, 1)
np.max(a, initial=0)  ->  TypeError
np.prod(a, axis=0)  ->  ndarray float32 (8,)
np.any(a)  ->  ndarray bool ()
a.all()  ->  ndarray bool ()
np.cumsum(a, axis=0)  ->  ndarray float32 (4, 8)
i.cumsum(dtype=np.int32)  ->  ndarray int32 (3,)
np.argmax(a, axis=-1)  ->  ndarray int64 (4,)
a.argmax(axis=-1)  ->  ndarray int64 (4,)
np.count_nonzero(a)  ->  ndarray int64 ()
np.ptp(a)  ->  ndarray float32 ()
a.ptp()  ->  ndarray float32 ()
np.nonzero(a)  ->  tuple, waits 1
np.flatnonzero(a)  ->  ndarray int64 (0,), waits 1
np.argwhere(a)  ->  ndarray int64 (0, 2), waits 1
np.where(a > 0)  ->  tuple, waits 1
np.where(a > 0, a, np.float32(0))  ->  ndarray float32 (4, 8)
np.where(np.ones((4, 8), bool), a, np.float32(0))  ->  TypeError
np.clip(a, 0, 1)  ->  ndarray float32 (4, 8)
np.clip(a, None, 1)  ->  ndarray float32 (4, 8)
np.clip(a, np.zeros((4, 8), "f4"), None)  ->  TypeError
np.zeros_like(a)  ->  ndarray float32 (4, 8)
np.zeros_like(a, shape=(3,))  ->  ndarray float32 (3,)
np.zeros_like(a, shape=())  ->  ndarray float32 (4, 8)
np.empty_like(a, shape=(3,))  ->  ndarray float32 (3,)
np.ones_like(n)  ->  ndarray float32 ()
np.full_like(a, 3)  ->  ndarray float32 (4, 8)
np.array(a)  ->  TypeError
np.asarray(a)  ->  TypeError
np.float32(n)  ->  TypeError
np.full(3, n)  ->  TypeError
np.shape(a)  ->  tuple
np.ndim(a)  ->  int
np.size(a)  ->  int
np.copy(a)  ->  ndarray float32 (4, 8)
np.reshape(a, (8, 4))  ->  ndarray float32 (8, 4)
np.ravel(a)  ->  ndarray float32 (32,)
np.transpose(a, (1, 0))  ->  ndarray float32 (8, 4)
np.swapaxes(a, 0, 1)  ->  ndarray float32 (8, 4)
np.moveaxis(a, 0, 1)  ->  ndarray float32 (8, 4)
np.expand_dims(a, (0, 1))  ->  ndarray float32 (1, 1, 4, 8)
np.squeeze(a[None], (0,))  ->  ndarray float32 (4, 8)
np.squeeze(a, 1)  ->  ValueError
np.broadcast_to(a[0], (4, 8))  ->  ndarray float32 (4, 8)
np.broadcast_to(np.float32(1), (4, 8))  ->  NumPy ndarray float32 (4, 8)
np.concatenate([a, a], 0)  ->  ndarray float32 (8, 8)
np.concatenate((a, a), axis=None)  ->  ndarray float32 (64,)
np.concatenate([a, np.ones((4, 8), "f4")], 0)  ->  TypeError
np.stack([a, a], 0)  ->  ndarray float32 (2, 4, 8)
np.split(a, [1, 3], 0)  ->  list
np.flip(a, None)  ->  ndarray float32 (4, 8)
np.roll(a, (1, 2), (0, 1))  ->  ndarray float32 (4, 8)
np.tile(a, (2, 1))  ->  ndarray float32 (8, 8)
np.repeat(a, 2, 0)  ->  ndarray float32 (8, 8)
np.pad(a, ((0, 1), (0, 0)), constant_values=0)  ->  ndarray float32 (5, 8)
np.diagonal(a)  ->  ndarray float32 (4,)
np.take_along_axis(a, cupy.zeros((4, 1), "i8"), 1)  ->  ndarray float32 (4, 1)
np.take_along_axis(a, np.zeros((4, 1), "i8"), 1)  ->  ndarray float32 (4, 1)
np.einsum("ij,jk->ik", a, b)  ->  ndarray float32 (4, 4)
np.einsum("ij,jk->ik", a, np.ones((8, 4), "f4"))  ->  ndarray float32 (4, 4)
np.array_equal(a, a)  ->  ndarray bool ()
np.lib.stride_tricks.as_strided(a, (2,), (4,))  ->  TypeError
cupy.lib.stride_tricks.as_strided(a, (2,), (4,))  ->  ndarray float32 (2,)
np.array([1, 2])[i]  ->  TypeError
[1, 2, 3][i[0]]  ->  TypeError
a[0]  ->  ndarray float32 (8,)
a[0, 0]  ->  ndarray float32 ()
a[10]  ->  IndexError
a[1:, None]  ->  ndarray float32 (3, 1, 8)
a[::-1]  ->  ndarray float32 (4, 8)
a[..., 0]  ->  ndarray float32 (4,)
a[np.int64(1)]  ->  ndarray float32 (8,)
a[np.array([0, 1])]  ->  ndarray float32 (2, 8)
a[[0, 1]]  ->  ndarray float32 (2, 8)
a[cupy.array([0, 1])]  ->  ndarray float32 (2, 8)
a[cupy.array(1)]  ->  ndarray float32 (8,)
a[np.array([0, 1]), :3]  ->  ndarray float32 (2, 3)
c[np.array([[0], [1]]), np.array([[0, 1]])]  ->  ndarray float32 (2, 2, 4)
a[a > 0]  ->  ndarray float32 (0,), waits 1
a[np.zeros(4, bool)]  ->  ndarray float32 (0, 8), waits 1
a.__setitem__(..., 1)  ->  NoneType
a.__setitem__(..., a)  ->  NoneType
a.__setitem__(..., np.float32(3))  ->  NoneType
a.__setitem__(..., np.array(3.0))  ->  NoneType
a.__setitem__(..., np.ones((4, 8), "f4"))  ->  ValueError
a.__setitem__(0, [1] * 8)  ->  ValueError
a.__setitem__(np.array([0, 1]), a[:2])  ->  NoneType
c.__setitem__((np.array([[0], [1]]), np.array([[0, 1]])), c[:, :2])  ->  NoneType
a.fill(0)  ->  NoneType
a.get()  ->  NumPy ndarray float32 (4, 8), waits 1
n.item()  ->  float, waits 1
a.item()  ->  ValueError
a.tolist()  ->  list, waits 1
float(n)  ->  float, waits 1
int(n)  ->  int, waits 1
bool(n)  ->  bool, waits 1
bool(a)  ->  ValueError
n.__index__()  ->  AttributeError
len(a)  ->  int
list(a)  ->  list
hash(a)  ->  TypeError
repr(a)  ->  str, waits 1
format(n, ".3f")  ->  str, waits 1
round(n)  ->  TypeError
memoryview(a)  ->  TypeError
a.flags.c_contiguous  ->  bool
a.flags.writeable  ->  AttributeError
a.ctypes  ->  AttributeError
a.base  ->  NoneType
a[1:].base is a  ->  bool
a.reshape(-1).base is a  ->  bool
a[1:][1:].base is a  ->  bool
a.T.base is a  ->  bool
a.T.copy().base  ->  NoneType
(a + 1).base  ->  NoneType
a.astype(np.float32, copy=False) is a  ->  bool
a.astype("f8")  ->  ndarray float64 (4, 8)
a.T.copy().flags.c_contiguous  ->  bool
a.reshape(8, 4)  ->  ndarray float32 (8, 4)
a.transpose(1, 0)  ->  ndarray float32 (8, 4)
a.nbytes  ->  int
a.data.ptr % 16  ->  int
cupy.asarray(a) is a  ->  bool
cupy.asarray(np.ones(3))  ->  ndarray float64 (3,)
cupy.asarray([1.0])  ->  ndarray float64 (1,)
cupy.empty((3,), np.float32)  ->  ndarray float32 (3,)
cupy.full(2, np.float32(3), np.dtype("f4"))  ->  ndarray float32 (2,)
__import__("copy").deepcopy(a)  ->  ndarray float32 (4, 8)
""".strip().splitlines())
