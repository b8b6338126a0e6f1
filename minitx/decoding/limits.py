"""How long a translation may become: a model that does not find the end has to be stopped."""
import numpy as np

from ..errors import UserError

_RATIO, _EXTRA = 4, 10  # a sentence of Chinese characters may become four times as many English letters


def length_limits(model, lengths, max_length=None):
    """The most words of each translation, <eos> not counted: (batch,) int64.

    They follow from the `lengths` (batch,) of the sources, each from its own, so that a translation does not depend on
    its batch; or they are all `max_length`. None exceeds the positions that the model has for <bos> and the words.
    """
    lengths = np.asarray(lengths, np.int64)
    if max_length is not None and max_length < 1:
        raise UserError(f"max_length is {max_length}; a translation needs room for at least 1 token")
    wanted = _RATIO * lengths + _EXTRA if max_length is None else np.full_like(lengths, max_length)
    return np.minimum(wanted, model.max_length - 1)
