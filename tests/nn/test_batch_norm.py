"""Batch norm as a layer: its two modes, the running statistics and what padding does to them: nothing."""
import copy

import numpy as np
import pytest

from minitx import gradcheck, no_grad, random, tensor
from minitx.kernels.batch_norm import moments
from minitx.nn import BatchNorm, EncoderLayer
from minitx.nn.batch_norm import batch_norm

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(3, 2, size=(4, 5, 6))
REAL = np.arange(5) < np.array([5, 1, 0, 3])[:, None]


def layer(**options):
    module = BatchNorm(6, **options).to("float64")
    for parameter in module.parameters():
        parameter.data += GENERATOR.normal(0, 0.3, parameter.shape)
    return module


def test_gradients_of_any_order():
    weight, bias = GENERATOR.normal(size=(2, 6))
    for real in (None, REAL):
        mean, variance = moments(X, real)

        def normalised(x, weight, bias):
            mean, variance = moments(np.asarray(x.data), real)  # x moves its own
            return batch_norm(x, weight, bias, mean=mean, variance=variance, real=real)

        assert gradcheck(normalised, [X, weight, bias], order=2)


@pytest.mark.parametrize("real", [None, REAL], ids=["all", "ragged"])
def test_in_training_each_feature_of_the_real_positions_has_mean_0_and_variance_1(real):
    module = BatchNorm(6).to("float64")
    out = module(tensor(X), real).data
    rows = out.reshape(-1, 6) if real is None else out[real]
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(rows.var(axis=0), 1, rtol=1e-4)
    assert real is None or not out[~real].any()


def test_the_running_statistics_follow_the_real_positions_of_each_batch():
    module, junk = layer(momentum=0.25), X.copy()
    junk[~REAL] = 1e6
    module(tensor(junk), REAL)
    rows = X[REAL]
    np.testing.assert_allclose(module.running_mean.data, 0.25 * rows.mean(axis=0))
    np.testing.assert_allclose(module.running_var.data, 0.75 + 0.25 * rows.var(axis=0, ddof=1))
    before = module.running_var.data.copy()
    module(tensor(X), np.zeros_like(REAL))
    np.testing.assert_array_equal(module.running_var.data, before)
    module(tensor(X[:1, :1]))  # one position has no variance
    np.testing.assert_allclose(module.running_var.data, 0.75 * before)


def test_outside_of_training_a_position_does_not_know_the_others():
    module = layer()
    for _ in range(3):
        module(tensor(X), REAL)
    module.eval()
    before = {name: array.copy() for name, array in module.state_dict().items()}
    with no_grad():
        out = module(tensor(X), REAL).data
        np.testing.assert_allclose(module(tensor(X[1:2, :1])).data, out[1:2, :1], rtol=1e-13)
    expected = (X - before["running_mean"]) / np.sqrt(before["running_var"] + 1e-5) * before["weight"] + before["bias"]
    np.testing.assert_allclose(out, expected, rtol=1e-12)
    for name, array in module.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_the_statistics_belong_to_the_state_and_are_not_trained():
    module = layer()
    module(tensor(X))
    assert [name for name, _ in module.named_parameters()] == ["weight", "bias"]
    twin = BatchNorm(6).to("float64").load_state_dict(copy.deepcopy(module.state_dict())).eval()
    module.eval()
    assert np.array_equal(twin(tensor(X)).data, module(tensor(X)).data)


def test_a_trial_leaves_no_trace():
    module = layer().eval()
    before = {name: array.copy() for name, array in module.state_dict().items()}
    with module.trial():
        assert module.training
        module(tensor(X))
        assert not np.array_equal(module.running_mean.data, before["running_mean"])
    assert not module.training
    for name, array in module.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_trial_leaves_each_part_in_its_own_mode():
    model = EncoderLayer(4, 2, 8, normalization="batch").train()
    model.norm1.eval()  # frozen
    with model.trial():
        assert model.norm1.training
    assert model.training and model.norm2.training and not model.norm1.training


def test_what_is_refused_moves_no_statistics():
    module = BatchNorm(3)
    before = module.running_mean.data.copy()
    with pytest.raises(TypeError, match="batch_norm: x is float64, weight float32; make them the same with .astype"):
        module(tensor(np.ones((2, 3))))
    np.testing.assert_array_equal(module.running_mean.data, before)


def test_without_a_shift_it_is_scale_alone():
    module = layer(bias=False)
    assert [name for name, _ in module.named_parameters()] == ["weight"]
    np.testing.assert_allclose(module(tensor(X)).data.mean(axis=(0, 1)), 0, atol=1e-12)
    module.eval()(tensor(X))


def test_add_is_the_norm_of_the_sum():
    module, residual = layer(), GENERATOR.normal(size=X.shape)
    np.testing.assert_allclose(module.add(tensor(X), tensor(residual), real=REAL).data, module(tensor(X + residual), REAL).data, rtol=1e-12)
    random.seed(0)
    assert not np.array_equal(module.add(tensor(X), tensor(residual), p=0.5).data, module.add(tensor(X), tensor(residual), p=0.5).data)
