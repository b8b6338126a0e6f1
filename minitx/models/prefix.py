"""A language model that translates: it goes on with a source sentence as another would with a prompt.

    source <eos> <bos> target <eos>        <bos> separates; the loss is on what comes after it

One stack of layers reads both languages, where an encoder-decoder has one for each, and a word of the source sees only those before it. It has the
methods of `EncoderDecoder`, so that batches, training, greedy decoding and beam search are the same.
"""
import numpy as np

from ..autograd import fused
from ..data.batches import PAD
from ..errors import UserError
from ..kernels.runtime import devices
from .decoder_only import DecoderOnly


class PrefixLanguageModel(DecoderOnly):
    """A `DecoderOnly` trained on pairs, of one vocabulary for both languages.

    Args: those of `DecoderOnly`; `max_length` bounds each side, so there are twice as many positions.
    """

    def __init__(self, vocabulary, *, max_length=256, **options):
        super().__init__(vocabulary, max_length=2 * max_length, **options)
        self.max_length = max_length

    def hidden(self, batch):
        """The last hidden vectors (batch, target time, d_model) at the target's positions of a `Batch`, from which `target_out` is predicted."""
        ids, places = _joined(batch.source, batch.source_lengths, batch.target_in)
        hidden = self.decode(ids, real=ids != PAD).reshape(-1, self.d_model)  # (batch · time, d_model): looked up like an embedding, whose kernel is the fast one
        rows = (np.arange(len(ids))[:, None] * ids.shape[1] + places).astype(np.int32)
        return fused.embedding(hidden, devices.place(rows, hidden.data))

    def attention(self, cache):
        """A search for translations that cover their source would ask where the last step looked; only a model with an encoder keeps that."""
        raise UserError("beta is above 0, but coverage of the source needs a model with an encoder; take beta 0, or train with --model encoder-decoder")

    def attention_maps(self, source, source_lengths, target):
        """Where each target word looks in the source: (layers, batch, heads, target time, source time), as an array.

        Rows sum to less than 1: the rest of the attention is on the target so far.
        """
        ids, places = _joined(source, source_lengths, target)
        maps = super().attention_maps(ids)[..., :source.shape[1]]  # (layers, batch, heads, time, source time)
        maps = np.take_along_axis(maps, places[None, :, None, :, None], axis=3)
        real = np.arange(source.shape[1]) < np.asarray(source_lengths)[:, None]  # (batch, source time); behind it stands the target
        return np.where(real[:, None, None, :], maps, 0)


def _joined(source, lengths, target):
    """Each row's target directly behind its source: ids (batch, source time + target time), and where the target stands (batch, target time)."""
    places = np.asarray(lengths, np.int64)[:, None] + np.arange(target.shape[1])
    ids = np.concatenate([source, np.zeros_like(target)], axis=1)
    np.put_along_axis(ids, places, target, axis=1)
    return ids, places
