"""Multi-head attention and its cache: who sees whom, and that one word at a time is the same as all at once."""
import numpy as np
import pytest

from minitx import no_grad, random, tensor
from minitx.nn import DecoderLayer, EncoderLayer, KeyValueCache, MultiHeadAttention, Rotary

GENERATOR = np.random.default_rng(0)
X, MEMORY = GENERATOR.normal(size=(3, 5, 8)), GENERATOR.normal(size=(3, 7, 8))
LENGTHS = np.array([7, 2, 4])


VARIANTS = [{}, {"n_kv_heads": 1}, {"window": 2}, {"rotary": Rotary(4, 9)}, {"n_kv_heads": 1, "window": 3, "rotary": Rotary(4, 9)}]
each_variant = pytest.mark.parametrize("options", VARIANTS, ids=lambda options: "-".join(options) or "plain")


def attention(**options):
    return MultiHeadAttention(8, 2, generator=np.random.default_rng(1), **options).to("float64")


def by_hand(module, x, memory, lengths, causal):
    """The formula with loops over rows and heads."""
    weight, bias, d = module.in_proj_weight.data, module.in_proj_bias.data, module.d_model // module.n_heads
    q, k, v = (source @ weight[i * 8:(i + 1) * 8].T + bias[i * 8:(i + 1) * 8] for i, source in enumerate((x, memory, memory)))
    out, maps = np.zeros_like(x), np.zeros((len(x), module.n_heads, x.shape[1], memory.shape[1]))
    for row in range(len(x)):
        for head in range(module.n_heads):
            columns = slice(head * d, (head + 1) * d)
            for i in range(x.shape[1]):
                last = min(lengths[row], i + 1 if causal else memory.shape[1])
                scores = np.exp(k[row, :last, columns] @ q[row, i, columns] / np.sqrt(d))
                maps[row, head, i, :last] = scores / scores.sum()
                out[row, i, columns] = maps[row, head, i, :last] @ v[row, :last, columns]
    return out @ module.out_proj.weight.data.T + module.out_proj.bias.data, maps


@pytest.mark.parametrize("memory, causal", [(None, False), (None, True), (MEMORY, False)], ids=["self", "causal", "cross"])
def test_attention_is_the_formula_head_by_head(memory, causal):
    module = attention()
    module.in_proj_bias.data[...] = GENERATOR.normal(size=24)
    lengths = np.array([5, 2, 4]) if memory is None else LENGTHS
    out, maps = by_hand(module, X, X if memory is None else memory, lengths, causal)
    np.testing.assert_allclose(module(X, memory, causal=causal, lengths=lengths).data, out, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(module.weights(X, memory, causal=causal, lengths=lengths), maps, rtol=1e-12, atol=1e-14)


def test_parameters_are_named_and_shaped_as_in_pytorch():
    shapes = {name: array.shape for name, array in attention().state_dict().items()}
    assert shapes == {"in_proj_weight": (24, 8), "in_proj_bias": (24,), "out_proj.weight": (8, 8), "out_proj.bias": (8,)}
    assert list(attention(bias=False).state_dict()) == ["in_proj_weight", "out_proj.weight"]


def test_attention_without_biases_works_on_memory_too():
    module = attention(bias=False)
    assert module(X).shape == module(X, MEMORY, lengths=LENGTHS).shape == X.shape


def test_padding_is_never_looked_at():
    changed = MEMORY.copy()
    for row, length in enumerate(LENGTHS):
        changed[row, length:] = 1e6
    module = attention()
    assert np.array_equal(module(X, MEMORY, lengths=LENGTHS).data, module(X, changed, lengths=LENGTHS).data)


def test_a_causal_query_does_not_see_what_comes_later():
    changed = X.copy()
    changed[:, 3:] = 9
    module = attention()
    one, other = module(X, causal=True).data, module(changed, causal=True).data
    assert np.array_equal(one[:, :3], other[:, :3]) and not np.array_equal(one, other)


def test_the_weights_are_dropped_in_training_only():
    module = attention(dropout=0.5)
    random.seed(0)
    assert not np.array_equal(module(X).data, module(X).data)
    module.eval()
    assert np.array_equal(module(X).data, module(X).data)


@pytest.mark.parametrize("score", ["scaled-dot", "dot"])
def test_a_memory_is_never_causal(score):
    with pytest.raises(ValueError, match="causal: a memory is another sequence, all of which may be seen; drop causal"):
        MultiHeadAttention(8, 2, score=score)(tensor(np.ones((1, 2, 8), np.float32)), tensor(np.ones((1, 3, 8), np.float32)), causal=True)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="3 heads do not divide d_model = 8"):
        MultiHeadAttention(8, 3)
    with pytest.raises(ValueError, match="n_kv_heads: 3 heads of keys and values do not divide n_heads = 4"):
        MultiHeadAttention(8, 4, n_kv_heads=3)
    with pytest.raises(ValueError, match="rotary: it turns heads of 2 features, but 2 heads of d_model = 8 have 4"):
        MultiHeadAttention(8, 2, rotary=Rotary(2, 30))


@pytest.mark.parametrize("memory", [None, MEMORY], ids=["self", "cross"])
def test_queries_that_share_keys_are_queries_with_equal_ones(memory):
    shared, each = attention(n_kv_heads=1), attention()
    for name in ("in_proj_weight", "in_proj_bias"):
        parameter = getattr(shared, name).data
        parameter[...] = GENERATOR.normal(size=parameter.shape)
        getattr(each, name).data[...] = np.concatenate([parameter[:8], *[parameter[8:12]] * 2, *[parameter[12:]] * 2])
    each.out_proj.weight.data[...] = shared.out_proj.weight.data
    assert shared.in_proj_weight.shape == (16, 8)
    np.testing.assert_allclose(shared(X, memory).data, each(X, memory).data, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(shared.weights(X, memory), each.weights(X, memory), rtol=1e-12, atol=1e-14)


def test_a_window_ends_at_the_query():
    changed = X.copy()
    changed[:, 1] = 9
    module = attention(window=2)
    one, other = module(X, causal=True).data, module(changed, causal=True).data
    assert [not np.array_equal(one[:, i], other[:, i]) for i in range(5)] == [False, True, True, False, False]
    maps = module.weights(X, causal=True)
    assert np.array_equal(maps[0, 0] > 0, np.tril(np.ones((5, 5), bool)) & ~np.tril(np.ones((5, 5), bool), -2))
    np.testing.assert_allclose(maps.sum(-1), 1)


def test_rotary_positions_see_distances_alone():
    """In a window, where a position does not matter otherwise: x shifted by one position gives the same, shifted; mirrored it does not."""
    module = attention(rotary=Rotary(4, 9), window=2)
    x = np.concatenate([X, X], axis=1)[:, :9]
    out, shifted = module(x, causal=True).data, module(x[:, 1:], causal=True).data
    np.testing.assert_allclose(shifted[:, 1:], out[:, 2:], rtol=1e-12, atol=1e-14)
    both = module(np.stack([x[0, :3], x[0, [1, 0, 2]]]), causal=False).data
    assert not np.allclose(both[0, 2], both[1, 2])


def test_maps_are_of_the_queries_and_keys_that_are_multiplied():
    module = attention(n_kv_heads=1, rotary=Rotary(4, 9), bias=False)
    maps = module.weights(X, causal=True)  # (3, heads, 5, 5)
    values = X @ module.in_proj_weight.data[12:].T  # (3, 5, 4), of the only head
    out = np.swapaxes(maps @ values[:, None], 1, 2).reshape(3, 5, 8) @ module.out_proj.weight.data.T
    np.testing.assert_allclose(module(X, causal=True).data, out, rtol=1e-12, atol=1e-14)


# The cache

@each_variant
def test_one_position_at_a_time_is_the_same_as_all_at_once(options):
    module, cache = attention(**options), KeyValueCache(5)
    with no_grad():
        whole = module(X, causal=True).data
        steps = [module(X[:, i:i + 1], causal=True, cache=cache).data for i in range(5)]
    np.testing.assert_allclose(np.concatenate(steps, axis=1), whole, rtol=1e-12, atol=1e-14)


@each_variant
def test_several_positions_at_a_time_are_the_same_too(options):
    module, cache = attention(**options), KeyValueCache(5)
    with no_grad():
        whole = module(X, causal=True).data
        steps = [module(X[:, start:stop], causal=True, cache=cache).data for start, stop in ((0, 2), (2, 5))]
    np.testing.assert_allclose(np.concatenate(steps, axis=1), whole, rtol=1e-12, atol=1e-14)


@each_variant
@pytest.mark.parametrize("at_once", [1, 2])
def test_rows_of_different_lengths_go_on_each_from_its_own_end(options, at_once):
    module, cache, lengths = attention(**options), KeyValueCache(9), np.array([1, 4, 2])
    x = np.concatenate([X, X[::-1]], axis=1)[:, :9]
    rows = np.arange(3)[:, None]
    with no_grad():
        whole = module(x, causal=True).data
        module(x[:, :4], causal=True, cache=cache, lengths=np.full(3, 4))
        for _ in range(2):
            places = lengths[:, None] + np.arange(at_once)
            lengths = lengths + at_once
            out = module(x[rows, places], causal=True, cache=cache, lengths=lengths).data
            np.testing.assert_allclose(out, whole[rows, places], rtol=1e-12, atol=1e-14)


def test_the_memory_is_projected_once():
    module, cache = attention(), KeyValueCache(0)
    with no_grad():
        first = module(X, MEMORY, lengths=LENGTHS, cache=cache).data
        again = module(X, np.full_like(MEMORY, np.nan), lengths=LENGTHS, cache=cache).data
    assert np.array_equal(first, again)
    np.testing.assert_allclose(first, module(X, MEMORY, lengths=LENGTHS).data, rtol=1e-12, atol=1e-14)


def test_selected_rows_go_on_in_their_new_order():
    module, cache, rows = attention(), KeyValueCache(5), np.array([2, 0, 0, 1])
    with no_grad():
        module(X[:, :2], causal=True, cache=cache)
        cache.select(rows)
        out = module(X[rows, 2:3], causal=True, cache=cache).data
        whole = module(X, causal=True).data
    np.testing.assert_allclose(out, whole[rows, 2:3], rtol=1e-12, atol=1e-14)


def test_an_empty_cache_may_be_reordered():
    cache = KeyValueCache(5)
    cache.select(np.array([1, 0]))
    assert cache.used == 0


def test_a_full_cache_says_how_much_was_reserved():
    module, cache = attention(), KeyValueCache(2)
    with pytest.raises(ValueError, match="3 positions do not fit into the 2 that were reserved"):
        for i in range(3):
            module(X[:, i:i + 1], causal=True, cache=cache)


# Encoder and decoder layers

SELF = ["in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"]
FEED_FORWARD = ["linear1.weight", "linear1.bias", "linear2.weight", "linear2.bias"]


def norms(count):
    return [f"norm{i}.{name}" for i in range(1, count + 1) for name in ("weight", "bias")]


def test_layers_name_their_parameters_as_pytorch_does():
    encoder, decoder = EncoderLayer(8, 2, 16), DecoderLayer(8, 2, 16)
    own, cross = ([f"{kind}.{name}" for name in SELF] for kind in ("self_attn", "multihead_attn"))
    assert list(encoder.state_dict()) == own + FEED_FORWARD + norms(2)
    assert list(decoder.state_dict()) == own + cross + FEED_FORWARD + norms(3)


@pytest.mark.parametrize("kind", ["dropout", "activation_dropout", "attention_dropout"])
@pytest.mark.parametrize("block", [EncoderLayer, DecoderLayer])
def test_each_dropout_acts_by_itself_in_training_only(block, kind):
    options = {"dropout": 0.0, "activation_dropout": 0.0, "attention_dropout": 0.0}
    given = (X, None) if block is EncoderLayer else (X, X, None)
    layer, plain = (block(8, 2, 16, generator=np.random.default_rng(0), **options | {kind: p}).to("float64") for p in (0.5, 0.0))
    random.seed(0)
    assert not np.array_equal(layer(*given).data, layer(*given).data)
    assert np.array_equal(layer.eval()(*given).data, plain(*given).data)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_layer_without_biases_has_none_in_its_norms_either(norm):
    layer = EncoderLayer(8, 2, 16, norm=norm, bias=False).to("float64")
    names = list(layer.state_dict())
    assert names and not [name for name in names if name.endswith("bias")]
    layer(X).sum().backward()
    assert all(parameter.grad.shape == parameter.shape for parameter in layer.parameters())


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_dropout_acts_on_every_sublayer_in_training_only(norm):
    layer = EncoderLayer(8, 2, 16, dropout=0.5, norm=norm).to("float64")
    random.seed(0)
    assert not np.array_equal(layer(X, None).data, layer(X, None).data)
    layer.eval()
    out = layer(X, None).data
    assert np.array_equal(out, layer(X, None).data)
    layer.train().dropout.p = 0.0
    assert np.array_equal(layer(X, None).data, out)


def test_what_is_dropped_are_the_sublayers_never_the_residual_path():
    pre, post = (DecoderLayer(8, 2, 16, dropout=1.0, norm=norm).to("float64") for norm in ("pre", "post"))
    assert np.array_equal(pre(tensor(X), tensor(MEMORY), LENGTHS).data, X)
    expected = post.norm3(post.norm2(post.norm1(X)))
    np.testing.assert_allclose(post(tensor(X), tensor(MEMORY), LENGTHS).data, expected.data, rtol=1e-12, atol=1e-14)


def test_post_norm_ends_with_a_norm_and_pre_norm_with_a_sum():
    post, pre = (EncoderLayer(8, 2, 16, dropout=0, norm=norm).to("float64")(X, None).data for norm in ("post", "pre"))
    np.testing.assert_allclose(post.mean(-1), 0, atol=1e-14)
    assert abs(pre.mean(-1)).max() > 0.01


def test_an_unknown_norm_or_activation_is_refused():
    with pytest.raises(ValueError, match="norm: 'middle' is not one of pre, post"):
        EncoderLayer(8, 2, 16, norm="middle")
    with pytest.raises(ValueError, match="'swish' is not one of none, relu, gelu"):
        EncoderLayer(8, 2, 16, activation="swish").to("float64")(X, None)
