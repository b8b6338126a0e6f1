"""The small layers: what they draw, what they compute, and when dropout acts."""
import numpy as np
import pytest

from minitx import random, tensor
from minitx.nn import Dropout, Embedding, LayerNorm, Linear, Positions, sinusoidal_positions

X = np.random.default_rng(0).normal(size=(2, 5, 8)).astype(np.float32)


def test_a_linear_layer_begins_with_weights_that_keep_the_variance():
    weight = Linear(300, 200, generator=np.random.default_rng(0)).weight.data
    assert weight.shape == (200, 300) and weight.dtype == np.float32
    assert abs(weight).max() <= np.sqrt(6 / 500)
    assert weight.std() == pytest.approx(np.sqrt(2 / 500), rel=0.02)


def test_an_embedding_times_the_root_of_its_features_has_variance_one():
    embedding = Embedding(5000, 16, np.random.default_rng(0))
    assert (embedding.weight.data * 4).std() == pytest.approx(1, rel=0.02)
    ids = np.array([[3, 0], [3, 4999]], np.int32)
    assert np.array_equal(embedding(ids).data, embedding.weight.data[ids])


@pytest.mark.parametrize("activation", ["none", "relu", "gelu"])
def test_a_linear_layer_computes_its_formula(activation):
    from scipy.special import erf

    layer = Linear(8, 3, activation=activation, generator=np.random.default_rng(0))
    layer.bias.data[...] = [1, -1, 0.5]
    pre = X @ layer.weight.data.T + layer.bias.data
    expected = {"none": pre, "relu": pre * (pre > 0), "gelu": pre * (1 + erf(pre / np.sqrt(2))) / 2}[activation]
    np.testing.assert_allclose(layer(X).data, expected, rtol=1e-5, atol=1e-6)


def test_a_layer_norm_leaves_mean_zero_and_variance_one():
    out = LayerNorm(8)(3 * X + 5).data
    np.testing.assert_allclose(out.mean(-1), 0, atol=1e-6)
    np.testing.assert_allclose(out.var(-1), 1, rtol=1e-4)


def test_the_norm_of_a_sum_is_the_same_in_one_pass():
    norm, residual = LayerNorm(8), X[::-1]
    np.testing.assert_allclose(norm.add(X, residual).data, norm(X + residual).data, rtol=1e-5, atol=1e-6)


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
