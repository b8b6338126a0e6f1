"""Every operation: its values against NumPy's, its first and second derivatives against differences."""
import inspect

import numpy as np
import pytest

from minitx.autograd import Op, ops, tensor
from minitx.autograd.check import gradcheck
from minitx.autograd.ops import elementwise, indexing, linalg, reduction, shape

from .cases import CASES

WITHOUT_GRADIENT = {name for module in (elementwise, indexing, reduction) for name, op in vars(module).items()
                    if isinstance(op, Op) and not op.differentiable}


def awkward(x):
    """The same Tensor as a view that is not contiguous and cannot be written to."""
    return ops.broadcast_to(ops.flip(ops.copy(ops.flip(x))), shape=x.shape)


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_first_and_second_derivatives_agree_with_differences(case):
    arrays = case.arrays()
    gradcheck(case, arrays, order=2)
    if any(array.size > 1 for array in arrays):
        gradcheck(lambda *xs: case(*map(awkward, xs)), arrays, order=2)


def test_every_operation_has_a_case():
    names = {op.name for module in (elementwise, indexing, linalg, reduction, shape) for op in vars(module).values()
             if isinstance(op, Op)}
    public = {name for name, value in vars(ops).items() if inspect.isfunction(value) and not name.startswith("_")}
    covered = {case.name for case in CASES} | WITHOUT_GRADIENT
    assert sorted((names | public) - covered) == []


def test_every_public_operation_says_what_it_does():
    public = [value for name, value in vars(ops).items() if isinstance(value, Op) or inspect.isfunction(value)
              and not name.startswith("_")]
    assert not [op for op in public if not op.__doc__]


NUMPY = [case for case in CASES if case.name in ops._SAME_NAME and case.function is getattr(ops, case.name)]


@pytest.mark.parametrize("case", NUMPY, ids=repr)
def test_values_and_dtypes_are_those_of_numpy(case):
    for dtype in (np.float64, np.float32):
        arrays = [array.astype(dtype) for array in case.arrays()]
        with np.errstate(all="ignore"):
            expected = getattr(np, case.name)(*arrays, **case.static)
            through_protocol = getattr(np, case.name)(*map(tensor, arrays), **case.static)
        got = case(*map(tensor, arrays))
        assert got.dtype == np.asarray(expected).dtype and got.shape == np.shape(expected)
        rtol, atol = (1e-5, 1e-6) if dtype is np.float32 else (1e-12, 1e-14)
        np.testing.assert_allclose(got.data, expected, rtol=rtol, atol=atol)
        np.testing.assert_array_equal(through_protocol.data, got.data)


@pytest.mark.parametrize("case", [case for case in CASES if case.name not in ("astype", "to_device")], ids=repr)
def test_float32_stays_float32_forward_and_backward(case):
    leaves = [tensor(array.astype(np.float32), requires_grad=True) for array in case.arrays()]
    outputs = case(*leaves)
    for out in outputs if isinstance(outputs, tuple) else (outputs,):
        assert out.dtype == np.float32
        out.backward(np.ones(out.shape))
    assert all(leaf.grad is None or leaf.grad.dtype == np.float32 and leaf.grad.shape == leaf.shape for leaf in leaves)


@pytest.mark.parametrize("name", sorted(WITHOUT_GRADIENT))
def test_comparisons_and_indices_are_numpy_s_and_need_no_gradient(name):
    arrays = [np.array([[1.0, 2.0, 2.0]]), np.array([[2.0], [1.0]])][:len(getattr(ops, name).tensors)]
    if name in ("bitwise_and", "bitwise_or", "bitwise_xor", "invert"):
        arrays = [array > 1 for array in arrays]
    got = getattr(ops, name)(*(tensor(array, requires_grad=array.dtype == float) for array in arrays))
    assert not got.requires_grad
    np.testing.assert_array_equal(got.data, getattr(np, name)(*arrays))
