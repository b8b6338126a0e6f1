"""gradcheck itself: what it finds, and how it says it."""
import numpy as np
import pytest

from minitx.autograd import fused, gradcheck, op, ops, tensor
from minitx.autograd.check import GradientMismatch

X = np.linspace(-1.0, 1.5, 6).reshape(2, 3)


def operation(forward, rule):
    made = op(forward)
    made.name = "mine"
    made.vjp(rule)
    return made


def test_a_right_gradient_passes_in_every_mode():
    for options in ({}, {"full_jacobian": True}, {"order": 2}, {"full_jacobian": True, "order": 2}):
        assert gradcheck(lambda x, w: np.tanh(x @ w), [X, X.T.copy()], **options) is True


def test_inputs_may_be_one_array_tensors_or_constants_of_other_kinds():
    assert gradcheck(np.sin, X)
    assert gradcheck(lambda x, rows, keep: ops.where(keep, x, 0.0)[rows], (tensor(X), np.array([1, 1]), X > 0))


def test_a_wrong_gradient_is_located():
    wrong_at_one_place = np.ones((2, 3))
    wrong_at_one_place[1, 2] = 1.5
    f = operation(lambda x: np.sin(x), lambda g, x: g * np.cos(x) * wrong_at_one_place)
    with pytest.raises(GradientMismatch,
                       match=r"input 1, element \(1, 2\) \(1 of 6 elements differ\): expected [-\d.e]+ \(measured\), got [-\d.e]+"):
        gradcheck(lambda x, y: x * f(y), [X, X])
    with pytest.raises(GradientMismatch,
                       match=r"input 0, output 0, element \(1, 2\), element \(1, 2\) \(1 of 6 elements differ\): "
                                               r"expected 0.0707372\d* \(measured\), got 0.1061058\d*"):
        gradcheck(f, X, full_jacobian=True)


@pytest.mark.parametrize("factor", [0.999, 1.001, -1.0, 0.0, np.nan])
def test_a_gradient_off_by_a_thousandth_is_found(factor):
    f = operation(lambda x: np.exp(x), lambda g, out: g * out * factor)
    with pytest.raises(GradientMismatch):
        gradcheck(f, X)


def test_a_missing_gradient_is_found():
    f = operation(lambda x, y: x * y, lambda g, y: (g * y, None))
    with pytest.raises(GradientMismatch, match="input 1"):
        gradcheck(f, [X, X])


def test_the_second_order_finds_a_rule_that_hides_its_input_from_the_graph():
    f = operation(lambda x: np.sin(x), lambda g,
                  x: g * np.cos(getattr(x, "data", x) if not isinstance(x, np.ndarray) else x))
    assert gradcheck(f, X)
    with pytest.raises(GradientMismatch, match="second order .*input 0, element"):
        gradcheck(f, X, order=2)


def test_the_second_order_finds_a_kernel_that_disagrees_with_its_reference():
    f = op(lambda x: np.sin(x), reference=lambda x: np.sin(x) * 1.01)
    f.vjp(lambda g, x: g * np.cos(x))
    with pytest.raises(GradientMismatch,
                       match="the gradient under create_graph=True: expected .* \\(the ordinary gradient\\)"):
        gradcheck(f, X, order=2)


def test_a_layer_norm_that_pulls_its_weight_out_of_the_sums_is_found_at_a_weight_that_is_not_one():
    def normalised(x):
        return (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)

    def rule(g, x, weight):
        if not isinstance(x, np.ndarray):
            raise NotImplementedError
        x_hat = normalised(x)
        centred = g - g.mean(-1, keepdims=True) - x_hat * (g * x_hat).mean(-1, keepdims=True)
        dx = weight * centred / x.std(-1, keepdims=True)
        return dx, (g * x_hat).sum(0)

    f = operation(lambda x, weight: normalised(x) * weight, rule)
    x = np.random.default_rng(0).normal(size=(2, 3))
    assert gradcheck(f, [x, np.ones(3)])
    with pytest.raises(GradientMismatch, match="input 0"):
        gradcheck(f, [x, np.array([0.5, -1.0, 2.0])])
    assert gradcheck(lambda x, weight: fused.layer_norm(x, weight, None, eps=1e-5), [x, np.array([0.5, -1.0, 2.0])])


@pytest.mark.parametrize("function, inputs, error, message", [
    (np.sin, [X.astype(np.float32)], TypeError, "input 0 is float32, too coarse .* pass it as float64"),
    (np.sin, [np.arange(3)], TypeError, "no input is a floating-point array"),
    (lambda x: np.asarray(x), [X], TypeError, "returned ndarray, not a Tensor"),
    (lambda x: np.log(x), [X], GradientMismatch, "NaN or infinite"),
    (lambda x: x * np.random.default_rng().normal(), [X], GradientMismatch, "differs between two calls"),
])
def test_what_cannot_be_checked_says_why(function, inputs, error, message):
    with np.errstate(all="ignore"), pytest.raises(error, match=message):
        gradcheck(function, inputs)


def test_a_function_that_writes_to_its_input_is_found():
    def f(x):
        x.data += 1.0
        return x * 1.0

    with pytest.raises(GradientMismatch, match="changes its input 0 in place"):
        gradcheck(f, X)


def test_orders_beyond_two_are_refused():
    with pytest.raises(ValueError, match="order is 1 or 2, and this is 3"):
        gradcheck(np.sin, X, order=3)
