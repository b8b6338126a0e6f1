"""What people use of a trained model: text in, text out.

    translator = minitx.load("runs/en-es")
    translator.translate(["the red cats do not see the dog"], beam=4)
"""
import warnings
from typing import NamedTuple

import numpy as np

from ..autograd import no_grad
from ..data.batches import BOS, EOS, UNK, length_batches
from ..errors import UserError
from . import ancestral
from .beam import Hypothesis, beam_search
from .ensemble import Ensemble
from .greedy import greedy
from .sampling import Sampling

BATCH_TOKENS = 16384  # of source times hypotheses that are decoded together: enough to keep the kernels busy
MOST_LOGITS = 1 << 24  # of a step: 64 MB


def load(path, device="cpu", ensemble=()):
    """The translator in the folder of a run; a UserError says what is missing or broken.

    `ensemble`: folders of more runs with the same vocabularies, whose models translate together with it.
    """
    from ..run_folder import RunFolder

    folder, others = RunFolder(path), [RunFolder(other) for other in ensemble]
    tokenizers = folder.tokenizers()
    for other in others:
        if other.tokenizers() != tokenizers:
            raise UserError(f"ensemble: {other.path} has other vocabularies than {path}; runs that translate together are trained on the same pairs, "
                            f"with the same settings of the text")
    models = [one.load_model(device) for one in (folder, *others)]
    return Translator(models[0], tokenizers, folder.settings(), ensemble=models[1:])


class Translation(NamedTuple):
    """One of the n best."""

    text: str
    score: float  # see `beam_search`; better is nearer 0


class Neighbour(NamedTuple):
    """A sentence that means much the same."""

    text: str
    similarity: float  # from -1 to 1


class Translator:
    """A model with its tokenizers (a `TokenizerPair`) and, for those who ask, the settings it was trained with.

    `ensemble`: more models with the same vocabularies. They translate together; pictures and embeddings are those of `model` alone.
    """

    def __init__(self, model, tokenizers, settings=None, ensemble=()):
        self.model, self.tokenizers, self.settings = model.eval(), tokenizers, settings
        self._speaker = Ensemble([self.model, *(other.eval() for other in ensemble)]) if ensemble else self.model

    def translate(self, texts, beam=1, n_best=1, max_length=None, *, alpha=1.0, beta=0.0, prefix="", copy_unknown=False, tokenised=False):
        """Translate texts, of any number and length, in batches; a single string gives a single result.

        Args:
            beam: hypotheses kept by the search; 1 is greedy decoding.
            n_best: more than 1 gives a list of so many `Translation`s for each text, the best first; at most `beam`.
            max_length: the most tokens of a translation; by default it follows from the length of the text.
            alpha, beta: of the scores by which a beam ranks translations, see `beam_search`.
            prefix: text that every translation begins with, or a list with that of each text; subwords may go on with its last word.
            copy_unknown: put in the place of each <unk> the word of the text that the decoder looked at most.
            tokenised: texts and translations have the form of the text that the model was trained on. Otherwise they are
                as people write, which is another form where that text has its punctuation apart from words.

        Returns a list with a string for each text, in their order. An empty text gives an empty string. A text longer
        than the model takes is cut, with a warning.
        """
        def search(batch, prefixes):
            return self._search(batch, beam, n_best, max_length=max_length, alpha=alpha, beta=beta, prefixes=prefixes)

        single = isinstance(texts, str)
        found = self._each([texts] if single else list(texts), search, beam, prefix, copy_unknown, tokenised)
        found = found if n_best > 1 else [best[0].text if best else "" for best in found]
        return found[0] if single else found

    def sample(self, texts, n=1, seed=0, max_length=None, *, prefix="", copy_unknown=False, tokenised=False, **sampling):
        """Draw `n` translations of each text from the model's probabilities; a single string gives a single list.

        Args:
            seed: the same one gives the same translations, whatever else is translated beside them.
            sampling: temperature, top_k, top_p, min_p, repetition_penalty, see `minitx.decoding.sampling.Sampling`.
            the others: as of `translate`.

        Returns a list of n `Translation`s for each text, in the order in which they were drawn.
        """
        if n < 1:
            raise UserError(f"n is {n} but must be a whole number from 1")
        options = {"sampling": Sampling(**sampling), "n": n, "seed": seed, "max_length": max_length}

        def search(batch, prefixes):
            return ancestral.sample(self._speaker, batch.source, batch.source_lengths, prefixes=prefixes, **options)

        single = isinstance(texts, str)
        found = self._each([texts] if single else list(texts), search, n, prefix, copy_unknown, tokenised)
        found = [drawn if len(drawn) == n else drawn * n for drawn in found]  # one of an empty text
        return found[0] if single else found

    def _each(self, texts, search, width, prefix, copy_unknown, tokenised):
        """Lists of `Translation`s for each of the texts, which `search` finds for batches of them, `width` hypotheses at a time."""
        texts = texts if tokenised else [self._as_trained(text) for text in texts]
        found = [[Translation("", 0.0)] for _ in texts]
        real = [row for row, text in enumerate(texts) if text.strip()]
        sentences = self._source_ids([texts[row] for row in real])
        begun = self._beginnings(prefix, texts, tokenised)
        prefixes = self.tokenizers.target.encode_batch(begun) if any(begun) else None
        width = max(1, width)
        most_rows = max(1, MOST_LOGITS // (width * len(self.tokenizers.target)))
        for batch in length_batches(sentences, max(1, BATCH_TOKENS // width), most_rows):
            rows = [real[row] for row in batch.rows]
            for i, best in enumerate(search(batch, prefixes and [prefixes[row] for row in rows])):
                own = self._unknown_of(begun[rows[i]])
                copies = [self._copies(texts[rows[i]], batch, i, one.ids)[len(own):] if copy_unknown else [] for one in best]
                written = [self.tokenizers.target.decode(one.ids, own + copied) for one, copied in zip(best, copies)]
                found[rows[i]] = [Translation(text if tokenised else self._as_people_write(text), one.score) for text, one in zip(written, best)]
        return found

    def unknown(self, text):
        """The words (or characters) of the text that the model has never seen, each once; it reads them as <unk>."""
        return self.tokenizers.source.unknown(self._as_trained(text))

    def attention(self, text, layer=-1, head=None, beam=1):
        """Where the decoder looks in the source when it writes each word of the translation.

        Args:
            layer: of the decoder, from 0; -1 is the last. head: one of them, or None for the mean of all.
            beam: of the search whose best translation is shown.

        Returns the source tokens, the target tokens, both with <eos>, and a matrix (target time, source time) whose
        rows sum to 1: row i is for target token i, at the position that predicts it.
        """
        source, target, maps = self.attention_maps(text, beam)
        _check_index("layer", layer, maps.shape[0])
        if head is not None:
            _check_index("head", head, maps.shape[1])
        return source, target, maps[layer].mean(axis=0) if head is None else maps[layer, head]

    def attention_maps(self, text, beam=1):
        """The source tokens, the target tokens and the maps (layers, heads, target time, source time) of which `attention` shows one."""
        [batch] = length_batches(self._source_ids([self._as_trained(text)]), BATCH_TOKENS)
        best = self._search(batch, beam)[0] if text.strip() else []
        ids = best[0].ids if best else []
        maps = self.model.attention_maps(batch.source, batch.source_lengths, np.array([[BOS, *ids]], np.int32))[:, 0]
        return self.tokenizers.source.tokens(batch.source[0]), self.tokenizers.target.tokens([*ids, EOS]), maps

    def encode(self, texts):
        """Sentence embeddings: the mean of the encoder's vectors over the tokens of each text, <eos> included.

        Returns an array (texts, d_model), or (d_model,) for a single string. Texts that mean alike are near each other.
        """
        if not hasattr(self.model, "encode"):
            raise UserError("a decoder-only model has no encoder whose vectors could stand for a sentence; train with --model encoder-decoder")
        if isinstance(texts, str):
            return self.encode([texts])[0]
        sentences = self._source_ids([self._as_trained(text) for text in texts])
        means = np.zeros((len(sentences), self.model.d_model), self.model.output_weight.dtype)
        for rows, source, lengths in length_batches(sentences, BATCH_TOKENS):
            with no_grad():
                memory = self.model.encode(source, lengths).numpy()  # (batch, source time, d_model)
            real = np.arange(source.shape[1]) < lengths[:, None]  # (batch, source time)
            means[rows] = np.where(real[:, :, None], memory, 0).sum(axis=1) / lengths[:, None]
        return means

    def neighbours(self, texts, among, n=5):
        """For each of the texts the `n` `Neighbour`s among other texts, the most alike first; equal texts count once. A single string gives one list.

        Two texts are as alike as the cosine of their embeddings, from which the mean of all those among which is looked is taken off: what all
        sentences have in common says nothing.
        """
        if isinstance(texts, str):
            return self.neighbours([texts], among, n)[0]
        among = list(dict.fromkeys(text for text in among if text.strip()))
        if not among:
            raise UserError("there is no text to look for neighbours among")
        vectors, others = self.encode(texts), self.encode(among)  # (texts, d_model), (others, d_model)
        mean = others.mean(axis=0)
        cosines = _unit(vectors - mean) @ _unit(others - mean).T
        return [[Neighbour(among[place], float(row[place])) for place in np.argsort(-row, kind="stable")[:n]] for row in cosines]

    def _source_ids(self, texts):
        """Ids of each text, as many as the model takes beside <eos>."""
        room = self._speaker.max_length - 1
        sentences = self.tokenizers.source.encode_batch(texts)
        for text, ids in zip(texts, sentences):
            if len(ids) > room:
                warnings.warn(f"a sentence of {len(ids)} tokens is cut to the {room} that the model takes:"
                              f" {text.strip()[:30]}…", stacklevel=3)
        return [ids[:room] for ids in sentences]

    def _as_trained(self, text):
        form = self.tokenizers.punctuation[0]
        return form.split(text) if form else text

    def _as_people_write(self, text):
        form = self.tokenizers.punctuation[1]
        return form.join(text) if form else text

    def _beginnings(self, prefix, texts, tokenised):
        """What the translation of each text begins with, as the model was trained on it."""
        wanted = [prefix] * len(texts) if isinstance(prefix, str) else list(prefix)
        if len(wanted) != len(texts):
            raise UserError(f"prefix: there are {len(wanted)} for {len(texts)} texts; give one for each, or one string for all")
        form = None if tokenised else self.tokenizers.punctuation[1]
        return [form.split(one) for one in wanted] if form else wanted

    def _unknown_of(self, beginning):
        """For each <unk> that the model reads in it, the word that stands there."""
        target = self.tokenizers.target
        return [word for word, i in zip(target.words(beginning), target.encode(beginning)) if i == UNK] if beginning else []

    def _search(self, batch, beam, n_best=1, **options):
        """Lists of hypotheses, the best first, for each row of a `SourceBatch`."""
        if beam == n_best == 1:
            found = greedy(self._speaker, batch.source, batch.source_lengths, options.get("max_length"), options.get("prefixes"))
            return [[Hypothesis(ids, np.nan)] for ids in found]  # with n_best = 1 nobody sees the score
        return beam_search(self._speaker, batch.source, batch.source_lengths, beam, n_best, **options)

    def _copies(self, text, batch, row, ids):
        """For each <unk> among the ids, the word of the text that was looked at most when it was said (the mean over all layers and heads), if it has any."""
        places = [place for place, word in enumerate(ids) if word == UNK]
        words = self.tokenizers.source.words(text)[:batch.source_lengths[row] - 1]
        if not places or not words:
            return []
        one = slice(row, row + 1)
        maps = self.model.attention_maps(batch.source[one], batch.source_lengths[one], np.array([[BOS, *ids]], np.int32))
        looked = maps.mean(axis=(0, 1, 2))[places, :len(words)]  # (unknown words, source words)
        return [words[source] for source in looked.argmax(axis=1)]


def _unit(vectors):
    """Each row at length 1, or 0 where it has none."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)


def _check_index(name, index, count):
    if not -count <= index < count:
        raise UserError(f"{name} is {index}, but the model has {count}: 0 to {count - 1}, or -1 for the last")
