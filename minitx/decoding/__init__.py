"""Decoding: from a trained model to sentences, by greedy choice or beam search; `translator` is what people use.

A search asks a model, in eval mode, for four things, and anything that has them can be searched:

    model.max_length                            the most positions it has
    model.start(source, lengths, capacity)      encode source ids (rows, time); returns a cache for `capacity` positions
    model.step(ids, cache)                      logits (rows, vocabulary) of the word after ids (rows,)
    cache.select(rows)                          go on with these rows, in any order and number
"""
