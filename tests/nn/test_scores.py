"""The score functions: each is its equation, whatever is prepared beforehand, and each serves multi-head attention."""
import numpy as np
import pytest

from minitx import Tensor, gradcheck, no_grad, random
from minitx.nn import SCORES, KeyValueCache, MultiHeadAttention, make_score
from minitx.nn.scores import additive_attention

GENERATOR = np.random.default_rng(0)
QUERY, KEY, VALUE = GENERATOR.normal(size=(3, 2, 8)), GENERATOR.normal(size=(3, 5, 8)), GENERATOR.normal(size=(3, 5, 8))
LENGTHS = np.array([5, 2, 4])
NAMES = pytest.mark.parametrize("name", SCORES)
HEADS = pytest.mark.parametrize("heads", [1, 2])


def score(name, heads=1):
    module = make_score(name, 8, heads, np.random.default_rng(1)).to("float64")
    for parameter in module.parameters():
        parameter.data += GENERATOR.normal(0, 0.3, parameter.shape)
    return module


def by_hand(name, module, q, k, head, d):
    """The score of one query and one key of one head, (d,) each."""
    if name == "additive":
        w = module.weight.data[head * d:(head + 1) * d]
        if module.of_query is None:
            return np.sum(w * np.tanh(q + k))
        return np.sum(w * np.tanh(module.of_query.weight.data @ q + module.of_key.weight.data @ k + module.of_key.bias.data))
    if name == "bilinear":
        return q @ module.weight.data[head * d:(head + 1) * d] @ k
    if name == "cosine":
        return np.exp(module.log_scale.data[head]) * (q @ k) / np.linalg.norm(q) / np.linalg.norm(k)
    return q @ k / (np.sqrt(d) if name == "scaled-dot" else 1)


@NAMES
@HEADS
def test_each_score_is_its_equation(name, heads):
    module, d = score(name, heads), 8 // heads
    found = np.asarray(module(module.query(QUERY), module.key(KEY), VALUE, lengths=LENGTHS))
    maps = module.weights(module.query(Tensor(QUERY)), module.key(Tensor(KEY)), lengths=LENGTHS)
    for b, h, i in np.ndindex(3, heads, 2):
        own = slice(h * d, (h + 1) * d)
        scores = np.exp([by_hand(name, module, QUERY[b, i, own], KEY[b, j, own], h, d) for j in range(LENGTHS[b])])
        np.testing.assert_allclose(maps[b, h, i, :LENGTHS[b]], scores / scores.sum(), rtol=1e-9)
        assert not maps[b, h, i, LENGTHS[b]:].any()
        np.testing.assert_allclose(found[b, i, own], scores @ VALUE[b, :LENGTHS[b], own] / scores.sum(), rtol=1e-9)


@NAMES
def test_gradients_agree_with_differences(name):
    module = score(name, 2)
    own = dict(module.named_parameters())

    def look_up(query, key, value, *weights):
        for parameter, weight in zip(own, weights):
            setattr(module, parameter, weight)
        return module(module.query(query), module.key(key), value, causal=True, lengths=LENGTHS)

    assert gradcheck(look_up, [QUERY, KEY, VALUE, *[parameter.data for parameter in own.values()]])


def test_additive_attention_has_gradients_of_any_order():
    inputs = [GENERATOR.normal(size=size) for size in ((2, 2, 4), (2, 3, 4), (2, 3, 4), 4)]
    assert gradcheck(lambda *xs: additive_attention(*xs, heads=2, causal=True, lengths=np.array([3, 1]), p=0.3, key=5), inputs, order=2)


def test_the_score_of_unrelated_vectors_begins_with_the_variance_that_a_softmax_bears():
    """Scaled dot and cosine at 1, whatever the number of features; the plain dot product's variance is their number."""
    vectors = np.random.default_rng(3).normal(size=(2, 1, 2000, 64)).astype(np.float32)
    variances = {}
    for name in ("scaled-dot", "cosine", "dot"):
        module = make_score(name, 64)
        q, k = (np.asarray(part(x)) for part, x in zip((module.query, module.key), vectors))
        variances[name] = np.var(np.sum(q * k, axis=-1) / 8)  # the kernel divides by √64
    assert variances["scaled-dot"] == pytest.approx(1, rel=0.1) and variances["cosine"] == pytest.approx(1, rel=0.1)
    assert variances["dot"] == pytest.approx(64, rel=0.1)


def test_a_query_of_zeros_has_a_cosine_of_zero():
    module = score("cosine")
    out = module(module.query(0 * QUERY), module.key(KEY), VALUE).data
    np.testing.assert_allclose(out, np.broadcast_to(VALUE.mean(axis=1, keepdims=True), out.shape), rtol=1e-12)


def test_an_unknown_score_is_refused():
    with pytest.raises(ValueError, match="score: 'manhattan' is not one of additive, bilinear, dot, scaled-dot, cosine"):
        make_score("manhattan", 8)


# In multi-head attention

def attention(name, **options):
    return MultiHeadAttention(8, 2, generator=np.random.default_rng(1), score=name, **options).to("float64")


@NAMES
@pytest.mark.parametrize("memory", [None, VALUE], ids=["self", "cross"])
def test_multi_head_attention_averages_the_values_by_its_weights(name, memory):
    module = attention(name)
    out, maps = module(KEY, memory, lengths=LENGTHS).data, module.weights(KEY, memory, lengths=LENGTHS)
    source = KEY if memory is None else memory
    values = source @ module.in_proj_weight.data[16:].T + module.in_proj_bias.data[16:]
    heads = np.concatenate([maps[:, h] @ values[..., 4 * h:4 * h + 4] for h in range(2)], axis=-1)
    np.testing.assert_allclose(out, heads @ module.out_proj.weight.data.T + module.out_proj.bias.data, rtol=1e-9, atol=1e-12)


@NAMES
def test_one_position_at_a_time_is_the_same_as_all_at_once(name):
    module, cache = attention(name), KeyValueCache(5)
    with no_grad():
        whole = module(KEY, causal=True).data
        steps = [module(KEY[:, i:i + 1], causal=True, cache=cache).data for i in range(5)]
    np.testing.assert_allclose(np.concatenate(steps, axis=1), whole, rtol=1e-10, atol=1e-13)


@NAMES
def test_hypotheses_about_one_sentence_share_its_memory(name):
    """Two rows of queries for each row of the memory: what each finds, and where it looked."""
    module, cache = attention(name), KeyValueCache(0)
    rows = GENERATOR.normal(size=(6, 1, 8))
    with no_grad():
        found = module(rows, VALUE, lengths=LENGTHS, cache=cache).data
        repeated = np.repeat(VALUE, 2, axis=0), np.repeat(LENGTHS, 2)
        np.testing.assert_allclose(found, module(rows, repeated[0], lengths=repeated[1]).data, rtol=1e-10, atol=1e-13)
        maps = module.weights(rows, repeated[0], lengths=repeated[1])[:, :, 0]
    np.testing.assert_allclose(module.cached_weights(cache, LENGTHS), maps, rtol=1e-10, atol=1e-13)


@NAMES
def test_the_weights_are_dropped_in_training_only(name):
    module = attention(name, dropout=0.5)
    random.seed(0)
    assert not np.array_equal(module(KEY).data, module(KEY).data)
    module.eval()
    assert np.array_equal(module(KEY).data, module(KEY).data)


def test_what_only_the_scaled_dot_product_can_do_is_refused_of_others():
    with pytest.raises(ValueError, match="as many heads of keys as of queries, and no window"):
        attention("dot", n_kv_heads=1)
    with pytest.raises(ValueError, match="as many heads of keys as of queries, and no window"):
        attention("additive", window=3)
    module, cache = attention("dot"), KeyValueCache(5)
    with no_grad(), pytest.raises(ValueError, match="need the score scaled-dot"):
        module(KEY[:, :2], causal=True, lengths=np.array([2, 3, 4]), cache=cache)
