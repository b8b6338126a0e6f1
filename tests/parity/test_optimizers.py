"""Optimizers and clipping against torch.optim: the same weights after each of 20 steps."""
import numpy as np
import pytest
import torch

from minitx import optim
from minitx.nn import Parameter

torch.set_num_threads(1)  # two pools of threads on the same cores hinder each other
TOLERANCE = {"float64": 1e-13, "float32": 2e-6}
SHAPES = [(5,), (4, 3), (2, 3, 2), (), (7, 1)]


def parameters(dtype):
    generator = np.random.default_rng(0)
    arrays = [generator.normal(size=shape).astype(dtype) for shape in SHAPES]
    return [Parameter(array) for array in arrays], [torch.from_numpy(array.copy()).requires_grad_() for array in arrays]


def run(ours, theirs, our_parameters, their_parameters, dtype, clip=0.0):
    """20 steps with the same gradients, whose sizes and learning rates change."""
    generator = np.random.default_rng(1)
    for step in range(20):
        for one, other in zip(our_parameters, their_parameters):
            gradient = (generator.normal(size=one.shape) * 10.0 ** generator.integers(-3, 3)).astype(dtype)
            one.accumulate_grad(gradient)
            other.grad = torch.from_numpy(np.array(gradient))
        if clip:
            norm = torch.nn.utils.clip_grad_norm_(their_parameters, clip)
            assert ours.gradient_norm() == pytest.approx(float(norm), rel=10 * TOLERANCE[dtype])
        ours.learning_rate = 0.01 / (1 + step)
        for group in theirs.param_groups:
            group["lr"] = ours.learning_rate
        ours.step(clip=clip)
        theirs.step()
        ours.zero_grad()
        for one, other in zip(our_parameters, their_parameters):
            other = other.detach().numpy()
            assert one.dtype == other.dtype
            assert np.linalg.norm(one.data - other) <= TOLERANCE[dtype] * np.linalg.norm(other), f"step {step}, shape {one.shape}"


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("clip", [0.0, 0.5, 1e6])
@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1}, {"betas": (0.5, 0.98), "eps": 1e-3}], ids=str)
def test_adam(options, clip, dtype):
    ours, theirs = parameters(dtype)
    run(optim.Adam(ours, **options), torch.optim.Adam(theirs, **options), ours, theirs, dtype, clip)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("weight_decay", [0.0, 0.01, 0.5])
def test_adamw_decays_matrices_only(weight_decay, dtype):
    ours, theirs = parameters(dtype)
    groups = [{"params": [p for p in theirs if p.ndim >= 2], "weight_decay": weight_decay},
              {"params": [p for p in theirs if p.ndim < 2], "weight_decay": 0.0}]
    run(optim.AdamW(ours, weight_decay=weight_decay), torch.optim.AdamW(groups), ours, theirs, dtype, clip=1.0)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_sgd(momentum, clip, dtype):
    ours, theirs = parameters(dtype)
    run(optim.SGD(ours, momentum=momentum), torch.optim.SGD(theirs, momentum=momentum), ours, theirs, dtype, clip)
