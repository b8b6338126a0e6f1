r"""
1. A gradient by hand
=====================

    *"Backpropagation is the chain rule, applied from the loss backwards: each operation needs to know only its own
    derivative."*

A network learns because somebody can tell, for each of its weights, what the loss would do if that weight were a little
larger. That is the gradient. Here it is found three times for the same small network: by hand, by minitx, and by trying
it out. Then we look at what each of the three costs, and how exact it is.
"""

# %%
# The network
# -----------
# One neuron with two inputs, a target :math:`t`, and a squared error:
#
# .. math::  z = w_1 x_1 + w_2 x_2 + b \qquad y = \tanh z \qquad L = (y - t)^2
#
# Written one operation at a time, so that each has a name:
import time

import numpy as np
from threadpoolctl import threadpool_limits

import minitx as mx
from lesson import BLUE, GREY, ORANGE, QUICK, claim, exponent, panels, picture, table

x1, x2, t = 2.0, -1.0, 0.5
w1, w2, b = 0.5, -0.25, -0.75

p1 = w1 * x1
p2 = w2 * x2
s = p1 + p2
z = s + b
y = np.tanh(z)
e = y - t
L = e ** 2

# %%
# The gradient, by hand
# ---------------------
# Start at the end: if :math:`L` grew by a little, :math:`L` would grow by as much, so :math:`\partial L/\partial L = 1`.
# Then go back one operation at a time. An operation multiplies what arrives at its output by its own derivative, and
# hands the product to its inputs. None of these lines looks further than one operation.
dL = 1.0
de = dL * 2 * e  # L = e²        the derivative of a square
dy = de * 1  # e = y − t
dz = dy * (1 - y ** 2)  # y = tanh z    tanh' = 1 − tanh²
ds = db = dz  # z = s + b     a sum hands on what it gets, to both
dp1 = dp2 = ds  # s = p1 + p2
dw1, dx1 = dp1 * x1, dp1 * w1  # p1 = w1·x1    a product: each gets the other
dw2, dx2 = dp2 * x2, dp2 * w2  # p2 = w2·x2

# %%
# The same by minitx
# ------------------
# A ``Tensor`` remembers how it was computed. ``backward`` then does what we did, in the same order. A hook on each
# Tensor shows us what passed.
steps, passed = {}, {}


def named(name, tensor):
    """Keep the Tensor under its name, and note the gradient that will arrive at it."""
    steps[name] = tensor
    tensor.register_hook(lambda gradient: passed.__setitem__(name, np.asarray(gradient).item()))
    return tensor


leaves = {name: mx.tensor(np.float64(value), requires_grad=True)
          for name, value in {"w₁": w1, "x₁": x1, "w₂": w2, "x₂": x2, "b": b}.items()}
W1, X1, W2, X2, B = (named(name, leaf) for name, leaf in leaves.items())
P1, P2 = named("w₁·x₁", W1 * X1), named("w₂·x₂", W2 * X2)
S = named("their sum", P1 + P2)
Z = named("z", S + B)
Y = named("y = tanh z", mx.tanh(Z))
E = named("y − t", Y - t)
LOSS = named("L", E ** 2)
LOSS.backward(retain_graph=True)  # else the graph would be gone afterwards; we want to draw it

by_hand = dict(zip(steps, (dw1, dx1, dw2, dx2, db, dp1, dp2, ds, dz, dy, de, dL)))
table(["", "value", "∂L/∂ by hand", "by minitx"],
      [(name, tensor.item(), by_hand[name], passed[name]) for name, tensor in steps.items()])

claim("by hand and by minitx, the gradients are the same to the last few bits",
      f"the largest difference is {max(abs(by_hand[name] - passed[name]) for name in steps):.1e}",
      all(np.isclose(by_hand[name], passed[name], rtol=1e-14, atol=0) for name in steps))

# %%
# The graph
# ---------
# What a Tensor remembers is the operation that made it and the Tensors that went in, which remember theirs. Together
# they are a graph. Values are computed along the arrows; gradients run against them.
places = {tensor.node or tensor: place for place, tensor in enumerate(steps.values())}
boxes = [(f"{name} = {tensor.item():.3g}", f"gradient {passed[name]:.3g}", "operation" if tensor.node else "leaf")
         for name, tensor in steps.items()]
arrows = [(places[parent], place) for place, tensor in enumerate(steps.values()) if tensor.node
          for parent in tensor.node.parents if parent is not None]
picture((boxes, arrows), "01_graph",
        "The network as a graph, leaves in blue: in bold the value of each step, computed downwards; below it the "
        "gradient of the loss by that step, computed upwards.")

# %%
# A value that is used twice
# --------------------------
# If a weight takes part in two places, the loss feels it on two roads, and the gradients of the roads are added. For
# :math:`f = w\cdot w` each factor gets the other one, :math:`w`; the sum is :math:`2w`, as it must be.
w = mx.tensor(np.float64(3.0), requires_grad=True)
(w * w).backward()
claim("gradients that arrive on several roads are added", f"d(w·w)/dw at w = {w.item():g} is {w.grad.item():g}",
      w.grad.item() == 2 * w.item())


# %%
# The third way: try it out
# -------------------------
# Without any calculus: move one weight by :math:`h` in both directions and see what the loss does,
#
# .. math::  \frac{\partial L}{\partial w} \approx \frac{L(w + h) - L(w - h)}{2h}.
#
# How small should :math:`h` be? The formula itself is wrong by about :math:`h^2`, so: small. But the computer rounds
# every number to 16 digits, and dividing the rounding error by :math:`2h` makes it large: so not too small.
def loss_at(w):
    return (np.tanh(w * x1 + w2 * x2 + b) - t) ** 2


h = 10.0 ** np.arange(-13, 0, 0.25)
wrong = np.abs((loss_at(w1 + h) - loss_at(w1 - h)) / (2 * h) - dw1) / abs(dw1)
best = wrong.argmin()
large = (h > 1e-4) & (h < 1e-1)  # where the formula is what is wrong, not the rounding
claim("trying out is wrong by about h² as long as h is large: the exponent is 2 to within 0.1",
      f"the exponent is {exponent(h[large], wrong[large]):.3f}", abs(exponent(h[large], wrong[large]) - 2) < 0.1)
claim("it never comes near to what backpropagation reaches: with the best h it is still wrong by more than 100 times "
      "as much as one rounding", f"{wrong[best]:.0e}, with h = {h[best]:.0e}; one rounding is {2.0 ** -53:.0e}",
      wrong[best] > 100 * 2.0 ** -53)

# %%
# What the two cost
# -----------------
# The greater difference is the price. To try out, each weight needs two runs of the network. Backpropagation finds the
# gradients by all weights at once, in about as many operations as the network itself has (the *cheap gradient
# principle*, Baur and Strassen 1983; Griewank and Walther 2008, chapter 3). We count the products of matrices in a
# network of growing size, because they are where the time goes; and for once we look at the clock as well.

def network(width):
    """A network of three layers of this width, its weights, and its loss."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(32, width))
    weights = [mx.tensor(generator.normal(size=(width, width)) / width ** 0.5, requires_grad=True) for _ in range(3)]

    def loss():
        hidden = x
        for weight in weights:
            hidden = mx.tanh(hidden @ weight)
        return (hidden ** 2).mean()

    return weights, loss


def seconds(function, seconds=0.02 if QUICK else 0.2):
    """The shortest time that a call took, on one thread."""
    best, until = np.inf, time.perf_counter() + seconds
    with threadpool_limits(1):
        while time.perf_counter() < until:
            start = time.perf_counter()
            function()
            best = min(best, time.perf_counter() - start)
    return best


def loss_and_gradient():
    for weight in weights:
        weight.grad = None
    loss().backward()


rows = []
for width in (8, 16, 32, 64, 128):
    weights, loss = network(width)
    n = sum(weight.size for weight in weights)
    with mx.no_grad():
        once = seconds(loss)
    rows.append((n, once * 1e3, seconds(loss_and_gradient) * 1e3, 2 * n * once * 1e3))
table(["weights", "loss (ms)", "loss and gradient (ms)", "by trying out (ms, from 2 runs per weight)"], rows)


class Counting(np.ndarray):
    """An array that counts the products of matrices in which it, or what is made of it, takes part."""

    products = 0

    def __array_ufunc__(self, function, method, *inputs, out=(), **options):
        Counting.products += function is np.matmul
        if out:
            options["out"] = tuple(map(np.asarray, out))
        return np.asarray(getattr(function, method)(*map(np.asarray, inputs), **options)).view(Counting)


counted = {}
for width in (8, 128):
    weights, loss = network(width)
    for weight in weights:
        weight.data = weight.data.view(Counting)
    Counting.products = 0
    value = loss()
    forwards = Counting.products
    value.backward()
    # Each product X·W of the network asks for two: one for the gradient of W, one for that of X, which the first layer
    # does not need, because its X is data.
    counted[width] = Counting.products - forwards, 2 * sum(weight.size for weight in weights) * forwards
claim("the gradient by all weights costs less than two more runs of the network, however many weights there are",
      "products of matrices, on top of the loss's own 3: " + "; ".join(
          f"{3 * width * width:,} weights: {backwards} backwards, {forwards:,} by trying out"
          for width, (backwards, forwards) in counted.items()),
      len({backwards for backwards, _ in counted.values()}) == 1 and counted[8][0] < 2 * 3)

# %%
# Both in one picture
# -------------------
figure, (left, right) = panels(1, 2, size=(11, 4))
left.loglog(h, np.maximum(wrong, 1e-17), "o-", color=ORANGE, markersize=4, label="trying out")
left.axhline(2.0 ** -53, color=BLUE, label="one rounding: backpropagation")
left.set(title="How wrong the gradient is", xlabel="h, the step that is tried out", ylabel="relative error")
left.legend(frameon=False)
weights_of, once, both, tried = np.array(rows).T
right.loglog(weights_of, tried, "o-", color=ORANGE, label="by trying out: 2 runs per weight")
right.loglog(weights_of, both, "s-", color=BLUE, label="loss and gradient, by backpropagation")
right.loglog(weights_of, once, "^--", color=GREY, label="the loss alone")
right.set(title="What it costs", xlabel="weights of the network", ylabel="milliseconds")
right.legend(frameon=False)
picture(figure, "01_cost",
        "Left: trying out is wrong by the formula when h is large, by rounding when it is small. Right: the time for "
        "one loss, for the loss with its gradient, and what trying out every weight would take.")

# %%
# What to remember
# ----------------
# A gradient is exact, to rounding, and it costs about as much as two more runs of the network, whether there are a
# hundred weights or a hundred million. Each operation knows one thing, its own derivative: it stands beside the operation
# in ``minitx/autograd/ops/``, and ``examples/add_an_operation.py`` adds one.
