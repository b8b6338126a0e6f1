"""Attention on tensor cores, in the simulator: products of fragments as PTX lays them out, against the reference on the same rounded inputs."""
import numpy as np
import pytest

from minitx.kernels.attention import fragments_cuda, reference, work_cuda
from minitx.kernels.attention.tensor_cores import attention, attention_backward, bfloat16, float32

from .test_attention import VARIANTS, exact, inputs, options

EPSILON = 2.0**-8  # of bfloat16
# Every variant on one small tile; then several tiles of keys and of queries, two and four slices of 32 features, whole tiles of queries of two heads.
CASES = [((1, 1, 1, 3, 5, 16), variant) for variant in VARIANTS] + [
    ((1, 2, 1, 5, 70, 16), "everything"), ((1, 1, 1, 67, 9, 24), "dropout"), ((1, 1, 1, 3, 6, 64), "lengths"), ((1, 1, 1, 17, 20, 120), "everything"),
    ((1, 2, 1, 16, 3, 72), "dropout")]


def rounded(*shape):
    """q, k, v, g."""
    return [bfloat16(x) for x in inputs(*shape)]


def assert_rounded(actual, expected, units):
    """Equal up to `units` epsilons of bfloat16, relative to the largest."""
    assert actual.dtype == np.uint16
    np.testing.assert_allclose(float32(actual), expected, rtol=0, atol=units * EPSILON * np.abs(expected).max(initial=1e-9))


@pytest.mark.parametrize("shape, variant", CASES)
def test_agrees_with_the_reference(shape, variant):
    q, k, v, g = rounded(*shape)
    chosen = options(*shape[:5], variant)
    out, log_sum_exp = attention(q, k, v, shape[1], **chosen)
    expected, expected_log = reference.attention(*exact(*map(float32, (q, k, v))), shape[1], **chosen)
    assert_rounded(out, expected, 1.5)
    assert log_sum_exp.dtype == np.float32
    np.testing.assert_allclose(log_sum_exp, expected_log, atol=2e-6)
    gradients = attention_backward(g, q, k, v, out, log_sum_exp, shape[1], **chosen)
    expected = reference.attention_backward(*exact(*map(float32, (g, q, k, v, out))), expected_log, shape[1], **chosen)
    for actual, right in zip(gradients, expected, strict=True):
        assert_rounded(actual, right, 2)


def test_a_later_tile_may_have_the_largest_scores():
    q, k, v, _ = rounded(1, 1, 1, 2, 70, 16)
    k[0, 68:] = bfloat16(2 * float32(q[0]))
    out, log_sum_exp = attention(q, k, v, 1)
    expected, expected_log = reference.attention(*exact(*map(float32, (q, k, v))), 1)
    assert_rounded(out, expected, 1.5)
    np.testing.assert_allclose(log_sum_exp, expected_log, atol=2e-6)


def test_slices_of_one_projection_are_read_and_written_in_place(monkeypatch):
    qkv, g = bfloat16(np.random.default_rng(0).normal(size=(1, 3, 3 * 8))), rounded(1, 1, 1, 3, 3, 8)[3]
    slices = np.split(qkv, 3, axis=-1)
    copies = [part.copy() for part in slices]
    out, log_sum_exp = attention(*copies, 1)
    separate = attention_backward(g, *copies, out, log_sum_exp, 1)
    monkeypatch.setattr(work_cuda, "_copy", None)
    np.testing.assert_array_equal(attention(*slices, 1)[0], out)
    dqkv = attention_backward(g, *slices, out, log_sum_exp, 1, packed=True)
    np.testing.assert_array_equal(dqkv, np.concatenate(separate, axis=-1))
    dq, dkv = attention_backward(g, *slices, out, log_sum_exp, 1, packed="kv")
    np.testing.assert_array_equal(dq, separate[0])
    np.testing.assert_array_equal(dkv, np.concatenate(separate[1:], axis=-1))


def test_what_lies_beyond_the_lengths_is_not_read():
    q, k, v, g = rounded(2, 1, 1, 3, 7, 8)
    k[0, 4:], v[0, 4:], k[1], v[1] = 0x7FFF, 0x7FFF, 0x7FFF, 0x7FFF  # NaN
    lengths = np.array([4, 0])
    out, log_sum_exp = attention(q, k, v, 1, lengths=lengths)
    dq, dk, dv = attention_backward(g, q, k, v, out, log_sum_exp, 1, lengths=lengths)
    assert all(np.isfinite(float32(array)).all() for array in (out, dq, dk, dv))
    assert (out[1] == 0).all() and (dq[1] == 0).all()
    for gradient in (dk, dv):
        assert (gradient[0, 4:] == 0).all() and (gradient[1] == 0).all() and (gradient[0, :4] != 0).any()


@pytest.mark.parametrize("batch, tq, tk", [(0, 3, 3), (2, 0, 3), (2, 3, 0)])
def test_nothing_to_attend(batch, tq, tk):
    q, k, v, g = rounded(batch, 2, 2, tq, tk, 8)
    out, log_sum_exp = attention(q, k, v, 2)
    gradients = attention_backward(g, q, k, v, out, log_sum_exp, 2)
    assert (out == 0).all() and (log_sum_exp == -np.inf).all()
    assert [gradient.shape for gradient in gradients] == [q.shape, k.shape, v.shape] and all((gradient == 0).all() for gradient in gradients)


def test_rounds_to_nearest_and_ties_to_even():
    x = np.array([1, 1 + EPSILON, 1 + 3 * EPSILON, 1 + 1.01 * EPSILON, -1 - EPSILON, 0, np.inf, -np.inf, np.nan], np.float32)
    expected = np.array([1, 1, 1 + 4 * EPSILON, 1 + 2 * EPSILON, -1, 0, np.inf, -np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(float32(bfloat16(x)), expected)


def test_wrong_inputs_are_named(monkeypatch):
    q, log_sum_exp = np.zeros((1, 2, 12), np.float32), np.zeros((1, 1, 2), np.float32)
    forward, backward = (lambda q: attention(q, q, q, 1)), (lambda q: attention_backward(q, q, q, q, q, log_sum_exp, 1))
    for function in (forward, backward):
        with pytest.raises(ValueError, match="query is float32, expected bfloat16 in a uint16 array; make one with tensor_cores.bfloat16"):
            function(q)
        with pytest.raises(ValueError, match="heads have 12 features, expected a multiple of 8"):
            function(bfloat16(q))
    monkeypatch.setattr(fragments_cuda, "architecture", lambda: 75)
    for function in (forward, backward):
        with pytest.raises(NotImplementedError, match="this GPU is sm_75; tensor cores take bfloat16 from sm_80 on"):
            function(bfloat16(q))
