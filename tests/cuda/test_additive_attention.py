"""Additive attention on CUDA, in the simulator: scores by a perceptron, over what each query sees."""
import numpy as np
import pytest

from minitx.kernels.additive_attention import cuda, reference

from ..kernels.checks import DTYPES, assert_close, awkward
from ..kernels.test_additive_attention import KEY, UNITS, inputs, wide


@DTYPES
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("p", [0.0, 0.4])
@pytest.mark.parametrize("shape", [(3, 5, 4, 2, 3), (1, 1, 1, 1, 1), (2, 3, 7, 1, 20), (2, 0, 3, 1, 4), (2, 3, 0, 1, 4)], ids=str)
def test_agrees_with_the_reference(shape, p, causal, dtype):
    *given, g, lengths = inputs(*shape, dtype)
    results = cuda.additive_attention(*given, shape[3], causal, lengths, p, KEY)
    expected = reference.additive_attention(*wide(*given), shape[3], causal, lengths, p, KEY)
    for actual, right in zip(results, expected, strict=True):
        assert actual.dtype == dtype
        assert_close(actual, right, UNITS)
    gradients = cuda.additive_attention_backward(g, *given, results[1], shape[3], p, KEY)
    for actual, right in zip(gradients, reference.additive_attention_backward(*wide(g, *given), expected[1], shape[3], p, KEY), strict=True):
        assert_close(actual, right, 8 * UNITS)


def test_what_nobody_sees_may_hold_anything():
    q, k, v, weight, g, _ = inputs(2, 3, 5, 2, 4, np.float32)
    k[0, 3:], v[0, 3:], k[1], v[1] = np.nan, np.inf, np.nan, np.nan
    out, weights = cuda.additive_attention(q, k, v, weight, 2, lengths=np.array([3, 0]), p=0.3, key=KEY)
    gradients = cuda.additive_attention_backward(g, q, k, v, weight, weights, 2, 0.3, KEY)
    assert all(np.isfinite(array).all() for array in (out, weights, *gradients))
    assert (out[1] == 0).all() and all((gradient[1] == 0).all() for gradient in gradients[:3]) and (gradients[1][0, 3:] == 0).all()


def test_layout_does_not_matter():
    *given, g, lengths = inputs(2, 3, 4, 2, 3, np.float32)
    out, weights = cuda.additive_attention(*given, 2, True, lengths)
    gradients = cuda.additive_attention_backward(g, *given, weights, 2)
    strange = [awkward(array) for array in given]
    for actual, expected in zip(cuda.additive_attention(*strange, 2, True, awkward(lengths)), (out, weights)):
        np.testing.assert_array_equal(actual, expected)
    for actual, expected in zip(cuda.additive_attention_backward(awkward(g), *strange, awkward(weights), 2), gradients):
        np.testing.assert_array_equal(actual, expected)
