"""A mixture of experts: who serves a token, how answers are weighed, that none is dropped, and the loss that balances the work."""
import numpy as np
import pytest

from minitx import gradients, no_grad, random, tensor
from minitx.nn import Experts, Linear, balanced
from minitx.nn.experts import balancing_loss

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(3, 5, 6))
REAL = np.arange(5) < np.array([5, 1, 3])[:, None]
PER_TOKEN = pytest.mark.parametrize("per_token", [1, 2, 4])


def layer(per_token=2, experts=4, **options):
    module = Experts(6, 8, experts, per_token, generator=np.random.default_rng(1), **options).to("float64")
    for parameter in module.parameters():
        parameter.data += GENERATOR.normal(0, 0.3, parameter.shape)
    return module


def by_hand(module, x):
    """The equations for one token x (d_model,): its experts, the best first, and what comes out."""
    r = np.exp(module.router.weight.data @ x)
    r /= r.sum()
    chosen = np.argsort(-r)[:module.per_token]
    gates = r[chosen] if module.per_token == 1 else r[chosen] / r[chosen].sum()
    out = 0
    for gate, e in zip(gates, chosen):
        one, two = module.experts[e].linear1, module.experts[e].linear2
        out = out + gate * (two.weight.data @ np.maximum(0, one.weight.data @ x + one.bias.data) + two.bias.data)
    return chosen, out


@PER_TOKEN
def test_each_token_gets_what_the_equations_say(per_token):
    module = layer(per_token)
    out = module(tensor(X)).data
    assert module.last.chosen.shape == (3, 5, per_token)
    for place in np.ndindex(3, 5):
        chosen, expected = by_hand(module, X[place])
        np.testing.assert_array_equal(module.last.chosen[place], chosen)
        np.testing.assert_allclose(out[place], expected, rtol=1e-11)


@PER_TOKEN
def test_the_gradient_of_every_parameter_and_of_the_input_agrees_with_differences(per_token):
    module, x = layer(per_token), tensor(X, requires_grad=True)
    module.balance = 0.5
    cotangent = GENERATOR.normal(size=X.shape)

    def loss():
        return balanced((module(x, real=REAL) * cotangent).sum(), module)

    wanted = [("x", x), *module.named_parameters()]
    for (name, parameter), gradient in zip(wanted, gradients([loss()], [parameter for _, parameter in wanted], allow_unused=False)):
        direction, start, values = GENERATOR.normal(size=parameter.shape), parameter.data.copy(), []
        for step in (1e-6, -1e-6):
            parameter.data[...] = start + step * direction
            with no_grad():
                values.append(loss().item())
        parameter.data[...] = start
        assert np.sum(gradient.data * direction) == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-6, abs=1e-8), name


def test_a_token_is_served_in_a_crowd_as_alone():
    """All tokens want the same experts: none is turned away."""
    module = layer()
    x = np.abs(np.random.default_rng(4).normal(size=(1, 200, 6)))
    module.router.weight.data[...] = np.arange(4)[:, None]  # positive features: always expert 3, then 2
    with no_grad():
        out = module(tensor(x)).data
        assert (module.last.chosen == [3, 2]).all() and module.last.counts.tolist() == [0, 0, 200, 200]
        for i in (0, 77, 199):
            np.testing.assert_allclose(module(tensor(x[:, i:i + 1])).data[0, 0], out[0, i], rtol=1e-11)


def test_experts_that_nobody_chose_have_a_gradient_of_zeros():
    module = layer(1)
    module.router.weight.data[...] = 0  # all alike: the first
    module(tensor(X)).sum().backward()
    assert module.last.counts.tolist() == [15, 0, 0, 0]
    assert all(parameter.grad is not None for parameter in module.parameters())
    assert module.experts[0].linear1.weight.grad.data.any() and not module.experts[1].linear1.weight.grad.data.any()


def test_one_expert_for_all_is_the_plain_network():
    module = layer(1, experts=1)
    one = module.experts[0]
    np.testing.assert_allclose(module(tensor(X)).data, one(tensor(X)).data, rtol=1e-12)


def test_no_token_is_an_ordinary_case():
    module = layer().eval()
    assert module(tensor(X[:0])).shape == (0, 5, 6) and module.last.counts.tolist() == [0] * 4


@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_inside_the_experts_and_in_training_only(training):
    module = layer().train(training)
    random.seed(0)
    assert np.array_equal(module(tensor(X), p=0.5).data, module(tensor(X), p=0.5).data) != training


# The loss that balances the work

def test_the_balancing_loss_is_1_when_all_share_the_work_and_the_number_of_experts_when_one_does_all():
    even, real = np.full((8, 4), 0.25), np.ones(8, bool)
    assert balancing_loss(tensor(even), np.array([4, 4, 4, 4]), real).item() == pytest.approx(1)
    one = np.tile([1.0, 0, 0, 0], (8, 1))
    assert balancing_loss(tensor(one), np.array([8, 0, 0, 0]), real).item() == pytest.approx(4)
    assert balancing_loss(tensor(even), np.zeros(4, int), np.zeros(8, bool)).item() == 0


@PER_TOKEN
def test_padding_is_not_counted(per_token):
    module, junk = layer(per_token), X.copy()
    junk[~REAL] = 50
    module(tensor(junk), real=REAL)
    loss, counts = module.last.loss.item(), module.last.counts
    alone = X[REAL]
    module(tensor(alone))
    assert loss == pytest.approx(module.last.loss.item(), rel=1e-12) and counts.tolist() == module.last.counts.tolist() and counts.sum() == 9 * per_token


def test_the_loss_is_added_in_training_only_and_once():
    module = layer()
    module.balance = 0.25
    module(tensor(X))
    added = module.last.loss.item()
    batch = type("Batch", (), {"n_tokens": 12})
    assert balanced(tensor(2.0), module).item() == pytest.approx(2 + 0.25 * added)
    assert balanced(tensor(2.0), module).item() == 2  # forgotten
    module(tensor(X))
    assert balanced(tensor(2.0), module, batch).item() == pytest.approx(2 + 12 * 0.25 * added)
    module.eval()(tensor(X))
    assert module.last.loss is None and balanced(tensor(2.0), module).item() == 2


def test_the_loss_alone_makes_the_experts_share_the_work():
    module, x = layer(1), tensor(np.random.default_rng(2).normal(size=(200, 6)) + 1)
    module.router.weight.data[0] += 1
    module(x)
    assert module.last.counts.max() > 120
    for _ in range(200):
        module.router.weight.grad = None
        module(x)
        module.last.loss.backward()
        module.router.weight.data[...] -= 0.3 * module.router.weight.grad.data
    assert module.last.counts.max() < 80


def test_more_experts_per_token_than_there_are_is_refused():
    with pytest.raises(ValueError, match="per_token: a token cannot take 3 of 2 experts; choose 1 to 2"):
        Experts(6, 8, 2, 3)


def test_the_router_is_a_linear_layer_without_bias():
    assert isinstance(layer().router, Linear) and layer().router.bias is None
