"""The small layers: what they draw, what they compute, and when dropout acts."""
import numpy as np
import pytest

from minitx import random, tensor
from minitx.nn import BatchNorm, Dropout, Embedding, LayerNorm, Linear, Norm, Positions, RMSNorm, Rotary, sinusoidal_positions

X = np.random.default_rng(0).normal(size=(2, 5, 8)).astype(np.float32)


def test_a_linear_layer_begins_with_weights_that_keep_the_variance():
    weight = Linear(300, 200, generator=np.random.default_rng(0)).weight.data
    assert weight.shape == (200, 300) and weight.dtype == np.float32
    assert abs(weight).max() <= np.sqrt(6 / 500)
    assert weight.std() == pytest.approx(np.sqrt(2 / 500), rel=0.02)


def test_an_embedding_times_the_root_of_its_features_has_variance_one():
    embedding = Embedding(5000, 16, generator=np.random.default_rng(0))
    assert (embedding.weight.data * 4).std() == pytest.approx(1, rel=0.02)
    ids = np.array([[3, 0], [3, 4999]], np.int32)
    assert np.array_equal(embedding(ids).data, embedding.weight.data[ids])


@pytest.mark.parametrize("activation", ["none", "relu", "gelu", "gelu_tanh"])
def test_a_linear_layer_computes_its_formula(activation):
    from scipy.special import erf

    layer = Linear(8, 3, activation=activation, generator=np.random.default_rng(0))
    layer.bias.data[...] = [1, -1, 0.5]
    pre = X @ layer.weight.data.T + layer.bias.data
    expected = {"none": pre, "relu": pre * (pre > 0), "gelu": pre * (1 + erf(pre / np.sqrt(2))) / 2,
                "gelu_tanh": pre * (1 + np.tanh(np.sqrt(2 / np.pi) * (pre + 0.044715 * pre ** 3))) / 2}[activation]
    np.testing.assert_allclose(layer(X).data, expected, rtol=1e-5, atol=1e-6)


def test_an_unknown_activation_is_refused_before_anything_is_computed():
    with pytest.raises(ValueError, match="activation: 'tanh' is not one of none, relu, gelu, gelu_tanh, swiglu"):
        Linear(2, 3, activation="tanh")


def test_swiglu_has_a_gate_for_each_feature():
    layer = Linear(8, 3, activation="swiglu", generator=np.random.default_rng(0))
    layer.bias.data[...] = [1, -1, 0.5, 0, 2, -2]
    gate, value = np.split(X @ layer.weight.data.T + layer.bias.data, 2, axis=-1)
    np.testing.assert_allclose(layer(X).data, gate / (1 + np.exp(-gate)) * value, rtol=1e-5, atol=1e-6)
    random.seed(0)
    dropped = layer(X, p=0.5).data
    assert 5 < np.count_nonzero(dropped == 0) < 25
    layer.eval()
    assert np.array_equal(layer(X, p=0.5).data, layer(X).data)


def test_a_layer_norm_leaves_mean_zero_and_variance_one():
    out = LayerNorm(8)(3 * X + 5).data
    np.testing.assert_allclose(out.mean(-1), 0, atol=1e-6)
    np.testing.assert_allclose(out.var(-1), 1, rtol=1e-4)


def test_the_norm_of_a_sum_is_the_same_in_one_pass():
    norm, residual = LayerNorm(8), X[::-1]
    np.testing.assert_allclose(norm.add(X, residual).data, norm(X + residual).data, rtol=1e-5, atol=1e-6)


def test_an_rms_norm_leaves_a_mean_square_of_one():
    norm = RMSNorm(8)
    np.testing.assert_allclose((norm(3 * X + 5).data ** 2).mean(-1), 1, rtol=1e-5)
    norm.weight.data[...] = np.arange(8)
    np.testing.assert_allclose(norm.add(X, X[::-1]).data, norm(X + X[::-1]).data, rtol=1e-6)
    random.seed(0)
    assert not np.array_equal(norm.add(X, X, p=0.5).data, norm.add(X, X).data)


def test_norms_are_chosen_by_name():
    assert isinstance(Norm("rms", 8, eps=1e-3), RMSNorm) and Norm("rms", 8, eps=1e-3).eps == 1e-3
    assert isinstance(Norm("layer", 8), LayerNorm) and Norm("layer", 8, 1e-3).eps == 1e-3 and Norm("layer", 8, bias=False).bias is None
    assert isinstance(Norm("batch", 8), BatchNorm) and Norm("batch", 8, 1e-3).eps == 1e-3 and Norm("batch", 8, bias=False).bias is None
    with pytest.raises(ValueError, match="normalization: 'group' is not one of layer, rms, batch"):
        Norm("group", 8)


# Rotary positions

def test_rotary_positions_turn_neighbours_by_one_radian_and_distant_features_hardly():
    rotary, x = Rotary(8, 20), np.tile([1.0, 1, 1, 1, 0, 0, 0, 0], (1, 3, 1))
    out = rotary(x, heads=1, start=5).data[0]
    for t, position in enumerate((5, 6, 7)):
        np.testing.assert_allclose(out[t, :4], np.cos(position * 10.0 ** -np.arange(4)), rtol=1e-12)
        np.testing.assert_allclose(out[t, 4:], np.sin(position * 10.0 ** -np.arange(4)), rtol=1e-12)


def test_rotary_positions_reach_as_far_as_the_model_and_are_the_same_however_they_are_reached():
    x, step_by_step = np.random.default_rng(0).normal(size=(2, 12, 8)), Rotary(4, 12)
    whole = Rotary(4, 12)(x, heads=2).data
    for t in range(12):
        assert np.array_equal(step_by_step(x[:, t:t + 1], 2, np.array([t, t])).data, whole[:, t:t + 1])
    assert step_by_step(x.astype(np.float32), 2).dtype == np.float32
    with pytest.raises(ValueError, match="13 positions are needed but the model has 12; raise max_length"):
        step_by_step(x, 2, np.array([0, 1]))


def test_stretched_rotary_positions_keep_fast_waves_and_slow_the_slow_ones():
    scaling = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
    plain, stretched = Rotary(32, 9).frequencies, Rotary(32, 9, scaling=scaling).frequencies
    turns = 64 * plain / (2 * np.pi)
    fast, slow = turns > 4, turns < 1
    assert fast.any() and slow.any() and not (fast | slow).all()
    np.testing.assert_allclose(stretched[fast], plain[fast])
    np.testing.assert_allclose(stretched[slow], plain[slow] / 8)
    between = stretched[~fast & ~slow] / plain[~fast & ~slow]
    assert (np.diff(between) < 0).all() and between.max() < 1 and between.min() > 1 / 8
    np.testing.assert_allclose(Rotary(32, 9, scaling={"factor": 4.0}).frequencies, plain / 4)


def test_rotary_positions_of_an_odd_head_are_refused():
    with pytest.raises(ValueError, match="a head has 5; choose d_model / n_heads even"):
        Rotary(5, 10)


def test_dropout_acts_in_training_only():
    dropout, layer, ones = Dropout(0.5), Linear(8, 8, activation="relu"), tensor(np.ones((20, 20), np.float32))
    assert np.count_nonzero(dropout(ones).data == 0) in range(150, 250)
    dropout.eval()
    assert dropout(ones) is ones
    layer.eval()
    assert np.array_equal(layer(X, p=0.9).data, layer(X).data)


def test_layers_that_drop_nothing_use_no_keys():
    random.seed(0)
    state = random.state()
    LayerNorm(8).add(X, X)
    Linear(8, 8)(X)
    Dropout(0)(X)
    assert random.state() == state


@pytest.mark.parametrize("d_model", [1, 2, 7, 16])
def test_sinusoidal_positions_are_those_of_the_paper(d_model):
    table = sinusoidal_positions(50, d_model)
    for position in (0, 1, 17, 49):
        for feature in range(d_model):
            angle = position / 10000 ** (2 * (feature // 2) / d_model)
            assert table[position, feature] == pytest.approx(np.cos(angle) if feature % 2 else np.sin(angle), abs=1e-12)


def test_a_shift_in_time_is_a_rotation_of_the_sinusoidal_positions():
    pairs = sinusoidal_positions(60, 8).reshape(60, 4, 2)
    hands = pairs[..., 1] + 1j * pairs[..., 0]  # (time, pair): points of the unit circle
    np.testing.assert_allclose(hands[5:] / hands[:-5], np.broadcast_to(hands[5] / hands[0], (55, 4)), rtol=1e-12)


@pytest.mark.parametrize("kind", ["sinusoidal", "learned"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_positions_are_added_from_where_the_sequence_starts(kind, dtype):
    positions = Positions(kind, 10, 8, np.random.default_rng(0)).to(dtype)
    x = tensor(X.astype(dtype))
    whole = positions(x).data
    assert whole.dtype == dtype
    assert np.array_equal(positions(x[:, 2:], start=2).data, whole[:, 2:])
    table = positions.weight.data if kind == "learned" else sinusoidal_positions(10, 8)
    np.testing.assert_allclose(whole - X, np.broadcast_to(table[:5], X.shape), atol=1e-6 if dtype == "float32" else 1e-14)


def test_learned_positions_are_trained_and_sinusoidal_ones_are_not():
    learned = Positions("learned", 10, 8, np.random.default_rng(0))
    learned(X).sum().backward()
    assert learned.weight.grad.data[:, 0].tolist() == [2] * 5 + [0] * 5
    assert Positions("sinusoidal", 10, 8).n_parameters() == 0
    assert Positions("none", 10, 8)(X) is X


def test_positions_beyond_the_last_are_refused():
    with pytest.raises(ValueError, match="5 positions are needed but the model has 4; raise max_length"):
        Positions("sinusoidal", 4, 8)(X)
    with pytest.raises(ValueError, match="5 positions are needed"):
        Positions("learned", 4, 8, np.random.default_rng(0))(X[:, :1], start=4)
    with pytest.raises(ValueError, match="'rotary' is not one of sinusoidal, learned, none"):
        Positions("rotary", 4, 8)
