"""The tape: what backward adds up, what it keeps and frees, what it refuses, and that threads do not meet."""
import gc
import sys
import threading
import weakref

import numpy as np
import pytest

from minitx.autograd import gradients, no_grad, op, ops, tensor


@pytest.fixture
def x():
    return tensor(np.array([1.0, 2.0, 3.0]), requires_grad=True)


@pytest.fixture
def collector_off():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_a_value_used_twice_collects_both_gradients(x):
    y = ops.exp(x)
    (y * x + y).sum().backward()
    np.testing.assert_allclose(x.grad.data, np.exp(x.data) * (x.data + 2))


def test_gradients_of_two_backwards_add_up_until_zero_grad(x):
    for _ in range(2):
        (x * x).sum().backward()
    np.testing.assert_array_equal(x.grad.data, 4 * x.data)
    x.zero_grad()
    assert x.grad is None


def test_only_leaves_that_ask_get_a_gradient(x):
    other = tensor(np.ones(3))
    y = x * other
    y.sum().backward()
    assert y.grad is None and other.grad is None and x.grad is not None


def test_a_chain_of_100_000_operations_runs_and_its_memory_returns_without_the_collector(collector_off):
    def chain(n):
        x = tensor(np.ones(4), requires_grad=True)
        y = x
        for _ in range(n):
            y = y + x
        y.sum().backward()
        return x.grad.tolist()

    chain(3_000)  # Python's own free lists fill
    before = sys.getallocatedblocks()
    assert chain(100_000) == [100_001.0] * 4
    assert sys.getallocatedblocks() - before < 2_000


def test_a_chain_never_differentiated_goes_without_recursion(collector_off):
    y = tensor(np.ones(4), requires_grad=True)
    for _ in range(100_000):
        y = ops.sin(y)
    node = weakref.ref(y.node)
    del y
    assert node() is None


@pytest.mark.parametrize("finish", [lambda loss: None, lambda loss: loss.backward(),
                                    lambda loss: loss.backward(create_graph=True)],
                         ids=["forward only", "backward", "create_graph"])
def test_a_graph_goes_with_its_last_name_without_the_collector(x, collector_off, finish):
    y = ops.tanh(ops.exp(x) * x)
    loss = y.sum()
    seen = [weakref.ref(tensor) for tensor in (y, y.node, loss.node)] + [weakref.ref(y.data)]
    finish(loss)
    x.grad = None
    del y, loss
    assert [ref() for ref in seen] == [None] * 4


def test_backward_frees_what_was_kept_as_it_goes(x):
    y = ops.exp(x)
    kept = weakref.ref(y.data)
    loss = y.sum()
    del y
    assert kept() is not None
    loss.backward()
    assert kept() is None


def test_a_second_backward_is_refused_unless_the_graph_is_retained(x):
    loss = (x * x).sum()
    loss.backward(retain_graph=True)
    loss.backward()
    np.testing.assert_array_equal(x.grad.data, 4 * x.data)
    with pytest.raises(RuntimeError, match="sum: backward has already been through here.*retain_graph=True"):
        loss.backward()


def test_a_second_backward_through_a_shared_part_is_refused(x):
    shared = ops.exp(x)
    shared.sum().backward()
    with pytest.raises(RuntimeError, match="already"):
        (shared * 2.0).sum().backward()


def test_an_output_of_more_than_one_element_asks_for_its_cotangent(x):
    y = x * 2.0
    with pytest.raises(RuntimeError, match=r"shape \(3,\), not one element; pass its cotangent"):
        y.backward()
    with pytest.raises(ValueError, match=r"cotangent has shape \(2,\) but the output has shape \(3,\)"):
        y.backward(np.ones(2))
    y.backward(np.array([1.0, 10.0, 100.0]))
    assert x.grad.tolist() == [2.0, 20.0, 200.0]


def test_backward_of_what_needs_no_gradient_says_why(x):
    with no_grad():
        y = (x * x).sum()
    with pytest.raises(RuntimeError, match="Was it computed under no_grad"):
        y.backward()


def test_integers_cannot_require_a_gradient():
    with pytest.raises(TypeError, match="floating-point dtype, and this is int64"):
        tensor([1, 2], requires_grad=True)
    with pytest.raises(TypeError, match="floating-point"):
        tensor([True]).requires_grad_()


class TestAliasing:
    def test_the_gradients_of_two_leaves_are_separate_arrays(self):
        a, b = (tensor(np.zeros(3), requires_grad=True) for _ in range(2))
        (a + b).sum().backward()
        (a * 2.0).sum().backward()
        assert a.grad.tolist() == [3.0] * 3 and b.grad.tolist() == [1.0] * 3

    def test_also_when_the_first_came_from_create_graph(self):
        a, b = (tensor(np.zeros(3), requires_grad=True) for _ in range(2))
        (a + b).sum().backward(create_graph=True)
        (a * 2.0).sum().backward()
        assert a.grad.tolist() == [3.0] * 3 and b.grad.tolist() == [1.0] * 3

    def test_the_cotangent_stays_the_caller_s(self, x):
        cotangent = np.ones(3)
        x.view().backward(cotangent)
        (x * 2.0).sum().backward()
        assert cotangent.tolist() == [1.0] * 3 and x.grad.tolist() == [3.0] * 3

    def test_a_gradient_that_is_a_broadcast_view_can_be_added_to(self, x):
        x.sum().backward()  # its rule gives one number seen as three
        x.sum().backward()
        assert x.grad.tolist() == [2.0] * 3

    def test_gradients_returned_are_separate_and_writable(self, x):
        other = tensor(np.zeros(3), requires_grad=True)
        a, b = gradients([(x + other).sum()], [x, other])
        a.data += 1
        assert b.tolist() == [1.0] * 3

    def test_a_fan_out_of_the_same_gradient_is_summed_without_touching_it(self, x):
        a, b = x * 1.0, x * 1.0
        total = a + b
        (total + a).sum().backward()
        assert x.grad.tolist() == [3.0] * 3


class TestInPlace:
    def test_changing_what_a_node_keeps_is_an_error_that_names_the_operation(self, x):
        w = tensor(np.ones(3))
        y = (x * w).sum()
        w[0] = 5.0
        with pytest.raises(RuntimeError, match="multiply: a tensor that it kept for its gradient was changed in place"):
            y.backward()

    def test_changing_it_through_a_view_or_through_what_it_views_is_too(self, x):
        for change_view in (True, False):
            w = tensor(np.ones((2, 3)))
            view = w[0]
            y = (x * (w[0] if change_view else view)).sum()
            (view if change_view else w)[...] = 2.0
            with pytest.raises(RuntimeError, match="changed in place"):
                y.backward()

    def test_changing_a_kept_output_is(self, x):
        y = ops.exp(x)
        loss = y.sum()
        with no_grad():
            y[0] = 0.0
        with pytest.raises(RuntimeError, match="exp: .* changed in place"):
            loss.backward()

    def test_changing_a_detached_twin_is(self, x):
        y = ops.exp(x)
        y.detach()[0] = 0.0
        with pytest.raises(RuntimeError, match="exp"):
            y.sum().backward()

    def test_changing_what_no_rule_reads_is_not(self, x):
        w = tensor(np.ones(3))
        y = (x + w).sum()
        w[0] = 5.0
        y.backward()
        assert x.grad.tolist() == [1.0] * 3

    def test_a_bare_array_is_copied(self, x):
        array = np.ones(3)
        y = (x * array).sum()
        array[:] = 7.0
        y.backward()
        assert x.grad.tolist() == [1.0] * 3

    def test_so_are_a_frozen_look_into_one_an_index_and_the_bounds_of_clip(self, x):
        array, index, bound = np.ones(3), np.array([0, 1]), np.full(3, 10.0)
        frozen = array[:]
        frozen.flags.writeable = False
        y = (x * frozen).sum() + x[index].sum() + ops.clip(x, None, bound).sum()
        array[:], index[:], bound[:] = 7.0, 2, -10.0
        y.backward()
        assert x.grad.tolist() == [3.0, 3.0, 2.0]

    def test_writes_to_an_array_that_was_handed_out_do_not_reach_the_gradient(self, x):
        w = tensor(np.ones(3))
        array = np.asarray(w)
        y = (x * w).sum()
        array[:] = 7.0
        assert w.tolist() == [7.0] * 3
        y.backward()
        assert x.grad.tolist() == [1.0] * 3

    def test_nor_where_the_gradient_was_asked_for_afterwards(self):
        x = tensor([1.0, 2.0])
        outside = x.numpy()
        loss = (x.requires_grad_() * x).sum()
        outside[0] = 9.0
        assert gradients([loss], [x], create_graph=True)[0].tolist() == [2.0, 4.0]

    def test_an_operation_that_gives_back_its_input_shares_its_fate(self, x):
        @op
        def reverse(x):
            return x

        reverse.vjp(lambda g: -g)
        y = reverse(x)
        loss = (y * y).sum()
        with no_grad():
            x[0] = 7.0
        with pytest.raises(RuntimeError, match="multiply: a tensor that it kept .* was changed in place"):
            loss.backward()

    def test_an_array_that_a_graph_needs_is_handed_out_read_only(self, x):
        w = tensor(np.ones(3))
        y = x * w
        for part in (x, w, y):
            with pytest.raises(ValueError, match="read-only"):
                np.asarray(part)[0] = 1.0

    def test_a_tensor_that_requires_a_gradient_is_not_written_to(self, x):
        with pytest.raises(RuntimeError, match="not changed in place; write under no_grad"):
            x[0] = 1.0
        with pytest.raises(RuntimeError, match="the written value requires a gradient"):
            tensor(np.zeros(3))[0] = x[0]

    def test_an_optimizer_writes_between_graphs(self, x):
        (x * x).sum().backward()
        x.data -= x.grad.data
        (x * x).sum().backward()
        np.testing.assert_array_equal(x.data, [-1.0, -2.0, -3.0])


class TestCreateGraph:
    def test_third_derivatives(self, x):
        (first,) = gradients([ops.sin(x).sum()], [x], create_graph=True)
        (second,) = gradients([first.sum()], [x], create_graph=True)
        (third,) = gradients([second.sum()], [x])
        np.testing.assert_allclose(third.data, -np.cos(x.data))

    def test_grad_can_be_differentiated_after_backward(self, x):
        (x ** 3).sum().backward(create_graph=True)
        penalty = (x.grad * x.grad).sum()
        x.grad = None
        penalty.backward()
        np.testing.assert_allclose(x.grad.data, 36 * x.data ** 3)

    def test_an_intermediate_can_be_asked_for(self, x):
        y = x * 2.0
        (g,) = gradients([(y * y).sum()], [y])
        np.testing.assert_array_equal(g.data, 4 * x.data)

    def test_what_does_not_matter_is_none_or_an_error(self, x):
        other = tensor(np.ones(2), requires_grad=True)
        assert gradients([x.sum()], [other]) == [None]
        with pytest.raises(ValueError, match=r"do not depend on input 0 \(shape \(2,\)\)"):
            gradients([x.sum()], [other], allow_unused=False)
        with pytest.raises(ValueError, match="does not require a gradient"):
            gradients([x.sum()], [tensor(np.ones(2))])


class TestHooks:
    def test_a_hook_sees_and_replaces_the_whole_gradient_once(self, x):
        seen = []
        y = x * 1.0
        y.register_hook(lambda g: seen.append(g.tolist()))
        x.register_hook(lambda g: g * 10.0)
        (y + y).sum().backward()
        assert seen == [[2.0] * 3] and x.grad.tolist() == [20.0] * 3

    def test_it_may_return_an_array_of_the_same_shape_and_no_other(self, x):
        x.register_hook(lambda g: g.numpy() * 2)
        x.sum().backward()
        assert x.grad.tolist() == np.full(x.shape, 2.0).tolist()
        x.register_hook(lambda g: np.ones(5))
        with pytest.raises(RuntimeError, match=r"a hook returned shape \(5,\) for a gradient of shape"):
            x.sum().backward()

    def test_the_gradient_of_a_number_arrives_as_a_tensor_like_any_other(self):
        seen = []
        x = tensor(np.float64(3.0), requires_grad=True)
        y = x * 2.0
        y.register_hook(lambda g: seen.append((g.numpy().item(), g.device)))
        (y ** 2).backward()
        assert seen == [(12.0, "cpu")] and x.grad.item() == 24.0

    def test_it_can_be_removed(self, x):
        x.register_hook(lambda g: g * 10.0).remove()
        with x.register_hook(lambda g: g * 10.0):
            pass
        x.sum().backward()
        assert x.grad.tolist() == [1.0] * 3

    def test_it_is_refused_where_it_would_never_run(self):
        with pytest.raises(RuntimeError, match="would never run"):
            tensor(np.ones(2)).register_hook(print)


class TestThreads:
    def test_two_threads_build_and_differentiate_their_own_graphs(self):
        failures, together = [], threading.Barrier(4)

        def work(seed):
            rng = np.random.default_rng(seed)
            for _ in range(60):
                x = tensor(rng.normal(size=5), requires_grad=True)
                w = tensor(rng.normal(size=5))
                together.wait()
                y = x
                for _ in range(20):
                    y = ops.sin(y) * w
                scratch = tensor(np.zeros(2))
                scratch[0] = 1.0
                y.sum().backward()
                expected, inner = np.ones(5), [x.data]
                for _ in range(20):
                    inner.append(np.sin(inner[-1]) * w.data)
                for value in reversed(inner[:-1]):
                    expected = expected * w.data * np.cos(value)
                if not np.allclose(x.grad.data, expected, rtol=1e-12, atol=0):
                    failures.append(seed)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []

    def test_no_grad_is_the_thread_s_own(self, x):
        entered, leave, results = threading.Event(), threading.Event(), []

        def silent():
            with no_grad():
                entered.set()
                leave.wait()
                results.append((x * x).requires_grad)

        thread = threading.Thread(target=silent)
        thread.start()
        entered.wait()
        assert (x * x).requires_grad
        leave.set()
        thread.join()
        assert results == [False]


def test_under_no_grad_a_leaf_is_moved_in_place(x):
    same, before = x, x.data.copy()
    x.sum().backward()
    with no_grad():
        for leaf in [x]:
            leaf -= 0.5 * leaf.grad
    assert x is same and x.requires_grad and np.array_equal(x.data, before - 0.5)
    y = x
    y *= 2  # where it would be recorded, a new Tensor
    assert y is not x and y.node is not None


def test_no_grad_is_a_decorator_and_ends_with_an_error(x):
    @no_grad()
    def double(t):
        return t * 2.0

    assert not double(x).requires_grad
    with pytest.raises(ZeroDivisionError), no_grad():
        1 / 0
    assert (x * 2.0).requires_grad


@pytest.mark.parametrize("rule", ["fresh", "kept", "twice", "view"])
def test_a_gradient_that_somebody_else_holds_is_copied_into_grad(rule):
    """One that nobody else holds is not: the copy would be a pass over memory."""
    held, seen = np.ones(3, np.float32), []

    @op
    def copy_twice(x, y):
        return x + y

    @copy_twice.vjp
    def _(g):
        fresh = g * 2
        seen.append(fresh.__array_interface__["data"][0])
        return {"fresh": (fresh, None), "kept": (held, None), "twice": (fresh, fresh), "view": (fresh[:], None)}[rule]

    x, y = (tensor(np.zeros(3, np.float32), requires_grad=True) for _ in range(2))
    copy_twice(x, y).sum().backward()
    if rule == "fresh":
        assert x.grad.data.__array_interface__["data"][0] == seen[0]
    x.grad.data += 1
    np.testing.assert_array_equal(held, np.ones(3))
    if rule == "twice":
        np.testing.assert_array_equal(y.grad.data, np.full(3, 2))


class TestInto:
    """A rule that names `into` may write a leaf's first gradient to where the optimizer wants it."""

    @pytest.fixture
    def seen(self):
        return []

    @pytest.fixture
    def scaled(self, seen):
        @op
        def scaled(x, y):
            return 2 * x + 3 * y

        @scaled.vjp
        def _(g, into):
            seen.append(tuple(array is not None for array in into))
            return tuple(np.multiply(g, factor, out=array) for factor, array in zip((2, 3), into))

        return scaled

    @staticmethod
    def leaf():
        leaf = tensor(np.zeros(3), requires_grad=True)
        leaf.grad_buffer = tensor(np.full(3, np.nan))
        return leaf

    def test_the_first_gradient_is_written_there_and_later_ones_are_added(self, scaled, seen):
        x, y = self.leaf(), self.leaf()
        scaled(x, y).sum().backward()
        assert x.grad is x.grad_buffer and y.grad is y.grad_buffer
        scaled(x, y).sum().backward()
        assert seen == [(True, True), (False, False)]
        np.testing.assert_array_equal(x.grad.data, np.full(3, 4.0))
        np.testing.assert_array_equal(y.grad.data, np.full(3, 6.0))

    def test_a_leaf_used_twice_by_one_operation_gets_both(self, scaled, seen):
        x = self.leaf()
        scaled(x, x).sum().backward()
        assert seen == [(False, False)]
        np.testing.assert_array_equal(x.grad.data, np.full(3, 5.0))

    def test_not_where_the_gradient_goes_elsewhere(self, scaled, seen):
        x, y = self.leaf(), tensor(np.zeros(3), requires_grad=True)
        x.register_hook(lambda g: g * 10)
        scaled(x, y).sum().backward()
        [gx] = gradients([scaled(self.leaf(), x).sum()], [x])
        np.testing.assert_array_equal(x.grad.data, np.full(3, 20.0))
        np.testing.assert_array_equal(gx.data, np.full(3, 30.0))
        assert seen == [(False, False), (False, False)]


def test_gradients_takes_lone_tensors_as_well(x):
    y = (x * x).sum()
    for outputs, inputs in (([y], [x]), (y, [x]), ([y], x), (y, x), (y.reshape(1), x)):
        found, = gradients(outputs, inputs, retain_graph=True)
        np.testing.assert_array_equal(found, 2 * x.data)
    found, = gradients(x * x, x, np.array([1.0, 0.0, 2.0]))
    np.testing.assert_array_equal(found, [2, 0, 12])


def test_gradients_walks_and_frees_only_what_leads_to_an_input(x):
    """So that backward can be cut in pieces: what lies below an input, or beside the way to it, is there for the next piece."""
    h = x * x
    found, = gradients([(h * h).sum()], [h])
    h.backward(found)
    np.testing.assert_allclose(x.grad.data, 4 * x.data ** 3)

    a, b = tensor(2.0, requires_grad=True), tensor(3.0, requires_grad=True)
    p, q = a * a, b * b
    gradients([p + q], [a])
    q.backward()
    assert b.grad.item() == 6


def test_what_does_not_lead_to_an_input_runs_no_hook_and_may_have_been_changed(x):
    w, c, seen = tensor(np.ones(3), requires_grad=True), tensor(np.full(3, 2.0)), []
    w.register_hook(seen.append)
    h = w * c
    c[0] = 9.0  # the rule of h would refuse
    found, = gradients([(h * x).sum()], [x])
    np.testing.assert_array_equal(found, h.data)
    assert not seen


def test_a_hook_may_return_a_number():
    for through in (lambda x: x, ops.relu):
        x = tensor(1.0, requires_grad=True)
        x.register_hook(lambda g: 2.0)
        through(x).sum().backward()
        assert x.grad.item() == 2 and x.grad.dtype == np.float32


def test_a_hook_is_forgotten_with_its_tensor_without_the_collector(collector_off):
    class Anything:
        pass

    held = Anything()
    alive, leaf = weakref.ref(held), tensor(1.0, requires_grad=True)
    leaf.register_hook(lambda g, held=held: None)
    del leaf, held
    assert alive() is None


def test_a_hook_cannot_change_the_dtype_of_a_gradient():
    for given in (np.array([1, 2]), np.array([1.0, 2.0]), [1, 2]):
        x = tensor([1.0, 2.0], requires_grad=True)
        x.register_hook(lambda g, given=given: given)
        (x * 3).sum().backward()
        assert x.grad.dtype == np.float32 and x.grad.tolist() == [1, 2]


def test_create_graph_adds_tensors_to_what_a_hook_made_an_array(x):
    q, h = x ** 3, x * 2
    h.register_hook(lambda g: g.data * 3)
    found, = gradients(h.sum() + q.sum(), x, create_graph=True)
    np.testing.assert_array_equal(found, 3 * x.data ** 2 + 6)


def test_a_target_that_nothing_reaches_is_not_freed(x):
    y, c = x * 3, x * 2
    assert gradients(ops.where(np.array([False, True, False]), y, y * 2).sum() + 0 * y.sum(), [c]) == [None]
    c.sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 2, 2])


def test_a_list_that_changes_later_changes_no_gradient():
    x, low = tensor([1.0, -1.0], requires_grad=True), [0.0, 0.0]
    y = np.clip(x, low, None)
    low[0] = 5.0
    y.sum().backward()
    assert x.grad.tolist() == [1, 0]
