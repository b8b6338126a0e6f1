"""Cross-entropy on CUDA, in the simulator: rows in registers, rows that are too long for them, and in chunks with the linear layer before it."""
import numpy as np
import pytest

from minitx.kernels.cross_entropy import cuda, naive, reference

from ..kernels.checks import DTYPES, assert_close, awkward, normal

UNITS = 32
# a warp's row (4, 8, 16, 32 elements a thread), a block's, and not a multiple of 4
SHAPES = [(3, 8), (6, 132), (2, 500), (2, 1020), (2, 1028), (5, 33), (3, 1), (0, 4)]
VERSIONS = pytest.mark.parametrize("version", [cuda, naive], ids=["cuda", "naive"])


def problem(n, classes, dtype, ignore_index=-100):
    logits = 3 * normal(n, classes, dtype=dtype)
    targets = np.random.default_rng(n).integers(0, classes, n)
    if n > 1:
        targets[1] = ignore_index
    return logits, targets


@pytest.fixture(params=[True, False], ids=["registers", "long"])
def in_registers(request, monkeypatch):
    """Both kinds of kernels, whatever the length of the rows."""
    if not request.param:
        choose = cuda.choose
        monkeypatch.setattr(cuda, "choose", lambda short, *rest: choose({}, *rest, most_threads=0)[:2] + (64,))
    return request.param


@DTYPES
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("ignore_index", [-100, 0])
def test_agrees_with_the_reference(in_registers, shape, smoothing, ignore_index, dtype):
    check(cuda, shape, smoothing, ignore_index, dtype)


@DTYPES
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_naive_version_agrees_with_the_reference(smoothing, dtype):
    check(naive, (5, 33), smoothing, 0, dtype)


def check(version, shape, smoothing, ignore_index, dtype):
    logits, targets = problem(*shape, dtype, ignore_index)
    g = normal(shape[0], seed=1, dtype=dtype)
    expected, log_sum_exp = reference.cross_entropy(logits.astype(np.float64), targets, smoothing, ignore_index)
    losses, found = version.cross_entropy(logits, targets, smoothing, ignore_index)
    assert losses.dtype == found.dtype == dtype
    assert_close(losses, expected, UNITS)
    assert_close(found, log_sum_exp, UNITS)
    right = reference.cross_entropy_backward(g.astype(np.float64), logits.astype(np.float64), targets, log_sum_exp, smoothing, ignore_index)
    assert_close(version.cross_entropy_backward(g, logits, targets, found, smoothing, ignore_index), right, UNITS)


@DTYPES
@pytest.mark.parametrize("n, d, classes", [(6, 5, 132), (5, 3, 33), (1, 2, 8), (0, 3, 4)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_with_the_linear_layer(in_registers, n, d, classes, with_bias, dtype, monkeypatch):
    monkeypatch.setattr(cuda, "_CHUNK", 2 * classes)  # two rows at a time
    for version in (cuda, naive) if in_registers else (cuda,):
        for smoothing, ignore_index in ((0.0, -100), (0.1, 0)):
            _, targets = problem(n, classes, dtype, ignore_index)
            x, weight = normal(n, d, dtype=dtype), normal(classes, d, seed=1, dtype=dtype)
            bias = normal(classes, seed=2, dtype=dtype) if with_bias else None
            expected = reference.linear_cross_entropy(x.astype(np.float64), weight.astype(np.float64), None if bias is None else bias.astype(np.float64),
                                                      targets, smoothing, ignore_index)
            for actual, right in zip(version.linear_cross_entropy(x, weight, bias, targets, smoothing, ignore_index), expected, strict=True):
                assert (actual is None) == (right is None)
                if right is not None:
                    assert actual.dtype == dtype
                    assert_close(actual, right, 2 * UNITS)
            losses, *others = version.linear_cross_entropy(x, weight, bias, targets, smoothing, ignore_index, needs_gradient=False)
            assert_close(losses, expected[0], UNITS)
            assert others == [None] * 3


def test_masked_logits_and_large_ones(in_registers):
    for classes in (40, 41):
        logits, targets = problem(5, classes, np.float32)
        logits[0, ::2], logits[2, :35], logits[3] = -np.inf, -np.inf, 1e4 * logits[3]
        targets[0], targets[2] = 1, 37
        g = normal(5, dtype=np.float32)
        expected, right = reference.cross_entropy(logits.astype(np.float64), targets)
        losses, log_sum_exp = cuda.cross_entropy(logits, targets)
        assert_close(losses, expected, UNITS)
        assert_close(cuda.cross_entropy_backward(g, logits, targets, log_sum_exp),
                     reference.cross_entropy_backward(g, logits.astype(np.float64), targets, right), 1e5)  # of logits around 10,000


@pytest.mark.parametrize("classes", [8, 9])
def test_a_target_that_is_no_class_makes_nan_and_touches_nothing_else(no_nan, in_registers, classes):
    """Nobody looks at the targets on the CPU: it would have to wait for the GPU."""
    for version in (cuda, naive) if in_registers else (cuda,):
        for wrong in (-1, classes, 2**40):
            logits, targets = problem(3, classes, np.float32)
            right, _ = version.cross_entropy(logits, targets)
            targets[2] = wrong
            losses, log_sum_exp = version.cross_entropy(logits, targets)
            assert np.isnan(losses[2]) and (losses[:2] == right[:2]).all()
            gradient = version.cross_entropy_backward(np.ones(3, np.float32), logits, targets, log_sum_exp)
            assert np.isnan(gradient[2]).all() and np.isfinite(gradient[:2]).all()
            _, dx, _, _ = version.linear_cross_entropy(np.ones((3, 2), np.float32), np.ones((classes, 2), np.float32), None, targets)
            assert np.isnan(dx[2]).all() and np.isfinite(dx[:2]).all()


def test_an_ignored_row_may_hold_anything(in_registers):
    for classes in (8, 9):
        logits, targets = problem(3, classes, np.float32)
        logits[1] = np.nan
        losses, log_sum_exp = cuda.cross_entropy(logits, targets)
        assert losses[1] == 0 and (cuda.cross_entropy_backward(np.ones(3, np.float32), logits, targets, log_sum_exp)[1] == 0).all()


def test_layout_does_not_matter():
    logits, targets = problem(6, 32, np.float32)
    g = normal(6, dtype=np.float32)
    losses, log_sum_exp = cuda.cross_entropy(logits, targets)
    np.testing.assert_array_equal(cuda.cross_entropy(awkward(logits), awkward(targets.astype(np.int32)))[0], losses)
    np.testing.assert_array_equal(cuda.cross_entropy_backward(awkward(g), awkward(logits), targets, awkward(log_sum_exp)),
                                  cuda.cross_entropy_backward(g, logits, targets, log_sum_exp))


def test_wrong_inputs_are_named():
    logits, targets = problem(3, 4, np.float32)
    for arguments, message in [((logits, targets[:2]), "targets have shape"), ((logits[0], targets), "logits have shape"), ((logits, targets, 2.0), "smoothing is 2.0"),
                               ((logits.astype(int), targets), "logits are int64")]:
        with pytest.raises((ValueError, TypeError), match=message):
            cuda.cross_entropy(*arguments)
