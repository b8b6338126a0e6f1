"""Adam on CUDA, in the simulator: several steps of both kinds of weight decay, and the norm that clips them without leaving the GPU."""
import numpy as np
import pytest

from minitx.kernels.adam import cuda, reference

from ..kernels.checks import DTYPES, assert_close, awkward, normal

UNITS = 56


def steps(module, shape, dtype, decoupled, scale=0.5):
    parameter, m, v = normal(*shape, dtype=dtype), np.zeros(shape, dtype), np.zeros(shape, dtype)
    for step in range(1, 6):
        module.adam(parameter, normal(*shape, seed=step).astype(dtype), m, v, 0.01, 0.9, 0.98, 1e-9, 0.1, step, decoupled, scale)
    return parameter, m, v


@DTYPES
@pytest.mark.parametrize("decoupled", [True, False])
@pytest.mark.parametrize("shape", [(1,), (0,), (3, 5), (1030,)])
def test_agrees_with_the_reference(shape, decoupled, dtype):
    expected = steps(reference, shape, np.float64, decoupled)
    for scale in (0.5, np.array(0.5, dtype)):
        for actual, right in zip(steps(cuda, shape, dtype, decoupled, scale), expected):
            assert actual.dtype == dtype
            assert_close(actual, right, UNITS)


def test_a_part_of_the_parameters_may_begin_anywhere():
    """AdamW's matrices and vectors lie one behind the other."""
    for start in range(4):
        arrays = [normal(50, seed=seed, dtype=np.float32) ** 2 for seed in range(4)]
        expected = [array.astype(np.float64) for array in arrays]
        cuda.adam(*[array[start:] for array in arrays], 0.1, 0.9, 0.99, 1e-8, 0.1, 2, True)
        reference.adam(*[array[start:] for array in expected], 0.1, 0.9, 0.99, 1e-8, 0.1, 2, True)
        for actual, right in zip(arrays, expected):
            assert_close(actual, right, UNITS)


def test_gradients_of_any_layout():
    parameter, m, v = (np.ones((5, 3), np.float32) for _ in range(3))
    others, gradient = [array.copy() for array in (parameter, m, v)], normal(5, 3, dtype=np.float32)
    cuda.adam(parameter, gradient, m, v, 0.1, 0.9, 0.99, 1e-8, 0.1, 2, True)
    cuda.adam(others[0], awkward(gradient), *others[1:], 0.1, 0.9, 0.99, 1e-8, 0.1, 2, True)
    np.testing.assert_array_equal(parameter, others[0])


@DTYPES
@pytest.mark.parametrize("shape", [(0,), (1,), (7, 13), (5001,)])
def test_the_norm_and_what_clips_it(shape, dtype, monkeypatch):
    monkeypatch.setattr(cuda, "PARTS", 3)
    x = normal(*shape, dtype=dtype)
    for limit in (0.1, np.inf):
        for found in (cuda.clipping(x, limit), cuda.clipping(awkward(x), limit)):
            for actual, right in zip(found, reference.clipping(x, limit)):
                assert actual.shape == () and actual.dtype == dtype
                assert actual == pytest.approx(right, rel=10 * float(np.finfo(dtype).eps))


def test_wrong_inputs_are_named():
    a, b = np.zeros(3, np.float32), np.zeros(4, np.float32)
    with pytest.raises(ValueError, match=r"gradient is float32 \(4,\)"):
        cuda.adam(a, b, a, a, 0.1, 0.9, 0.99, 1e-8, 0.0, 1, True)
