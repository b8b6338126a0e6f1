"""The translator in a run folder."""
import numpy as np

from ..data.batches import BOS, length_batches
from ..run_folder import RunFolder
from .greedy import greedy


class Translator:
    def __init__(self, model, tokenizers, settings):
        self.model, self.tokenizers, self.settings = model.eval(), tokenizers, settings

    def translate(self, texts, beam=1, n_best=1):
        ids = self.tokenizers.source.encode_batch(texts)
        results = [""] * len(texts)
        for batch in length_batches(ids, 4096):
            for row, found in zip(batch.rows, greedy(self.model, batch.source, batch.source_lengths)):
                results[row] = self.tokenizers.target.decode(found)
        return results

    def unknown(self, text):
        return self.tokenizers.source.unknown(text)

    def attention(self, text):
        batch = length_batches([self.tokenizers.source.encode(text)], 4096)[0]
        found = greedy(self.model, batch.source, batch.source_lengths)[0]
        maps = self.model.attention_maps(batch.source, batch.source_lengths, np.array([[BOS, *found]]))
        return self.tokenizers.source.tokens(batch.source[0]), [*self.tokenizers.target.tokens(found), "<eos>"], maps[-1, 0].mean(axis=0)


def load(path, device="cpu"):
    folder = RunFolder(path)
    return Translator(folder.load_model(), folder.tokenizers(), folder.settings())
