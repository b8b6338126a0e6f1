"""Cross-entropy, alone and behind a linear layer: cpu against reference, ignored rows, smoothing, gradients against
differences."""
import numpy as np
import pytest

from minitx.kernels.cross_entropy import cpu, reference

from .checks import DTYPES, assert_close, assert_same_bits, awkward, differences, normal

# log Σ exp over up to 5,000 classes and the difference from one logit; products of d terms before them in the linear
# version
UNITS = 16
SMOOTHING = pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])


def random_targets(n, classes, ignored=(), ignore_index=-100, dtype=np.int64):
    targets = np.random.default_rng([n, classes]).integers(0, classes, n).astype(dtype)
    targets[list(ignored)] = ignore_index
    return targets


@DTYPES
@SMOOTHING
@pytest.mark.parametrize("n, classes, ignored", [
    (5, 7, [0, 3]), (1, 1, []), (3, 65, []), (4, 5000, [1]), (3, 4, [0, 1, 2]), (0, 4, [])])
def test_cross_entropy_agrees_with_the_reference(n, classes, ignored, smoothing, dtype):
    logits, g = 4 * normal(n, classes, dtype=dtype), normal(n, dtype=dtype)
    targets = random_targets(n, classes, ignored)
    expected, log_sum_exp = reference.cross_entropy(logits.astype(np.float64), targets, smoothing)
    losses, actual = cpu.cross_entropy(logits, targets, smoothing)
    counts = targets != -100
    assert losses.dtype == dtype and (losses[~counts] == 0).all()
    assert_close(losses, expected, UNITS)
    assert_close(actual[counts], log_sum_exp[counts], UNITS)
    dlogits = cpu.cross_entropy_backward(g, logits, targets, actual, smoothing)
    expected = reference.cross_entropy_backward(g.astype(np.float64), logits, targets, log_sum_exp, smoothing)
    assert_close(dlogits, expected, UNITS)
    assert (dlogits[~counts] == 0).all()


@DTYPES
def test_hostile_logits(dtype):
    logits = normal(5, 40, dtype=dtype)
    logits[0, 1:] = -np.inf  # only the target may be chosen
    logits[1, ::2] = -np.inf
    logits[2] *= dtype(1e30)
    logits[3] = 88.0  # exp would overflow float32
    targets, g = np.array([0, 3, 5, 39, -1]), np.ones(5, dtype)
    losses, log_sum_exp = cpu.cross_entropy(logits, targets, ignore_index=-1)
    assert_close(losses, reference.cross_entropy(logits.astype(np.float64), targets, ignore_index=-1)[0], UNITS)
    assert losses[0] == 0
    dlogits = cpu.cross_entropy_backward(g, logits, targets, log_sum_exp, ignore_index=-1)
    logits, log_sum_exp = logits.astype(np.float64), log_sum_exp.astype(np.float64)
    expected = reference.cross_entropy_backward(g, logits, targets, log_sum_exp, ignore_index=-1)
    assert_close(dlogits[[0, 1, 3]], expected[[0, 1, 3]], 100)  # log Σ exp near 92 is only known to 92 epsilons
    assert (dlogits[1, ::2] == 0).all() and (dlogits[4] == 0).all()


def test_a_nan_stays_visible():
    logits = normal(2, 40, dtype=np.float32)
    logits[0, 20] = np.nan
    losses, _ = cpu.cross_entropy(logits, np.array([0, 0]))
    assert np.isnan(losses[0]) and np.isfinite(losses[1])


@SMOOTHING
def test_reference_backward_is_the_derivative(smoothing):
    logits, g, targets = normal(4, 5), normal(4), random_targets(4, 5, [2])
    expected = differences(lambda z: np.sum(g * reference.cross_entropy(z, targets, smoothing)[0]), logits)
    _, log_sum_exp = reference.cross_entropy(logits, targets, smoothing)
    dlogits = reference.cross_entropy_backward(g, logits, targets, log_sum_exp, smoothing)
    np.testing.assert_allclose(dlogits, expected, atol=1e-8)


@DTYPES
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("n, d, classes, ignored", [
    (6, 5, 7, [0, 3]), (1, 1, 1, []), (40, 8, 65, []), (33, 3, 2500, [32]), (4, 3, 5, [0, 1, 2, 3]), (0, 3, 5, []),
    (450, 4, 30, range(0, 450, 3))])
def test_linear_cross_entropy_agrees_with_the_reference(n, d, classes, ignored, with_bias, dtype, monkeypatch):
    monkeypatch.setattr(cpu, "_CHUNK", 20 * classes)  # rows at a time
    x, weight = normal(n, d, dtype=dtype), normal(classes, d, seed=1, dtype=dtype)
    bias = normal(classes, seed=2, dtype=dtype) if with_bias else None
    targets = random_targets(n, classes, ignored, dtype=np.int32)
    wide = [None if array is None else array.astype(np.float64) for array in (x, weight, bias)]
    expected = reference.linear_cross_entropy(*wide, targets, 0.1)
    results = cpu.linear_cross_entropy(x, weight, bias, targets, 0.1)
    for actual, right in zip(results, expected):
        assert (actual is None) == (right is None)
        if right is not None:
            assert_close(actual, right, 4 * UNITS)
    losses, *gradients = cpu.linear_cross_entropy(x, weight, bias, targets, 0.1, needs_gradient=False)
    np.testing.assert_array_equal(losses, results[0])
    assert gradients == [None, None, None]


def test_reference_gradients_of_the_linear_version_are_the_derivatives():
    x, weight, bias, targets = normal(4, 3), normal(5, 3, seed=1), normal(5, seed=2), random_targets(4, 5, [1])
    inputs = [x, weight, bias]
    for position, gradient in enumerate(reference.linear_cross_entropy(*inputs, targets, 0.1)[1:]):
        def loss(array):
            changed = [*inputs[:position], array, *inputs[position + 1:]]
            return reference.linear_cross_entropy(*changed, targets, 0.1)[0].sum()

        np.testing.assert_allclose(gradient, differences(loss, inputs[position]), atol=1e-8)


def test_layout_does_not_matter():
    x, weight, bias = (normal(*shape, dtype=np.float32) for shape in ((9, 4), (30, 4), (30,)))
    targets = random_targets(9, 30)
    straight = cpu.linear_cross_entropy(x, weight, bias, targets)
    for a, b in zip(straight, cpu.linear_cross_entropy(awkward(x), awkward(weight), awkward(bias), awkward(targets))):
        np.testing.assert_array_equal(a, b)
    logits = normal(9, 30, dtype=np.float32)
    losses, log_sum_exp = cpu.cross_entropy(logits, targets)
    np.testing.assert_array_equal(cpu.cross_entropy(awkward(logits), awkward(targets))[0], losses)
    dlogits = cpu.cross_entropy_backward(losses, logits, targets, log_sum_exp)
    strided = cpu.cross_entropy_backward(awkward(losses), awkward(logits), targets, awkward(log_sum_exp))
    np.testing.assert_array_equal(strided, dlogits)


@pytest.mark.parametrize("classes", [300, 2500])  # shared out between threads by rows, and by classes
def test_same_bits_on_any_number_of_threads(classes, monkeypatch):
    monkeypatch.setattr(cpu, "_CHUNK", 500 * classes)
    x, weight, logits = (normal(*shape, dtype=np.float32) for shape in ((600, 16), (classes, 16), (600, classes)))
    targets = random_targets(600, classes, [5])
    assert_same_bits(lambda: cpu.linear_cross_entropy(x, weight, None, targets, 0.1))
    assert_same_bits(lambda: cpu.cross_entropy(logits, targets, 0.1))
    assert_same_bits(lambda: cpu.cross_entropy_backward(x[:, 0], logits, targets, x[:, 1], 0.1))


def test_wrong_inputs_are_named():
    logits, x, weight = np.zeros((2, 3)), np.zeros((2, 4)), np.zeros((3, 4))
    with pytest.raises(ValueError, match="target 3 is no class: there are 3"):
        cpu.cross_entropy(logits, np.array([0, 3]))
    with pytest.raises(ValueError, match="target -1 is no class"):
        cpu.linear_cross_entropy(x, weight, None, np.array([-1, 0]))
    with pytest.raises(ValueError, match=r"targets have shape \(1,\)"):
        cpu.cross_entropy(logits, np.array([0]))
    with pytest.raises(ValueError, match="smoothing is 2"):
        cpu.cross_entropy(logits, np.array([0, 1]), 2)
    with pytest.raises(ValueError, match=r"\(2, 4\) and weight \(4, 3\)"):
        cpu.linear_cross_entropy(x, weight.T, None, np.array([0, 1]))
    with pytest.raises(TypeError, match="x is float64 but weight float32"):
        cpu.linear_cross_entropy(x, weight.astype(np.float32), None, np.array([0, 1]))
