"""Filters and the draw, each on cases that can be computed by hand."""
import numpy as np
import pytest
from hypothesis import given, strategies as st

from minitx.decoding.sampling import Dice, Sampling, draw, heat, min_p, penalise_repetition, probabilities, top_k, top_p
from minitx.errors import UserError

NO = -np.inf
SHARES = np.array([[0.1, 0.4, 0.2, 0.3]])  # of four ids


def logits_of(shares):
    return np.log(np.asarray(shares, np.float64))


def kept(logits):
    """The columns of each row that may still be said."""
    return [np.flatnonzero(row > NO).tolist() for row in logits]


def test_probabilities_are_the_softmax_in_float64():
    np.testing.assert_allclose(probabilities(np.float32([[0, np.log(3)], [1000, 1000], [NO, 5]])), [[0.25, 0.75], [0.5, 0.5], [0, 1]], rtol=1e-7)


@pytest.mark.parametrize("temperature, expected", [(0.5, [1 / 30, 16 / 30, 4 / 30, 9 / 30]), (1.0, SHARES[0]), (0, [0, 1, 0, 0])])
def test_the_temperature_is_the_power_of_the_odds(temperature, expected):
    """At ½ the probabilities are squared and divided by their sum: 0.01, 0.16, 0.04 and 0.09, together 0.3."""
    np.testing.assert_allclose(probabilities(heat(logits_of(SHARES), temperature))[0], expected, rtol=1e-12)


@pytest.mark.parametrize("temperature", [1e-300, 5e-324, 1e300])
def test_no_temperature_is_too_low_or_too_high(temperature):
    np.testing.assert_allclose(probabilities(heat(np.array([[3.0, 7.0, -2.0, NO]]), temperature))[0],
                               [0, 1, 0, 0] if temperature < 1 else [1 / 3, 1 / 3, 1 / 3, 0])


@pytest.mark.parametrize("k, expected", [(1, [1]), (2, [1, 3]), (3, [1, 2, 3]), (4, [0, 1, 2, 3]), (9, [0, 1, 2, 3])])
def test_top_k_keeps_the_k_largest_as_they_are(k, expected):
    logits = logits_of(SHARES)
    found = top_k(logits, k)
    assert kept(found) == [expected] and np.array_equal(found[:, expected], logits[:, expected])


def test_top_k_takes_the_first_of_equals_in_each_row():
    assert kept(top_k(np.array([[1.0, 2.0, 2.0, 2.0], [0.0, 0.0, 5.0, 0.0]]), 2)) == [[1, 2], [0, 2]]


@pytest.mark.parametrize("p, expected", [(1e-9, [1]), (0.4, [1]), (0.41, [1, 3]), (0.69, [1, 3]), (0.71, [1, 2, 3]), (0.95, [0, 1, 2, 3]), (1.0, [0, 1, 2, 3])])
def test_top_p_keeps_the_fewest_that_reach_p(p, expected):
    assert kept(top_p(logits_of(SHARES), p)) == [expected]


def test_top_p_is_exact_where_probabilities_are():
    logits = np.log2(np.array([[0.25, 0.5, 0.25]])) * np.log(2)
    assert [kept(top_p(logits, p))[0] for p in (0.5, 0.75, 0.76)] == [[1], [0, 1], [0, 1, 2]]


@pytest.mark.parametrize("p, expected", [(0.01, [0, 1, 2, 3]), (0.24, [0, 1, 2, 3]), (0.26, [1, 2, 3]), (0.49, [1, 2, 3]), (0.51, [1, 3]), (0.76, [1]), (1.0, [1])])
def test_min_p_keeps_what_has_that_share_of_the_likeliest(p, expected):
    """The shares of 0.4 are 0.25, 1, 0.5 and 0.75."""
    assert kept(min_p(logits_of(SHARES), p)) == [expected]


@pytest.mark.parametrize("k", [1, 3, 20, 150, 390])
def test_the_largest_of_many_are_those_of_the_whole_row(k):
    """Vocabularies that are searched in blocks: their ends, and equals, count as well."""
    logits = np.random.default_rng(k).integers(-1000, 1000, (3, 50_021)).astype(np.float64)
    logits[0, 50_020] = logits[1, 0] = 2000
    order = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    assert kept(top_k(logits, k)) == np.sort(order, axis=1).tolist()


@pytest.mark.parametrize("spread", [0.1, 3.0, 8.0])
def test_top_p_of_many_keeps_the_fewest_that_reach_p(spread):
    logits = np.random.default_rng(1).normal(0, spread, (3, 5_000))
    for row, shares, ids in zip(logits, probabilities(logits), kept(top_p(logits, 0.9))):
        assert row[ids].min() > np.delete(row, ids).max()
        assert shares[ids].sum() >= 0.9 > shares[ids].sum() - shares[ids].min()


@pytest.mark.parametrize("penalty, expected", [(1.0, [3, 0]), (4.0, [1, 0])])
def test_greedily_the_likeliest_is_chosen_whatever_is_filtered_and_after_the_penalty(penalty, expected):
    logits = np.float32([[-1.0, 2.0, -1.0, 3.0], [5.0, 0.0, 0.0, 5.0]])
    found = Sampling(temperature=0, top_k=2, top_p=0.5, min_p=0.5, repetition_penalty=penalty).choose(logits, [[3], [1]], Dice(0, [0, 1]), [0, 1])
    assert found.dtype == np.int32 and found.tolist() == expected


def test_rows_are_filtered_apart():
    logits = logits_of([[0.1, 0.4, 0.2, 0.3], [0.97, 0.01, 0.01, 0.01]])
    assert kept(top_p(logits, 0.85)) == [[1, 2, 3], [0]]
    assert kept(min_p(logits, 0.45)) == [[1, 2, 3], [0]]


def test_what_was_said_is_divided_where_positive_and_multiplied_where_negative_once_each():
    logits = np.array([[2.0, -2.0, 1.0, 0.0], [2.0, -2.0, 1.0, 0.0]])
    found = penalise_repetition(logits, [[0, 1, 0, 3], [2]], 2.0)
    assert found.tolist() == [[1.0, -4.0, 1.0, 0.0], [2.0, -2.0, 0.5, 0.0]]
    assert logits[0, 0] == 2.0  # the model's own are left alone


@pytest.mark.parametrize("filtered", [lambda x: top_k(x, 2), lambda x: top_p(x, 0.5), lambda x: min_p(x, 0.1), lambda x: heat(x, 0.7),
                                      lambda x: penalise_repetition(x, [[0, 1]], 1.5)])
def test_what_may_not_be_said_stays_so(filtered):
    found = filtered(np.array([[NO, 3.0, NO, 2.0]]))
    assert found[0, 0] == found[0, 2] == NO and found[0, 1] > NO


def test_filters_act_in_order():
    """Penalty 2 turns logits 4, 3, 0 into 2, 3, 0; temperature ½ into odds e⁴ : e⁶ : 1; of these two are kept, and 0.8 is reached by the first."""
    logits = np.array([[4.0, 3.0, 0.0]])
    found = Sampling(temperature=0.5, top_k=2, repetition_penalty=2.0).filtered(logits, [[0]])
    np.testing.assert_allclose(probabilities(found)[0], [1 / (1 + np.e ** 2), np.e ** 2 / (1 + np.e ** 2), 0], rtol=1e-12)
    assert kept(Sampling(temperature=0.5, top_k=2, top_p=0.8, repetition_penalty=2.0).filtered(logits, [[0]])) == [[1]]
    assert kept(Sampling(temperature=1.0, top_p=0.8, min_p=0.3).filtered(logits, [[]])) == [[0, 1]]
    assert Sampling().filtered(logits, [[]]).tolist() == logits.tolist()


@pytest.mark.parametrize("uniform, expected", [(0.0, 1), (0.0999, 1), (0.1001, 2), (0.4999, 2), (0.5001, 4), (1 - 2 ** -53, 4)])
def test_the_draw_is_where_the_cumulative_probability_passes_the_number(uniform, expected):
    found = draw(logits_of([[1e-300, 0.1, 0.4, 1e-300, 0.5]]) + np.array([[NO, 0, 0, NO, 0]]), np.array([uniform]))
    assert found.dtype == np.int32 and found.tolist() == [expected]


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=50), st.floats(0, 1, exclude_max=True))
def test_what_may_not_be_said_is_never_drawn(values, uniform):
    logits = np.array([values])
    logits[0, ::2] = NO
    assert draw(logits, np.array([uniform]))[0] % 2 == 1


def test_draws_come_as_often_as_their_probabilities():
    rolled = Dice(0, range(20_000)).roll(range(20_000))
    found = np.bincount(draw(np.repeat(logits_of(SHARES), 20_000, axis=0), rolled), minlength=4) / 20_000
    np.testing.assert_allclose(found, SHARES[0], atol=0.015)  # four standard deviations


def test_dice_follow_from_the_seed_and_the_number_of_the_row_alone():
    one, two = Dice(5, [0, 1, 2]), Dice(5, [1, 0, 1])
    first = one.roll([0, 1, 2])
    assert np.array_equal(two.roll([0, 1]), first[[1, 0]]) and np.array_equal(two.roll([2]), first[[1]])
    assert not np.array_equal(one.roll([0, 1, 2]), first) and not np.array_equal(Dice(6, [0, 1, 2]).roll([0, 1, 2]), first)
    assert len(set(first)) == 3 and (first >= 0).all() and (first < 1).all()


@pytest.mark.parametrize("values, said", [
    ({"temperature": -0.1}, "temperature is -0.1 but must be 0"), ({"temperature": float("nan")}, "temperature is nan"),
    ({"temperature": float("inf")}, "temperature is inf"), ({"top_k": -1}, "top_k is -1 but must be a whole number from 0"),
    ({"top_p": 0.0}, "top_p is 0.0 but must be above 0"), ({"top_p": 1.1}, "top_p is 1.1"), ({"min_p": -1.0}, "min_p is -1.0"),
    ({"min_p": 1.5}, "min_p is 1.5"), ({"repetition_penalty": 0.0}, "repetition_penalty is 0.0 but must be above 0")])
def test_a_filter_out_of_its_bounds_is_named(values, said):
    with pytest.raises(UserError, match=said):
        Sampling(**values)


def test_a_negative_seed_is_named():
    with pytest.raises(UserError, match="seed is -1"):
        Dice(-1, [0])
