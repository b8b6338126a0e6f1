"""Adam: cpu against reference over several steps, both kinds of weight decay, and the norm that clipping uses."""
import numpy as np
import pytest

from minitx.kernels.adam import cpu, reference

from .checks import DTYPES, assert_close, assert_same_bits, awkward, normal

UNITS = 16  # five steps of about ten roundings each, most of them on numbers much smaller than the parameter


def steps(module, n, dtype, decoupled, count=5, scale=0.5):
    parameter, m, v = normal(*n, dtype=dtype), np.zeros(n, dtype), np.zeros(n, dtype)
    for step in range(1, count + 1):
        gradient = normal(*n, seed=step).astype(dtype)
        module.adam(parameter, gradient, m, v, 0.01, 0.9, 0.98, 1e-9, 0.1, step, decoupled, scale)
    return parameter, m, v


@DTYPES
@pytest.mark.parametrize("decoupled", [True, False])
@pytest.mark.parametrize("shape", [(1,), (0,), (3, 5), (1000,)])
def test_agrees_with_the_reference(shape, decoupled, dtype):
    for actual, expected in zip(steps(cpu, shape, dtype, decoupled), steps(reference, shape, np.float64, decoupled)):
        assert actual.dtype == dtype
        # the gradients of float32 are rounded too
        assert_close(actual, expected, UNITS + (40 if dtype == np.float32 else 0))


def test_the_first_step_goes_by_the_learning_rate():
    """m̂ / √v̂ = ±1 at step 1, whatever the size of the gradient."""
    parameter, gradient = np.zeros(3), np.array([1e-3, -5.0, 1e6])
    cpu.adam(parameter, gradient, np.zeros(3), np.zeros(3), 0.1, 0.9, 0.999, 1e-12, 0.0, 1, False, 1.0)
    np.testing.assert_allclose(parameter, [-0.1, 0.1, -0.1], rtol=1e-8)


def test_decoupled_decay_shrinks_the_parameter_alone():
    parameter, m, v = np.ones(4), np.zeros(4), np.zeros(4)
    cpu.adam(parameter, np.zeros(4), m, v, 0.1, 0.9, 0.999, 1e-8, 0.5, 1, True, 1.0)
    np.testing.assert_allclose(parameter, 1 - 0.1 * 0.5)
    assert (m == 0).all() and (v == 0).all()


@DTYPES
def test_gradients_of_any_layout(dtype):
    for decoupled in (True, False):
        parameter, m, v = (np.ones((5, 3), dtype) for _ in range(3))
        others = parameter.copy(), m.copy(), v.copy()
        gradient = normal(5, 3, dtype=dtype)
        cpu.adam(parameter, gradient, m, v, 0.1, 0.9, 0.99, 1e-8, 0.1, 2, decoupled, 1.0)
        cpu.adam(others[0], awkward(gradient), *others[1:], 0.1, 0.9, 0.99, 1e-8, 0.1, 2, decoupled, 1.0)
        np.testing.assert_array_equal(parameter, others[0])


@DTYPES
@pytest.mark.parametrize("shape", [(0,), (1,), (7, 13), (100_001,)])
def test_the_norm_and_what_clips_it(shape, dtype):
    x = normal(*shape, dtype=dtype)
    expected = reference.clipping(x, 0.1)
    assert expected[0] == pytest.approx(np.linalg.norm(x.astype(np.float64)), rel=1e-12)
    assert expected[1] == (1 if x.size == 0 else pytest.approx(0.1 / expected[0], rel=1e-4))
    for actual in (cpu.clipping(x, 0.1), cpu.clipping(awkward(x), 0.1)):
        assert all(isinstance(number, float) for number in actual)
        assert actual == pytest.approx(expected, rel=1e-12)  # the sum is float64 whatever the dtype
    assert cpu.clipping(x, np.inf)[1] == 1


def test_a_norm_that_is_no_number_lets_nothing_pass_unclipped():
    for where in (cpu, reference):
        norm, scale = where.clipping(np.array([1e6, np.nan], np.float32), 1.0)
        assert np.isnan(norm) and np.isnan(scale)


def test_the_norm_does_not_overflow():
    assert cpu.clipping(np.full(10, 1e30, np.float32), 1.0)[0] == pytest.approx(10**30.5, rel=1e-6)
    assert np.isnan(cpu.clipping(np.array([1.0, np.nan], np.float32), 1.0)[0])


def test_same_bits_on_any_number_of_threads():
    assert_same_bits(lambda: steps(cpu, (200_003,), np.float32, True, count=2))
    x = normal(1_000_003, dtype=np.float32)
    assert_same_bits(lambda: np.array(cpu.clipping(x, 1.0)))


def test_wrong_inputs_are_named():
    a, b = np.zeros(3, np.float32), np.zeros(4, np.float32)
    for arguments, message in [((a, b, a, a), r"gradient is float32 \(4,\)"),
                               ((a, a, a.astype(float), a), "m is float64"),
                               ((awkward(a), a, a, a), "parameter is changed in place")]:
        with pytest.raises(ValueError, match=message):
            cpu.adam(*arguments, 0.1, 0.9, 0.99, 1e-8, 0.0, 1, True, 1.0)
    with pytest.raises(ValueError, match="step is 0"):
        cpu.adam(a, a, a, a, 0.1, 0.9, 0.99, 1e-8, 0.0, 0, True, 1.0)
