"""Derivatives of functions, how they nest, and checkpoints."""
import tracemalloc
import weakref

import numpy as np
import pytest

from minitx.autograd import Tensor, checkpoint, fused, grad, gradients, hessian, hvp, jacobian, jvp, no_grad, op, ops, random, tensor, value_and_grad, vjp

X = np.array([[0.3, -1.2, 0.7], [1.1, 0.4, -0.5]])
V = np.array([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]])


def energy(x):
    return np.sum(np.sin(x) * np.exp(x[:, :1]))


def test_grad_of_arrays_of_tensors_and_of_numbers():
    expected = np.cos(X)
    for x in (X, tensor(X), tensor(X, requires_grad=True)):
        np.testing.assert_allclose(grad(lambda x: np.sum(np.sin(x)))(x).data, expected)
    assert grad(lambda x: x * x)(3.0).item() == 6.0


def test_argnums_pick_the_arguments_and_a_tuple_gives_a_tuple():
    def f(x, y, scale=1.0):
        return np.sum(x * y) * scale

    a, b = np.ones(2), np.full(2, 3.0)
    assert grad(f, 1)(a, b).tolist() == [1.0, 1.0] and grad(f, -1)(a, b).tolist() == [1.0, 1.0]
    first, second = grad(f, (0, 1))(a, b, scale=2.0)
    assert first.tolist() == [6.0, 6.0] and second.tolist() == [2.0, 2.0]
    value, gradient = value_and_grad(f)(a, b)
    assert value.item() == 6.0 and not value.requires_grad and gradient.tolist() == [3.0, 3.0]


def test_derivatives_nest_to_any_order():
    f = np.sin
    for expected in (np.cos(0.5), -np.sin(0.5), -np.cos(0.5), np.sin(0.5)):
        f = grad(f)
        np.testing.assert_allclose(f(np.float64(0.5)).data, expected, rtol=1e-12)


def test_an_inner_gradient_is_differentiated_by_what_surrounds_it():
    inner = lambda y: grad(lambda x: x * x * y)(np.float64(3.0))  # noqa: E731  d/dx = 2 x y
    assert grad(inner)(np.float64(5.0)).item() == 6.0
    w = tensor(np.float64(2.0), requires_grad=True)
    slope = grad(lambda x: np.sin(w * x))(np.float64(0.0))
    slope.backward()
    assert slope.item() == 2.0 and w.grad.item() == 1.0


def test_the_graph_around_a_gradient_is_left_alone():
    w = tensor(np.ones(3), requires_grad=True)
    hidden = np.exp(w)
    grad(lambda x: np.sum(hidden * x))(np.ones(3))
    assert w.grad is None
    hidden.sum().backward()
    np.testing.assert_allclose(w.grad.data, np.e)


def test_a_gradient_can_be_taken_under_no_grad():
    with no_grad():
        assert grad(lambda x: x * x)(tensor(np.float64(2.0), requires_grad=True)).item() == 4.0


def test_what_does_not_depend_has_gradient_zero():
    assert grad(lambda x: np.sum(tensor(np.ones(2))))(X).tolist() == np.zeros_like(X).tolist()
    assert grad(lambda x, y: tensor(x).sum(), 1)(X, np.ones(2)).tolist() == [0.0, 0.0]
    value, along = jvp(lambda x: np.sign(x), X, V)
    assert along.tolist() == np.zeros_like(X).tolist()


@pytest.mark.parametrize("call, error, message", [
    (lambda: grad(np.sin)(X), ValueError, r"returned shape \(2, 3\), not one number"),
    (lambda: grad(lambda x: x.sum().item())(X), TypeError, r"returned float, not a Tensor; were .numpy\(\), .item\(\)"),
    (lambda: grad(np.sum, 1)(X), ValueError, "argnums is 1 but 1 positional arguments"),
    (lambda: grad(np.sum)(np.array([1, 2])), TypeError, "floating-point"),
    (lambda: jvp(np.sin, X, V[0]), ValueError, r"tangent 0 has shape \(3,\) but its input has shape \(2, 3\)"),
    (lambda: jvp(np.sin, X, (V, V)), ValueError, "2 were given for 1 inputs"),
    (lambda: vjp(np.sin, X)[1](np.ones(2)), ValueError,
     r"cotangent has shape \(2,\) but the output has shape \(2, 3\)"),
    (lambda: vjp(np.sin, X)[1](X, X), ValueError, "2 cotangents were given for 1 outputs"),
])
def test_mistakes_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_vjp_and_jvp_are_rows_and_columns_of_the_jacobian():
    def f(x, y):
        return np.tanh(x) @ y

    y = np.array([0.2, -0.4, 1.0])
    by_x, by_y = jacobian(f, (0, 1))(X, y)
    assert by_x.shape == (2, 2, 3) and by_y.shape == (2, 3)
    value, pull = vjp(f, X, y)
    u = np.array([2.0, -1.0])
    for _ in range(2):  # it may be called again
        gx, gy = pull(u)
        np.testing.assert_allclose(gx.data, np.tensordot(u, by_x.data, 1))
        np.testing.assert_allclose(gy.data, u @ by_y.data)
    value, along = jvp(f, (X, y), (V, y))
    np.testing.assert_allclose(value.data, np.tanh(X) @ y)
    np.testing.assert_allclose(along.data, np.tensordot(by_x.data, V, 2) + by_y.data @ y)


def test_several_outputs():
    def f(x):
        return np.sin(x), x.sum()

    (a, b), pull = vjp(f, X)
    np.testing.assert_allclose(pull(V, np.float64(2.0))[0].data, np.cos(X) * V + 2.0)
    (a, b), (da, db) = jvp(f, X, V)
    np.testing.assert_allclose(da.data, np.cos(X) * V)
    np.testing.assert_allclose(db.data, V.sum())
    ja, jb = jacobian(f)(X)
    assert ja.shape == (2, 3, 2, 3) and jb.shape == (2, 3)


def test_hessian_is_symmetric_and_hvp_is_its_product():
    h = hessian(energy)(X).data
    assert h.shape == (2, 3, 2, 3)
    np.testing.assert_allclose(h, h.transpose(2, 3, 0, 1), atol=1e-15)
    np.testing.assert_allclose(hvp(energy, X, V).data, np.tensordot(h, V, 2))
    blocks = hessian(lambda x, y: np.sum(x * x * y), (0, 1))(np.ones(2), np.ones(2))
    np.testing.assert_array_equal(blocks[0][1].data, 2 * np.eye(2))
    np.testing.assert_array_equal(blocks[1][1].data, np.zeros((2, 2)))
    products = hvp(lambda x, y: np.sum(x * x * y), (np.ones(2), np.ones(2)), (np.ones(2), np.zeros(2)))
    assert [p.tolist() for p in products] == [[2.0, 2.0], [2.0, 2.0]]


def test_forward_over_reverse_nests():
    _, along = jvp(grad(energy), X, V)
    np.testing.assert_allclose(along.data, hvp(energy, X, V).data)
    np.testing.assert_allclose(grad(lambda x: np.sum(jvp(np.sin, x, V)[1]))(X).data, -np.sin(X) * V)


def test_jacobian_of_nothing():
    assert jacobian(lambda x: x[:0])(np.ones(3)).shape == (0, 3)
    assert jacobian(np.sin)(np.ones(0)).shape == (0, 0)


class TestCheckpoint:
    @staticmethod
    def layer(x, w):
        return np.tanh(x @ w) + x

    def gradients(self, function):
        rng = np.random.default_rng(0)
        x, w, b = (tensor(rng.normal(size=shape), requires_grad=True) for shape in ((4, 3), (3, 3), (3,)))
        hidden = np.exp(b)
        loss = np.sum(function(lambda x, w: self.layer(x, w) * hidden + b, x, w) ** 2)
        loss.backward()
        return [t.grad.data for t in (x, w, b)]

    def test_gradients_are_the_same_bit_for_bit_with_captured_tensors_too(self):
        for plain, checkpointed in zip(self.gradients(lambda f, x, w: f(x, w)), self.gradients(checkpoint)):
            np.testing.assert_array_equal(plain, checkpointed)

    def test_only_the_inputs_are_kept(self):
        inside = []

        def f(x):
            y = np.exp(x)
            inside.append(y.data)
            return y * y

        x = tensor(X, requires_grad=True)
        out = checkpoint(f, x)
        kept = weakref.ref(inside.pop())
        assert kept() is None
        out.sum().backward()
        np.testing.assert_allclose(x.grad.data, 2 * np.exp(2 * X))

    def test_nothing_is_recorded_where_nothing_requires_a_gradient(self):
        assert not checkpoint(np.sin, tensor(X)).requires_grad
        with no_grad():
            assert not checkpoint(np.sin, tensor(X, requires_grad=True)).requires_grad

    def test_several_outputs_constants_and_integers(self):
        x = tensor(X, requires_grad=True)
        first, second = checkpoint(lambda x: (x * 2, np.argmax(x, axis=-1)), tensor(X, np.float32, requires_grad=True))
        assert (first.dtype, second.dtype, second.requires_grad) == (np.float32, np.int64, False)
        a, b = checkpoint(lambda x, y, rows: (x[rows] * y, np.sum(x)), x, 3.0, np.array([1]))
        assert a.shape == (1, 3) and b.shape == ()
        (a.sum() + b).backward()
        assert x.grad.tolist() == [[1.0] * 3, [4.0] * 3]

    def test_a_tensor_without_gradient_is_a_tensor_again_when_it_runs_again(self):
        x = tensor(X, requires_grad=True)
        for create_graph in (False, True):
            checkpoint(lambda x, y: x * y.detach().mT, x, tensor(X.T)).sum().backward(create_graph=create_graph)
        np.testing.assert_array_equal(x.grad.data, 2 * X)

    def test_derivatives_of_any_order_and_nesting(self):
        f = lambda x: np.sum(checkpoint(lambda y: np.sin(checkpoint(np.exp, y)), x))  # noqa: E731
        plain = lambda x: np.sum(np.sin(np.exp(x)))  # noqa: E731
        np.testing.assert_allclose(hessian(f)(X[0]).data, hessian(plain)(X[0]).data, atol=1e-14)
        third = lambda f: grad(lambda x: np.sum(grad(lambda x: np.sum(grad(f)(x)))(x)))  # noqa: E731
        np.testing.assert_allclose(third(f)(X).data, third(plain)(X).data, rtol=1e-12)

    def test_random_masks_are_the_same_when_it_runs_again_and_what_follows_is_undisturbed(self):
        def run(function):
            random.seed(3)
            x = tensor(np.ones((8, 8)), requires_grad=True)
            y = function(lambda x: fused.dropout(np.exp(x), 0.5), x)
            between = random.next_key()
            y.sum().backward()
            return y.data, x.grad.data, between, random.next_key()

        for plain, checkpointed in zip(run(lambda f, x: f(x)), run(checkpoint)):
            np.testing.assert_array_equal(plain, checkpointed)

    def test_a_captured_tensor_changed_in_place_is_an_error(self):
        x, scale = tensor(X, requires_grad=True), tensor(np.float64(2.0))
        y = checkpoint(lambda x: x * scale, x).sum()
        scale[...] = 3.0
        with pytest.raises(RuntimeError, match="checkpoint: .*changed in place"):
            y.backward()

    def test_a_function_that_does_something_else_the_second_time_is_refused(self):
        calls = []
        y = checkpoint(lambda x: (calls.append(0), x[:len(calls)] * 2.0)[1], tensor(X, requires_grad=True))
        with pytest.raises(RuntimeError, match=r"gave shape \(2, 3\) when it ran again and \(1, 3\) before"):
            y.sum().backward()

    def test_hooks_of_a_captured_leaf_run_once_on_the_whole_gradient(self):
        seen, w = [], tensor(np.ones(2), requires_grad=True)
        w.register_hook(lambda g: seen.append(g.tolist()))
        (checkpoint(lambda x: x * w, tensor(np.full(2, 3.0), requires_grad=True)) + w).sum().backward()
        assert seen == [[4.0, 4.0]]


LAYERS, ROWS, WIDTH = 50, 4096, 16


def peak_of_backward(every=None):
    """Peak memory, beyond what stood before, of 50 layers of x @ w then relu and their backward, in activations of one layer."""
    rng = np.random.default_rng(0)
    x = tensor(rng.normal(size=(ROWS, WIDTH)))
    weights = [tensor(rng.normal(size=(WIDTH, WIDTH)) / WIDTH ** 0.5, requires_grad=True) for _ in range(LAYERS)]

    def run(h, part):
        for w in part:
            h = ops.relu(h @ w)
        return h

    tracemalloc.start()
    try:
        if every is None:
            h = run(x, weights)
        else:
            h = x
            for start in range(0, LAYERS, every):
                h = checkpoint(lambda h, part=weights[start:start + every]: run(h, part), h)
        h.sum().backward()
        return tracemalloc.get_traced_memory()[1] / (ROWS * WIDTH * 8)
    finally:
        tracemalloc.stop()


def test_backward_keeps_one_activation_per_layer_and_two_gradients_at_its_peak():
    # relu keeps its output, which is the array that the next product keeps as its input: 50. On top of them at the peak: two gradients, and bits of masks.
    assert peak_of_backward() < LAYERS + 2.6


def test_checkpoints_every_seven_layers_need_at_most_four_tenths_of_the_activations():
    # 7 inputs of checkpoints, 7 layers computed again, and the gradients on their way
    assert peak_of_backward(every=7) < 0.4 * LAYERS


def test_an_operation_of_one_s_own_works_in_all_of_them():
    @op
    def cube(x):
        return x ** 3

    cube.vjp(lambda g, x: g * 3.0 * x * x)
    assert isinstance(cube(tensor(X)), Tensor)
    np.testing.assert_allclose(np.diag(hessian(lambda x: cube(x).sum())(X[0]).data), 6 * X[0])
    np.testing.assert_allclose(jvp(cube, X, V)[1].data, 3 * X * X * V)


def test_argnums_may_be_a_list():
    for position, found in zip((1, 0), grad(lambda a, b: a * b, [1, 0])(0.5, 0.25)):
        assert found.item() == (0.5, 0.25)[1 - position]
    assert [len(row) for row in (jacobian(lambda a, b: a * b, [0, 1])(X, X), hessian(lambda a, b: (a * b).sum(), [0, 1])(X, X))] == [2, 2]


@pytest.mark.parametrize("order", [1, 2])
def test_what_a_checkpoint_is_given_and_takes_from_around_it_collects_both_gradients(order):
    x = tensor(X, requires_grad=True)
    for given in (x, x * 1.5):
        plain, kept = ((run(lambda p: p * given * p, given)).sum() for run in (lambda function, p: function(p), checkpoint))
        for _ in range(order):
            plain, kept = (gradients([value], [x], create_graph=True)[0].sum() for value in (plain, kept))
        np.testing.assert_allclose(kept, plain, rtol=1e-13)
