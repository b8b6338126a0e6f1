"""What every operation is checked on: functions of Tensors; inputs broadcast, are empty, have one element or no axes."""
from dataclasses import dataclass, field
from typing import Callable

import numpy as np

from minitx.autograd import ops

CASES = []


@dataclass
class Case:
    """An operation on given inputs: the Tensors are differentiated, the static arguments are not."""

    name: str
    function: Callable
    shapes: tuple
    values: Callable
    static: dict = field(default_factory=dict)

    def arrays(self):
        rng = np.random.default_rng(sum(map(ord, repr(self))))
        return [self.values(rng, shape, position) for position, shape in enumerate(self.shapes)]

    def __call__(self, *tensors):
        return self.function(*tensors, **self.static)

    def __repr__(self):
        options = "".join(f",{key}={value}" for key, value in self.static.items())
        return f"{self.name}({','.join(map(str, self.shapes))}{options})".replace(" ", "")


def normal(rng, shape, position):
    return rng.normal(size=shape)


def positive(rng, shape, position):
    return rng.uniform(0.3, 2.0, size=shape)


def spaced(rng, shape, position):
    """Distinct values, no two inputs alike, none near a whole number: no ties and no kinks."""
    n = int(np.prod(shape))
    return (rng.permutation(n) - n // 2).reshape(shape) * 0.3 + 0.15 + 0.07 * position


def with_zeros(rng, shape, position):
    return rng.normal(size=shape) * (rng.uniform(size=shape) > 0.3)


ONE = [((2, 3),), ((0, 3),), ((1, 1),), ((),)]
TWO = [((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((2, 3), ()), ((0, 3), (1, 3)), ((1,), (1,)), ((), ())]


def add(name, shapes, values=normal, function=None, **static):
    CASES.append(Case(name, function or getattr(ops, name), shapes, values, static))


for name in "negative square exp expm1 sin cos tanh sigmoid erf silu softplus identity copy".split():
    for shapes in ONE:
        add(name, shapes)
for name in "sqrt log log1p".split():
    for shapes in ONE:
        add(name, shapes, positive)
for name in "abs relu sign floor ceil trunc rint round".split():
    for shapes in ONE:
        add(name, shapes, spaced)
for name in "add subtract multiply".split():
    for shapes in TWO:
        add(name, shapes)
for name in "divide power".split():
    for shapes in TWO:
        add(name, shapes, positive)
for name in "maximum minimum floor_divide mod".split():
    for shapes in TWO:
        add(name, shapes, spaced)
for exponent in (0, 1, 2, 3, -1, 0.5):
    add("power", ((2, 3),), positive, lambda x, exponent: x ** exponent, exponent=exponent)
add("power", ((2, 3),), normal, lambda x: 2.0 ** x)
add("power", ((2, 3),), with_zeros, lambda x: x ** 3)
for shapes in ONE:
    add("clip", shapes, spaced, a_min=-0.4, a_max=0.7)
add("clip", ((2, 3),), spaced, a_min=None, a_max=0.0)
add("clip", ((2, 3),), spaced, function=lambda x: ops.clip(x, min=0.0))
for shapes in TWO:
    add("clip", shapes, spaced, lambda x, bound: ops.clip(x, bound) + ops.clip(x, -0.4, bound + 1.0))
for shapes in TWO:
    add("where", shapes, function=lambda x, y: ops.where(np.arange(3) > 1, x, y))
add("astype", ((2, 3),), dtype=np.float64)
add("to_device", ((2, 3),), device="cpu")

AXES = [((2, 3), None), ((2, 3), 0), ((2, 3), -1), ((2, 3, 2), (0, 2)), ((2, 1), 1), ((1,), None), ((), None)]
for name, values in dict(sum=normal, mean=normal, var=normal, std=normal, max=spaced, min=spaced, prod=normal,
                         logsumexp=normal, norm=normal).items():
    for shape, axis in AXES:
        for keepdims in (False, True):
            one_number = np.prod(shape) == 1 or (shape, axis) == ((2, 1), 1)
            if name != "std" or not one_number:  # whose deviation is 0, where the root has a kink
                add(name, (shape,), values, axis=axis, keepdims=keepdims)
    add(name, ((0, 3),), values, axis=1)
for name in ("sum", "prod"):
    add(name, ((0, 3),), axis=0)
    add(name, ((2, 0),))
for axis in (None, 0, (0, 1)):
    add("prod", ((2, 3),), with_zeros, axis=axis)
add("var", ((4, 3),), axis=0, ddof=1)
add("std", ((4, 3),), axis=0, ddof=1)
for shape, axis in [((2, 3), None), ((2, 3), 0), ((2, 3), -1), ((0, 3), 0), ((1,), 0), ((), None)]:
    add("cumsum", (shape,), axis=axis)

for shape, new in [((2, 3), (3, 2)), ((2, 3), (-1,)), ((0, 3), (3, 0)), ((1,), ()), ((), (1, 1))]:
    add("reshape", (shape,), shape=new)
for shape, axes in [((2, 3), None), ((2, 3, 4), (1, 2, 0)), ((2, 3, 4), (0, -1, 1)), ((0, 3), (1, 0)), ((1,), (0,)),
                    ((), None)]:
    add("transpose", (shape,), axes=axes)
for shape, wide in [((3,), (2, 3)), ((2, 1), (2, 3)), ((), (2, 2)), ((1, 3), (0, 3)), ((1,), (1,))]:
    add("broadcast_to", (shape,), shape=wide)
for shape, shift, axis in [((2, 3), 1, None), ((2, 3), -1, 1), ((2, 3), (1, 2), (0, 1)), ((0, 3), 1, 0), ((1,), 3, 0),
                           ((), 1, None)]:
    add("roll", (shape,), shift=shift, axis=axis)
for shape, axis in [((2, 3), None), ((2, 3), 1), ((2, 3), (0, 1)), ((0, 3), 0), ((1,), 0), ((), None)]:
    add("flip", (shape,), axis=axis)
for shape, width in [((2, 3), 1), ((2, 3), ((0, 1), (2, 0))), ((3,), (1, 2)), ((0, 2), 1), ((1,), 0)]:
    add("pad", (shape,), pad_width=width, constant_values=0.5)
for shapes, axis in [(((2, 3), (1, 3)), 0), (((2, 3), (2, 2)), -1), (((2, 3), (3,)), None), (((0, 3), (1, 3)), 0),
                     (((1,),), 0)]:
    add("concatenate", shapes, function=lambda *xs, axis: ops.concatenate(xs, axis), axis=axis)
for shapes, axis in [(((2, 3), (2, 3)), 0), (((2, 3), (2, 3)), -1), (((0, 3), (0, 3)), 1), (((1,),), 0), (((), ()), 0)]:
    add("stack", shapes, function=lambda *xs, axis: ops.stack(xs, axis), axis=axis)
for shape, cuts, axis in [((4, 3), 2, 0), ((2, 5), [1, 3], 1), ((0, 2), 1, 0), ((1,), 1, 0)]:
    add("split", (shape,), function=lambda x, cuts, axis: tuple(ops.split(x, cuts, axis)), cuts=cuts, axis=axis)
for shape, a, b in [((2, 3, 4), 0, 2), ((2, 3), -1, 0), ((0, 3), 0, 1), ((1,), 0, 0)]:
    add("swapaxes", (shape,), axis1=a, axis2=b)
for shape, a, b in [((2, 3, 4), 0, 2), ((2, 3, 4), (0, 1), (2, 0)), ((0, 3), 0, 1)]:
    add("moveaxis", (shape,), source=a, destination=b)
for shape, axis in [((2, 3), 1), ((2, 3), (0, -1)), ((0, 3), 0), ((), 0)]:
    add("expand_dims", (shape,), axis=axis)
for shape, axis in [((2, 1, 3, 1), None), ((2, 1, 3), 1), ((0, 1), -1), ((1,), 0), ((), None)]:
    add("squeeze", (shape,), axis=axis)
for shape in [(2, 3), (0, 3), (1,), ()]:
    add("ravel", (shape,))
for shape, reps in [((2, 3), 2), ((2, 3), (2, 1)), ((3,), (2, 2)), ((0, 2), 2), ((1,), 3), ((), 2)]:
    add("tile", (shape,), reps=reps)
for shape, repeats, axis in [((2, 3), 2, None), ((2, 3), 2, 1), ((2, 3), [0, 2], 0), ((0, 2), 2, 0), ((1,), 3, 0)]:
    add("repeat", (shape,), repeats=repeats, axis=axis)

BASIC = [((4, 3), 1), ((4, 3), slice(1, None, 2)), ((4, 3), (slice(None), 1)), ((4, 3), (..., None, -1)),
         ((4, 3), slice(None, None, -1)), ((4, 3), slice(0, 0)),
         ((0, 3), slice(None)), ((1,), 0), ((), ())]
ADVANCED = [((4, 3), np.array([0, 2, 0, 0])), ((4, 3), ([1, 1], [0, 0])), ((4, 3), (slice(None), np.array([2, 2]))),
            ((4, 3), np.arange(4) % 2 == 0),
            ((4, 3), np.zeros((4, 3), bool)), ((2, 3, 4), (np.array([[0], [1]]), slice(None), np.array([1, 1]))),
            ((4, 3), np.array([], int)), ((3,), np.array(-1))]
for shape, index in BASIC + ADVANCED:
    add("getitem", (shape,), index=index)
add("scatter", ((3, 2),), index=np.array([0, 0, 4]), shape=(5, 2))
add("scatter", ((2,),), index=slice(1, 3), shape=(5,))
for shape, indices, axis in [((4, 3), [0, 0, 3], 0), ((4, 3), [[2, 1], [1, -1]], 1), ((4, 3), 5, None),
                             ((1,), [0, 0], 0), ((3, 2), np.zeros((0,), int), 0)]:
    add("take", (shape,), indices=np.array(indices), axis=axis)
for shape, indices, axis in [((2, 3), [[0, 0], [2, 1]], 1), ((2, 3), [[1, 0, 1]], 0), ((3, 2), [[0, 0]], 1),
                             ((1, 2), [[0], [1]], 1), ((1, 1), [[0]], 0), ((0, 3), np.zeros((0, 2), int), 1)]:
    add("take_along_axis", (shape,), indices=np.array(indices), axis=axis)
for shape, axis in [((2, 3), -1), ((2, 3), 0), ((2, 3), None), ((0, 3), 1), ((1,), 0)]:
    add("sort", (shape,), spaced, axis=axis)
for name in ("tril", "triu"):
    for shape, k in [((3, 3), 0), ((2, 4), 1), ((2, 3, 3), -1), ((0, 3), 0), ((1, 1), 0)]:
        add(name, (shape,), k=k)
for shape, k in [((3, 3), 0), ((2, 4), 1), ((3,), 0), ((2,), -1), ((1, 1), 0), ((0,), 0)]:
    add("diag", (shape,), k=k)
for name in ("diagonal", "trace"):
    for shape, offset in [((3, 3), 0), ((2, 4), 1), ((4, 2), -1), ((1, 1), 0), ((2, 3, 2), 0)]:
        add(name, (shape,), offset=offset)
add("diagonal", ((2, 3, 4),), offset=1, axis1=-1, axis2=0)

PRODUCTS = [((2, 3), (3, 4)), ((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((2, 2, 3), (3, 4)),
            ((2, 1, 2, 3), (3, 3, 2)), ((3,), (2, 3, 2)), ((2, 2, 3), (3,)),
            ((0, 3), (3, 2)), ((2, 0), (0, 3)), ((2, 2, 0), (0, 3)), ((0, 2, 3), (3, 2)), ((1, 1), (1, 1))]
for shapes in PRODUCTS:
    add("matmul", shapes)
    add("dot", shapes)
for subscripts, shapes in [("ij,jk->ik", ((2, 3), (3, 4))), ("bij,bjk", ((2, 2, 3), (2, 3, 2))),
                           ("...i,...i->...", ((2, 3), (3,))), ("ii->i", ((3, 3),)), ("ii", ((3, 3),)),
                           ("ij->", ((2, 3),)), ("i,j->ij", ((2,), (3,))), ("ij,jk,kl->il", ((2, 3), (3, 2), (2, 2))),
                           ("iij,j->i", ((2, 2, 3), (3,))),
                           ("ij->j", ((0, 3),)), ("ij,ij", ((1, 3), (2, 3))), ("i,ij->j", ((1,), (2, 3))), ("ij->ji", ((2, 3),)), (",i->i", ((), (3,)))]:
    add("einsum", shapes, function=lambda *xs, subscripts: ops.einsum(subscripts, *xs), subscripts=subscripts)
for shapes, axes in [(((2, 3), (3, 4)), 1), (((2, 3), (2, 3)), 2), (((2,), (3,)), 0),
                     (((2, 3, 4), (4, 3)), ([1, 2], [1, 0])), (((0, 3), (3, 2)), 1)]:
    add("tensordot", shapes, axes=axes)
for name in ("outer", "vdot"):
    for shapes in [((3,), (3,)), ((1,), (1,)), ((2, 2), (4,)), ((0,), (0,))]:
        add(name, shapes)
for shapes in [((3,), (3,)), ((2, 3), (4, 3)), ((), (2,)), ((0, 3), (2, 3))]:
    add("inner", shapes)
