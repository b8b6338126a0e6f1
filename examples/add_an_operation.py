"""Lesson: add an operation to minitx.

    python examples/add_an_operation.py            # the picture goes into the current folder, or --out FOLDER

The operation is Mish, x · tanh(softplus(x)) (Misra 2019), an activation that minitx does not have. At the end it has
a gradient of any order, answers to NumPy, works on float32 and float64, broadcasts, and has been checked.
"""
import argparse
from pathlib import Path

import numpy as np

import minitx as mx
from minitx.autograd import gradcheck, op
from minitx.autograd.functional import grad, hessian

parser = argparse.ArgumentParser(description="add an activation, check its gradient and draw it")
parser.add_argument("--out", default=".", metavar="FOLDER", help="where the picture goes (the current folder)")
parser.add_argument("--quick", action="store_true", help="does nothing here: this example takes a moment as it is")
options = parser.parse_args()

# 1. An operation is a forward on arrays, and a rule that says how a gradient passes through it backwards.
#
# With s = softplus(x) = log(1 + eˣ), whose derivative is σ(x), the product and chain rules give
#
#     d/dx  x tanh(s)  =  tanh(s) + x · (1 − tanh²(s)) · σ(x)
#
# The rule multiplies this by `g`, the gradient of the output. The names of its parameters say what the tape keeps
# until then: here `x`. (Had it named `out`, the output would be kept instead.) It is written with operations that work
# on arrays and on Tensors alike, which is all that higher derivatives need.


@op
def mish(x):
    """x tanh(log(1 + eˣ)), element by element (Misra 2019)."""
    return x * np.tanh(np.logaddexp(x, 0))


@mish.vjp
def _(g, x):
    t = np.tanh(mx.ops.softplus(x))
    return g * (t + x * (1 - t * t) * mx.ops.sigmoid(x))


# 2. It is an operation like any other: on arrays it returns arrays, on Tensors it records itself.

x = mx.tensor(np.array([-2.0, 0.0, 3.0]), requires_grad=True)
y = mish(x)
print("mish of an array: ", mish(np.array([-2.0, 0.0, 3.0])))
print("mish of a Tensor: ", y)

y.sum().backward()
print("its gradient:     ", x.grad)


# 3. Is the rule right? gradcheck compares it with what the values do when the inputs move a little.

print("\nfirst order:      ", gradcheck(mish, np.linspace(-3, 3, 12).reshape(3, 4)))
print("and broadcast:    ", gradcheck(lambda a, b: mish(a + b), [np.ones((3, 1)), np.linspace(-1, 1, 4)]))


# 4. What a wrong rule looks like. This one forgets the inner derivative σ(x), and is caught at the element where it
# hurts most.

@op
def careless_mish(x):
    return x * np.tanh(np.logaddexp(x, 0))


@careless_mish.vjp
def _(g, x):
    t = np.tanh(mx.ops.softplus(x))
    return g * (t + x * (1 - t * t))


try:
    gradcheck(careless_mish, np.linspace(-3, 3, 12).reshape(3, 4))
except AssertionError as error:
    print("\na wrong rule:     ", error)

# Some mistakes do not even reach a check: they are errors when the rule is registered.

try:
    careless_mish.vjp(lambda g, X: g * X)
except TypeError as error:
    print("a wrong name:     ", error)


# 5. The second derivative came for free, because the rule is made of operations that have rules. So did everything
# built on it.

print("\nsecond order:     ", gradcheck(mish, np.linspace(-3, 3, 5), order=2))
print("d²/dx² at 0:      ", grad(grad(mish))(np.float64(0.0)).item())
print("a Hessian:        ", np.diag(hessian(lambda x: mish(x).sum())(np.array([-1.0, 0.0, 1.0]))).round(4))


# 6. NumPy functions take its results as they are, and arrays and Tensors mix. The graph shows what happened.

a = mx.tensor(np.linspace(-1, 1, 6).reshape(2, 3), requires_grad=True)
loss = np.sum(np.exp(mish(a)) * np.array([1.0, 2.0, 3.0]), axis=1).mean()
print("\nNumPy on top:     ", loss, "\n")
mx.autograd.print_graph(loss, {"a": a})


# 7. See it. What matters most about an activation is where its derivative is small: there, little is learnt.

def picture(path):
    from matplotlib.figure import Figure

    at = np.linspace(-5, 3, 400)
    slope = lambda f: grad(lambda x: f(x).sum())  # noqa: E731
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots(1, 3, sharex=True)
    for name, f, style in (("mish", mish, "-"), ("gelu", mx.gelu, "--"), ("relu", mx.ops.relu, ":")):
        first = slope(f)
        for axis, curve in zip(axes, (f(at), first(at), slope(first)(at))):
            axis.plot(at, np.asarray(curve), style, label=name)
    for axis, title in zip(axes, ("value", "first derivative", "second derivative")):
        axis.set_title(title)
        axis.grid(alpha=0.3)
    axes[0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path


print("\nThe picture:", picture(Path(options.out) / "add_an_operation.png"))
