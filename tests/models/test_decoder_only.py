"""The decoder-only model: what a prediction may depend on, and that generation id by id says what training computes at once."""
from types import SimpleNamespace

import numpy as np
import pytest

from minitx import gradients, no_grad, random
from minitx.models import DecoderOnly
from minitx.nn import RMSNorm, sinusoidal_positions

IDS = np.random.default_rng(1).integers(1, 14, (4, 9)).astype(np.int32)
BATCH = SimpleNamespace(target_in=IDS[:, :-1], target_out=IDS[:, 1:], n_tokens=32)
CONFIGURATIONS = [dict(activation="gelu", positions="learned", tie_embeddings=True, bias=True),
                  dict(activation="relu", positions="sinusoidal", tie_embeddings=False, bias=False),
                  dict(activation="swiglu", positions="rotary", tie_embeddings=False, bias=False, normalization="rms", n_kv_heads=1),
                  dict(activation="gelu_tanh", positions="rotary", n_kv_heads=2, n_heads=4, window=4, n_layers=3)]
each_configuration = pytest.mark.parametrize("options", CONFIGURATIONS, ids=lambda options: "-".join(str(value) for value in options.values()))


def small_model(**options):
    """A float64 model with weights far from their small beginnings, and biases and norms away from 0 and 1, where mistakes hide."""
    model = DecoderOnly(14, **dict(d_model=8, n_heads=2, n_layers=2, d_ff=16, max_length=12) | options).to("float64")
    generator = np.random.default_rng(3)
    for parameter in model.parameters():
        parameter.data += generator.normal(0, 0.3, parameter.shape)
    return model


def logits_of(model, ids):
    with no_grad():
        return model(ids).data


@each_configuration
def test_the_gradient_of_every_parameter_agrees_with_differences(options):
    model, generator = small_model(**options), np.random.default_rng(0)
    loss = model.loss(BATCH, label_smoothing=0.1)
    for (name, parameter), gradient in zip(model.named_parameters(), gradients([loss], model.parameters(), allow_unused=False)):
        direction, start = generator.normal(size=parameter.shape), parameter.data.copy()
        values = []
        for step in (1e-6, -1e-6):
            parameter.data[...] = start + step * direction
            with no_grad():
                values.append(model.loss(BATCH, label_smoothing=0.1).item())
        parameter.data[...] = start
        assert np.sum(gradient.data * direction) == pytest.approx((values[0] - values[1]) / 2e-6, rel=2e-5, abs=1e-9), name


@pytest.mark.parametrize("ignore", [0, 5, -100])
def test_the_loss_is_the_mean_over_the_targets_that_count(ignore):
    model, targets = small_model(), BATCH.target_out.copy()
    targets[0, :4] = 0
    batch = SimpleNamespace(target_in=BATCH.target_in, target_out=targets, **{} if ignore == 0 else {"ignore": ignore})
    logits = logits_of(model, BATCH.target_in)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    losses = -np.take_along_axis(log_p, targets[..., None], -1)[..., 0][targets != ignore]
    assert model.loss(batch).item() == pytest.approx(losses.mean(), rel=1e-12)
    assert model.loss(batch, reduction="sum").item() == pytest.approx(losses.sum(), rel=1e-12)
    spread = -log_p.mean(-1)[targets != ignore]
    assert model.loss(batch, label_smoothing=0.2).item() == pytest.approx((0.8 * losses + 0.2 * spread).mean(), rel=1e-12)


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_embeddings_are_scaled_up_to_a_sinusoidal_table_and_no_further(positions):
    model = small_model(positions=positions, n_layers=0, tie_embeddings=False)
    table = model.positions.weight.data[:9] if positions == "learned" else sinusoidal_positions(9, 8)
    x = model.embedding.weight.data[IDS] * (8 ** 0.5 if positions == "sinusoidal" else 1) + table
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * model.norm.weight.data + model.norm.bias.data
    np.testing.assert_allclose(logits_of(model, IDS), x @ model.output.weight.data.T, rtol=1e-11, atol=1e-12)


@each_configuration
def test_a_prediction_depends_on_all_to_its_left_and_on_nothing_to_its_right(options):
    model, whole = small_model(**options), logits_of(small_model(**options), IDS)
    for changed in (3, 8):  # with 3 layers, a window of 4 reaches back 9
        ids = IDS.copy()
        ids[:, changed] = ids[:, changed] % 13 + 1
        other = logits_of(model, ids)
        assert np.array_equal(other[:, :changed], whole[:, :changed])
        assert (abs(other[:, changed:] - whole[:, changed:]).max(-1) > 1e-9).all()


# Parameters

def test_without_biases_there_is_none_in_the_norms_either():
    assert not [name for name in small_model(bias=False).state_dict() if name.endswith("bias")]
    assert len([name for name in small_model().state_dict() if name.endswith("bias")]) == 2 * 6 + 1


def test_tied_embeddings_are_one_parameter():
    tied, untied = small_model(), small_model(tie_embeddings=False)
    assert untied.n_parameters() - tied.n_parameters() == 14 * 8
    assert tied.output_weight is tied.embedding.weight and untied.output_weight is not untied.embedding.weight


def test_the_weights_begin_as_published_and_the_seed_decides_them():
    model = DecoderOnly(100, d_model=64, n_layers=8, tie_embeddings=False)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            expected = 0.02 / 4 if name.endswith(("out_proj.weight", "linear2.weight")) else 0.02
            assert parameter.data.std() == pytest.approx(expected, rel=0.05), name
        else:
            assert (parameter.data == (1 if "norm" in name and name.endswith("weight") else 0)).all(), name
    scaled = DecoderOnly(100, d_model=64, positions="sinusoidal")  # times √d they are as large as the table that is added
    assert scaled.embedding.weight.data.std() * scaled.scale == pytest.approx(1, rel=0.05)
    again, other = (DecoderOnly(100, d_model=64, n_layers=8, tie_embeddings=False, seed=seed) for seed in (0, 1))
    assert np.array_equal(model.output_weight.data, again.output_weight.data)
    assert not np.array_equal(model.output_weight.data, other.output_weight.data)


def test_the_first_loss_is_that_of_a_uniform_guess():
    ids = np.random.default_rng(0).integers(1, 500, (8, 33))
    loss = DecoderOnly(500, d_model=64).loss(SimpleNamespace(target_in=ids[:, :-1], target_out=ids[:, 1:])).item()
    assert loss == pytest.approx(np.log(500), abs=0.1)


def test_a_window_reaches_back_once_in_each_layer():
    model, ids = small_model(window=3), IDS.copy()
    ids[:, 1] = ids[:, 1] % 13 + 1
    changed = abs(logits_of(model, ids) - logits_of(model, IDS)).max((0, 2)) > 1e-9
    assert changed.tolist() == [1 <= t <= 1 + 2 * 2 for t in range(9)]


@pytest.mark.parametrize("activation, expected", [("gelu", 48 * 12 * 2), ("swiglu", 32 * 12 * 3)])
def test_gated_feed_forward_networks_have_as_many_weights_as_others(activation, expected):
    layer = DecoderOnly(14, d_model=12, n_heads=2, n_layers=1, activation=activation, bias=False).layers[0]
    assert layer.linear1.weight.size + layer.linear2.weight.size == expected


def test_the_options_of_norms_and_angles_arrive():
    model = DecoderOnly(14, d_model=8, n_heads=2, n_layers=2, normalization="rms", eps=0.5, positions="rotary", rotary_base=100.0,
                        rotary_scaling={"factor": 2.0})
    assert {(type(module), module.eps) for _, module in model.named_modules() if hasattr(module, "eps")} == {(RMSNorm, 0.5)}
    assert all(layer.self_attn.rotary is model.layers[0].self_attn.rotary for layer in model.layers)
    np.testing.assert_allclose(model.layers[0].self_attn.rotary.frequencies, [0.5, 0.05])
    assert not any("positions" in name for name in model.state_dict())


@pytest.mark.parametrize("n_layers", [2, 0], ids=["layers", "embeddings alone"])
def test_dropout_is_decided_by_the_key_s_seed(n_layers):
    model = small_model(dropout=0.3, n_layers=n_layers)

    def loss(seed):
        random.seed(seed)
        return model.loss(BATCH).item()

    assert loss(1) == loss(1) != loss(2)
    model.eval()
    assert loss(1) == loss(2)


@pytest.mark.parametrize("options, said", [
    (dict(positions="none of these"), "'none of these' is not one of"),
    (dict(d_model=9), "2 heads do not divide d_model = 9"),
    (dict(n_heads=4, n_kv_heads=3), "n_kv_heads: 3 heads"),
    (dict(normalization="none"), "normalization: 'none' is not one of layer, rms"),
    (dict(d_model=6, positions="rotary"), "a head has 3"),
])
def test_a_model_that_cannot_be_built_says_why(options, said):
    with pytest.raises(ValueError, match=said):
        small_model(**options)


# Generation, id by id

@each_configuration
@pytest.mark.parametrize("prompt", [0, 1, 5])
def test_generation_with_the_cache_gives_the_logits_of_the_whole_sequence(options, prompt):
    model = small_model(**options)
    whole, cache = logits_of(model, IDS), model.start(IDS[:, :prompt])
    steps = [model.step(IDS[:, i], cache) for i in range(prompt, IDS.shape[1])]
    np.testing.assert_allclose(np.stack(steps, axis=1), whole[:, prompt:], rtol=1e-11, atol=1e-12)


@each_configuration
def test_prompts_of_different_lengths_go_on_each_from_its_own_end(options):
    model, lengths, rows = small_model(**options), np.array([2, 5, 1, 3]), np.arange(4)
    whole, padded = logits_of(model, IDS), np.where(np.arange(5) < lengths[:, None], IDS[:, :5], 0)
    logits, cache = model.read(padded, lengths)
    np.testing.assert_allclose(logits, whole[rows, lengths - 1], rtol=1e-11, atol=1e-12)
    for i in range(4):
        logits = model.step(IDS[rows, lengths + i], cache)
        np.testing.assert_allclose(logits, whole[rows, lengths + i], rtol=1e-11, atol=1e-12)


def test_selected_rows_go_on_with_their_own_sequences():
    """As in a beam: rows are dropped, doubled and put in another order after each id."""
    model, whole, rows = small_model(), logits_of(small_model(), IDS), np.arange(4)
    lengths = np.array([2, 4, 1, 3])
    cache = model.start(np.where(np.arange(4) < lengths[:, None], IDS[:, :4], 0), lengths)
    for i, chosen in enumerate([[1, 3, 2, 0], [3, 1, 1, 0], [2, 1], [1, 1, 0, 0, 0]]):
        cache.select(np.array(chosen))
        rows = rows[chosen]
        logits = model.step(IDS[rows, lengths[rows] + i], cache)
        np.testing.assert_allclose(logits, whole[rows, lengths[rows] + i], rtol=1e-11, atol=1e-12)


def test_steps_are_not_recorded_and_leave_the_model_s_mode_alone():
    model, recorded = small_model().eval(), []
    model.norm.register_forward_hook(lambda module, inputs, out: recorded.append(out.requires_grad))
    cache = model.start(IDS[:, :3])
    logits = model.step(IDS[:, 3], cache)
    assert isinstance(logits, np.ndarray) and not model.training and cache.lengths.tolist() == [4] * 4
    assert recorded == [False, False]


def test_a_cache_holds_as_many_ids_as_were_reserved():
    model = small_model()
    cache = model.start(IDS[:, :3], capacity=2)
    for i in (3, 4):
        model.step(IDS[:, i], cache)
    with pytest.raises(ValueError, match="6 positions do not fit into the 5 that were reserved"):
        model.step(IDS[:, 5], cache)


def test_a_sequence_longer_than_the_model_is_refused():
    with pytest.raises(ValueError, match="9 positions are needed but the model has 7; raise max_length"):
        small_model(max_length=7)(IDS)


def test_attention_maps_show_where_each_position_looks():
    model = small_model(positions="rotary", n_kv_heads=1, window=5)
    maps = model.attention_maps(IDS)
    assert maps.shape == (2, 4, 2, 9, 9)
    np.testing.assert_allclose(maps.sum(-1), 1, rtol=1e-12)
    assert np.array_equal((maps > 0).all((0, 1, 2)), np.tril(np.ones((9, 9))) - np.tril(np.ones((9, 9)), -5))
    assert not any(layer.self_attn.__dict__.get("_forward_hooks") for layer in model.layers)
