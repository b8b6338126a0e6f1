"""Batches: what the decoder reads and says, how little is padded, and an order that a position restores."""

import json
import time

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minitx.data.batches import Batches, length_batches, make_batch, permutation
from minitx.errors import UserError


def random_pairs(n: int, seed: int = 0) -> list[tuple[list[int], list[int]]]:
    """Pairs of related lengths, about 15 tokens a side; each is known by its first source and target token."""
    random = np.random.default_rng(seed)
    target = np.clip(random.gamma(8, 1.9, n).astype(int), 1, 60)
    source = np.maximum(1, target + random.integers(-4, 5, n))
    return [([4 + i] * s, [4 + i] * t) for i, (s, t) in enumerate(zip(source, target))]


def rows_of(batches) -> list[tuple[int, ...]]:
    """Which pairs each batch holds, in order."""
    return [tuple(batch.source[:, 0] - 4) for batch in batches]


def test_a_batch_frames_and_shifts_the_target():
    batch = make_batch([([7, 8, 9], [5]), ([6], [10, 11])])
    assert batch.source.tolist() == [[7, 8, 9, 2], [6, 2, 0, 0]]
    assert batch.source_lengths.tolist() == [4, 2]
    assert batch.target_in.tolist() == [[1, 5, 0], [1, 10, 11]]
    assert batch.target_out.tolist() == [[5, 2, 0], [10, 11, 2]]
    assert batch.target_lengths.tolist() == [2, 3]
    assert batch.n_tokens == 5
    arrays = (batch.source, batch.source_lengths, batch.target_in, batch.target_out, batch.target_lengths)
    assert {array.dtype for array in arrays} == {np.dtype(np.int32)}


def test_an_empty_sentence_is_its_end_alone():
    batch = make_batch([([], [])])
    assert batch.source.tolist() == [[2]]
    assert batch.target_in.tolist() == [[1]]
    assert batch.target_out.tolist() == [[2]]


def test_no_pairs_make_no_batch():
    with pytest.raises(ValueError, match="at least one"):
        make_batch([])
    with pytest.raises(UserError, match="no sentence pairs"):
        Batches([], 100)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("batch_tokens", [1, 64, 1000, 10**6])
@pytest.mark.parametrize("pool", [1, 50, 100_000])
def test_each_pair_comes_once_an_epoch_within_the_bound(monkeypatch, shuffle, batch_tokens, pool):
    monkeypatch.setattr(Batches, "POOL", pool)
    pairs = random_pairs(180)
    batches = Batches(pairs, batch_tokens, shuffle=shuffle)
    for _ in range(2):
        announced, epoch = len(batches), list(batches)
        assert len(epoch) == announced
        assert sorted(row for rows in rows_of(epoch) for row in rows) == list(range(180))
        for batch in epoch:
            assert batch.target_out.size <= batch_tokens or len(batch.target_out) == 1
            assert batch.target_out.shape[1] == batch.target_lengths.max()
            for row, source, target in zip(batch.source[:, 0] - 4, batch.source, batch.target_out):
                assert source[source > 2].tolist() == pairs[row][0]
                assert target[target > 2].tolist() == pairs[row][1]


def test_a_full_batch_comes_close_to_the_bound():
    sizes = [batch.target_out.size for batch in Batches(random_pairs(5000), 1000)]
    assert np.mean(sizes) > 900


def test_a_sentence_longer_than_the_bound_is_a_batch_of_its_own():
    batches = list(Batches([([4], [4]), ([5], [5] * 30), ([6], [6])], batch_tokens=10))
    assert sorted(sorted(rows) for rows in rows_of(batches)) == [[0, 2], [1]]


@pytest.mark.parametrize("side, pair", [("source", ([5] * 8, [5])), ("target", ([5], [5] * 8))])
def test_a_sentence_longer_than_the_model_takes_is_named(side, pair):
    pairs = [([4], [4]), pair]
    Batches(pairs, 100, max_length=9)
    with pytest.raises(UserError, match=f"the {side} of pair 2 has 9 tokens, <eos> counted, but max_length is 8"):
        Batches(pairs, 100, max_length=8)


def test_less_than_a_twentieth_is_padding_on_either_side():
    padding = Batches(random_pairs(20_000), 4096).padding()
    assert 0 < padding.target < 0.05
    assert 0 < padding.source < 0.05


def test_sources_of_like_length_stand_together(monkeypatch):
    """Sorted by the target alone, the same data wastes more than twice as much of the source."""
    pairs = random_pairs(20_000)
    by_both = Batches(pairs, 2048).padding().source
    lexsort = np.lexsort
    monkeypatch.setattr(np, "lexsort", lambda keys: lexsort(keys[1:]))
    by_target = Batches(pairs, 2048).padding().source
    assert by_both < by_target / 2


def test_padding_is_what_the_batches_show():
    batches = Batches(random_pairs(3000), 512)
    padding = batches.padding()
    epoch = list(batches)
    for share, arrays in ((padding.source, [b.source for b in epoch]), (padding.target, [b.target_out for b in epoch])):
        assert share == pytest.approx(sum((a == 0).sum() for a in arrays) / sum(a.size for a in arrays), abs=1e-12)


def test_the_numbers_are_those_of_an_epoch():
    batches = Batches(random_pairs(500), 512)
    epoch = list(batches)
    assert batches.n_pairs == 500
    assert batches.n_tokens == sum(batch.n_tokens for batch in epoch) == sum((b.target_out != 0).sum() for b in epoch)


def test_epochs_and_seeds_differ_and_repeat():
    pairs = random_pairs(2000)
    batches, again, other = Batches(pairs, 512, seed=3), Batches(pairs, 512, seed=3), Batches(pairs, 512, seed=4)
    first, second = rows_of(batches), rows_of(batches)
    assert first == rows_of(again) and second == rows_of(again)
    assert first != second and first != rows_of(other)
    for others in (second, rows_of(Batches(pairs, 512, seed=4))):  # other companions, not only another order
        assert {frozenset(rows) for rows in first} != {frozenset(rows) for rows in others}


def test_batches_of_all_lengths_are_mixed_through_the_epoch():
    lengths = [batch.target_out.shape[1] for batch in Batches(random_pairs(5000), 1024)]
    assert lengths != sorted(lengths) and lengths != sorted(lengths, reverse=True)
    half = len(lengths) // 2
    assert abs(np.mean(lengths[:half]) - np.mean(lengths[half:])) < 6


def test_without_shuffling_every_epoch_is_the_same_longest_first():
    batches = Batches(random_pairs(500), 512, shuffle=False)
    lengths = [batch.target_out.shape[1] for batch in batches]
    assert lengths == sorted(lengths, reverse=True)
    assert rows_of(batches) == rows_of(batches)


@given(st.integers(0, 120))
def test_a_restored_position_goes_on_as_if_nothing_had_happened(n_before):
    pairs = random_pairs(300)
    batches = Batches(pairs, 200, seed=5)
    for _ in range(n_before):
        batches.next()
    state = json.loads(json.dumps(batches.state()))
    resumed = Batches(pairs, 200, seed=5)
    resumed.restore(state)
    assert (resumed.epoch, resumed.index) == (batches.epoch, batches.index)
    for _ in range(30):
        expected, got = batches.next(), resumed.next()
        for name in ("source", "target_in", "target_out", "source_lengths", "target_lengths"):
            assert np.array_equal(getattr(expected, name), getattr(got, name))


def test_a_position_counts_the_batches_given():
    batches = Batches(random_pairs(300), 200)
    per_epoch = len(batches)
    assert batches.state() == {"epoch": 0, "index": 0}
    iterator = iter(batches)
    next(iterator)
    assert batches.state() == {"epoch": 0, "index": 1}
    assert len(list(batches)) == per_epoch - 1
    assert batches.state() == {"epoch": 1, "index": 0}


@pytest.mark.parametrize("index", [-1, 10**6])
def test_a_position_of_other_data_is_refused(index):
    with pytest.raises(UserError, match=f"batch {index} of epoch 2 does not exist.*differ"):
        Batches(random_pairs(100), 200).restore({"epoch": 2, "index": index})


def test_a_batch_must_hold_a_token():
    with pytest.raises(UserError, match="batch_tokens is 0"):
        Batches(random_pairs(3), 0)


def test_the_permutation_is_the_same_on_every_platform():
    assert permutation(8, 0, 0).tolist() == [3, 2, 1, 6, 0, 7, 4, 5]
    assert permutation(8, 3, 1).tolist() == [0, 6, 2, 1, 3, 7, 4, 5]
    assert sorted(permutation(1000, 7).tolist()) == list(range(1000))


def test_translation_batches_find_the_way_back():
    sentences = [pair[0] for pair in random_pairs(400)] + [[]]
    results = [None] * len(sentences)
    longest_before = 10**9
    for batch in length_batches(sentences, 300):
        assert batch.source.size <= 300 and batch.source.shape[1] == batch.source_lengths.max() <= longest_before
        longest_before = batch.source.shape[1]
        for row, ids, length in zip(batch.rows, batch.source, batch.source_lengths):
            assert ids[length - 1] == 2 and not ids[length:].any()
            results[row] = ids[: length - 1].tolist()
    assert results == sentences


def test_translation_batches_waste_little():
    sentences = [pair[0] for pair in random_pairs(5000)]
    batches = length_batches(sentences, 2048)
    assert sum((b.source == 0).sum() for b in batches) < 0.05 * sum(b.source.size for b in batches)


def test_a_long_sentence_to_translate_is_a_batch_of_its_own():
    batches = length_batches([[4], [5] * 50, [6]], batch_tokens=10)
    assert [batch.rows.tolist() for batch in batches] == [[1], [0, 2]]
    assert length_batches([], 10) == []


def test_translation_batches_have_no_more_rows_than_asked_for():
    batches = length_batches([[4], [5] * 50, [6], [7, 7], [8], [9]], 1000, most_rows=2)
    assert [batch.rows.tolist() for batch in batches] == [[1, 3], [0, 2], [4, 5]]
    assert [len(batch.rows) for batch in length_batches([[4]] * 5, 4, most_rows=3)] == [2, 2, 1]


def test_an_epoch_of_29000_pairs_takes_well_under_half_a_second():
    batches = Batches(random_pairs(29_000), 4096)
    start = time.perf_counter()
    assert sum(batch.n_tokens for batch in batches) == batches.n_tokens
    assert time.perf_counter() - start < 0.5


def test_pairs_can_be_drawn_anew_in_every_epoch():
    pairs, asked = [([4] * n, [5] * n) for n in range(1, 30)], []

    def redraw(epoch):
        asked.append(epoch)
        return [(source + [6] * epoch, target) for source, target in pairs]

    batches = Batches(pairs, 60, seed=3, redraw=redraw)
    for epoch in range(3):
        rows = [row[row != 0].tolist() for batch in batches for row in batch.source]
        assert sorted(rows, key=len) == [source + [6] * epoch + [2] for source, _ in pairs]
    assert asked == [0, 1, 2, 3]
    state = {"epoch": 1, "index": 2}
    batches.restore(state)
    expected = batches.next()
    batches.restore(state)
    assert asked[4:] == [1], "the pairs of an epoch are drawn once"
    resumed = Batches(pairs, 60, seed=3, redraw=redraw)
    resumed.restore(state)
    np.testing.assert_array_equal(resumed.next().source, expected.source)


def test_drawn_pairs_are_held_to_the_longest_length_too():
    with pytest.raises(UserError, match="the source of pair 2 has 9 tokens"):
        Batches([([4], [4]), ([4], [4])], 60, max_length=8, redraw=lambda epoch: [([4], [4]), ([4] * 8, [4])])


def test_the_largest_batch_is_counted_with_its_pads():
    pairs = [([4] * 3, [4] * 9), ([4] * 5, [4] * 9), ([4], [4])]
    batches = Batches(pairs, 20)
    assert batches.most_positions() == max(batch.source.size + batch.target_out.size for batch in batches) == 2 * (6 + 10)
