"""Additive attention: cpu against reference, gradients against differences, who sees what."""
import numpy as np
import pytest

from minitx.kernels.additive_attention import cpu, reference

from .checks import DTYPES, assert_close, assert_same_bits, awkward, differences, normal

KEY = 0x123456789ABCDEF0
SHAPES = [(3, 5, 4, 2, 3), (1, 1, 1, 1, 1), (20, 7, 9, 2, 33), (70, 1, 20, 1, 64), (2, 0, 3, 1, 4), (2, 3, 0, 1, 4), (0, 2, 2, 1, 3)]  # batch, tq, tk, heads, d
UNITS = 32  # a sum over d of functions that are good to 3 epsilons each, and its exponential


def inputs(batch, tq, tk, heads, d, dtype=np.float64):
    """q, k, v, weight, a gradient of the output and lengths."""
    width = heads * d
    q, k, v, g = (normal(batch, time, width, seed=seed, dtype=dtype) for seed, time in enumerate((tq, tk, tk, tq)))
    return q, k, v, normal(width, seed=9, dtype=dtype), g, np.random.default_rng(5).integers(0, tk + 1, batch)


def wide(*arrays):
    return [array.astype(np.float64) for array in arrays]


@DTYPES
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("p", [0.0, 0.4])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_cpu_agrees_with_the_reference(shape, p, causal, dtype):
    *given, g, lengths = inputs(*shape, dtype)
    heads = shape[3]
    results = cpu.additive_attention(*given, heads, causal, lengths, p, KEY)
    expected = reference.additive_attention(*wide(*given), heads, causal, lengths, p, KEY)
    for actual, right in zip(results, expected, strict=True):
        assert actual.dtype == dtype
        assert_close(actual, right, UNITS)
    gradients = cpu.additive_attention_backward(g, *given, results[1], heads, p, KEY)
    for actual, right in zip(gradients, reference.additive_attention_backward(*wide(g, *given), expected[1], heads, p, KEY), strict=True):
        assert_close(actual, right, 8 * UNITS)


@pytest.mark.parametrize("p", [0.0, 0.5])
@pytest.mark.parametrize("causal", [False, True])
def test_reference_backward_is_the_derivative(p, causal):
    *given, g, _ = inputs(2, 3, 4, 2, 2)
    lengths = np.array([4, 2])

    def loss(*arrays):
        return np.sum(g * reference.additive_attention(*arrays, 2, causal, lengths, p, KEY)[0])

    weights = reference.additive_attention(*given, 2, causal, lengths, p, KEY)[1]
    for position, gradient in enumerate(reference.additive_attention_backward(g, *given, weights, 2, p, KEY)):
        expected = differences(lambda array: loss(*given[:position], array, *given[position + 1:]), given[position])
        np.testing.assert_allclose(gradient, expected, atol=1e-8)


def test_the_formula_with_loops():
    q, k, v, weight, _, _ = inputs(2, 3, 4, 2, 3)
    out, weights = cpu.additive_attention(q, k, v, weight, 2)
    for b, h, i in np.ndindex(2, 2, 3):
        own = slice(3 * h, 3 * h + 3)
        scores = np.exp([np.sum(weight[own] * np.tanh(q[b, i, own] + k[b, j, own])) for j in range(4)])
        np.testing.assert_allclose(weights[b, h, i], scores / scores.sum(), rtol=1e-13)
        np.testing.assert_allclose(out[b, i, own], scores @ v[b, :, own] / scores.sum(), rtol=1e-12)


@pytest.mark.parametrize("where", [cpu, reference], ids=["cpu", "reference"])
def test_what_a_query_does_not_see_changes_nothing(where):
    q, k, v, weight, g, _ = inputs(3, 4, 4, 1, 5)
    lengths, changed = np.array([4, 2, 0]), [k.copy(), v.copy()]
    for array in changed:
        array[1, 2:] = array[2] = 50
    one, weights = where.additive_attention(q, k, v, weight, 1, True, lengths)
    other, _ = where.additive_attention(q, *changed, weight, 1, True, lengths)
    np.testing.assert_array_equal(one, other)
    assert not one[2].any() and not weights[2].any() and np.array_equal(weights[0, 0] > 0, np.tri(4, dtype=bool))
    dq, dk, dv, _ = where.additive_attention_backward(g, q, k, v, weight, weights)
    assert not dq[2].any() and not dk[1, 2:].any() and not dv[2].any()


def test_large_scores_do_not_overflow():
    q, k, v, weight, g, _ = inputs(2, 3, 4, 1, 5, np.float32)
    out, weights = cpu.additive_attention(q, k, v, weight * np.float32(1e6))
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-6)
    assert all(np.isfinite(array).all() for array in (out, *cpu.additive_attention_backward(g, q, k, v, weight, weights)))


def test_layout_does_not_matter():
    q, k, v, weight, g, lengths = inputs(3, 4, 5, 2, 6, np.float32)
    out, weights = cpu.additive_attention(q, k, v, weight, 2, False, lengths)
    np.testing.assert_array_equal(cpu.additive_attention(*map(awkward, (q, k, v, weight)), 2, False, awkward(lengths))[0], out)
    plain = cpu.additive_attention_backward(g, q, k, v, weight, weights, 2)
    for one, other in zip(plain, cpu.additive_attention_backward(*map(awkward, (g, q, k, v, weight, weights)), 2)):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("p", [0.0, 0.1])
def test_same_bits_on_any_number_of_threads(p):
    q, k, v, weight, g, lengths = inputs(50, 9, 9, 2, 32, np.float32)

    def run():
        out, weights = cpu.additive_attention(q, k, v, weight, 2, True, lengths, p, KEY)
        return out, weights, *cpu.additive_attention_backward(g, q, k, v, weight, weights, 2, p, KEY)

    assert_same_bits(run)


@pytest.mark.parametrize("changes, said", [
    (dict(q=np.zeros((2, 3))), "each must be"),
    (dict(q=np.zeros((2, 3, 5))), "key has 4 features but query has 5; project both to the same"),
    (dict(q=np.zeros((1, 3, 4))), "query has batch size 1"),
    (dict(v=np.zeros((2, 5, 2))), r"value has shape \(2, 5, 2\)"),
    (dict(weight=np.zeros(3)), r"weight has shape \(3,\); expected \(4,\)"),
    (dict(heads=3), "4 features cannot be shared among 3 heads"),
    (dict(lengths=np.zeros(5)), r"lengths has shape \(5,\)"),
    (dict(weight=np.zeros(4, np.float32)), "weight float32; make them one"),
])
def test_wrong_inputs_are_named(changes, said):
    given = dict(q=np.zeros((2, 3, 4)), k=np.zeros((2, 5, 4)), v=np.zeros((2, 5, 4)), weight=np.zeros(4), heads=1, causal=False, lengths=None) | changes
    with pytest.raises(TypeError if "float" in said else ValueError, match=said):
        cpu.additive_attention(*given.values())
