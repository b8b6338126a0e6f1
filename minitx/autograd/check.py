"""`gradcheck`: does a function's gradient agree with what its values do when the inputs move a little?

For a direction v of the inputs and a cotangent u of the output, reverse mode claims uᵀ(J v) = (uᵀJ) v. The left side is measured, as
uᵀ (f(x + εv) − f(x − εv)) / 2ε, whose error is of order ε² + 10⁻¹⁶/ε: this is why everything here is float64.
"""
import numpy as np

from . import graph
from .backward import gradients
from .functional import _several, _tensors
from .tensor import Tensor, tensor


class GradientMismatch(AssertionError):
    """A gradient disagrees with the function's values. The message says for which input and element, what was expected and what came."""


def gradcheck(function, inputs, eps=1e-6, rtol=1e-5, atol=1e-7, full_jacobian=False, order=1, seed=0):
    """Compare the gradients of `function` with central differences; True, or a `GradientMismatch` that says where they part.

    Args:
        function: takes Tensors, one per input; returns a Tensor or a tuple of them. It must give the same result each time.
        inputs: one array or Tensor, or a tuple or list of them. Those of float64 are checked; integers and booleans are constants.
        eps: the step of the differences.
        rtol, atol: passes where |got − expected| ≤ atol + rtol · |expected|.
        full_jacobian: compare every element of the Jacobian. Otherwise random projections of it, which a wrong gradient passes with probability 0.
        order: 2 compares also the gradient's own gradient, and the gradient under create_graph=True with the ordinary one.
        seed: of the random projections.

    Raises TypeError where no input is floating-point, or one is float32, too coarse for such differences.
    """
    inputs = [np.array(x.data if isinstance(x, Tensor) else x) for x in (inputs if isinstance(inputs, (tuple, list)) else [inputs])]
    checked = [i for i, x in enumerate(inputs) if x.dtype.kind == "f"]
    if not checked:
        raise TypeError("gradcheck: no input is a floating-point array, so there is nothing to differentiate")
    for i in checked:
        if inputs[i].dtype != np.float64:
            raise TypeError(f"gradcheck: input {i} is {inputs[i].dtype}, too coarse for differences of step {eps}; pass it as float64")
    if order not in (1, 2):
        raise ValueError(f"gradcheck: order is 1 or 2, and this is {order!r}")
    rng = np.random.default_rng(seed)
    probe = _Probe(function, checked)
    outputs = probe.values(inputs)
    for k, (once, again) in enumerate(zip(outputs, probe.values(inputs))):
        if not np.isfinite(once).all():
            raise GradientMismatch(f"gradcheck: output {k} has NaN or infinite elements at these inputs")
        if not np.array_equal(once, again):
            raise GradientMismatch(f"gradcheck: output {k} differs between two calls with the same inputs; fix its random numbers (a seed, a key)")
    if full_jacobian:
        labelled = [(f", output {k}, element {place}", [one if j == k else np.zeros_like(o) for j, o in enumerate(outputs)])
                    for k, out in enumerate(outputs) for place, one in _one_hot(out)]
    else:
        labelled = [("", [rng.normal(size=out.shape) for out in outputs]) for _ in range(2)]
    found = [probe.gradients(inputs, cotangents) for _, cotangents in labelled]
    for column, i in enumerate(checked):
        def measured(cotangents, differences):
            return sum(np.sum(u * d) for u, d in zip(cotangents, differences))

        direction = rng.normal(size=inputs[i].shape)
        along, by_element = probe.differences(inputs, i, direction, eps), None
        for (label, cotangents), gradients in zip(labelled, found):
            gradient, expected = gradients[column], measured(cotangents, along)
            if full_jacobian or not _close(np.sum(gradient * direction), expected, rtol, atol):
                by_element = by_element or [probe.differences(inputs, i, one, eps) for _, one in _one_hot(inputs[i])]
                _compare_elements(f"input {i}{label}", gradient, [measured(cotangents, d) for d in by_element], rtol, atol)
            if not full_jacobian and not _close(np.sum(gradient * direction), expected, rtol, atol):
                _fail(f"input {i}, along a random direction", np.sum(gradient * direction), expected)
    if order == 2:
        _check_second_order(probe, inputs, checked, outputs, rng, dict(eps=eps, rtol=rtol, atol=atol, full_jacobian=full_jacobian, seed=seed))
    return True


class _Probe:
    """The function on plain arrays: its values, and its gradients by reverse mode."""

    def __init__(self, function, checked):
        self.function, self.checked = function, checked

    def values(self, arrays):
        tensors = [Tensor(array.copy()) for array in arrays]
        with graph.no_grad():
            outputs = _tensors("gradcheck", _several(self.function(*tensors)))
        for i, (after, before) in enumerate(zip(tensors, arrays)):
            if not np.array_equal(after.data, before, equal_nan=before.dtype.kind == "f"):
                raise GradientMismatch(f"gradcheck: the function changes its input {i} in place")
        return [np.asarray(out.data, np.float64) for out in outputs]

    def differences(self, arrays, i, direction, eps):
        """(f(x + εv) − f(x − εv)) / 2ε for each output, moving input `i` alone."""
        ahead, behind = (self.values([x + step * direction if j == i else x for j, x in enumerate(arrays)]) for step in (eps, -eps))
        return [(a - b) / (2 * eps) for a, b in zip(ahead, behind)]

    def gradients(self, arrays, cotangents):
        tensors = [tensor(array, requires_grad=i in self.checked) for i, array in enumerate(arrays)]
        return [gradient.data for gradient in self.differentiate(tensors, cotangents, create_graph=False)]

    def differentiate(self, tensors, cotangents, create_graph):
        """One gradient Tensor per checked input, zeros where the outputs do not depend on it."""
        with graph.grad_mode(True):
            outputs = _tensors("gradcheck", _several(self.function(*tensors)))
            pairs = [(out, u) for out, u in zip(outputs, cotangents) if out.requires_grad]
            wanted, found = [tensors[i] for i in self.checked], [None] * len(self.checked)
            if pairs:
                found = gradients([out for out, _ in pairs], wanted, [u for _, u in pairs], create_graph=create_graph)
        return [Tensor(np.zeros_like(x.data)) if g is None else g for g, x in zip(found, wanted)]


def _check_second_order(probe, inputs, checked, outputs, rng, options):
    """The map (inputs, cotangents) → gradients is a function like any other: check the gradient of that."""
    cotangents = [rng.normal(size=out.shape) for out in outputs]
    n = len(inputs)

    def gradient_map(*tensors):
        starts = [tensor(t, requires_grad=True) if i in checked and not t.requires_grad else t for i, t in enumerate(tensors[:n])]
        return tuple(probe.differentiate(starts, tensors[n:], create_graph=True))

    ordinary = probe.gradients(inputs, cotangents)
    for i, plain, built in zip(checked, ordinary, gradient_map(*map(Tensor, [*inputs, *cotangents]))):
        if not np.all(_close(built.data, plain, options["rtol"], options["atol"])):
            place = _place(np.abs(plain - built.data))
            _fail(f"input {i}, element {place} of the gradient under create_graph=True", built.data[place], plain[place], "the ordinary gradient")
    try:
        gradcheck(gradient_map, [*inputs, *cotangents], **options)
    except GradientMismatch as error:
        raise GradientMismatch(f"second order (inputs {n} and above are the cotangents): {error}") from None


def _compare_elements(where, gradient, expected, rtol, atol):
    """Find the element whose gradient is furthest from the measured one, and fail if it is too far."""
    expected = np.array(expected).reshape(gradient.shape)
    wrong = ~_close(gradient, expected, rtol, atol)  # also where it is NaN
    if wrong.any():
        place = _place(np.where(wrong, np.nan_to_num(np.abs(gradient - expected), nan=np.inf), -1.0))
        _fail(f"{where}, element {place} ({wrong.sum()} of {wrong.size} elements differ)", gradient[place], expected[place])


def _fail(where, got, expected, source="measured"):
    raise GradientMismatch(f"gradcheck: {where}: expected {expected:.9g} ({source}), got {got:.9g}")


def _close(got, expected, rtol, atol):
    return np.abs(got - expected) <= atol + rtol * np.abs(expected)


def _place(gap):
    return tuple(int(i) for i in np.unravel_index(np.argmax(gap), gap.shape))


def _one_hot(array):
    for i in np.ndindex(array.shape):
        one = np.zeros(array.shape)
        one[i] = 1
        yield i, one
