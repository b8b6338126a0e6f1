"""BPE dropout: the ids of the library without it, other pieces of the same words with it, and the same again from the same seed."""
import collections

import pytest

from minitx.data.bpe_dropout import BpeDropout
from minitx.data.tokenizers import TokenizerPair

PAIRS = [("the lower house is lower than the lowest", "das niedrigere Haus ist niedriger als das niedrigste"), ("low lower lowest", "Haus, Häuser"),
         ("a slow show of houses", "die Häuser der Show"), ("ooo ooooo o", "xooo")] * 4
OTHERS = [*PAIRS, ("", ""), ("zebra 🦊🦊 low🦊er 🦊", "\u1100 ist\tHa\u0308us"), ("x", "niedrigniedrig")]


@pytest.fixture(scope="module", params=[True, False], ids=["joint", "separate"])
def tokenizers(request):
    return TokenizerPair.train("bpe", PAIRS, 70, joint=request.param)


def encoded(tokenizers, pairs):
    return [(tokenizers.source.encode(source), tokenizers.target.encode(target)) for source, target in pairs]


def test_without_dropout_the_ids_are_those_of_the_library(tokenizers):
    assert BpeDropout(tokenizers, OTHERS, 0.0, 100).pairs(3) == encoded(tokenizers, OTHERS)


def test_dropout_cuts_the_same_text_into_more_pieces(tokenizers):
    dropout, whole = BpeDropout(tokenizers, PAIRS, 0.3, 100), encoded(tokenizers, PAIRS)
    drawn = dropout.pairs(0)
    for (source, target), text, (kept, _) in zip(drawn, PAIRS, whole):
        assert (tokenizers.source.decode(source), tokenizers.target.decode(target)) == text
        assert len(source) >= len(kept)
    assert drawn != whole and len({tuple(source) for source, _ in drawn[::4]}) > 1, "equal sentences are cut differently"


def test_an_epoch_follows_from_the_seed(tokenizers):
    one, again, other = (BpeDropout(tokenizers, PAIRS, 0.3, 100, seed) for seed in (1, 1, 2))
    assert one.pairs(5) == again.pairs(5) == one.pairs(5)
    assert one.pairs(5) != one.pairs(6) and one.pairs(5) != other.pairs(5)


def test_all_is_dropped_near_p_1(tokenizers):
    [(source, _)] = BpeDropout(tokenizers, PAIRS[1:2], 0.999999, 100).pairs(0)
    assert tokenizers.source.tokens(source) == list("▁low▁lower▁lowest")


def test_a_merge_is_left_out_with_probability_p():
    tokenizers = TokenizerPair.train("bpe", [("ab", "ab")] * 50, 10)  # " a", " ab"
    assert len(tokenizers.source.encode("ab")) == 1
    drawn = BpeDropout(tokenizers, [("ab", "ab")] * 20_000, 0.2, 100).pairs(0)
    counts = collections.Counter(len(ids) for pair in drawn for ids in pair)
    # One of the two merges of three characters comes first. It is left out, and nothing is left to do, with p = 0.2; else the other is, with 0.2 again.
    assert counts[3] / 40_000 == pytest.approx(0.2, abs=0.01) and counts[2] / 40_000 == pytest.approx(0.8 * 0.2, abs=0.01)


def test_a_pair_that_gets_too_long_keeps_its_own_ids(tokenizers):
    whole = encoded(tokenizers, PAIRS)
    longest = max(max(map(len, pair)) for pair in whole)
    drawn = BpeDropout(tokenizers, PAIRS, 0.2, longest + 1).pairs(0)
    assert max(max(map(len, pair)) for pair in drawn) == longest < max(max(map(len, pair)) for pair in BpeDropout(tokenizers, PAIRS, 0.2, 100).pairs(0))
    assert any(one == other for one, other in zip(drawn, whole)) and any(one != other for one, other in zip(drawn, whole))


def test_a_pair_too_long_without_dropout_is_left_out(tokenizers):
    whole = encoded(tokenizers, PAIRS)
    longest = max(max(map(len, pair)) for pair in whole)
    kept = [pair for pair in whole if max(map(len, pair)) < longest]
    assert BpeDropout(tokenizers, PAIRS, 0.0, longest).pairs(0) == kept and 0 < len(kept) < len(whole)
