"""Attention on tensor cores, in the simulator: products of fragments as PTX lays them out, against the reference on the same rounded inputs."""
import numpy as np
import pytest

from minitx.kernels.attention import reference, tensor_cores
from minitx.kernels.attention.tensor_cores import attention, bfloat16, float32

from .test_attention import VARIANTS, exact, inputs, options

EPSILON = 2.0**-8  # of bfloat16
# Every variant on one small tile; then two tiles of keys, two of queries, two and four slices of 32 features.
CASES = [((1, 1, 1, 3, 5, 16), variant) for variant in VARIANTS] + [
    ((2, 2, 1, 5, 70, 16), "plain"), ((2, 2, 1, 5, 70, 16), "everything"), ((1, 1, 1, 67, 9, 24), "causal"), ((1, 1, 1, 67, 9, 24), "dropout"),
    ((1, 1, 1, 3, 6, 64), "lengths"), ((1, 1, 1, 2, 20, 120), "everything")]


@pytest.mark.parametrize("shape, variant", CASES)
def test_agrees_with_the_reference(shape, variant):
    q, k, v = (bfloat16(x) for x in inputs(*shape)[:3])
    chosen = options(*shape[:5], variant)
    out, log_sum_exp = attention(q, k, v, shape[1], **chosen)
    expected, expected_log = reference.attention(*exact(*map(float32, (q, k, v))), shape[1], **chosen)
    assert out.dtype == np.uint16 and log_sum_exp.dtype == np.float32
    np.testing.assert_allclose(float32(out), expected, atol=1.5 * EPSILON * np.abs(expected).max(initial=1e-9))
    np.testing.assert_allclose(log_sum_exp, expected_log, atol=2e-6)


def test_rounds_to_nearest_and_ties_to_even():
    x = np.array([1, 1 + EPSILON, 1 + 3 * EPSILON, 1 + 1.01 * EPSILON, -1 - EPSILON, 0, np.inf, -np.inf, np.nan], np.float32)
    expected = np.array([1, 1, 1 + 4 * EPSILON, 1 + 2 * EPSILON, -1, 0, np.inf, -np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(float32(bfloat16(x)), expected)


def test_wrong_inputs_are_named(monkeypatch):
    q = np.zeros((1, 2, 12), np.float32)
    with pytest.raises(ValueError, match="query is float32, expected bfloat16 in a uint16 array; make one with tensor_cores.bfloat16"):
        attention(q, q, q, 1)
    with pytest.raises(ValueError, match="heads have 12 features, expected a multiple of 8"):
        attention(*[bfloat16(q)] * 3, 1)
    monkeypatch.setattr(tensor_cores, "architecture", lambda: 75)
    with pytest.raises(NotImplementedError, match="this GPU is sm_75; tensor cores take bfloat16 from sm_80 on"):
        attention(*[bfloat16(q)] * 3, 1)
