"""BPE dropout (Provilkov et al. 2020): in every epoch a word is cut in another way, because each merge is left out with probability p.

Which merges are left out follows from the seed and the epoch alone, so that a resumed run sees the pieces that an uninterrupted one would have seen;
the tokenizers library can drop merges too, but not from a seed.
"""
from collections.abc import Sequence

import numpy as np
from numba import njit, uint64

from .batches import UNK
from .tokenizers import Tokenizer, TokenizerPair


class BpeDropout:
    """Draws the ids of sentence pairs anew.

    Pairs that a model of `max_length` does not take (<eos> counts) are left out; one that is too long with dropout only keeps the ids it has without.
    """

    def __init__(self, tokenizers: TokenizerPair, pairs: Sequence[tuple[str, str]], p: float, max_length: int, seed: int = 0):
        self._sides = [_Side(tokenizer, [pair[side] for pair in pairs]) for side, tokenizer in enumerate((tokenizers.source, tokenizers.target))]
        self._whole = list(zip(*(side.draw(0.0, 0) for side in self._sides)))
        self.p, self.max_length, self.seed = p, max_length, seed

    def pairs(self, epoch: int) -> list[tuple[list[int], list[int]]]:
        """(source ids, target ids) of every pair in this epoch."""
        keys = np.random.PCG64([self.seed, epoch]).random_raw(2)
        drawn = zip(*(side.draw(self.p, key) for side, key in zip(self._sides, keys)))
        return [pair if self._fits(pair) else whole for pair, whole in zip(drawn, self._whole) if self._fits(whole)]

    def _fits(self, pair):
        return max(map(len, pair)) < self.max_length


class _Side:
    """The sentences of one language as words, each word as its characters, and the merges as a sorted table."""

    def __init__(self, tokenizer: Tokenizer, texts: Sequence[str]):
        vocabulary, merges = tokenizer.merges()
        self._size = len(vocabulary)
        pairs = [(vocabulary[left], vocabulary[right], vocabulary[left + right]) for left, right in merges]
        keys = np.array([left * self._size + right for left, right, _ in pairs], np.int64)
        order = np.argsort(keys)
        self._merges = keys[order], order, np.array([merged for *_, merged in pairs], np.int64)[order]  # key, rank, what comes of it
        numbers = {}
        sentences = [[numbers.setdefault(word, len(numbers)) for word in tokenizer.split(text)] for text in texts]
        self._characters = _flat([[vocabulary.get(character, UNK) for character in word] for word in numbers])
        self._sentences = _flat(sentences)

    def draw(self, p, key):
        """Lists of ids, one for each sentence; with p = 0 those of `Tokenizer.encode`."""
        ids, ends = _draw(*self._characters, *self._sentences, *self._merges, self._size, p, uint64(key))
        ids, ends = ids.tolist(), [0, *ends.tolist()]
        return [ids[start:end] for start, end in zip(ends, ends[1:])]


def _flat(rows):
    """(values, starts): rows end to end, and where each starts, with the end of the last."""
    return np.array([value for row in rows for value in row], np.int64), np.cumsum([0, *map(len, rows)])


@njit
def _draw(characters, starts, words, sentence_starts, keys, ranks, merged, size, p, key):
    longest = 0
    for word in words:
        longest += starts[word + 1] - starts[word]
    ids, ends, used = np.empty(longest, np.int32), np.empty(len(sentence_starts) - 1, np.int64), 0
    threshold = uint64(p * 2.0 ** 63)
    for sentence in range(len(ends)):
        state = _mixed(key + uint64(sentence) * uint64(0x9E3779B97F4A7C15))
        for place in range(sentence_starts[sentence], sentence_starts[sentence + 1]):
            first = used
            for character in characters[starts[words[place]]:starts[words[place] + 1]]:
                ids[used] = character
                used += 1
            while True:
                best, rank, result = -1, len(keys), 0
                for left in range(first, used - 1):  # of equal ranks the leftmost is merged first
                    found = np.searchsorted(keys, ids[left] * size + ids[left + 1])
                    if found < len(keys) and keys[found] == ids[left] * size + ids[left + 1]:
                        state = _mixed(state)
                        if ranks[found] < rank and state >> uint64(1) >= threshold:
                            best, rank, result = left, ranks[found], merged[found]
                if best < 0:
                    break
                ids[best] = result
                ids[best + 1:used - 1] = ids[best + 2:used].copy()
                used -= 1
        ends[sentence] = used
    return ids[:used], ends


@njit
def _mixed(state):
    """SplitMix64 (Steele et al. 2014): the next of a sequence of random 64-bit words."""
    state += uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> uint64(27))) * uint64(0x94D049BB133111EB)
    return state ^ (state >> uint64(31))
