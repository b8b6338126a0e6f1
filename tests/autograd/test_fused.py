"""Operations that a kernel serves: gradients of first and second order, the conventions at the edges, and what is refused."""
import threading

import numpy as np
import pytest
from scipy import special

from minitx.autograd import Tensor, fused, gradients, no_grad, ops, random, tensor
from minitx.autograd.check import gradcheck
from minitx.kernels.runtime import registry

KEY = 0x9E3779B97F4A7C15


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def awkward(x):
    """The same values as a view that is neither contiguous nor writable."""
    return ops.broadcast_to(ops.flip(ops.copy(ops.flip(x))), shape=x.shape)


def strided(x):
    """The same values in an array whose last axis has a stride of two elements."""
    return ops.stack((x, 2 * x), axis=-1)[..., 0]


def turned(x, **options):
    """`rotary` of heads of 4 features."""
    angles = np.outer(np.arange(9), [1.0, 0.1])
    return fused.rotary(x, np.cos(angles).astype(x.dtype), np.sin(angles).astype(x.dtype), **options)


IDS = np.array([[2, 0, 2], [4, 2, 0]])
TARGETS = np.array([1, -100, 3, 0, 3])
LENGTHS = np.array([4, 1, 0])
MASK = np.array([[True, False, True, True], [False] * 4, [True] * 4])  # the second query sees nothing

CASES = {
    "softmax": (fused.softmax, normal(3, 4)),
    "softmax, first axis": (lambda x: fused.softmax(x, axis=0), normal(3, 4)),
    "softmax, middle axis": (lambda x: fused.softmax(x, axis=1), normal(2, 5, 3)),
    "softmax, one column": (fused.softmax, normal(3, 1)),
    "softmax, no rows": (fused.softmax, normal(0, 4)),
    "log_softmax": (fused.log_softmax, normal(3, 4)),
    "log_softmax, axis -2": (lambda x: fused.log_softmax(x, axis=-2), normal(2, 5, 3)),
    "layer_norm": (fused.layer_norm, normal(2, 3, 6), normal(6), normal(6, seed=1)),
    "layer_norm, weight alone": (fused.layer_norm, normal(3, 6), normal(6)),
    "layer_norm, bias alone": (lambda x, bias: fused.layer_norm(x, None, bias), normal(3, 6), normal(6)),
    "layer_norm, neither": (lambda x: fused.layer_norm(x, eps=0.1), normal(5, 3)),
    "layer_norm, no rows": (fused.layer_norm, normal(0, 6), normal(6), normal(6, seed=1)),
    "add_layer_norm": (fused.add_layer_norm, normal(2, 3, 6), normal(2, 3, 6, seed=1), normal(6), normal(6, seed=1)),
    "add_layer_norm, dropout": (lambda *xs: fused.add_layer_norm(*xs, p=0.4, key=KEY),
                                normal(2, 3, 6), normal(2, 3, 6, seed=1), normal(6), normal(6, seed=1)),
    "add_layer_norm, to itself": (lambda x, w, b: fused.add_layer_norm(x, x, w, b), normal(3, 6), normal(6), normal(6, seed=1)),
    "rms_norm": (fused.rms_norm, normal(2, 3, 6), normal(6)),
    "rms_norm, no weight": (lambda x: fused.rms_norm(x, eps=0.1), normal(3, 6)),
    "rms_norm, one row": (fused.rms_norm, normal(6), normal(6)),
    "rms_norm, no rows": (fused.rms_norm, normal(0, 6), normal(6)),
    "swiglu": (fused.swiglu, normal(2, 3, 8)),
    "swiglu, one row": (fused.swiglu, normal(8)),
    "swiglu, no rows": (fused.swiglu, normal(0, 8)),
    "rotary": (lambda x: turned(x, heads=2), normal(2, 3, 8)),
    "rotary, some heads, from later on": (lambda x: turned(x, heads=1, start=np.array([4, 0])), normal(2, 3, 7)),
    "rotary, no time": (lambda x: turned(x, heads=2), normal(2, 0, 8)),
    "gelu": (fused.gelu, normal(3, 5)),
    "linear": (fused.linear, normal(2, 3, 4), normal(5, 4), normal(5)),
    "linear, one row": (fused.linear, normal(4), normal(5, 4), normal(5)),
    "linear, no rows": (fused.linear, normal(0, 4), normal(5, 4), normal(5)),
    "linear, no bias": (fused.linear, normal(3, 4), normal(5, 4)),
    "linear, relu": (lambda *xs: fused.linear(*xs, activation="relu"), normal(3, 4), normal(5, 4), normal(5)),
    "linear, relu, dropout": (lambda *xs: fused.linear(*xs, activation="relu", p=0.3, key=KEY),
                              normal(3, 4), normal(5, 4), normal(5)),
    "linear, gelu": (lambda *xs: fused.linear(*xs, activation="gelu"), normal(3, 4), normal(5, 4), normal(5)),
    "linear, gelu_tanh, dropout": (lambda *xs: fused.linear(*xs, activation="gelu_tanh", p=0.3, key=KEY), normal(3, 4), normal(5, 4), normal(5)),
    "linear, gelu, dropout, no bias": (lambda *xs: fused.linear(*xs, activation="gelu", p=0.3, key=KEY),
                                       normal(3, 4), normal(5, 4)),
    "dropout": (lambda x: fused.dropout(x, 0.5, key=KEY), normal(3, 5)),
    "dropout, nothing": (lambda x: fused.dropout(x, 0.5, key=KEY), normal(0, 5)),
    "embedding, no ids": (lambda weight: fused.embedding(weight, np.zeros((2, 0), int)), normal(5, 3)),
    "embedding": (lambda weight: fused.embedding(weight, IDS), normal(5, 3)),
    "attention": (lambda *xs: fused.attention(*xs, heads=2), normal(2, 3, 6), normal(2, 4, 6), normal(2, 4, 6, seed=1)),
    "attention, causal, more keys": (lambda *xs: fused.attention(*xs, heads=2, causal=True),
                                     normal(2, 3, 6), normal(2, 4, 6), normal(2, 4, 6, seed=1)),
    "attention, causal, fewer keys": (lambda *xs: fused.attention(*xs, causal=True),
                                      normal(1, 4, 3), normal(1, 2, 3), normal(1, 2, 3, seed=1)),
    "attention, lengths": (lambda *xs: fused.attention(*xs, heads=3, lengths=LENGTHS),
                           normal(3, 3, 6), normal(3, 4, 6), normal(3, 4, 6, seed=1)),
    "attention, no sentences": (lambda *xs: fused.attention(*xs, heads=2), normal(0, 3, 6), normal(0, 4, 6), normal(0, 4, 6)),
    "attention, no queries": (lambda *xs: fused.attention(*xs, heads=2), normal(2, 0, 6), normal(2, 4, 6), normal(2, 4, 6, seed=1)),
    "attention, no keys": (lambda *xs: fused.attention(*xs, heads=2), normal(2, 3, 6), normal(2, 0, 6), normal(2, 0, 6)),
    "attention, mask": (lambda *xs: fused.attention(*xs, MASK, heads=2), normal(2, 3, 6), normal(2, 4, 6), normal(2, 4, 6, seed=1)),
    "attention, everything": (lambda *xs: fused.attention(*xs, MASK, heads=2, causal=True, lengths=LENGTHS, p=0.25, key=KEY),
                              normal(3, 3, 4), normal(3, 4, 4), normal(3, 4, 4, seed=1)),
    "attention, shared keys, window": (lambda *xs: fused.attention(*xs, heads=4, kv_heads=2, causal=True, window=2),
                                       normal(2, 3, 8), normal(2, 5, 4), normal(2, 5, 4, seed=1)),
    "attention, one head of keys, everything": (
        lambda *xs: fused.attention(*xs, MASK, heads=3, kv_heads=1, causal=True, window=2, lengths=LENGTHS, p=0.25, key=KEY),
        normal(3, 3, 6), normal(3, 4, 2), normal(3, 4, 2, seed=1)),
    "self_attention, shared keys, window": (lambda x: fused.self_attention(x, heads=4, kv_heads=2, causal=True, window=3), normal(2, 5, 16)),
    "self_attention": (lambda x: fused.self_attention(x, heads=2, causal=True), normal(2, 4, 12)),
    "self_attention, lengths, dropout": (lambda x: fused.self_attention(x, heads=2, lengths=LENGTHS, p=0.25, key=KEY),
                                         normal(3, 4, 12)),
    "self_attention, one position": (lambda x: fused.self_attention(x, heads=2, causal=True), normal(2, 1, 12)),
    "cross_attention": (lambda q, kv: fused.cross_attention(q, kv, heads=2), normal(2, 3, 6), normal(2, 5, 12)),
    "cross_attention, shared keys": (lambda q, kv: fused.cross_attention(q, kv, heads=4, kv_heads=2), normal(2, 3, 8), normal(2, 5, 8)),
    "cross_attention, lengths, dropout": (lambda q, kv: fused.cross_attention(q, kv, heads=3, lengths=LENGTHS, p=0.25, key=KEY),
                                          normal(3, 2, 6), normal(3, 4, 12)),
    **{f"cross_entropy, {reduction}, smoothing {s}": (
        lambda z, reduction=reduction, s=s: fused.cross_entropy(z, TARGETS, label_smoothing=s, reduction=reduction), normal(5, 4))
        for reduction in ("mean", "sum", "none") for s in (0.0, 0.1)},
    "cross_entropy, no rows": (lambda z: fused.cross_entropy(z, np.zeros(0, int)), normal(0, 4)),
    "linear_cross_entropy, no rows": (lambda *xs: fused.linear_cross_entropy(*xs, np.zeros(0, int)),
                                      normal(0, 3), normal(4, 3), normal(4)),
    "cross_entropy, time": (lambda z: fused.cross_entropy(z, IDS, ignore_index=0, reduction="none"), normal(2, 3, 5)),
    "cross_entropy, one class": (lambda z: fused.cross_entropy(z, np.zeros(3, int), reduction="none"), normal(3, 1)),
    **{f"linear_cross_entropy, {reduction}, smoothing {s}": (
        lambda *xs, reduction=reduction, s=s: fused.linear_cross_entropy(*xs, TARGETS, label_smoothing=s, reduction=reduction),
        normal(5, 3), normal(4, 3), normal(4)) for reduction in ("mean", "sum") for s in (0.0, 0.1)},
    "linear_cross_entropy, time, no bias": (lambda x, w: 3 * fused.linear_cross_entropy(x, w, None, IDS, ignore_index=0),
                                            normal(2, 3, 4), normal(5, 4)),
}


@pytest.mark.parametrize("name", CASES)
def test_first_and_second_derivatives_agree_with_differences(name):
    function, *arrays = CASES[name]
    gradcheck(function, arrays, order=2)


@pytest.mark.parametrize("form", [awkward, strided])
@pytest.mark.parametrize("name", CASES)
def test_derivatives_do_not_depend_on_the_layout_of_the_inputs(name, form):
    function, *arrays = CASES[name]
    plain, formed = ([tensor(array, requires_grad=True) for array in arrays] for _ in range(2))
    outs = function(*plain), function(*[form(x) for x in formed])
    cotangent = normal(*outs[0].shape, seed=7)
    for out in outs:
        out.backward(cotangent)
    np.testing.assert_allclose(outs[1].data, outs[0].data, rtol=1e-12, atol=1e-14)
    for x, y in zip(plain, formed):
        np.testing.assert_allclose(y.grad.data, x.grad.data, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", CASES)
def test_kernel_and_reference_give_the_same_values_and_gradients(name):
    function, *arrays = CASES[name]
    found = []
    for backend in ("cpu", "reference"):
        inputs = [tensor(array, requires_grad=True) for array in arrays]
        with registry.backend(backend):
            out = function(*inputs)
            out.backward(normal(*out.shape, seed=7))
        found.append([out.data, *(x.grad.data for x in inputs)])
    for ours, reference in zip(*found):
        np.testing.assert_allclose(ours, reference, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", CASES)
def test_float32_stays_float32(name):
    function, *arrays = CASES[name]
    inputs = [tensor(array.astype(np.float32), requires_grad=True) for array in arrays]
    out = function(*inputs)
    out.backward(np.ones(out.shape))
    assert {out.dtype, *(x.grad.dtype for x in inputs)} == {np.dtype(np.float32)}
    again = [tensor(array.astype(np.float32), requires_grad=True) for array in arrays]
    for gradient in gradients([function(*again)], again, [np.ones(out.shape, np.float32)], create_graph=True):
        assert gradient.dtype == np.float32


@pytest.mark.parametrize("name", CASES)
def test_arrays_give_arrays_and_nothing_is_recorded_without_gradients(name):
    function, *arrays = CASES[name]
    if name not in ("dropout", "layer_norm, bias alone") and "entropy, time" not in name:
        assert isinstance(function(*arrays), (np.ndarray, np.generic))
    with no_grad():
        assert not function(*[tensor(array, requires_grad=True) for array in arrays]).requires_grad


# Softmax

@pytest.mark.parametrize("axis", [-3, -2, -1, 0, 1, 2])
def test_softmax_runs_along_any_axis(axis):
    x = normal(2, 5, 3)
    np.testing.assert_allclose(fused.softmax(tensor(x), axis=axis).data, special.softmax(x, axis=axis), rtol=1e-14)
    np.testing.assert_allclose(fused.log_softmax(tensor(x), axis=axis).data, special.log_softmax(x, axis=axis), rtol=1e-13)


def test_a_row_of_minus_infinity_has_no_softmax_and_no_gradient():
    x = tensor([[-np.inf, -np.inf], [0.0, -np.inf]], requires_grad=True)
    out = fused.softmax(x)
    out.backward(np.ones((2, 2)))
    assert out.tolist() == [[0, 0], [1, 0]]
    assert x.grad.tolist() == [[0, 0], [0, 0]]


def test_softmax_of_large_numbers_does_not_overflow():
    assert fused.softmax(tensor([1e4, 1e4, -1e4])).tolist() == [0.5, 0.5, 0]


# Dropout and its keys

def test_the_gradient_of_dropout_is_masked_as_its_values_are():
    x = tensor(np.ones(1000), requires_grad=True)
    out = fused.dropout(x, 0.3)
    out.backward(np.ones(1000))
    assert np.array_equal(out.data, x.grad.data)
    assert set(np.unique(out.data)) == {0.0, 1 / (1 - 0.3)}
    assert 250 < np.count_nonzero(out.data == 0) < 350


def test_dropout_of_probability_zero_is_the_input_itself_and_uses_no_key():
    x, state = tensor([1.0]), random.state()
    assert fused.dropout(x, 0) is x
    assert random.state() == state


def test_dropout_of_probability_one_leaves_nothing():
    assert fused.dropout(tensor(np.ones(9)), 1.0).data.sum() == 0


def test_each_call_of_dropout_drops_others_and_a_seed_drops_the_same_again():
    ones = tensor(np.ones(200))

    def draw():
        return fused.dropout(ones).data.tolist()

    random.seed(5)
    first, second = draw(), draw()
    assert first != second
    random.seed(5)
    assert [draw(), draw()] == [first, second]


def test_a_restored_state_continues_with_the_same_keys():
    random.seed(1, 2)
    random.next_key()
    state = random.state()
    following = [random.next_key() for _ in range(3)]
    random.restore(state)
    assert [random.next_key() for _ in range(3)] == following


def test_keys_of_neighbouring_seeds_steps_and_counts_all_differ():
    keys = []
    for seed in range(5):
        for step in range(50):
            random.seed(seed, step)
            keys += [random.next_key() for _ in range(20)]
    assert len(set(keys)) == len(keys)
    assert all(0 <= key < 2**64 for key in keys)


def test_threads_have_keys_of_their_own():
    random.seed(3)
    expected = random.next_key()
    random.seed(3)
    other = threading.Thread(target=lambda: (random.seed(9), random.next_key()))
    other.start()
    other.join()
    assert random.next_key() == expected


# Embedding

def test_a_repeated_id_collects_all_its_gradients():
    weight = tensor(np.zeros((5, 2)), requires_grad=True)
    fused.embedding(weight, IDS).sum().backward()
    assert weight.grad.data[:, 0].tolist() == [2, 0, 3, 0, 1]


# Attention

def test_a_query_that_sees_no_key_gives_zeros_and_no_gradient():
    inputs = [tensor(normal(1, 3, 4, seed=i), requires_grad=True) for i in range(3)]
    out = fused.attention(*inputs, heads=2, lengths=np.array([0]))
    out.backward(np.ones((1, 3, 4)))
    assert not out.data.any()
    assert not any(x.grad.data.any() for x in inputs)


def test_attention_of_a_packed_projection_is_attention_of_its_parts():
    packed, q = normal(2, 4, 12), normal(2, 3, 4, seed=1)
    parts = [packed[..., start:start + 4] for start in (0, 4, 8)]
    options = {"heads": 2, "lengths": np.array([3, 4])}
    together, apart = fused.self_attention(packed, causal=True, **options), fused.attention(*parts, causal=True, **options)
    np.testing.assert_allclose(together, apart, rtol=1e-13)
    together, apart = fused.cross_attention(q, packed[..., :8], **options), fused.attention(q, *parts[:2], **options)
    np.testing.assert_allclose(together, apart, rtol=1e-13)


# Cross-entropy

def test_cross_entropy_is_the_negative_logarithm_of_the_target_s_softmax():
    logits = normal(5, 4)
    losses = -special.log_softmax(logits, axis=-1)[np.arange(5), np.abs(TARGETS) % 100] * (TARGETS >= 0)
    for reduction, expected in (("none", losses), ("sum", losses.sum()), ("mean", losses.sum() / 4)):
        found = fused.cross_entropy(tensor(logits), TARGETS, reduction=reduction)
        np.testing.assert_allclose(found.data, expected, rtol=1e-13)


def test_a_mean_loss_counts_no_pads():
    """Appending pads, or putting anything where they stand, changes neither the loss nor the gradients of the real rows."""
    logits, targets = normal(4, 5), np.array([1, 4, 2, 3])
    padded = np.concatenate([logits, 100 * normal(3, 5)])
    for function in (lambda z, t: fused.cross_entropy(z, t, ignore_index=0, label_smoothing=0.1),
                     lambda z, t: fused.linear_cross_entropy(z, np.eye(5), None, t, ignore_index=0, label_smoothing=0.1)):
        short, long = tensor(logits, requires_grad=True), tensor(padded, requires_grad=True)
        losses = function(short, targets), function(long, np.concatenate([targets, [0, 0, 0]]))
        for loss in losses:
            loss.backward()
        assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-14)
        np.testing.assert_allclose(long.grad.data[:4], short.grad.data, rtol=1e-13)
        assert not long.grad.data[4:].any()


def test_targets_that_are_all_ignored_give_a_loss_of_zero():
    x = tensor(normal(2, 3), requires_grad=True)
    loss = fused.cross_entropy(x, np.array([-100, -100]))
    loss.backward()
    assert loss.item() == 0 and not x.grad.data.any()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_linear_cross_entropy_is_a_linear_layer_and_cross_entropy(smoothing):
    arrays, targets = (normal(40, 6), normal(9, 6), normal(9)), np.random.default_rng(0).integers(0, 9, 40)
    found = []
    for loss_of in (lambda x, w, b: fused.linear_cross_entropy(x, w, b, targets, ignore_index=0, label_smoothing=smoothing),
                    lambda x, w, b: fused.cross_entropy(fused.linear(x, w, b), targets, ignore_index=0, label_smoothing=smoothing)):
        inputs = [tensor(array, requires_grad=True) for array in arrays]
        loss = loss_of(*inputs)
        (2.5 * loss).backward()
        found.append([loss.data, *(x.grad.data for x in inputs)])
    for one, other in zip(*found):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-14)


def test_linear_cross_entropy_keeps_gradients_but_no_logits():
    x, w = (tensor(normal(*shape), requires_grad=True) for shape in ((64, 2), (500, 2)))
    node = fused.linear_cross_entropy(x, w, None, np.zeros(64, int)).node
    assert all(np.size(kept) < 64 * 500 for kept in node.saved if isinstance(kept, np.ndarray))


def test_targets_may_be_a_list_or_a_tensor():
    logits = tensor(normal(3, 4))
    expected = fused.cross_entropy(logits, np.array([1, 2, 3])).item()
    assert fused.cross_entropy(logits, [1, 2, 3]).item() == expected
    assert fused.cross_entropy(logits, tensor([1, 2, 3])).item() == expected
    with_linear = fused.linear_cross_entropy(logits, tensor(np.eye(4)), None, tensor([1, 2, 3]))
    assert with_linear.item() == pytest.approx(expected, rel=1e-14)


# What is refused

x34 = Tensor(normal(3, 4))


@pytest.mark.parametrize("call, said", [
    (lambda: fused.cross_entropy(x34, np.array([0, 1, 2]), reduction="average"),
     "cross_entropy: reduction 'average' is not one of mean, sum, none"),
    (lambda: fused.linear_cross_entropy(x34, x34, None, np.array([0, 1, 2]), reduction="none"),
     "linear_cross_entropy: reduction 'none'"),
    (lambda: fused.cross_entropy(x34, np.array([0, 1, 4])), "target 4 is no class"),
    (lambda: fused.cross_entropy(x34, np.array([0, 1])), r"cross_entropy: targets have shape \(2,\) but logits \(3, 4\)"),
    (lambda: fused.cross_entropy(Tensor(normal(2, 3, 4)), np.zeros((3, 2), int)),
     r"cross_entropy: targets have shape \(3, 2\) but logits \(2, 3, 4\)"),
    (lambda: fused.linear_cross_entropy(Tensor(normal(2, 3, 4)), x34, None, np.zeros((3, 2), int)),
     r"targets have shape \(3, 2\) but x \(2, 3, 4\)"),
    (lambda: fused.cross_entropy(x34, np.array([0.0, 1.0, 2.0])), "integers"),
    (lambda: fused.dropout(x34, 1.5), "p is 1.5"),
    (lambda: fused.dropout(Tensor(np.arange(3)), 0.5), "expected float32 or float64"),
    (lambda: fused.linear(x34, Tensor(normal(4, 5))), "weight"),
    (lambda: fused.linear(x34, Tensor(normal(5, 4)), activation="swish"), "'swish' is not one of none, relu, gelu"),
    (lambda: fused.linear(x34, Tensor(normal(5, 4).astype(np.float32))), "float32"),
    (lambda: fused.layer_norm(x34, Tensor(normal(3))), r"weight has shape \(3,\)"),
    (lambda: fused.attention(*[Tensor(normal(1, 2, 6))] * 3, heads=4), "6 features cannot be shared among 4 heads"),
    (lambda: fused.attention(*[Tensor(normal(1, 2, 6))] * 3, heads=2, lengths=np.array([1, 2])), "lengths"),
    (lambda: fused.self_attention(Tensor(normal(1, 2, 20)), heads=0), "heads=0"),
    (lambda: fused.self_attention(Tensor(normal(1, 2, 20)), heads=2), "a projection of 20 features does not divide into 2 heads of queries and 2 · 2"),
    (lambda: fused.cross_attention(Tensor(normal(1, 3, 8)), Tensor(normal(1, 5, 17)), heads=2), "a projection of 17 features does not divide into 0 heads"),
    (lambda: fused.add_layer_norm(Tensor(normal(2, 4).astype(np.float32)), Tensor(normal(2, 4)), None, None), "inputs are float32 and float64"),
    (lambda: fused.linear(Tensor(normal(3, 0)), Tensor(normal(4, 0))), "there must be at least one feature in"),
    (lambda: fused.softmax(Tensor(np.float64(3.0))), "scalar"),
    (lambda: fused.softmax(x34, axis=2), "axis 2"),
])
def test_a_mistake_is_explained(call, said):
    with pytest.raises((ValueError, TypeError), match=said):
        call()


@pytest.mark.parametrize("ids", [[5], [-1]])
def test_an_id_outside_the_table_is_refused(ids):
    with pytest.raises(IndexError, match="the table has 5 rows"):
        fused.embedding(Tensor(normal(5, 3)), np.array(ids))


def test_lengths_that_change_before_backward_do_not_change_the_gradient():
    draw = np.random.default_rng(0).standard_normal
    qkv = tensor(draw((2, 4, 12)), requires_grad=True)
    lengths = np.array([2, 4], np.int32)
    out = fused.self_attention(qkv, heads=2, lengths=lengths).sum()
    lengths[:] = 1
    out.backward()
    again = tensor(qkv.data, requires_grad=True)
    fused.self_attention(again, heads=2, lengths=np.array([2, 4], np.int32)).sum().backward()
    np.testing.assert_array_equal(qkv.grad.numpy(), again.grad.numpy())
