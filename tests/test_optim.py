"""Optimizers against their formulas, what they do to the parameters' memory, and the roads of the learning rate."""
import numpy as np
import pytest

from minitx import optim, tensor
from minitx.nn import Linear, Module, Parameter

SHAPES = [(5,), (4, 3), (), (2, 3, 2)]


def parameters(dtype=np.float64):
    generator = np.random.default_rng(0)
    return [Parameter(generator.normal(size=shape).astype(dtype)) for shape in SHAPES]


def gradients(step, dtype=np.float64):
    generator = np.random.default_rng([1, step])
    return [generator.normal(size=shape).astype(dtype) for shape in SHAPES]


def take_step(optimizer, parameters, step, **options):
    for parameter, gradient in zip(parameters, gradients(step, parameters[0].dtype)):
        parameter.accumulate_grad(gradient)
    norm = optimizer.step(**options)
    optimizer.zero_grad()
    return norm


def adam_by_hand(values, steps, learning_rate, beta1, beta2, eps, decay=0.0, decoupled=False, scale=lambda step: 1.0):
    """The algorithm, parameter by parameter."""
    values = [value.copy() for value in values]
    m, v = [np.zeros_like(value) for value in values], [np.zeros_like(value) for value in values]
    for t in range(1, steps + 1):
        for i, g in enumerate(gradients(t)):
            g = g * scale(t)
            if decoupled and values[i].ndim >= 2:
                values[i] = values[i] * (1 - learning_rate * decay)
            elif not decoupled:
                g = g + decay * values[i]
            m[i], v[i] = beta1 * m[i] + (1 - beta1) * g, beta2 * v[i] + (1 - beta2) * g * g
            values[i] = values[i] - learning_rate * (m[i] / (1 - beta1**t)) / (np.sqrt(v[i] / (1 - beta2**t)) + eps)
    return values


@pytest.mark.parametrize("kind, decay", [(optim.Adam, 0.0), (optim.Adam, 0.1), (optim.AdamW, 0.1)])
def test_adam_follows_its_formula(kind, decay):
    ours = parameters()
    expected = adam_by_hand([p.data for p in ours], 20, 0.01, 0.9, 0.98, 1e-8, decay, kind is optim.AdamW)
    optimizer = kind(ours, 0.01, (0.9, 0.98), weight_decay=decay)
    for step in range(1, 21):
        take_step(optimizer, ours, step)
    for parameter, value in zip(ours, expected):
        np.testing.assert_allclose(parameter.data, value, rtol=1e-12, atol=1e-14)


def test_the_bias_correction_counts_steps_not_parameters():
    """Under a constant gradient each step of Adam is the learning rate, for every parameter, however many stand before it."""
    ours = [Parameter(np.zeros(3)) for _ in range(6)]
    optimizer = optim.Adam(ours, 0.1, eps=0.0)
    for step in range(1, 4):
        for i, parameter in enumerate(ours):
            parameter.accumulate_grad(np.full(3, 10.0 ** (i - 3)))
        optimizer.step()
        optimizer.zero_grad()
        for parameter in ours:
            np.testing.assert_allclose(parameter.data, -0.1 * step, rtol=1e-12)


def test_sgd_with_momentum_is_a_running_sum():
    ours = parameters()
    values, velocity = [p.data.copy() for p in ours], [np.zeros(shape) for shape in SHAPES]
    optimizer = optim.SGD(ours, 0.1, momentum=0.9)
    for step in range(1, 6):
        take_step(optimizer, ours, step)
        for i, g in enumerate(gradients(step)):
            velocity[i] = 0.9 * velocity[i] + g
            values[i] -= 0.1 * velocity[i]
    for parameter, value in zip(ours, values):
        np.testing.assert_allclose(parameter.data, value, rtol=1e-13)


def test_the_weight_decay_of_sgd_is_added_to_the_gradient():
    ours = Parameter(np.array([2.0, -4.0]))
    optimizer = optim.SGD([ours], 0.1, weight_decay=0.5)
    (ours * 3).sum().backward()
    optimizer.step()
    np.testing.assert_allclose(ours.data, [2 - 0.1 * (3 + 1), -4 - 0.1 * (3 - 2)])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW])
def test_parameters_keep_their_values_shapes_and_dtype(kind, dtype):
    ours = parameters(dtype)
    before = [parameter.data.copy() for parameter in ours]
    optimizer = kind(iter(ours), 0.01)
    for parameter, value in zip(ours, before):
        assert parameter.dtype == dtype and np.array_equal(parameter.data, value)
        assert parameter.data.base is optimizer.data or parameter.data.base.base is optimizer.data
    take_step(optimizer, ours, 1)
    assert {parameter.dtype for parameter in ours} == {np.dtype(dtype)}
    assert [parameter.shape for parameter in ours] == SHAPES
    assert not any(np.array_equal(parameter.data, value) for parameter, value in zip(ours, before))


# Gradients: where they lie, how they are clipped

def test_backward_writes_straight_into_the_flat_gradient():
    layer = Linear(3, 2, generator=np.random.default_rng(0))
    optimizer = optim.SGD(layer.parameters())
    for _ in range(2):  # accumulates over two batches, and begins anew after zero_grad
        for factor in (1, 2):
            layer(tensor(np.ones((4, 3), np.float32))).sum().backward()
            assert np.array_equal(optimizer.grad, np.full(8, 4 * factor, np.float32))
        assert np.shares_memory(layer.weight.grad.data, optimizer.grad)
        optimizer.zero_grad()
        assert layer.weight.grad is None


def test_a_parameter_that_was_not_used_counts_as_gradient_zero_in_the_norm():
    used, unused = Parameter(np.ones(2)), Parameter(np.ones(3))
    optimizer = optim.SGD([used, unused], 0.1)
    for _ in range(2):
        (used * 3).sum().backward()
        assert optimizer.gradient_norm() == pytest.approx(np.sqrt(18))
        optimizer.step()
        optimizer.zero_grad()
    unused.accumulate_grad(np.full(3, 2.0))
    assert optimizer.gradient_norm() == pytest.approx(np.sqrt(12))
    optimizer.step()
    np.testing.assert_allclose(used.data, 1 - 0.6)
    np.testing.assert_allclose(unused.data, 1 - 0.2)


def test_a_gradient_set_by_hand_is_used():
    parameter = Parameter(np.zeros(2))
    optimizer = optim.SGD([parameter], 1.0)
    parameter.grad = tensor(np.array([1.0, 2.0]))
    optimizer.step()
    assert parameter.tolist() == [-1, -2]


@pytest.mark.parametrize("clip", [0.1, 1.0, 1e6])
def test_clipping_scales_all_gradients_to_the_largest_norm(clip):
    ours, flat = parameters(), np.concatenate([gradient.ravel() for gradient in gradients(1)])
    before = np.concatenate([parameter.data.ravel() for parameter in ours])
    norm = take_step(optim.SGD(ours, 1.0), ours, 1, clip=clip)
    moved = before - np.concatenate([parameter.data.ravel() for parameter in ours])
    assert norm == pytest.approx(np.linalg.norm(flat), rel=1e-12)
    np.testing.assert_allclose(moved, flat * min(1, clip / np.linalg.norm(flat)), rtol=1e-5)


def test_a_step_without_clipping_returns_no_norm():
    ours = parameters()
    assert take_step(optim.Adam(ours), ours, 1) is None


# State

@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW])
def test_an_optimizer_goes_on_from_its_state_bit_for_bit(kind):
    straight = parameters()
    optimizer = kind(straight, 0.01)
    for step in range(1, 4):
        take_step(optimizer, straight, step)
    stopped = [Parameter(parameter.data) for parameter in straight]
    other = kind(stopped, 0.01)
    other.load_state_dict({name: array.copy() for name, array in optimizer.state_dict().items()}, optimizer.steps)
    for step in range(4, 8):
        take_step(optimizer, straight, step)
        take_step(other, stopped, step)
    assert all(np.array_equal(one.data, other.data) for one, other in zip(straight, stopped))


@pytest.mark.parametrize("state", [{}, {"m": np.zeros(3), "v": np.zeros(3)}, {"velocity": np.zeros(30)}])
def test_the_state_of_another_optimizer_is_refused(state):
    with pytest.raises(ValueError, match="the saved state has no 'm' of 30 numbers"):
        optim.Adam(parameters()).load_state_dict(state, 3)


def test_an_optimizer_needs_parameters_of_one_dtype():
    with pytest.raises(ValueError, match="there are no parameters"):
        optim.Adam(Module().parameters())
    with pytest.raises(ValueError, match="float32 and float64"):
        optim.Adam([Parameter(np.zeros(2, np.float32)), Parameter(np.zeros(2))])


# The learning rate

def rates(steps=200, **options):
    options = {"peak": 2.0, "warmup": 40, "schedule": "constant", "steps": steps, **options}
    return np.array([optim.learning_rate(step, **options) for step in range(1, steps + 1)])


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="schedule: 'cosin' is not one of inverse-sqrt, cosine, constant"):
        rates(schedule="cosin")


@pytest.mark.parametrize("schedule", ["inverse-sqrt", "cosine", "constant"])
@pytest.mark.parametrize("warmup", [0, 1, 40, 200])
def test_the_learning_rate_rises_in_a_line_to_its_peak_and_never_above(schedule, warmup):
    found = rates(schedule=schedule, warmup=warmup)
    np.testing.assert_allclose(found[:warmup], 2 * np.arange(1, warmup + 1) / max(1, warmup))
    assert (found > 0).sum() >= 199 and found.max() <= 2
    assert (np.diff(found[warmup:]) <= 0).all()


def test_inverse_square_root_is_that_of_the_paper():
    d_model, warmup = 512, 40
    paper = [d_model**-0.5 * min(step**-0.5, step * warmup**-1.5) for step in range(1, 201)]
    np.testing.assert_allclose(rates(schedule="inverse-sqrt", peak=(d_model * warmup) ** -0.5), paper, rtol=1e-12)


def test_cosine_ends_at_its_final_share_of_the_peak():
    found = rates(schedule="cosine", final=0.1)
    assert found[-1] == pytest.approx(0.2)
    assert found[119] == pytest.approx(2 * (0.1 + 0.9 / 2))  # halfway between warm-up and end
    assert optim.learning_rate(10_000, peak=2, warmup=40, schedule="cosine", steps=200, final=0.1) == pytest.approx(0.2)


def test_a_constant_rate_stays():
    assert set(rates()[40:]) == {2.0}


def test_rates_are_plain_numbers():
    assert {type(optim.learning_rate(step, peak=1.0, warmup=5, schedule=schedule, steps=20))
            for step in (3, 9) for schedule in ("inverse-sqrt", "cosine", "constant")} == {float}


def test_a_model_that_moved_behind_its_optimizer_is_told():
    model = Linear(3, 2)
    optimizer = optim.SGD(model.parameters())
    model.to("float32")
    optimizer.step()  # nothing moved
    model.to("float64")
    with pytest.raises(RuntimeError, match="its model was moved, changed its dtype or was given to another optimizer"):
        optimizer.step()


def test_two_optimizers_cannot_share_a_parameter():
    parameter = Parameter(np.ones(2))
    first, second = optim.Adam([parameter]), optim.SGD([parameter])
    (parameter * 3).sum().backward()
    with pytest.raises(RuntimeError, match="was given to another optimizer"):
        first.step()
    second.step()
    assert (parameter.data < 1).all()


def test_what_was_computed_is_not_moved():
    with pytest.raises(ValueError, match=r"a Tensor of shape \(2,\) is the result of multiply, and only leaves are moved"):
        optim.SGD([Parameter(np.ones(2)) * 2])


@pytest.mark.parametrize("make", [
    lambda parameters: optim.SGD(parameters, 0.1, momentum=0.9, weight_decay=0.1), lambda parameters: optim.Adam(parameters, 0.1, weight_decay=0.1),
    lambda parameters: optim.AdamW(parameters, 0.1)], ids=["sgd", "adam", "adamw"])
def test_a_parameter_without_a_gradient_stays_and_so_do_its_moments(make):
    used, other = Parameter(np.ones((2, 2))), Parameter(np.ones((3, 3)))
    optimizer = make([used, other])
    (used.sum() + (other * other).sum()).backward()
    optimizer.step()
    optimizer.zero_grad()
    before, moments = other.data.copy(), {name: array.copy() for name, array in optimizer.state.items()}
    other.requires_grad_(False)
    (used * 3).sum().backward()
    optimizer.step()
    assert np.array_equal(other.data, before) and not np.array_equal(used.data, np.ones((2, 2)))
    for name, array in optimizer.state.items():
        assert np.array_equal(array[4:], moments[name][4:]) and not np.array_equal(array[:4], moments[name][:4])
