"""An operation of one's own: what registration and the first call refuse, and that a good one gets everything."""
import numpy as np
import pytest

from minitx.autograd import fused, gradcheck, op, ops, tensor


@pytest.fixture
def cube():
    @op
    def cube(x):
        return x ** 3

    @cube.vjp
    def _(g, x):
        return g * 3.0 * x * x

    return cube


def test_ten_lines_give_broadcasting_any_order_and_arrays(cube):
    assert gradcheck(lambda x, y: cube(x + y), [np.ones((2, 3)), np.ones(3)], order=2)
    assert cube(np.array([2.0])).tolist() == [8.0]
    assert repr(cube(tensor([2.0], requires_grad=True))) == "tensor([8.], shape=(1,), dtype=float32, op=cube)"


def test_residuals_without_a_reference_are_refused():
    with pytest.raises(TypeError, match="op f: residuals .* without a reference"):
        @op(residuals="half")
        def f(x):
            return x, x / 2


def test_names_that_the_tape_uses_are_refused_for_arguments():
    with pytest.raises(TypeError, match="op f: out cannot name an argument"):
        @op
        def f(x, *, out=None):
            return x


def test_variadic_tensors_stand_alone():
    with pytest.raises(TypeError, match=r"op f: \*others cannot stand beside other tensors"):
        @op
        def f(x, *others):
            return x


@pytest.mark.parametrize("rule, message", [
    (lambda g, y: g, "asks for 'y', which the tape does not know. It can have: axis, g, into, needs, out, shapes, x"),
    (lambda g, outt, q: g, "asks for 'outt', 'q'"),
    (lambda x: x, "must take `g`"),
    (lambda g: (g, g), r"returns 2 gradients for 1 tensors \(x\)"),
    (lambda g: None, "returns nothing"),
])
def test_a_rule_that_cannot_be_right_is_refused_at_registration(rule, message):
    @op
    def f(x, *, axis=None):
        return x

    with pytest.raises(TypeError, match=f"op f: the VJP rule {message}"):
        f.vjp(rule)


def test_a_rule_with_a_forgotten_return_is_refused():
    @op
    def f(x):
        return x

    with pytest.raises(TypeError, match="returns nothing"):
        @f.vjp
        def _(g, x):
            g * x


def test_a_rule_for_what_has_no_gradient_is_refused():
    @op(differentiable=False)
    def f(x):
        return x > 0

    with pytest.raises(TypeError, match="differentiable=False"):
        f.vjp(lambda g: g)


def test_an_operation_without_a_rule_works_until_a_gradient_is_wanted():
    @op
    def f(x):
        return x * 1.0

    assert f(tensor([1.0])).tolist() == [1.0]
    with pytest.raises(TypeError, match="f: an input requires a gradient but the op has no VJP rule; add one with @f.vjp"):
        f(tensor([1.0], requires_grad=True))


def test_wrong_counts_and_shapes_found_only_in_backward_name_the_operation():
    @op
    def f(x, y):
        return x + y

    f.vjp(lambda g: [g])
    x = tensor(np.ones((2, 3)), requires_grad=True)
    with pytest.raises(RuntimeError, match="f: its VJP rule returned 1 gradients for 2 tensors"):
        f(x, x).sum().backward()
    f.vjp(lambda g: (g[:, :2], None))
    with pytest.raises(RuntimeError, match=r"f: its VJP rule returned a gradient of shape \(2, 2\) for an input of shape \(2, 3\)"):
        f(x, x).sum().backward()


def test_a_forward_that_returns_something_else_says_what_is_expected():
    @op
    def two(x):
        return x, x

    @op
    def a_tensor(x):
        return tensor(x)

    for f, name in ((two, "tuple"), (a_tensor, "Tensor")):
        f.vjp(lambda g: g)
        with pytest.raises(TypeError, match=f"its forward returned {name} where an array was expected"):
            f(tensor([1.0]))


def test_a_fused_operation_differentiates_its_reference_under_create_graph():
    def reference(x, *, scale=1.0):
        return np.sin(x) * scale

    @op(reference=reference, residuals="cosine")
    def scaled_sine(x, *, scale=1.0):
        return np.sin(x) * scale, np.cos(x)

    @scaled_sine.vjp
    def _(g, cosine, scale):
        return g * cosine * scale

    assert gradcheck(lambda x: scaled_sine(x, scale=3.0), [np.linspace(-1, 1, 5)], order=2)


def test_needs_says_which_inputs_want_a_gradient():
    seen = []

    @op
    def f(x, y, *, needs):
        seen.append(needs)
        return x + y

    f.vjp(lambda g, needs: (seen.append(needs), (g, g))[1])
    a, b = tensor([1.0], requires_grad=True), tensor([1.0])
    f(a, b).backward()
    f(b, b)
    assert seen == [(True, False), (True, False), (False, False)]


@pytest.mark.parametrize("call, message", [
    (lambda x: x @ np.ones((2, 2)), r"matmul\(\(2, 3\) float64, \(2, 2\) float64\): Input .*; the last axis of the first must be as long as"),
    (lambda x: x + np.ones(2), r"add\(\(2, 3\) float64, \(2,\) float64\): operands could not be broadcast .*; shapes are compared from the right"),
    (lambda x: x.reshape(4), r"reshape\(\(2, 3\) float64, shape=\(4,\)\): cannot reshape"),
    (lambda x: x[5], r"getitem\(\(2, 3\) float64, index=5\): index 5 is out of bounds"),
    (lambda x: x.sum(axis=3), r"sum\(\(2, 3\) float64, axis=3\): axis 3 is out of bounds"),
    (lambda x: x.sum(axes=1), r"sum\(\(2, 3\) float64, axes=1\): .*unexpected keyword"),
    (lambda x: ops.concatenate([x, x[0]]), r"concatenate\(\(2, 3\) float64, \(3,\) float64\): "),
    (lambda x: ops.reshape(x), r"reshape\(\(2, 3\) float64\): .*missing 1 required keyword-only argument: 'shape'"),
    (lambda x: ops.add(x), "add"),
    (lambda x: ops.sum(x, 0, axis=1), "sum: axis given twice"),
    (lambda x: ops.exp(x, 1), "exp: takes x; 2 given"),
    (lambda x: ops.einsum("ij,jk", x), r"einsum: 'ij,jk' names 2 operands but 1 were given"),
    (lambda x: ops.einsum("ijk->i", x), r"einsum: 'ijk->i' gives 3 labels to an operand of shape \(2, 3\)"),
    (lambda x: ops.split(x, 2, axis=1), "split: 3 elements along axis 1 do not divide into 2 equal parts"),
    (lambda x: x.squeeze(0), r"squeeze: axis 0 of shape \(2, 3\) has extent 2, not 1"),
    (lambda x: ops.pad(x, 1, mode="reflect"), "pad: mode 'reflect'"),
    (lambda x: ops.pad(x, 1, constant_values=x[0, 0]), "pad: .* not by the values around it"),
    (lambda x: x.transpose(0, 1, 2), "transpose.*two are exchanged by swapaxes"),
    (lambda x: fused.layer_norm(x, None, weight=x[0]), "layer_norm: weight given twice"),
    (lambda x: np.linalg.norm(x, ord=1), "norm: ord=1 is not offered"),
    (lambda x: np.linalg.norm(x, ord=2), "norm: ord=2 is not offered"),
    (lambda x: np.moveaxis(x, 2, 0), "moveaxis: axis 2 is out of bounds for array of dimension 2"),
    (lambda x: np.take(x, [0], axis=2), "take: axis 2 is out of bounds"),
    (lambda x: np.repeat(x, 2, axis=-3), "repeat: axis -3 is out of bounds"),
    (lambda x: np.expand_dims(x, 3), "expand_dims: axis 3 is out of bounds"),
    (lambda x: np.squeeze(x, 2), "squeeze: axis 2 is out of bounds"),
    (lambda x: np.split(x, 1, axis=2), "split: axis 2 is out of bounds"),
    (lambda x: np.tensordot(x, x, ([2], [0])), "tensordot: axis 2 is out of bounds"),
    (lambda x: np.take_along_axis(x, np.zeros((1, 1), int), axis=2), "take_along_axis: axis 2 is out of bounds"),
    (lambda x: ops.diag(x.reshape(1, 2, 3)), r"diag: takes a vector or a matrix, and this has shape \(1, 2, 3\)"),
])
def test_an_error_names_the_operation_the_shapes_and_the_options(call, message):
    with pytest.raises((ValueError, TypeError, IndexError), match=message):
        call(tensor(np.ones((2, 3)), requires_grad=True))


def test_tensors_are_given_by_place_or_by_name():
    x, w, b = (tensor(np.arange(1.0, 4.0) * n, requires_grad=True) for n in (1, 2, 3))
    by_place, by_name = fused.layer_norm(x, w, b, 1e-3), fused.layer_norm(x, eps=1e-3, bias=b, weight=w)
    assert np.array_equal(by_place.data, by_name.data) and by_name.node.parents == (x, w, b)
    assert fused.layer_norm(x, bias=b).node.parents == (x, None, b)


def test_an_optional_tensor_has_the_default_that_its_forward_says():
    @op
    def scaled(x, factor=2.0):
        return x * factor

    assert scaled(tensor([3.0])).tolist() == [6.0] and scaled(tensor([3.0]), factor=tensor(5.0)).tolist() == [15.0]


def test_a_rule_may_return_a_number_of_the_right_shape():
    product = op(lambda x, y: x * y)
    product.vjp(lambda g, x, y: (g * y, 0))
    x, y = (tensor(value, requires_grad=True) for value in (3.0, 4.0))
    product(x, y).backward()
    assert (x.grad.item(), y.grad.item()) == (4, 0) and y.grad.dtype == np.float32
    with pytest.raises(RuntimeError, match=r"returned a gradient of shape \(\) for an input of shape \(2,\)"):
        product(tensor([1.0, 2.0]), tensor([1.0, 2.0], requires_grad=True)).sum().backward()


def test_an_operation_that_returns_its_last_input_shares_its_changes():
    second = op(lambda x, y: y)
    second.vjp(lambda g: (None, g))
    x, y, w = (tensor(np.ones(2), requires_grad=needs) for needs in (True, False, True))
    product = second(x, y) * w
    y[0] = 9.0
    with pytest.raises(RuntimeError, match="changed in place"):
        product.sum().backward()
