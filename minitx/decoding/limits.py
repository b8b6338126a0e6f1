"""What a translation is held to: how long it may become, for a model that does not find the end has to be stopped, and how it has to begin."""
import numpy as np

from ..errors import UserError

_RATIO, _EXTRA = 4, 10  # a sentence of Chinese characters may become four times as many English letters


FREE = -1  # instead of a forced word: anything may be said


def length_limits(model, lengths, max_length=None, prefixes=None):
    """The most words of each translation, <eos> not counted: (batch,) int64.

    They follow from the `lengths` (batch,) of the sources, each from its own, so that a translation does not depend on
    its batch, and are for what comes behind a prefix; or they are all `max_length`, or as long as a prefix that is longer.
    None exceeds the positions that the model has for <bos> and the words.
    """
    lengths = np.asarray(lengths, np.int64)
    if max_length is not None and max_length < 1:
        raise UserError(f"max_length is {max_length}; a translation needs room for at least 1 token")
    given = np.array([len(prefix) for prefix in prefixes], np.int64) if prefixes else np.zeros_like(lengths)
    if (longest := given.max(initial=0)) > model.max_length - 1:
        raise UserError(f"a prefix has {longest} tokens, but the model takes {model.max_length - 1}; shorten it")
    wanted = given + _RATIO * lengths + _EXTRA if max_length is None else np.maximum(given, max_length)
    return np.minimum(wanted, model.max_length - 1)


def forced_words(prefixes, rows):
    """(rows, longest prefix) int64: the word that each translation has to say at each position, FREE behind its prefix."""
    forced = np.full((rows, max(map(len, prefixes or ()), default=0)), FREE)
    for row, prefix in zip(forced, prefixes or ()):
        row[:len(prefix)] = prefix
    return forced
