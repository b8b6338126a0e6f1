"""Text from a language model: what comes after a prompt, drawn token by token.

    generator = minitx.load("runs/shakespeare")
    generator.generate("ROMEO:", temperature=0.8, n=3)
"""
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..data.batches import BOS, EOS, PAD, UNK
from ..errors import UserError
from .sampling import Dice, Sampling, probabilities

_LEAVE = 0.25  # finished samples leave when they are this share of the batch: it costs a copy of the others' cache
_KEPT = 0.75  # of a full context that the model goes on with; the rest is forgotten


def load(path, device="cpu", ensemble=()):
    """The generator in the folder of a run; a UserError says what is missing or broken."""
    from ..run_folder import RunFolder

    if ensemble:
        raise UserError(f"ensemble: {path} is a language model, and only translators work together; drop the others")
    folder = RunFolder(path)
    return Generator(folder.load_model(device), folder.tokenizers().target, folder.settings())


def load_pretrained(path, device="cpu"):
    """The generator in a folder of transformers' format; see `minitx.models.from_pretrained`."""
    from ..data.pretrained import PretrainedTokenizer
    from ..models.pretrained import ends_of, from_pretrained

    model, tokenizer = from_pretrained(path), PretrainedTokenizer.load(Path(path) / "tokenizer.json")
    rounded = range(len(tokenizer), len(model.embedding.weight))  # rows that only round up the size of the table
    return Generator(model if device == "cpu" else model.to(device), tokenizer, end=ends_of(path), never=[*tokenizer.never(), *rounded])


class NextToken(NamedTuple):
    """One of the tokens that may come next."""

    token: str
    probability: float  # by the model
    chance: float  # after the filters of the sampling: what it is drawn with


class Generator:
    """A language model with its tokenizer and, for those who ask, the settings it was trained with.

    Args:
        model: a `DecoderOnly`.
        tokenizer: has `encode`, `decode`, `tokens` and `unknown`, as `minitx.data.tokenizers.Tokenizer`.
        end: ids that end a text: none where it was cut into blocks, for these have no end to learn from. never: ids that are not said.
    """

    def __init__(self, model, tokenizer, settings=None, end=(), never=(PAD, BOS, EOS, UNK)):
        self.model, self.tokenizer, self.settings = model.eval(), tokenizer, settings
        self.end, self.never = end, list(never)
        self._barred = None  # (vocabulary,): what is added to logits

    def generate(self, prompts="", n=1, max_tokens=200, stop=(), seed=0, **sampling):
        """What comes after each prompt, without the prompt.

        Args:
            prompts: a string, or a list of strings of any lengths, which are continued in one batch.
            n: how many samples of each.
            max_tokens: the most tokens of each.
            stop: strings at which a sample ends; they are not part of it.
            seed: the same one gives the same text, whatever else is drawn beside it.
            sampling: temperature, top_k, top_p, min_p, repetition_penalty: see `Sampling`.

        Returns a string for a single prompt, a list for a list; with n > 1, lists of n strings in their place.
        """
        if isinstance(prompts, str):
            return self.generate([prompts], n, max_tokens, stop, seed, **sampling)[0]
        if n < 1:
            raise UserError(f"n is {n} but must be a whole number from 1")
        samples = [_Sample(self.tokenizer, ids, self._stops(stop)) for ids in map(self._prompt_ids, prompts) for _ in range(n)]
        texts = [[] for _ in samples]
        for number, text in self._run(samples, n, max_tokens, seed, Sampling(**sampling)):
            texts[number].append(text)
        texts = ["".join(parts) for parts in texts]
        return texts if n == 1 else [texts[first:first + n] for first in range(0, len(texts), n)]

    def stream(self, prompt="", max_tokens=200, stop=(), seed=0, **sampling):
        """The text of `generate` in pieces, each as soon as it is certain."""
        sample = _Sample(self.tokenizer, self._prompt_ids(prompt), self._stops(stop))
        drawn = self._run([sample], 1, max_tokens, seed, Sampling(**sampling))  # what is wrong is told now, not with the first piece
        return (text for _, text in drawn if text)

    def next_tokens(self, prompt="", k=10, **sampling):
        """The k most probable `NextToken`s after a prompt, the most probable first."""
        ids = self._prompt_ids(prompt)
        [logits] = self._start([ids[-self.model.max_length:]], 0)[0]
        filtered = Sampling(**sampling).filtered(self._allowed(logits[None]), [ids])
        chosen = np.argsort(-logits, kind="stable")[:k]
        return [NextToken(*found) for found in zip(self.tokenizer.tokens(chosen.tolist()), probabilities(logits[None])[0, chosen].tolist(),
                                                   probabilities(filtered)[0, chosen].tolist())]

    def unknown(self, text):
        """The characters of the text that the model has never seen, each once; it reads them as <unk>."""
        return self.tokenizer.unknown(text)

    def ids_of(self, text):
        """Ids (tokens,) int32 of a text of any length; a UserError for a token for which the model has no vector."""
        return self._with_vectors(self.tokenizer.encode_text(text))

    def _with_vectors(self, ids):
        size, largest = len(self.model.embedding.weight), int(np.max(ids, initial=0))
        if largest >= size:
            raise UserError(f"the tokenizer reads {self.tokenizer.tokens([largest])[0]!r} as token {largest}, but the model has vectors of {size} only")
        return ids

    def _stops(self, stop):
        """Stop strings in the form that texts have here, where that keeps them whole."""
        stops = [stop] if isinstance(stop, str) else list(stop)
        return [self.tokenizer.normalize(one) for one in stops] if getattr(self.tokenizer, "kind", None) in ("characters", "byte-bpe") else stops

    def _prompt_ids(self, prompt):
        """Ids of a prompt. One without any begins a line, or else a text."""
        ids = self._with_vectors(list(self.tokenizer.encode(prompt))) or [i for i in self.tokenizer.encode("\n") if i != UNK] or [BOS]
        if len(ids) > self.model.max_length:
            warnings.warn(f"a prompt of {len(ids)} tokens: the model sees the last {self.model.max_length}", stacklevel=4)
        return ids

    def _run(self, samples, n, max_tokens, seed, sampling):
        """Draw token after token for all samples; an iterator of (number of a sample, the text that has become certain)."""
        if max_tokens < 1:
            raise UserError(f"max_tokens is {max_tokens} but must be a whole number from 1")
        return self._drawn(samples, Dice(seed, np.arange(len(samples)) % n), max_tokens, sampling)  # a die by its number among those of its prompt

    def _drawn(self, samples, dice, max_tokens, sampling):
        rows = np.arange(len(samples))  # the samples that are still in the batch
        logits = cache = None
        for left in range(max_tokens if samples else 0, 0, -1):
            if cache is None or int(cache.lengths.max()) == self.model.max_length:
                rows = rows[[not samples[row].done for row in rows]]
                logits, cache = self._start([samples[row].context(self.model.max_length) for row in rows], left - 1)
            elif logits is None:
                logits = self.model.step(np.array([samples[row].ids[-1] for row in rows], np.int32), cache)
            said = [samples[row].ids for row in rows]
            for row, token in zip(rows, sampling.choose(self._allowed(logits), said, dice, rows).tolist()):
                if not samples[row].done:
                    yield row, samples[row].end() if token in self.end else samples[row].push(token)
            logits, going = None, np.flatnonzero([not samples[row].done for row in rows])
            if not len(going):
                return
            if len(going) <= (1 - _LEAVE) * len(rows):
                cache.select(going)
                rows = rows[going]
        yield from ((row, samples[row].end()) for row in rows if not samples[row].done)

    def _start(self, contexts, more):
        """Read contexts (lists of ids) of different lengths, each once; returns the logits (rows, vocabulary) of what comes next, and the cache for `more` ids."""
        places = {}
        rows = [places.setdefault(tuple(ids), len(places)) for ids in contexts]
        lengths = np.array([len(ids) for ids in places])
        before = np.full((len(places), int(lengths.max())), PAD, np.int32)
        for row, ids in zip(before, places):
            row[:len(ids)] = ids
        logits, cache = self.model.read(before, lengths, min(more, self.model.max_length - before.shape[1]))
        if len(places) < len(contexts):
            cache.select(np.array(rows))
        return logits[rows], cache

    def _allowed(self, logits):
        """A copy of the logits, without the ids that are never said."""
        if self._barred is None:
            self._barred = np.zeros(logits.shape[1], logits.dtype)
            self._barred[self.never] = -np.inf
        return logits + self._barred


class _Sample:
    """A text in the making: its ids, and how much of its text is certain.

    A piece of text is held back while its last character is incomplete (a token may end within one), or while it may
    be the beginning of a stop string.
    """

    def __init__(self, tokenizer, prompt, stop):
        self.ids, self.done, self._begin = list(prompt), False, None
        self._tokenizer, self._stop, self._held = tokenizer, [one for one in stop if one], ""
        self._from, self._read = max(0, len(prompt) - 5), len(prompt)  # a token's text may depend on the few before it

    def context(self, room):
        """The ids that a model of so many positions goes on with. When they are full, the first ones are forgotten."""
        if self._begin is None:
            self._begin = max(0, len(self.ids) - room)
        elif len(self.ids) - self._begin > room:
            self._begin = len(self.ids) - max(1, int(_KEPT * room))
        return self.ids[self._begin:]

    def push(self, token):
        """Append an id; returns the text that has become certain."""
        self.ids.append(token)
        known = self._tokenizer.decode(self.ids[self._from:self._read])
        text = self._tokenizer.decode(self.ids[self._from:])
        if text.endswith("\ufffd") or len(text) == len(known):  # behind a special token, the next one's space would be stripped
            return ""
        self._from, self._read = self._read, len(self.ids)
        self._held += text[len(known):]
        ends = [place for one in self._stop if (place := self._held.find(one)) >= 0]
        if ends:
            self.done, text = True, self._held[:min(ends)]
            return text
        return self._release(max((_overlap(self._held, one) for one in self._stop), default=0))

    def end(self):
        """The text is finished; returns what was held back."""
        self.done = True
        rest = self._tokenizer.decode(self.ids[self._from:])[len(self._tokenizer.decode(self.ids[self._from:self._read])):]
        return self._release(0) + rest

    def _release(self, held):
        """All text that was held back but its last `held` characters."""
        cut = len(self._held) - held
        text, self._held = self._held[:cut], self._held[cut:]
        return text


def _overlap(text, stop):
    """How many characters at the end of `text` could be the beginning of `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
