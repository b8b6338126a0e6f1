"""What the gradient is where a function has a tie, a kink or a hole: one line per operation, as its docstring says."""
import numpy as np
import pytest

from minitx.autograd import fused, gradients, ops, tensor


def slope(function, *values):
    leaves = [tensor(np.array(value, dtype=float), requires_grad=True) for value in values]
    with np.errstate(all="ignore"):
        found = gradients([ops.sum(function(*leaves))], leaves)
    return [gradient.tolist() for gradient in found]


@pytest.mark.parametrize("function, at, expected", [
    (ops.abs, 0.0, 0.0),
    (ops.sign, 0.0, 0.0),
    (ops.relu, 0.0, 0.0),
    (ops.floor, 2.0, 0.0),
    (ops.ceil, 2.0, 0.0),
    (ops.round, 2.5, 0.0),
    (ops.trunc, 2.0, 0.0),
    (lambda x: ops.sqrt(ops.relu(x)), [-1.0, 0.0, 4.0], [0.0, 0.0, 0.25]),  # an infinite gradient stays where it belongs
    (lambda x: ops.sqrt(ops.maximum(x, 0.0)), [-1.0, 4.0], [0.0, 0.25]),
    (lambda x: ops.sqrt(ops.minimum(-x, 0.0) * -1), [-1.0, 4.0], [0.0, 0.25]),
    (lambda x: ops.sqrt(ops.clip(x, 0, 1)), [-1.0, 2.0, 0.25], [0.0, 0.0, 1.0]),
    (lambda x: ops.sqrt(ops.floor(x)), [0.5, 2.5], [0.0, 0.0]),
    (lambda x: ops.sqrt(ops.floor_divide(x, 2.0)), [0.5, 4.5], [0.0, 0.0]),
    (ops.std, [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]),
    (ops.std, [1.0], [0.0]),
    (lambda x: ops.std(x, axis=0), [[1.0, 2.0], [1.0, 6.0]], [[0.0, -0.5], [0.0, 0.5]]),
    (ops.sqrt, 0.0, np.inf),
    (ops.log, 0.0, np.inf),
    (lambda x: ops.clip(x, 0, 1), [0.0, 1.0, -0.1, 1.1], [1.0, 1.0, 0.0, 0.0]),
    (lambda x: ops.clip(x, tensor([0.0, 0.0], requires_grad=True)), [0.0, -0.1], [1.0, 0.0]),
    (lambda x: x ** 0, 0.0, 0.0),
    (lambda x: x ** 1, 0.0, 1.0),
    (lambda x: x ** 2, 0.0, 0.0),
    (lambda x: x ** 0.5, 0.0, np.inf),
    (lambda x: x ** -1, 0.0, -np.inf),
    (lambda x: 0.0 ** x, 2.0, 0.0),
    (lambda x: 0.0 ** x, -1.0, -np.inf),
    (lambda x: ops.max(x), [3.0, 1.0, 3.0], [0.5, 0.0, 0.5]),
    (lambda x: ops.min(x), [1.0, 1.0, 1.0], [1 / 3, 1 / 3, 1 / 3]),
    (lambda x: ops.norm(x), [0.0, 0.0], [0.0, 0.0]),
    (lambda x: ops.prod(x), [0.0, 2.0, 3.0], [6.0, 0.0, 0.0]),
    (lambda x: ops.prod(x), [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]),
    (lambda x: ops.logsumexp(x), [-np.inf, -np.inf], [0.0, 0.0]),
    (lambda x: ops.logsumexp(x), [-np.inf, 1.0], [0.0, 1.0]),
    (lambda x: ops.logsumexp(x), [1000.0, 1000.0], [0.5, 0.5]),
    (lambda x: ops.sort(x)[0], [2.0, 1.0, 1.0], [0.0, 1.0, 0.0]),
    (lambda x: ops.floor_divide(x, 2.0), 4.0, 0.0),
    (lambda x: ops.mod(x, 2.0), 4.0, 1.0),
    (lambda x: ops.where(np.array([True, False]), x, 0.0), [np.inf, np.nan], [1.0, 0.0]),
    (lambda x: x[[0, 0, 1]], [1.0, 2.0], [2.0, 1.0]),
    (lambda x: x[(0, 0, 1), :], [[1.0], [2.0]], [[2.0], [1.0]]),
    (lambda x: x[(0, 0, 1), (0, 0, 0)], [[1.0], [2.0]], [[2.0], [1.0]]),
    (lambda x: ops.take(x, (0, 0, 1)), [1.0, 2.0], [2.0, 1.0]),
    (lambda x: ops.take(x, (0, 0, 1), axis=0), [[1.0], [2.0]], [[2.0], [1.0]]),
    (ops.softplus, [-800.0, 0.0, 800.0], [0.0, 0.5, 1.0]),
    (ops.sigmoid, [-800.0, 0.0, 800.0], [0.0, 0.25, 0.0]),
    (ops.silu, [-800.0, 0.0, 800.0], [0.0, 0.5, 1.0]),
    (fused.gelu, [-40.0, 0.0, 40.0], [0.0, 0.5, 1.0]),
])
def test_convention_for_one_input(function, at, expected):
    np.testing.assert_allclose(slope(function, at)[0], expected, atol=1e-15)


@pytest.mark.parametrize("function, x, y, expected", [
    (ops.maximum, 1.0, 1.0, [0.5, 0.5]),
    (ops.minimum, 1.0, 1.0, [0.5, 0.5]),
    (ops.maximum, 2.0, 1.0, [1.0, 0.0]),
    (ops.power, 0.0, 0.0, [0.0, 0.0]),
    (ops.power, 0.0, 2.0, [0.0, 0.0]),
    (ops.mod, 4.0, 2.0, [1.0, -2.0]),
])
def test_convention_for_two_inputs(function, x, y, expected):
    assert slope(function, x, y) == expected


def test_a_gradient_of_a_power_is_finite_where_the_other_branch_is_not_taken():
    x = tensor(np.array([0.0, 4.0]), requires_grad=True)
    safe = ops.where(x.data > 0, x, 1.0)
    ops.where(x.data > 0, ops.sqrt(safe), 0.0).sum().backward()
    np.testing.assert_array_equal(x.grad.data, [0.0, 0.25])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_repeated_indices_add_up_in_every_way_of_indexing(dtype):
    x = tensor(np.zeros((3, 2), dtype), requires_grad=True)
    (x[np.array([0, 0, 2])].sum() + x[[1, 1], [0, 0]].sum() + ops.take(x, np.array([2, 2]), axis=0).sum()
     + ops.take_along_axis(x, np.array([[0, 0]]), axis=1).sum()).backward()
    np.testing.assert_array_equal(x.grad.data, [[2 + 2, 2], [2 + 2, 0], [3 + 2, 3]])


@pytest.mark.parametrize("step", [ops.floor, ops.sign, ops.round, lambda x: ops.floor_divide(x, 2.0)], ids=["floor", "sign", "round", "floor_divide"])
def test_the_zeros_of_a_step_add_to_other_gradients_of_any_order(step):
    x = tensor([0.5, 2.5], requires_grad=True)
    (first,) = gradients([ops.sum(step(x) + x * x)], [x], create_graph=True)
    assert first.tolist() == [1.0, 5.0] and gradients([ops.sum(first)], [x])[0].tolist() == [2.0, 2.0]
