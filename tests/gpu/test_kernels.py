"""Every kernel on the GPU against its reference in float64, at sizes that the simulator cannot reach."""
import numpy as np
import pytest

from minitx.kernels.attention import attention as served
from minitx.kernels.attention import reference

from .cases import CASES, Source
from .comparing import compare


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES, ids=repr)
def test_agrees_with_the_reference(cupy, case, dtype):
    for function, arguments, options in case.calls(Source(), *case.sizes):
        compare(function, arguments, options, dtype, cupy.asarray, cupy.asnumpy)


@pytest.mark.parametrize("case", [case for case in CASES if not case.small], ids=repr)
def test_gives_the_same_bits_each_time(cupy, case):
    for function, arguments, options in case.calls(Source(), *case.sizes):
        def placed(value):
            return cupy.asarray(np.float32(value) if value.dtype == np.float64 else value) if isinstance(value, np.ndarray) else value

        arguments, options = [placed(value) for value in arguments], {name: placed(value) for name, value in options.items()}
        first, second = (function(*arguments, **options) for _ in range(2))
        for one, other in zip(*(value if isinstance(value, tuple) else (value,) for value in (first, second))):
            if one is not None:
                np.testing.assert_array_equal(cupy.asnumpy(one), cupy.asnumpy(other))


@pytest.mark.parametrize("size", [16, 32, 64, 128])
@pytest.mark.parametrize("options", [{}, {"causal": True}, {"p": 0.2, "key": 7}], ids=["plain", "causal", "dropout"])
def test_attention_on_tensor_cores(cupy, size, options):
    from minitx.kernels.attention import tensor_cores

    source = Source()
    arrays = [cupy.asarray(np.float32(source.normal(2, 333, 4 * size))) for _ in "qkv"]
    rounded = [tensor_cores.bfloat16(array) for array in arrays]
    out, log_sum_exp = tensor_cores.attention(*rounded, 4, **options)
    exact = [tensor_cores.float32(array).get().astype(np.float64) for array in rounded]
    expected, expected_log = reference.attention(*exact, 4, **options)
    np.testing.assert_allclose(tensor_cores.float32(out).get(), expected, atol=1.5 * 2.0**-8 * np.abs(expected).max())
    np.testing.assert_allclose(log_sum_exp.get(), expected_log, atol=1e-5)


@pytest.mark.parametrize("size", [20, 64, 128])
def test_the_naive_attention_agrees_with_the_fast_one(cupy, size):
    from minitx.kernels.attention import naive

    source = Source()
    q, k, v = (cupy.asarray(np.float32(source.normal(2, 150, 2 * size))) for _ in "qkv")
    for here, there in zip(naive.attention(q, k, v, 2, causal=True), served(q, k, v, 2, causal=True)):
        np.testing.assert_allclose(here.get(), there.get(), rtol=1e-4, atol=1e-5)
