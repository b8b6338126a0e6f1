"""Attention on CUDA, in the simulator: naive and tiled against the reference, over what a tile boundary, a mask, a length or a layout can get wrong."""
import itertools

import numpy as np
import pytest

from minitx.kernels.attention import cuda, naive, reference, tiled, tiled_backward, work_cuda
from minitx.kernels.dropout import reference as dropout

from ..device import standin
from ..kernels.checks import DTYPES, assert_close, normal

UNITS = 24
# Tiles have 64 queries and 64 keys, and a warp 16 rows of one. A thread has 4 neighbouring keys: other numbers of keys put dropout's groups of
# four words elsewhere in each row. (batch, heads, heads of keys, queries, keys, head size)
SHAPES = [(1, 1, 1, 1, 1, 4), (1, 2, 1, 5, 70, 16), (1, 1, 1, 67, 9, 20)]
LONG = {32: (1, 1, 1, 3, 130, 32), 64: (1, 1, 1, 3, 6, 60), 128: (1, 1, 1, 2, 5, 100)}
VARIANTS = {
    "plain": {}, "causal": {"causal": True}, "window": {"causal": True, "window": 3}, "lengths": {"lengths": True},
    "mask": {"mask": True}, "dropout": {"p": 0.3, "key": 7},
    "everything": {"causal": True, "window": 50, "lengths": True, "mask": True, "p": 0.2, "key": 2**63 + 5}}
VERSIONS = pytest.mark.parametrize("version", [cuda, naive], ids=["cuda", "naive"])


def inputs(batch, heads, kv_heads, tq, tk, d, dtype=np.float32):
    """q, k, v, g."""
    shapes = [(batch, tq, heads * d), (batch, tk, kv_heads * d), (batch, tk, kv_heads * d), (batch, tq, heads * d)]
    return [normal(*shape, seed=i, dtype=dtype) for i, shape in enumerate(shapes)]


def options(batch, heads, kv_heads, tq, tk, variant):
    """The variant's arguments; of several sequences the first has length 0, and the mask hides a whole row."""
    chosen = {**VARIANTS[variant], "kv_heads": kv_heads}
    rng = np.random.default_rng(1)
    if "lengths" in chosen:
        chosen["lengths"] = np.array([0, tk - 3] if batch > 1 else [max(1, tk - 3)], np.int32)
    if "mask" in chosen:
        chosen["mask"] = rng.random((batch, 1, tq, tk)) < 0.7
        chosen["mask"][-1, 0, tq // 2] = False
    return chosen


def exact(*arrays):
    return [array.astype(np.float64) for array in arrays]


def assert_agrees(version, arrays, heads, chosen, units=UNITS):
    """Forward and backward pass against the reference in float64."""
    q, k, v, g = arrays
    out, log_sum_exp = version.attention(q, k, v, heads, **chosen)
    expected, expected_log = reference.attention(*exact(q, k, v), heads, **chosen)
    assert out.dtype == log_sum_exp.dtype == q.dtype
    assert_close(out, expected, units)
    assert_close(log_sum_exp, expected_log, units)
    expected = reference.attention_backward(*exact(g, q, k, v), expected, expected_log, heads, **chosen)
    gradients = version.attention_backward(g, q, k, v, out, log_sum_exp, heads, **chosen)
    for actual, right in zip(gradients, expected, strict=True):
        if np.abs(right).max() > 1e-12:  # of one key, the gradient of the scores is 0 in mathematics and a rounding error here
            assert_close(actual, right, 2 * units)
        else:
            assert np.abs(actual).max() < 1e-6


@pytest.mark.parametrize("shape, variant", [*itertools.product(SHAPES, VARIANTS), ((2, 2, 1, 5, 70, 16), "everything")])
@VERSIONS
def test_agrees_with_the_reference(version, shape, variant):
    assert_agrees(version, inputs(*shape), shape[1], options(*shape[:5], variant))


@pytest.mark.parametrize("variant", ["causal", "dropout"])
@pytest.mark.parametrize("size", LONG)
def test_head_sizes_in_one_slice_and_more(size, variant):
    shape = LONG[size]
    assert tiled.kernel_of(tiled._attention, inputs(*shape)[0], shape[1]).name == f"attention.tiled.attention[{size}]"
    assert_agrees(cuda, inputs(*shape), shape[1], options(*shape[:5], variant))


@pytest.mark.parametrize("variant", ["plain", "everything"])
def test_a_gpu_without_asynchronous_copies(variant, monkeypatch):
    monkeypatch.setattr(tiled, "architecture", lambda: 75)
    shape = SHAPES[1]
    assert_agrees(cuda, inputs(*shape), shape[1], options(*shape[:5], variant))


@pytest.mark.parametrize("d, dtype", [(16, np.float64), (6, np.float32), (132, np.float32)])
def test_what_the_tiles_cannot_take_is_served_as_well(d, dtype, monkeypatch):
    monkeypatch.setattr(tiled, "attention", None)
    monkeypatch.setattr(tiled_backward, "attention_backward", None)
    shape = 2, 2, 1, 3, 5, d
    assert_agrees(cuda, inputs(*shape, dtype), shape[1], options(*shape[:5], "everything"))


def test_the_mask_of_dropout_is_that_of_the_cpu():
    q, k, v, _ = inputs(2, 2, 2, 3, 70, 16)
    v[...] = 0
    v.reshape(2, 70, 2, 16)[:, np.arange(0, 70, 7), :, np.arange(10)] = 1  # out holds single weights
    for version in (cuda, naive):
        out, log_sum_exp = version.attention(q, k, v, 2, p=0.5, key=99)
        kept = dropout.dropout(np.ones((2, 2, 3, 70), np.float32), 0.5, 99) > 0
        seen = out.reshape(2, 3, 2, 16)[..., :10].transpose(0, 2, 1, 3) > 0
        np.testing.assert_array_equal(seen, kept[..., ::7])


@VERSIONS
def test_a_query_that_sees_nothing_gives_zeros_and_takes_no_gradient(version):
    q, k, v, g = inputs(1, 2, 2, 70, 8, 16)
    mask = np.ones((1, 2, 70, 8), bool)
    mask[0, 0, 68] = False
    chosen = {"causal": True, "mask": mask}  # and with 8 keys for 70 queries, queries 0 … 61 see none
    out, log_sum_exp = version.attention(q, k, v, 2, **chosen)
    dq, dk, dv = version.attention_backward(g, q, k, v, out, log_sum_exp, 2, **chosen)
    assert (out[:, :62] == 0).all() and (dq[:, :62] == 0).all() and (log_sum_exp[:, :, :62] == -np.inf).all()
    assert (out[0, 68, :16] == 0).all() and (dq[0, 68, :16] == 0).all() and (out[0, 68, 16:] != 0).all()
    assert all(np.isfinite(array).all() for array in (out, dq, dk, dv))


@VERSIONS
def test_what_lies_beyond_the_lengths_is_not_read(version):
    q, k, v, g = inputs(3, 1, 1, 3, 70, 16)
    lengths = np.array([0, 70, 17])
    k[0], v[0], k[2, 17:], v[2, 17:] = np.nan, np.nan, np.nan, np.nan
    out, log_sum_exp = version.attention(q, k, v, 1, lengths=lengths)
    dq, dk, dv = version.attention_backward(g, q, k, v, out, log_sum_exp, 1, lengths=lengths)
    assert all(np.isfinite(array).all() for array in (out, dq, dk, dv))
    assert (out[0] == 0).all() and (dk[2, 17:] == 0).all() and (dv[2, 17:] == 0).all() and (dk[2, :17] != 0).any()


@VERSIONS
def test_slices_of_one_projection_are_read_and_written_in_place(version, monkeypatch):
    batch, heads, kv_heads, time, d = 2, 2, 1, 10, 16
    chosen = options(batch, heads, kv_heads, time, time, "everything")
    qkv, g = normal(batch, time, (heads + 2 * kv_heads) * d, dtype=np.float32), normal(batch, time, heads * d, dtype=np.float32)
    slices = np.split(qkv, [heads * d, (heads + kv_heads) * d], axis=-1)
    copies = [part.copy() for part in slices]
    out, log_sum_exp = version.attention(*copies, heads, **chosen)
    separate = version.attention_backward(g, *copies, out, log_sum_exp, heads, **chosen)
    monkeypatch.setattr(work_cuda, "_copy", None)
    np.testing.assert_array_equal(version.attention(*slices, heads, **chosen)[0], out)
    dqkv = version.attention_backward(g, *slices, out, log_sum_exp, heads, **chosen, packed=True)
    np.testing.assert_array_equal(dqkv, np.concatenate(separate, axis=-1))
    dq, dkv = version.attention_backward(g, *slices, out, log_sum_exp, heads, **chosen, packed="kv")
    np.testing.assert_array_equal(dq, separate[0])
    np.testing.assert_array_equal(dkv, np.concatenate(separate[1:], axis=-1))


def test_layout_does_not_matter():
    q, k, v, g = inputs(2, 1, 1, 4, 5, 16)
    out, log_sum_exp = cuda.attention(q, k, v, 1)
    gradients = cuda.attention_backward(g, q, k, v, out, log_sum_exp, 1)
    views = []
    for array in (g, q, k, v, out):
        odd = np.zeros((4, *array.shape[:-1], array.shape[-1] + 1), np.float32)[1, ..., 1:]  # rows that begin askew
        odd[...] = array
        time_first = np.swapaxes(np.ascontiguousarray(np.swapaxes(array, 0, 1)), 0, 1)
        spread = np.repeat(array, 2, axis=-1)[..., ::2]
        views.append((odd, time_first, spread))
    for g, q, k, v, same in zip(*views):
        np.testing.assert_array_equal(cuda.attention(q, k, v, 1)[0], out)
        for actual, right in zip(cuda.attention_backward(g, q, k, v, same, log_sum_exp, 1), gradients, strict=True):
            np.testing.assert_array_equal(actual, right)


def test_a_gradient_may_begin_anywhere():
    q, k, v, g = inputs(1, 1, 1, 2, 3, 8)
    out, log_sum_exp = cuda.attention(q, k, v, 1)
    askew = [np.concatenate(([0], x.reshape(-1)), dtype=np.float32)[1:].reshape(x.shape) for x in (g, out)]
    gradients = cuda.attention_backward(g, q, k, v, out, log_sum_exp, 1)
    for actual, right in zip(cuda.attention_backward(askew[0], q, k, v, askew[1], log_sum_exp, 1), gradients, strict=True):
        np.testing.assert_array_equal(actual, right)


@pytest.mark.parametrize("shape", [(1, 1, 1, 5), (2, 1, 1, 5), (3, 5), (2, 1, 1), (2, 2, 3, 5)])
def test_a_mask_broadcasts(shape):
    q, k, v, _ = inputs(2, 2, 2, 3, 5, 16)
    mask = np.random.default_rng(0).random(shape) < 0.6
    for version in (cuda, naive):
        assert_close(version.attention(q, k, v, 2, mask=mask)[0], reference.attention(*exact(q, k, v), 2, mask=mask)[0], UNITS)


@pytest.mark.parametrize("batch, tq, tk", [(0, 3, 3), (2, 0, 3), (2, 3, 0)])
@VERSIONS
def test_nothing_to_attend(version, batch, tq, tk):
    q, k, v, g = inputs(batch, 2, 2, tq, tk, 8)
    out, log_sum_exp = version.attention(q, k, v, 2)
    assert out.shape == q.shape and (out == 0).all() and log_sum_exp.shape == (batch, 2, tq) and (log_sum_exp == -np.inf).all()
    gradients = version.attention_backward(g, q, k, v, out, log_sum_exp, 2)
    assert [gradient.shape for gradient in gradients] == [q.shape, k.shape, v.shape]
    assert all((gradient == 0).all() for gradient in gradients)


@VERSIONS
def test_large_scores_do_not_overflow(version):
    q, k, v, g = inputs(1, 1, 1, 2, 70, 16)
    q, k = 60 * q, 60 * k
    k[0, 68] = 3 * k[0, 0]  # the later tile has the largest score
    out, log_sum_exp = version.attention(q, k, v, 1)
    expected, expected_log = reference.attention(*exact(q, k, v), 1)
    assert_close(log_sum_exp, expected_log, UNITS)
    np.testing.assert_allclose(out, expected, atol=3600 * 4 * 8 * np.finfo(np.float32).eps)  # what an epsilon of is lost in the exponent
    assert all(np.isfinite(gradient).all() for gradient in version.attention_backward(g, q, k, v, out, log_sum_exp, 1))


@VERSIONS
def test_a_nan_stays_visible(version):
    q, k, v, _ = inputs(2, 2, 2, 4, 5, 16)
    q[1, 3, 20] = np.nan
    out, _ = version.attention(q, k, v, 2, causal=True)
    assert np.isnan(out[1, 3, 16:]).all()
    out[1, 3, 16:] = 0
    assert np.isfinite(out).all()


@DTYPES
def test_the_naive_version_takes_both_dtypes(dtype):
    shape = 1, 2, 1, 130, 3, 4  # more queries than a block has threads
    assert_agrees(naive, inputs(*shape, dtype), 2, options(*shape[:5], "everything"))


def test_the_weights_for_pictures_come_back_to_where_the_queries_are():
    q, k, _, _ = inputs(2, 2, 2, 3, 5, 16)
    chosen = {"causal": True, "lengths": np.array([2, 5], np.int32), "mask": np.random.default_rng(0).random((3, 5)) < 0.8}
    with standin.installed() as cupy:
        there = {name: value if value is True else cupy.asarray(value) for name, value in chosen.items()}
        weights = cuda.attention_weights(cupy.asarray(q), cupy.asarray(k), 2, **there)
        assert isinstance(weights, cupy.ndarray)
        np.testing.assert_array_equal(weights.get(), reference.attention_weights(q, k, 2, **chosen))


def test_wrong_inputs_are_named():
    q, k = np.zeros((2, 3, 8), np.float32), np.zeros((2, 5, 8), np.float32)
    with pytest.raises(ValueError, match="key has 6 features but query has 8"):
        cuda.attention(q, k[..., :6], k[..., :6], 2)
    with pytest.raises(ValueError, match="packed gradients need as many queries as keys; there are 3 and 5"):
        cuda.attention_backward(q, q, k, k, q, np.zeros((2, 2, 3), np.float32), 2, packed=True)
