"""A Tensor as a NumPy user meets it."""
import copy
import pickle

import numpy as np
import pytest

import minitx
from minitx.autograd import Tensor, enable_grad, no_grad, ops, tensor


@pytest.fixture
def t():
    return tensor(np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), requires_grad=True)


@pytest.mark.parametrize("data, dtype", [
    (1.0, np.float32), ([1.0, 2.0], np.float32), ([1, 2], np.int64), (True, np.bool_), (np.float64(1), np.float64),
    (np.ones(2), np.float64),
    (np.ones(2, np.float32), np.float32),
])
def test_float64_stays_and_python_floats_become_float32(data, dtype):
    assert tensor(data).dtype == dtype


def test_a_tensor_copies_what_it_is_made_of():
    array = np.ones(2)
    t = tensor(array)
    array[0] = 5.0
    assert t.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("data, message",
                         [([[1.0], [1.0, 2.0]], "inhomogeneous|equal lengths"), ("text", "."), (None, "NoneType")])
def test_what_is_no_array_of_numbers_is_refused(data, message):
    with pytest.raises((TypeError, ValueError), match=message):
        tensor(data, dtype=None if data != "text" else float)


def test_a_list_of_tensors_points_to_stack(t):
    with pytest.raises(TypeError, match="stack or concatenate"):
        tensor([t, t])


def test_repr_shows_values_shape_dtype_and_operation(t):
    assert repr(t[0]) == "tensor([1., 2., 3.], shape=(3,), dtype=float64, op=getitem)"
    assert repr(tensor([1.0], requires_grad=True)) == "tensor([1.], shape=(1,), dtype=float32, requires_grad=True)"
    assert repr(tensor(np.array(2))) == "tensor(2, shape=(), dtype=int64)"


def test_len_iteration_unpacking_and_membership(t):
    first, second = t
    assert len(t) == 2 and second.tolist() == [4.0, 5.0, 6.0] and first.requires_grad
    assert 5.0 in t and 7.0 not in t
    for function in (len, iter):
        with pytest.raises(TypeError, match="without axes"):
            function(t.sum())


def test_numbers(t):
    one = t[0, 1]
    assert float(one) == 2.0 and int(one) == 2 and one.item() == 2.0 and bool(one)
    assert [10, 20, 30][tensor(1)] == 20
    with pytest.raises(ValueError, match="ambiguous"):
        bool(t)


@pytest.mark.parametrize("function", [np.exp, np.tanh, np.abs, np.square, np.negative, lambda t: np.sum(t, axis=1),
                                      lambda t: np.sum(t, 0), np.max, np.amax, np.min,
                                      np.mean, np.std, lambda t: np.var(t, axis=0, ddof=1), np.transpose, np.ravel,
                                      lambda t: np.reshape(t, (3, 2)),
                                      lambda t: np.concatenate([t, t], axis=1), lambda t: np.stack([t, t]),
                                      lambda t: np.split(t, 3, axis=1)[1],
                                      lambda t: np.where(t > 2, t, 0.0), lambda t: np.clip(t, 2, 4),
                                      lambda t: np.einsum("ij,ij->i", t, t),
                                      lambda t: np.einsum("ij,j", t, [1.0, 2.0, 3.0], optimize=True), lambda t: np.dot(t, [1.0, 2.0, 3.0]),
                                      lambda t: np.matmul(t, t.T), lambda t: np.dot(t, t.T),
                                      lambda t: np.linalg.norm(t, axis=1), lambda t: np.maximum(t, 3.0),
                                      lambda t: np.add.reduce(t), lambda t: np.maximum.reduce(t, axis=1),
                                      lambda t: np.swapaxes(t, 0, 1), lambda t: np.flip(t, 1),
                                      lambda t: np.moveaxis(t, 0, 1), lambda t: np.expand_dims(t, 0),
                                      lambda t: np.squeeze(t[:1]), lambda t: np.round(t / 3, 1),
                                      lambda t: np.pad(t, 1), lambda t: np.tile(t, 2),
                                      lambda t: np.repeat(t, 2, axis=0), lambda t: np.roll(t, 1),
                                      lambda t: np.float_power(t, 2),
                                      lambda t: np.take(t, [0, 1]), lambda t: np.tril(t), lambda t: np.trace(t),
                                      lambda t: np.outer(t[0], t[1]), lambda t: np.power(t, 2)])
def test_numpy_functions_give_tensors_with_numpy_s_values(t, function):
    got = function(t)
    assert isinstance(got, Tensor) and got.requires_grad
    np.testing.assert_allclose(got.data, function(t.data))


@pytest.mark.parametrize("function", [lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a / b,
                                      lambda a, b: a ** b, lambda a, b: a // b,
                                      lambda a, b: a % b, lambda a, b: a @ np.swapaxes(b, 0, 1)])
def test_arithmetic_with_arrays_and_numbers_in_either_order(t, function):
    other = np.array([[2.0, 1.0, 0.5], [3.0, 1.5, 2.5]])
    for a, b in ((t, other), (other, t), (t, t)):
        got = function(a, b)
        assert isinstance(got, Tensor)
        np.testing.assert_allclose(got.data, function(np.asarray(a), np.asarray(b)))


@pytest.mark.parametrize("function", [lambda t: 2 + t, lambda t: 2.0 - t, lambda t: t * 2, lambda t: 1 / t,
                                      lambda t: 2 ** t, lambda t: 7 // t, lambda t: 7 % t, lambda t: -t,
                                      lambda t: +t, lambda t: abs(t), lambda t: np.float64(2) * t,
                                      lambda t: t / np.sqrt(2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_are_weak(t, function, dtype):
    got = function(t.detach().astype(dtype))
    assert got.dtype == dtype
    np.testing.assert_allclose(got.data, function(t.data.astype(dtype)), rtol=1e-6)


def test_comparisons_give_arrays_of_booleans_without_gradient(t):
    for got, expected in ((t > 2, t.data > 2), (2 > t, 2 > t.data), (t == 3, t.data == 3), (t != 3, t.data != 3),
                          (t <= t, t.data <= t.data), (~(t > 2), ~(t.data > 2)),
                          ((t > 2) & (t < 5), (t.data > 2) & (t.data < 5)),
                          ((t < 2) | (t > 5), (t.data < 2) | (t.data > 5))):
        assert not got.requires_grad
        np.testing.assert_array_equal(got.data, expected)


def test_masks_combine_with_arrays_in_either_order_and_integers_bit_by_bit(t):
    mask = np.array([True, True, False])
    for got, expected in ((mask & (t > 1), mask & (t.data > 1)), ((t > 1) | mask, (t.data > 1) | mask), (True ^ (t > 4), t.data <= 4),
                          (tensor([6]) & 3, [2]), (6 | tensor([1]), [7]), (~tensor([0]), [-1])):
        assert isinstance(got, Tensor) and np.array_equal(got.data, expected)
    assert np.count_nonzero(t > 1) == 5 and np.array_equal(np.argwhere(t > 4), np.argwhere(t.data > 4))
    with pytest.raises(TypeError, match="bitwise_and"):
        t & t


def test_one_element_is_a_number_in_any_shape_and_formats_like_one(t):
    assert float(t[:1, :1]) == 1.0 and int(tensor([[3]])) == 3
    assert f"{t.mean():.2f}" == "3.50" and f"{t}" == repr(t)
    with pytest.raises(ValueError):
        float(t)


def test_a_tensor_is_a_key_by_identity(t):
    assert {t: 1}[t] == 1 and hash(t) != hash(t.view())


def test_augmented_assignment_makes_a_new_tensor(t):
    u = t
    u += 1.0
    assert u is not t and t[0, 0].item() == 1.0 and u.requires_grad


def test_an_array_cannot_take_a_tensor_in_place(t):
    array = np.ones((2, 3))
    with pytest.raises(TypeError, match="out= is not possible with Tensors"):
        array += t


def test_asarray_shares_memory_and_converts_on_request(t):
    assert np.shares_memory(np.asarray(t), t.data)
    assert np.asarray(t, dtype=np.float32).dtype == np.float32
    assert np.array(t).flags.writeable and not np.shares_memory(np.array(t), t.data)
    with pytest.raises(ValueError, match="without copying"):
        np.asarray(t, dtype=np.float32, copy=False)
    np.testing.assert_allclose(t, t.data)
    assert np.allclose(t, t.data) and np.array_equal(t, t)
    assert np.zeros_like(t).shape == np.shape(t) == (2, 3) and np.size(t) == 6


def test_numpy_functions_without_a_gradient_here_say_what_to_do(t):
    with pytest.raises(TypeError, match=r"np.median is not defined for Tensors; use np.asarray\(tensor\)"):
        np.median(t)
    with pytest.raises(TypeError, match="np.arctan has no gradient rule here; write one with @minitx.op"):
        np.arctan(t)
    with pytest.raises(TypeError, match="np.add.accumulate has no gradient rule"):
        np.add.accumulate(t)


@pytest.mark.parametrize("call, error", [
    (lambda t: ops.tensordot(t, np.ones((3, 2)), 2), "tensordot: axes .* are summed together"),
    (lambda t: np.vdot(t, np.ones(1)), "mismatch"),
    (lambda t: np.take_along_axis(t, np.array([0, 1, 0]), axis=0), "indices have 1 axes but x has 2"),
    (lambda t: np.split(t, -1), "do not divide into -1"),
])
def test_what_numpy_refuses_is_refused(t, call, error):
    with pytest.raises(ValueError, match=error):
        call(t)


@pytest.mark.parametrize("call", [
    lambda t: np.take(t, [True, False, True], axis=1), lambda t: t[[]], lambda t: t[:, []], lambda t: np.take(t, [], axis=0),
    lambda t: np.sort(t, kind="stable"), lambda t: np.argsort(t, kind="stable"), lambda t: np.tile(t, np.array([2, 1])), lambda t: np.trunc(t),
    lambda t: np.rint(t), lambda t: np.vdot(t, t), lambda t: np.linalg.norm(t, ord=2, axis=np.int64(1)),
    lambda t: np.clip(t.astype(np.float32), -1, 1)], ids=range(12))
def test_what_numpy_takes_is_taken(t, call):
    got, expected = call(t), call(t.data)
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got.data, expected)


def test_a_numpy_number_is_as_weak_as_a_plain_one(t):
    assert np.clip(t.astype(np.float32), np.float64(-1), np.float64(1)).dtype == np.float32


def test_arrays_may_be_named_and_strings_are_no_numbers(t):
    assert np.allclose(t.data, b=t) and np.array_equal(a1=t.data, a2=t)
    for wrong in (lambda: t + "a", lambda: t == "a"):
        with pytest.raises(TypeError, match="did not contain a loop"):
            wrong()


def test_minitx_offers_operations_and_not_the_files_they_are_in():
    assert {"exp", "reshape", "relu", "logsumexp"} <= set(dir(minitx))
    assert not {"np", "NUMPY", "elementwise", "shape", "indexing", "to_device"} & set(dir(minitx))


def test_methods_are_numpy_s_methods(t):
    a = t.data
    for got, expected in ((t.T, a.T), (t.sum(0), a.sum(0)),
                          (t.mean(axis=1, keepdims=True), a.mean(axis=1, keepdims=True)),
                          (t.reshape(3, 2), a.reshape(3, 2)),
                          (t.reshape((-1,)), a.reshape(-1)), (t.transpose(1, 0), a.transpose(1, 0)),
                          (t.swapaxes(0, 1), a.swapaxes(0, 1)), (t.flatten(), a.flatten()),
                          (t.std(), a.std()), (t.var(0, ddof=1), a.var(0, ddof=1)),
                          (t.argmax(axis=1), a.argmax(axis=1)), (t.cumsum(axis=0), a.cumsum(axis=0)),
                          (t.clip(2, 3), a.clip(2, 3)), (t.round(), a.round()), (t.any(), a.any()),
                          (t.repeat(2), a.repeat(2)), (t.mT, a.mT), (t.squeeze(), a.squeeze()),
                          (t.dot(a.T), a.dot(a.T)), (t.trace(), a.trace()), (t.take([0, 1]), a.take([0, 1])),
                          (t.prod(axis=0), a.prod(axis=0)), (t.argmin(axis=0, keepdims=True), a.argmin(axis=0, keepdims=True)),
                          (round(t / 3, 1), np.round(a / 3, 1)), (t.floor(), np.floor(a)), (t.split(3, axis=1)[2], a[:, 2:]), (t.pad(1), np.pad(a, 1))):
        np.testing.assert_allclose(got.data, expected)
    assert (t.shape, t.ndim, t.size, t.dtype, t.is_leaf, t.device) == ((2, 3), 2, 6, np.float64, True, "cpu")


def test_methods_have_pytorch_s_names_too(t):
    a = t.data
    for got, expected in ((t.neg().sub(1).mul(2).div(4).pow(2), ((-a - 1) * 2 / 4) ** 2), (t.clamp(2, 3), a.clip(2, 3)), (t.clone(), a),
                          (t.unsqueeze(0), a[None]), (t.softmax(0).log(), t.log_softmax(axis=0).data)):
        np.testing.assert_allclose(got.data, expected)
        assert got.requires_grad


@pytest.mark.parametrize("index", [0, -1, (0, 1), slice(1, None), (slice(None), 1), ..., None, (..., np.newaxis),
                                   [1, 0], np.array([True, False]), (0, [1, 2])])
def test_indexing_is_numpy_s(t, index):
    np.testing.assert_array_equal(t[index].data, t.data[index])
    np.testing.assert_array_equal(t.detach()[index].data, t.data[index])


def test_a_tensor_is_an_index(t):
    rows = tensor([1, 0, 1])
    np.testing.assert_array_equal(t[rows].data, t.data[[1, 0, 1]])
    np.testing.assert_array_equal(t[rows, tensor([0, 0, 2])].data, t.data[[1, 0, 1], [0, 0, 2]])
    np.testing.assert_array_equal(t[t > 2].data, t.data[t.data > 2])


def test_detach_clone_view_and_astype(t):
    assert not t.detach().requires_grad and np.shares_memory(t.detach().data, t.data)
    assert t.clone().requires_grad and not np.shares_memory(t.clone().data, t.data)
    assert np.shares_memory(t.view().data, t.data) and t.view().node is not None
    assert t.astype(np.float64) is t and t.to("cpu") is t
    t.astype(np.float32).sum().backward()
    assert t.grad.dtype == np.float64


def test_pickling_is_refused_with_a_pointer_to_state_dict(t):
    with pytest.raises(TypeError, match="state_dict"):
        pickle.dumps(t)


def test_deepcopy_copies_leaves_and_refuses_what_was_computed(t):
    twin = copy.deepcopy([t, t])
    assert twin[0] is twin[1] and twin[0] is not t and twin[0].requires_grad and not np.shares_memory(twin[0].data, t.data)
    with pytest.raises(RuntimeError, match="made by exp; use .detach"):
        copy.deepcopy(ops.exp(t))


def test_requires_grad_is_switched_on_leaves_alone(t):
    assert not t.requires_grad_(False).requires_grad
    t.requires_grad_()
    with pytest.raises(RuntimeError, match="made by exp; use .detach"):
        ops.exp(t).requires_grad_(False)


def test_enable_grad_records_within_no_grad(t):
    with no_grad():
        with enable_grad():
            assert (t * 2).requires_grad
        assert not (t * 2).requires_grad


def test_under_no_grad_a_leaf_can_be_written_to(t):
    with no_grad():
        t[0] = 0.0
        t[1, 1:] = tensor([7.0, 8.0])
    assert t.tolist() == [[0.0, 0.0, 0.0], [4.0, 7.0, 8.0]]


def test_comparison_leaves_it_to_those_who_ask_for_that():
    """As arrays do: `pytest.approx` compares element by element itself."""
    assert tensor(3.0) == pytest.approx(3.0) and tensor(3.0) != pytest.approx(3.1)
    assert tensor([1.0, 2.0]) == pytest.approx([1.0, 2.0]) and pytest.approx(3.0) == tensor(3.0)


def test_what_numpy_s_own_tests_ask_is_answered(t):
    np.testing.assert_almost_equal(tensor(3.0), 3.0)
    np.testing.assert_array_almost_equal(t, t.data)
    assert not np.iscomplexobj(t) and np.result_type(t, np.float32) == np.float64 and np.may_share_memory(t, t.data)


def test_a_list_of_numbers_that_have_a_dtype_keeps_it():
    assert tensor([np.float64(1.1)]).dtype == tensor([np.array([1.1])]).dtype == np.float64
    assert tensor([1.1]).dtype == tensor([[1.1]]).dtype == tensor([np.float32(1.1)]).dtype == np.float32


@pytest.mark.parametrize("call", [lambda a, b: tensor([3.0, 4.0]) * [a, b], lambda a, b: ops.where([True, False], [a, b], 0.0),
                                  lambda a, b: tensor([3.0, 4.0]) @ [[a, b], [b, a]]])
def test_a_list_of_tensors_is_never_detached_without_a_word(call):
    a, b = (tensor(value, requires_grad=True) for value in (1.0, 2.0))
    with pytest.raises(TypeError, match="joined with stack or concatenate"):
        call(a, b)
    with no_grad():
        call(tensor(1.0), tensor(2.0))
    with pytest.raises(TypeError, match="tensor: a list of Tensors"):
        tensor([[a, b], [b, a]])
