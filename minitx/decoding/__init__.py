"""Decoding: from a trained model to text. `translator` is what people use of a translator, `generator` of a language model.

A search, greedy or by beam, asks a model, in eval mode, for four things, and anything that has them can be searched:

    model.max_length                            the most positions it has
    model.start(source, lengths, capacity)      encode source ids (rows, time); returns a cache for `capacity` positions
    model.step(ids, cache)                      logits (rows, vocabulary) of the word after ids (rows,), an array for
                                                the search to use up
    cache.select(rows, hypotheses=1)            go on with these rows, in any order and number; from now on so many
                                                of them, one behind the other, are hypotheses about the same sentence

and for a coverage penalty:

    model.attention(cache)                      where the last step looked: (rows, source time), rows summing to 1
"""


def load(path, device="cpu", ensemble=()):
    """The `Translator` or `Generator` in the folder of a run, see the `load` of each; or the `Generator` of a pretrained model."""
    from ..models import is_pretrained
    from ..run_folder import RunFolder
    from . import generator, translator

    if is_pretrained(path):
        return generator.load_pretrained(path, device)
    if RunFolder(path).settings().text is None:
        return translator.load(path, device, ensemble)
    return generator.load(path, device, ensemble)
