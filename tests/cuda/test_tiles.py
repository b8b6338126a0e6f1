"""Who sees whom in the tiles of attention on CUDA, against the definition: at the edges of tiles, where an attention by one key more or less would hide it."""
import itertools

import numpy as np
import pytest

from minitx.kernels.attention.fragments_cuda import bit, seen_bits
from minitx.kernels.attention.tiles_cuda import BITS, TILE, all_seen, hide, offset, reach, reached_by
from minitx.kernels.attention.work_cuda import Work, seen_by

# (queries, keys, keys that are there, window or 0, whether causal)
PROBLEMS = [(tq, tk, length, window, causal) for tq, tk in itertools.product((1, 62, 64, 65, 130), repeat=2) for length in {tk, tk - 1, min(tk, 64)}
            for causal, window in [(False, 0), (True, 0), (True, 1), (True, 2), (True, 63), (True, 64), (True, 66), (True, 126)]]


def work_of(tq, tk, window, causal):
    return Work(1, 1, tq, tk, 16, causal, window, True, False, 0, 0, 0, 0, 0, 0, 1.0, 0.25)


def seen(tq, tk, length, window, causal, queries=256, keys=256):
    """(queries, keys), also beyond the last ones."""
    query, key = np.arange(queries)[:, None] + tk - tq, np.arange(keys)
    return (key < length) & ((key <= query) | (not causal)) & ((key > query - window) | (window == 0))


@pytest.mark.parametrize("causal", [False, True])
def test_a_tile_that_is_all_seen_is_known(causal):
    for tq, tk, length, window, _ in (problem for problem in PROBLEMS if problem[4] == causal):
        work, matrix = work_of(tq, tk, window, causal), seen(tq, tk, length, window, causal)
        for first, left in itertools.product(range(0, tq, TILE), range(0, tk, TILE)):
            assert all_seen(first, left, length, work) == matrix[first:first + TILE, left:left + TILE].all(), (tq, tk, length, window, first, left)


def test_every_key_that_is_seen_is_reached_from_both_sides():
    for tq, tk, length, window, causal in PROBLEMS:
        work, matrix = work_of(tq, tk, window, causal), seen(tq, tk, length, window, causal, tq, tk)
        for query in range(tq):
            low, high = seen_by(query, length, work)
            np.testing.assert_array_equal(np.nonzero(matrix[query])[0], np.arange(low, high))
        for first in range(0, tq, TILE):
            start, stop = reach(first, length, work)
            keys = np.nonzero(matrix[first:first + TILE].any(0))[0]
            assert start % TILE == 0 and all((start <= keys) & (keys < stop)), (tq, tk, length, window, first)
        for left in range(0, tk, TILE):
            start, stop = reached_by(left, length, work)
            queries = np.nonzero(matrix[:, left:left + TILE].any(1))[0]
            assert start % TILE == 0 and all((start <= queries) & (queries < stop)), (tq, tk, length, window, left)


@pytest.mark.parametrize("turned", [False, True])
def test_what_a_thread_does_not_see_is_hidden(turned):
    rng = np.random.default_rng(0)
    for tq, tk, length, window, causal in PROBLEMS:
        work, matrix = work_of(tq, tk, window, causal), seen(tq, tk, length, window, causal)
        matrix = matrix.T if turned else matrix
        row, column = 4 * rng.integers(0, 32), rng.integers(0, 32)
        query, key = (column, row) if turned else (row, column)
        scores = np.ones(32, np.float32)
        hide(scores, query, key, length, BITS, work, turned)
        assert all((scores[8 * i + j] == 1) == matrix[row + i, column + offset(j)] for i in range(4) for j in range(8))
        bits = seen_bits(0, 0, query, key, length, None, work, 8, turned)
        assert all((bits & bit(4 * j + 2 * i + e) != 0) == matrix[row + 8 * i, column + 8 * j + e] for i in range(2) for j in range(8) for e in range(2))
