"""Attention: cpu against reference over lengths, masks and layouts; the reference's backward against differences."""
import numpy as np
import pytest

from minitx.kernels.attention import cpu, reference

from .checks import DTYPES, assert_close, assert_same_bits, awkward, differences, normal

SHAPES = [  # batch, heads, tq, tk, d: length 1, odd sizes, blocks that are and are not full, one head cut into chunks
    (1, 1, 1, 1, 1), (2, 3, 64, 64, 32), (1, 2, 7, 7, 16), (3, 1, 1, 40, 32), (2, 2, 16, 16, 32), (2, 1, 5, 77, 20),
    (1, 1, 200, 333, 64), (1, 2, 133, 70, 17), (1, 9, 90, 90, 128), (1, 1, 300, 300, 48), (2, 1, 40, 12, 8)]
VARIANTS = {
    "plain": {}, "causal": {"causal": True}, "lengths": {"lengths": True}, "mask": {"mask": True},
    "dropout": {"p": 0.3, "key": 7}, "window": {"causal": True, "window": 5},
    "everything": {"causal": True, "lengths": True, "mask": True, "p": 0.2, "key": 2**63 + 5},
    "everything in a window": {"causal": True, "lengths": True, "mask": True, "p": 0.2, "key": 3, "window": 45}}
UNITS = 24  # a sum of tk products, each with an exponential good to 2 epsilons times the size of its score, up to 5


def inputs(batch, heads, tq, tk, d, dtype, kv_heads=None):
    """q, k, v, g."""
    q, k = (batch, tq, heads * d), (batch, tk, (kv_heads or heads) * d)
    shapes = [q, k, k, q]
    return [normal(*shape, seed=i, dtype=dtype) for i, shape in enumerate(shapes)]


def options(batch, heads, tq, tk, variant):
    """The variant's arguments; of several sequences the first has length 0, and the mask hides a whole row."""
    chosen = dict(VARIANTS[variant])
    rng = np.random.default_rng(1)
    if "lengths" in chosen:
        # Of one key, the gradient of the scores is 0 in mathematics and a rounding error here.
        several = [0, *rng.integers(min(2, tk), tk + 1, batch - 1)]
        chosen["lengths"] = np.array(several if batch > 1 else [max(1, tk - 3)], np.int32)
    if "mask" in chosen:
        chosen["mask"] = rng.random((batch, 1, tq, tk)) < 0.7
        chosen["mask"][-1, 0, tq // 2] = False
    return chosen


def exact(*arrays):
    return [array.astype(np.float64) for array in arrays]


@DTYPES
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_the_reference(shape, variant, dtype):
    q, k, v, g = inputs(*shape, dtype)
    heads, chosen = shape[1], options(*shape[:4], variant)
    out, log_sum_exp = cpu.attention(q, k, v, heads, **chosen)
    expected, expected_log = reference.attention(*exact(q, k, v), heads, **chosen)
    assert out.dtype == log_sum_exp.dtype == dtype
    assert_close(out, expected, UNITS)
    assert_close(log_sum_exp, expected_log, UNITS)
    expected = reference.attention_backward(*exact(g, q, k, v), expected, expected_log, heads, **chosen)
    gradients = cpu.attention_backward(g, q, k, v, out, log_sum_exp, heads, **chosen)
    for actual, right in zip(gradients, expected, strict=True):
        assert actual.dtype == dtype
        assert_close(actual, right, 2 * UNITS)


@DTYPES
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kv_heads", [1, 3, 6])
@pytest.mark.parametrize("batch, tq, tk, d", [(2, 50, 50, 16), (1, 140, 140, 8), (3, 1, 40, 8), (1, 37, 12, 4), (9, 18, 18, 4)])
def test_heads_that_share_keys_agree_with_the_reference(batch, tq, tk, d, kv_heads, variant, dtype):
    q, k, v, g = inputs(batch, 6, tq, tk, d, dtype, kv_heads)
    chosen = options(batch, 6, tq, tk, variant) | {"kv_heads": kv_heads}
    out, log_sum_exp = cpu.attention(q, k, v, 6, **chosen)
    expected, expected_log = reference.attention(*exact(q, k, v), 6, **chosen)
    assert_close(out, expected, UNITS)
    assert_close(log_sum_exp, expected_log, UNITS)
    expected = reference.attention_backward(*exact(g, q, k, v), expected, expected_log, 6, **chosen)
    for actual, right in zip(cpu.attention_backward(g, q, k, v, out, log_sum_exp, 6, **chosen), expected, strict=True):
        assert_close(actual, right, 2 * UNITS)


@pytest.mark.parametrize("kv_heads", [1, 2, 6])
def test_shared_keys_are_as_many_equal_ones(kv_heads):
    q, k, v, _ = inputs(2, 6, 5, 7, 4, np.float64, kv_heads)
    k_each, v_each = (np.repeat(x.reshape(2, 7, kv_heads, 4), 6 // kv_heads, axis=2).reshape(2, 7, 24) for x in (k, v))
    out, _ = reference.attention(q, k, v, 6, kv_heads=kv_heads)
    np.testing.assert_allclose(out, reference.attention(q, k_each, v_each, 6)[0], rtol=1e-12)
    weights = reference.attention_weights(q, k, 6, kv_heads=kv_heads)
    np.testing.assert_allclose(weights, reference.attention_weights(q, k_each, 6), rtol=1e-12)


@pytest.mark.parametrize("tq, tk", [(6, 6), (3, 8), (8, 3)])
def test_a_window_is_a_mask_of_the_last_keys(tq, tk):
    q, k, v, _ = inputs(2, 2, tq, tk, 4, np.float64)
    ahead = np.arange(tk) - np.arange(tq)[:, None] - (tk - tq)
    for window in (1, 3, tk, tk + 5):
        mask = (ahead <= 0) & (ahead > -window)
        out, _ = reference.attention(q, k, v, 2, causal=True, window=window)
        np.testing.assert_allclose(out, reference.attention(q, k, v, 2, mask=mask)[0], rtol=1e-12)
        weights = reference.attention_weights(q, k, 2, causal=True, window=window)
        np.testing.assert_array_equal(weights > 0, np.broadcast_to(mask, weights.shape))


@DTYPES
def test_keys_that_have_left_the_window_of_a_block_are_not_read(dtype):
    q, k, v, g = inputs(1, 2, 300, 300, 16, dtype)
    k[0, :130], v[0, :130] = np.nan, np.nan
    out, log_sum_exp = cpu.attention(q, k, v, 2, causal=True, window=10)
    dq, dk, dv = cpu.attention_backward(g, q, k, v, out, log_sum_exp, 2, causal=True, window=10)
    assert all(np.isfinite(array[0, 192:]).all() for array in (out, dq, dk, dv))


@DTYPES
@pytest.mark.parametrize("file", [cpu, reference])
def test_a_query_that_sees_nothing_gives_zeros_and_takes_no_gradient(file, dtype):
    q, k, v, g = inputs(2, 2, 70, 40, 16, dtype)
    mask = np.ones((2, 2, 70, 40), bool)
    mask[1, 0, 65] = False
    chosen = {"causal": True, "mask": mask}  # and with 40 keys for 70 queries, queries 0 … 29 see none
    out, log_sum_exp = file.attention(q, k, v, 2, **chosen)
    dq, dk, dv = file.attention_backward(g, q, k, v, out, log_sum_exp, 2, **chosen)
    assert (out[:, :30] == 0).all() and (dq[:, :30] == 0).all() and (log_sum_exp[:, :, :30] == -np.inf).all()
    assert (out[1, 65, :16] == 0).all() and (dq[1, 65, :16] == 0).all() and (out[1, 65, 16:] != 0).all()
    assert all(np.isfinite(array).all() for array in (out, dq, dk, dv))


@DTYPES
def test_what_lies_beyond_the_lengths_is_not_read(dtype):
    q, k, v, g = inputs(3, 2, 20, 50, 16, dtype)
    lengths = np.array([0, 50, 17])
    k[0], v[0], k[2, 17:], v[2, 17:] = np.nan, np.nan, np.nan, np.nan
    out, log_sum_exp = cpu.attention(q, k, v, 2, lengths=lengths)
    dq, dk, dv = cpu.attention_backward(g, q, k, v, out, log_sum_exp, 2, lengths=lengths)
    assert all(np.isfinite(array).all() for array in (out, dq, dk, dv))
    assert (out[0] == 0).all() and (dk[2, 17:] == 0).all() and (dv[2, 17:] == 0).all() and (dk[2, :17] != 0).any()


def test_the_future_does_not_change_the_past():
    q, k, v, _ = inputs(1, 2, 100, 100, 32, np.float32)
    before, _ = cpu.attention(q, k, v, 2, causal=True)
    k[:, 61:], v[:, 61:] = 30 * k[:, 61:], 1e6
    np.testing.assert_array_equal(cpu.attention(q, k, v, 2, causal=True)[0][:, :61], before[:, :61])


@pytest.mark.parametrize("kv_heads", [None, 1])
@pytest.mark.parametrize("variant", VARIANTS)
def test_slices_of_one_projection_are_read_in_place(variant, kv_heads):
    batch, heads, time, d = 2, 3, 45, 16
    chosen, ends = options(batch, heads, time, time, variant) | {"kv_heads": kv_heads}, np.cumsum([0, heads, kv_heads or heads, kv_heads or heads]) * d
    qkv, g = normal(batch, time, ends[-1], dtype=np.float32), normal(batch, time, heads * d, dtype=np.float32)
    slices = [qkv[:, :, ends[i]:ends[i + 1]] for i in range(3)]
    out, log_sum_exp = cpu.attention(*slices, heads, **chosen)
    copies = [part.copy() for part in slices]
    np.testing.assert_array_equal(out, cpu.attention(*copies, heads, **chosen)[0])
    separate = cpu.attention_backward(g, *copies, out, log_sum_exp, heads, **chosen)
    dqkv = cpu.attention_backward(g, *slices, out, log_sum_exp, heads, **chosen, packed=True)
    np.testing.assert_array_equal(dqkv, np.concatenate(separate, axis=-1))
    dq, dkv = cpu.attention_backward(g, *slices, out, log_sum_exp, heads, **chosen, packed="kv")
    np.testing.assert_array_equal(dq, separate[0])
    np.testing.assert_array_equal(dkv, np.concatenate(separate[1:], axis=-1))
    for right, packed in ((dqkv, True), (dkv, "kv")):
        from_reference = reference.attention_backward(g, *slices, out, log_sum_exp, heads, **chosen, packed=packed)
        assert_close(right, from_reference if packed is True else from_reference[1], 2 * UNITS)


def test_layout_does_not_matter():
    q, k, v, g = inputs(2, 2, 33, 20, 16, np.float32)
    out, log_sum_exp = cpu.attention(q, k, v, 2)
    np.testing.assert_array_equal(cpu.attention(*map(awkward, (q, k, v)), 2)[0], out)
    wide = np.swapaxes(np.ascontiguousarray(np.swapaxes(q, 0, 1)), 0, 1)  # stored time first, as some libraries do
    np.testing.assert_array_equal(cpu.attention(wide, k, v, 2)[0], out)
    for left, right in zip(cpu.attention_backward(*map(awkward, (g, q, k, v, out, log_sum_exp)), 2),
                           cpu.attention_backward(g, q, k, v, out, log_sum_exp, 2), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("mask_shape", [(1, 1, 9, 12), (2, 1, 1, 12), (9, 12), (3, 1, 1), (2, 3, 9, 12)])
def test_a_mask_broadcasts(mask_shape):
    q, k, v, _ = inputs(2, 3, 9, 12, 8, np.float64)
    mask = np.random.default_rng(0).random(mask_shape) < 0.6
    assert_close(cpu.attention(q, k, v, 3, mask=mask)[0], reference.attention(q, k, v, 3, mask=mask)[0], UNITS)


@pytest.mark.parametrize("batch, tq, tk", [(0, 3, 3), (2, 0, 3), (2, 3, 0)])
def test_nothing_to_attend(batch, tq, tk):
    q, k, v, g = inputs(batch, 2, tq, tk, 8, np.float32)
    for file in (cpu, reference):
        out, log_sum_exp = file.attention(q, k, v, 2)
        assert out.shape == q.shape and (out == 0).all() and log_sum_exp.shape == (batch, 2, tq)
        gradients = file.attention_backward(g, q, k, v, out, log_sum_exp, 2)
        assert [gradient.shape for gradient in gradients] == [q.shape, k.shape, v.shape]
        assert all((gradient == 0).all() for gradient in gradients)


@DTYPES
def test_large_scores_do_not_overflow(dtype):
    q, k, v, g = inputs(1, 1, 40, 600, 64, dtype)
    q, k = 60 * q, 60 * k
    k[0, 500] = 3 * k[0, 0]  # a later tile has the largest score
    out, log_sum_exp = cpu.attention(q, k, v, 1)
    expected, expected_log = reference.attention(*exact(q, k, v), 1)
    scores = 3600 * 4 * 8  # what an epsilon of is lost in the exponent
    assert_close(log_sum_exp, expected_log, UNITS)
    np.testing.assert_allclose(out, expected, atol=scores * np.finfo(dtype).eps)
    assert all(np.isfinite(gradient).all() for gradient in cpu.attention_backward(g, q, k, v, out, log_sum_exp, 1))


def test_a_nan_stays_visible():
    q, k, v, _ = inputs(2, 2, 20, 20, 16, np.float32)
    q[1, 3, 20] = np.nan
    out, _ = cpu.attention(q, k, v, 2, causal=True)
    assert np.isnan(out[1, 3, 16:]).all()
    out[1, 3, 16:] = 0
    assert np.isfinite(out).all()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("tq, tk", [(4, 4), (3, 5), (5, 3)])
def test_reference_backward_is_the_derivative(tq, tk, variant):
    batch, heads, d = 2, 2, 3
    arrays = inputs(batch, heads, tq, tk, d, np.float64)
    g, chosen = arrays.pop(), options(batch, heads, tq, tk, variant)
    out, log_sum_exp = reference.attention(*arrays, heads, **chosen)
    for position, gradient in enumerate(reference.attention_backward(g, *arrays, out, log_sum_exp, heads, **chosen)):
        def loss(changed):
            changed = *arrays[:position], changed, *arrays[position + 1:]
            return np.sum(g * reference.attention(*changed, heads, **chosen)[0])
        np.testing.assert_allclose(gradient, differences(loss, arrays[position]), atol=1e-8)


def test_weights_are_those_that_average_the_values():
    q, k, v, _ = inputs(2, 2, 5, 6, 4, np.float64)
    lengths = np.array([6, 4])
    weights = cpu.attention_weights(q, k, 2, lengths=lengths)
    assert weights.shape == (2, 2, 5, 6) and (weights[1, :, :, 4:] == 0).all()
    np.testing.assert_allclose(weights.sum(-1), 1)
    out = np.einsum("bhij,bjhc->bihc", weights, v.reshape(2, 6, 2, 4)).reshape(2, 5, 8)
    assert_close(cpu.attention(q, k, v, 2, lengths=lengths)[0], out, UNITS)


@pytest.mark.parametrize("variant, kv_heads", [("everything", None), ("everything in a window", 1)])
@pytest.mark.parametrize("shape", [(3, 4, 33, 33, 16), (1, 2, 300, 300, 32), (1, 1, 100, 500, 24)])
def test_same_bits_on_any_number_of_threads(shape, variant, kv_heads):
    q, k, v, g = inputs(*shape, np.float32, kv_heads)
    heads, chosen = shape[1], options(*shape[:4], variant) | {"kv_heads": kv_heads}

    def everything():
        out, log_sum_exp = cpu.attention(q, k, v, heads, **chosen)
        return out, log_sum_exp, *cpu.attention_backward(g, q, k, v, out, log_sum_exp, heads, **chosen)

    assert_same_bits(everything)


def test_wrong_inputs_are_named():
    q, k = np.zeros((2, 3, 8), np.float32), np.zeros((2, 5, 8), np.float32)
    for arguments, message in [
        ((q, k[..., :6], k[..., :6], 2), "key has 6 features but query has 8"),
        ((q, k, k[:, :4], 2), "value has shape"),
        ((q[:1], k, k, 2), "query has batch size 1 but key and value have 2"),
        ((q, k, k, 3), "8 features cannot be shared among 3 heads"),
        ((q[0], k, k, 2), r"each must be \(batch, time, heads \* d_head\)"),
        ((q.astype(np.float64), k, k, 2), "query is float64, key float32"),
        ((q.astype(np.int64), k.astype(np.int64), k.astype(np.int64), 2), "float32 or float64"),
        ((q, k, k, 2, False, np.array([1, 2, 3])), r"lengths has shape \(3,\); expected \(2,\)"),
        ((q, k, k, 2, False, None, 0.0, 0, np.zeros((2, 1, 3, 5))), "mask is float64; expected bool"),
        ((q, k, k, 2, False, None, 0.0, 0, np.zeros((2, 1, 3, 4), bool)), r"mask has shape \(2, 1, 3, 4\)"),
    ]:
        for file in (cpu, reference):
            with pytest.raises(TypeError if "float" in message and "mask" not in message else ValueError, match=message):
                file.attention(*arguments)
        for options, message in [
            ({"kv_heads": 3}, "2 heads cannot share 3 heads of keys"), ({"kv_heads": 1}, "key has 8 features .* here 2 and 1 heads"),
            ({"window": 3}, "window is 3 without causal=True"), ({"window": 0, "causal": True}, "window is 0; expected"),
        ]:
            with pytest.raises(ValueError, match=message):
                file.attention(q, k, k, 2, **options)
    with pytest.raises(ValueError, match="packed gradients need as many queries as keys; there are 3 and 5"):
        cpu.attention_backward(q, q, k, k, q, np.zeros((2, 2, 3), np.float32), 2, packed=True)


@DTYPES
@pytest.mark.parametrize("tq, tk", [(1, 5), (5, 1), (1, 1)])
def test_an_axis_of_one_element_may_have_any_stride(tq, tk, dtype):
    """NumPy calls such an array contiguous, whatever the stride; to BLAS it is the distance between rows."""
    q, k, v, g = inputs(3, 2, tq, tk, 4, dtype)

    def odd(x, stride):
        return np.lib.stride_tricks.as_strided(x, strides=(x.strides[0], stride, x.itemsize)) if x.shape[1] == 1 else x

    out, log_sum_exp = cpu.attention(q, k, v, 2)
    gradients = cpu.attention_backward(g, q, k, v, out, log_sum_exp, 2)
    for stride in (0, -64):
        turned = [odd(x, stride) for x in (q, k, v)]
        np.testing.assert_array_equal(cpu.attention(*turned, 2)[0], out)
        for found, expected in zip(cpu.attention_backward(odd(g, stride), *turned, odd(out, stride), log_sum_exp, 2), gradients, strict=True):
            np.testing.assert_array_equal(found, expected)
