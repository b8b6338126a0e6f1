"""`Module`: what it finds by name, how its state travels, and what hooks and copies may count on."""
import copy

import numpy as np
import pytest

from minitx import no_grad, tensor
from minitx.nn import Dropout, LayerNorm, Linear, Module, Parameter


class Net(Module):
    """A bit of everything: a parameter, a buffer, children alone, in a list, shared and absent."""

    def __init__(self, seed=0):
        generator = np.random.default_rng(seed)
        self.scale = Parameter(np.float32([2.0]))
        self.offset = tensor(np.float32([1.0]))
        self.layers = [Linear(3, 3, generator=generator), Linear(3, 3, bias=False, generator=generator)]
        self.again = self.layers[0]
        self.norm = LayerNorm(3)
        self.nothing = None
        self.drop = Dropout(0.5)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.drop(self.norm(self.again(x)) * self.scale + self.offset)


NAMES = ["scale", "offset", "layers.0.weight", "layers.0.bias", "layers.1.weight", "norm.weight", "norm.bias"]
X = np.random.default_rng(1).normal(size=(2, 3)).astype(np.float32)


def test_parameters_and_buffers_are_named_by_their_way_through_the_modules():
    net = Net()
    assert [name for name, _ in net.named_tensors()] == NAMES
    assert [name for name, _ in net.named_parameters()] == [name for name in NAMES if name != "offset"]
    assert [buffer is net.offset for buffer in net.buffers()] == [True]


def test_a_shared_tensor_comes_once():
    net = Net()
    assert net.n_parameters() == 1 + 9 + 3 + 9 + 6
    assert len({id(parameter) for parameter in net.parameters()}) == len(net.parameters())


def test_training_mode_reaches_every_module():
    net = Net()
    assert net.eval() is net
    assert not any(module.training for _, module in net.named_modules())
    assert np.array_equal(net(X).data, net(X).data)
    assert net.train() is net
    assert all(module.training for _, module in net.named_modules())
    assert not np.array_equal(net(X).data, net(X).data)


def test_a_state_makes_another_module_the_same():
    one, other = Net(0).eval(), Net(1).eval()
    one.offset.data[...] = 7
    assert not np.array_equal(one(X).data, other(X).data)
    assert other.load_state_dict(one.state_dict()) is other
    assert np.array_equal(one(X).data, other(X).data)
    one.scale.data[...] = 0  # a copy: the two modules share nothing
    assert other.scale.item() == 2


def test_a_state_may_hold_tensors():
    state = {name: tensor(array) for name, array in Net(0).state_dict().items()}
    assert np.array_equal(Net(1).load_state_dict(state).norm.weight.data, state["norm.weight"].data)


def test_loading_writes_into_the_arrays_that_an_optimizer_holds():
    net = Net()
    array = net.scale.data
    net.load_state_dict(Net(1).state_dict())
    assert net.scale.data is array


@pytest.mark.parametrize("change, said", [
    (lambda state: state.pop("norm.bias"), r"1 missing \['norm.bias'\]"),
    (lambda state: state.update(more=X), r"1 unknown \['more'\]"),
    (lambda state: state.update(scale=X), r"scale has shape \(2, 3\) but this model's has \(1,\)"),
])
def test_a_state_of_another_model_is_refused_and_changes_nothing(change, said):
    state, net = Net(0).state_dict(), Net(1)
    before = {name: array.copy() for name, array in net.state_dict().items()}
    change(state)
    with pytest.raises(ValueError, match=said):
        net.load_state_dict(state)
    assert all(np.array_equal(array, before[name]) for name, array in net.state_dict().items())


def test_a_hook_sees_and_may_replace_the_output_until_it_is_removed():
    net, seen = Net().eval(), []
    plain = net(X).data

    def hook(module, inputs, output):
        seen.append((module is net, inputs[0] is X))
        return output * 0

    handle = net.register_forward_hook(hook)
    with net.norm.register_forward_hook(lambda module, inputs, output: seen.append(type(module).__name__)):
        assert not net(X).data.any()
    assert seen == ["LayerNorm", (True, True)]
    handle.remove()
    handle.remove()
    assert np.array_equal(net(X).data, plain)
    assert len(seen) == 2


def test_a_deep_copy_shares_nothing_but_keeps_what_is_shared_within():
    net = Net()
    net(X).sum().backward()
    twin = copy.deepcopy(net)
    assert twin.again is twin.layers[0] is not net.again
    assert twin.scale.requires_grad and twin.scale.grad is None and net.scale.grad is not None
    twin.scale.data[...] = 0
    assert net.scale.item() == 2
    assert np.array_equal(copy.deepcopy(net.eval())(X).data, net(X).data)


def test_zero_grad_forgets_all_gradients():
    net = Net()
    net(X).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    net.zero_grad()
    assert all(parameter.grad is None for parameter in net.parameters())


def test_a_module_moves_to_another_dtype():
    net = Net().to("float64")
    assert {array.dtype for array in net.state_dict().values()} == {np.dtype(np.float64)}
    out = net(X.astype(np.float64))
    out.sum().backward()
    assert out.dtype == net.scale.grad.dtype == np.float64


def test_no_gradient_is_recorded_under_no_grad():
    with no_grad():
        assert not Net()(X).requires_grad


def test_a_module_prints_its_parts():
    assert repr(Net()).splitlines()[:3] == [
        "Net(scale(1,), offset(1,)", "  layers.0: Linear(weight(3, 3), bias(3,))", "  layers.1: Linear(weight(3, 3))"]


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match="Module does not define forward"):
        Module()(X)


def test_weights_that_are_loaded_between_forward_and_backward_are_noticed():
    net = Net()
    loss, state = net(X).sum(), {name: 2 * array for name, array in net.state_dict().items()}
    net.load_state_dict(state)
    with pytest.raises(RuntimeError, match="changed in place before backward"):
        loss.backward()


def test_a_module_is_never_of_whole_numbers():
    with pytest.raises(TypeError, match="to: int32 has no gradients"):
        Net().to(np.int32)
