"""Text to token ids and back: whole words, characters, or subwords learnt by byte-pair encoding (BPE).

The `tokenizers` library does the work; this file makes its kinds alike, exact on the way back, and safe to save.
"""

import json
import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from ..errors import UserError
from .batches import BOS, EOS, PAD, SPECIAL_TOKENS, UNK
from .files import read_bytes, write_atomically
from .punctuation import Punctuation
from .text import pieces

# The library's own pool of threads would take cores from the kernels, and it complains when a process forks. The ids
# are the same either way; who has a large corpus may set the variable to "true".
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

Kind = Literal["words", "characters", "bpe", "byte-bpe"]
KINDS = ("words", "characters", "bpe", "byte-bpe")
BPE_SIZE = 10_000  # vocabulary of a BPE tokenizer when none is asked for
VISIBLE = str.maketrans(" \n\t", "▁↵⇥")
_PARTS = 10_000  # lines of a long text encoded at a time

# What the library calls the special tokens. No piece of text ends in a space after something else, so the sentence
# "what does <eos> mean" cannot be taken for an end, whichever pieces it is cut into.
RESERVED = [name + " " for name in SPECIAL_TOKENS]


class Tokenizer:
    """A vocabulary and the way text is cut into it; made by `train` or `from_json`.

    kind "words": what stands between white space. "characters": every Unicode character, spaces too. "bpe": pieces of
    words (Sennrich et al. 2016); the first piece of each word begins with a space, which `tokens` shows as "▁".
    "byte-bpe": pieces of UTF-8 bytes (Radford et al. 2019), so that white space is kept and nothing is unknown.
    Ids 0 to 3 are <pad>, <bos>, <eos>, <unk>. Text is brought to a Unicode form first, NFC by default.
    """

    def __init__(self, library: tokenizers.Tokenizer, kind: Kind):
        self.kind = kind
        self._library = library
        self._pieces = [library.id_to_token(i) for i in range(library.get_vocab_size())]
        self._pieces[: len(SPECIAL_TOKENS)] = SPECIAL_TOKENS

    @classmethod
    def train(
        cls, kind: Kind, lines: Iterable[str], vocab_size: int | None = None, lowercase: bool = False,
        min_frequency: int = 1, unicode: Literal["nfc", "nfkc"] = "nfc", apart: bool = False,
    ) -> "Tokenizer":
        """Learns a vocabulary; the same lines give the same one on any number of threads.

        Args:
            lines: the training side only, or the model's words will have been chosen on the test.
            vocab_size: at most so many tokens, the special ones counted; None is all there are (bpe: 10,000).
            min_frequency: a word or character must occur so often (bpe: a pair of pieces, to be merged).
            unicode: the form that text is brought to; nfkc also makes ﬁ, Ｆ, ² and … plain letters, digits and dots.
            apart: no piece joins punctuation with letters (bpe).

        Raises:
            UserError: an unknown kind, no text, or a vocabulary too small for the characters of the text (bpe).
        """
        if kind not in KINDS:
            raise UserError(f"tokenizer is {kind!r}; it must be one of {', '.join(KINDS)}")
        if vocab_size is not None and vocab_size <= len(SPECIAL_TOKENS):
            raise UserError(
                f"vocab_size is {vocab_size}; it must be at least {len(SPECIAL_TOKENS) + 1}, because every vocabulary"
                f" begins with {' '.join(SPECIAL_TOKENS)}"
            )
        library, trainer = _blank(kind, vocab_size, lowercase, min_frequency, unicode, apart)
        library.train_from_iterator(lines, trainer)
        size = library.get_vocab_size()
        if size == len(SPECIAL_TOKENS):
            raise UserError(
                f"the {kind} tokenizer found nothing to learn: there is no text, or min_frequency"
                f" ({min_frequency}) is too high"
            )
        if vocab_size is not None and size > vocab_size:
            letters = f"{'there are' if kind == 'byte-bpe' else 'the text has'} {size - len(SPECIAL_TOKENS)} different"
            raise UserError(
                f"vocab_size is {vocab_size}, but {letters} {'bytes' if kind == 'byte-bpe' else 'characters'} and"
                f" {len(SPECIAL_TOKENS)} special tokens come on top; take at least {size}, and more to learn subwords"
            )
        description = json.loads(library.to_str())
        description["added_tokens"] = []  # the library would look for these in the text; the vocabulary has them too
        return cls(tokenizers.Tokenizer.from_str(json.dumps(description)), kind)

    def __len__(self) -> int:
        return len(self._pieces)

    def encode(self, text: str) -> list[int]:
        """Ids of the text, without <bos> and <eos>; what the vocabulary does not know is <unk>."""
        return self._library.encode(encodable(text), add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of each text, several times as fast for many."""
        encodings = self._library.encode_batch_fast([encodable(text) for text in texts], add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def encode_text(self, text: str) -> np.ndarray:
        """`encode` of a long text, (tokens,) int32, in a fraction of the memory."""
        parts, ids = pieces(text), [np.zeros(0, np.int32)]
        for first in range(0, len(parts), _PARTS):
            encoded = self.encode_batch(parts[first : first + _PARTS])
            ids.append(np.fromiter(chain.from_iterable(encoded), np.int32))
        return np.concatenate(ids)

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """The tokens as people read them, special ones included; white space is shown as "▁", "↵" (line end) and "⇥" (tab)."""
        shown = [self.decode([i]) if self.kind == "byte-bpe" and i > UNK else self._pieces[i] for i in ids]
        return [token.translate(VISIBLE) for token in shown]

    def words(self, text: str) -> list[str]:
        """For each token that `encode` gives, the word of the text (in its Unicode form) that it is, or is a piece of."""
        form = "NFKC" if "NFKC" in str(self._library.normalizer) else "NFC"
        text = unicodedata.normalize(form, encodable(text))  # the library's offsets lose what a form joins
        encoding = self._library.encode(text, add_special_tokens=False)
        starts, ends = {}, {}
        for word, (start, end) in zip(encoding.word_ids, encoding.offsets):
            starts[word], ends[word] = min(start, starts.get(word, start)), max(end, ends.get(word, end))
        return [text[starts[word] : ends[word]] for word in encoding.word_ids]

    def normalize(self, text: str) -> str:
        """The text as `decode(encode(text))` gives it back, were no token unknown: in its Unicode form, and in small letters if
        the tokenizer has no others; words and bpe leave one space where there was any white space, and none at the ends."""
        text = self._library.normalizer.normalize_str(encodable(text))
        return " ".join(text.split()) if self.kind in ("words", "bpe") else text

    def decode(self, ids: Iterable[int], unknown: Iterable[str | None] = ()) -> str:
        """The text of the ids; <pad>, <bos> and <eos> are dropped wherever they stand. `unknown` holds for each <unk>, one after the
        other, the word to show in its place, or None, which leaves it visible, as do <unk>s behind its end.

        An <unk> of bpe is one character, and the word replaces all of that of which it is a part, punctuation apart. Bytes that
        end within a character become "\ufffd".
        """
        unknown, ids = iter(unknown), [i for i in ids if i not in (PAD, BOS, EOS)]
        if self.kind == "byte-bpe":
            return self._library.decode(ids, skip_special_tokens=False)
        words = []  # [its pieces as they are, the word to show instead or None]
        for i in ids:
            piece, other = self._pieces[i], next(unknown, None) if i == UNK else None
            if self.kind != "bpe" or not words or (i != UNK and (piece[0] == " " or _is_mark(piece[0]))):
                words.append(["", None])
            words[-1][0] += piece
            words[-1][1] = words[-1][1] or other
        shown = (pieces if other is None else " " * pieces.startswith(" ") + other for pieces, other in words)
        text = (" " if self.kind == "words" else "").join(shown)
        return text.removeprefix(" ") if self.kind == "bpe" else text

    def unknown(self, text: str) -> list[str]:
        """What of the text becomes <unk>, each once, in order: words, or characters (characters and bpe)."""
        text = self._library.normalizer.normalize_str(encodable(text))
        parts = [part for part, _ in self._library.pre_tokenizer.pre_tokenize_str(text)]
        if self.kind in ("bpe", "byte-bpe"):  # a word is built up from its characters, so only these can be unknown
            parts = "".join(parts)
        return [part for part in dict.fromkeys(parts) if self._library.token_to_id(part) is None]

    def split(self, text: str) -> list[str]:
        """The words of the text, as far as no token can span two of them; what a word is depends on the kind."""
        text = self._library.normalizer.normalize_str(encodable(text))
        return [word for word, _ in self._library.pre_tokenizer.pre_tokenize_str(text)]

    def merges(self) -> tuple[dict[str, int], list[tuple[str, str]]]:
        """The vocabulary of a BPE tokenizer, and the pairs of pieces that are joined, the first ones first."""
        model = json.loads(self._library.to_str())["model"]
        return model["vocab"], [tuple(pair) for pair in model["merges"]]

    def __eq__(self, other: object) -> bool:
        """Whether the other has the same vocabulary, and cuts text in the same way."""
        return isinstance(other, Tokenizer) and self._description() == other._description()

    def to_json(self) -> str:
        """All there is to the tokenizer: its kind, and the description that the library writes."""
        return json.dumps(self._description(), ensure_ascii=False)

    def to_library_json(self) -> str:
        """The description that the `tokenizers` library reads, and so does transformers; special tokens are called "<pad> " and so on there."""
        return self._library.to_str()

    @classmethod
    def from_json(cls, text: str) -> "Tokenizer":
        """The tokenizer that `to_json` wrote; a UserError when the text is not one of ours."""
        try:
            return cls._from_description(json.loads(text))
        except json.JSONDecodeError as error:
            raise UserError(f"this is not a tokenizer: not JSON ({error})") from None

    def _description(self) -> dict:
        return {"kind": self.kind, "library": json.loads(self._library.to_str())}

    @classmethod
    def _from_description(cls, description: object) -> "Tokenizer":
        if not isinstance(description, dict) or description.get("kind") not in KINDS:
            raise UserError(f"this is not a tokenizer of minitx: its kind must be one of {', '.join(KINDS)}")
        try:
            library = tokenizers.Tokenizer.from_str(json.dumps(description.get("library")))
        except Exception as error:  # the library raises no narrower one
            raise UserError(f"this is not a tokenizer of minitx: the library cannot read it ({error})") from None
        if [library.id_to_token(i) for i in (PAD, BOS, EOS, UNK)] != RESERVED:
            raise UserError(f"this is not a tokenizer of minitx: ids 0 to 3 must be {' '.join(SPECIAL_TOKENS)}")
        return cls(library, description["kind"])


@dataclass(frozen=True)
class TokenizerPair:
    """The tokenizers of a translator; with a joint vocabulary both are the same object.

    `punctuation`: how source and target have their punctuation apart from words already, or None for a side where it is
    as people write it.
    """

    source: Tokenizer
    target: Tokenizer
    joint: bool
    punctuation: tuple[Punctuation | None, Punctuation | None] = (None, None)

    @classmethod
    def train(
        cls, kind: Kind, pairs: Sequence[tuple[str, str]], vocab_size: int | None = None, joint: bool = False,
        lowercase: bool = False, min_frequency: int = 1, unicode: Literal["nfc", "nfkc"] = "nfc",
    ) -> "TokenizerPair":
        """Learns one tokenizer per side, each of `vocab_size`, or one on both sides; see `Tokenizer.train`.

        A side without any capital reads capitals as small letters. BPE keeps punctuation apart, unless the text does.
        """
        sides = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        punctuation = tuple(Punctuation.of(side) for side in sides)
        learnt = []
        for lines in [[*sides[0], *sides[1]]] if joint else sides:
            small = lowercase or all(line == line.lower() for line in lines)
            learnt.append(Tokenizer.train(kind, lines, vocab_size, small, min_frequency, unicode, apart=not any(punctuation)))
        return cls(learnt[0], learnt[-1], joint, punctuation)

    def save(self, path: str | Path) -> None:
        """Writes one JSON file, atomically."""
        description = {"minitx_tokenizers": _VERSION, "joint": self.joint, "source": self.source._description()}
        if not self.joint:
            description["target"] = self.target._description()
        description["punctuation"] = [form and asdict(form) for form in self.punctuation]
        write_atomically(path, json.dumps(description, ensure_ascii=False))

    @classmethod
    def load(cls, path: str | Path) -> "TokenizerPair":
        """Reads what `save` wrote; a UserError that names the file when it is missing, broken or something else."""
        try:
            description = json.loads(read_bytes(path).decode("utf-8"))
        except ValueError as error:  # neither UTF-8 nor JSON
            raise UserError(f"{path} is broken: {error}") from None
        if not isinstance(description, dict) or "minitx_tokenizers" not in description:
            raise UserError(f"{path} holds no tokenizers of minitx")
        if description["minitx_tokenizers"] != _VERSION:
            raise UserError(
                f"{path} has format {description['minitx_tokenizers']!r}; this minitx reads format {_VERSION}"
            )
        joint = bool(description.get("joint"))
        try:
            source = Tokenizer._from_description(description.get("source"))
            target = source if joint else Tokenizer._from_description(description.get("target"))
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        try:
            punctuation = tuple(form and Punctuation(**form) for form in description.get("punctuation", (None, None)))
        except TypeError:
            raise UserError(f"{path}: punctuation is {description['punctuation']!r}, which this minitx does not know") from None
        return cls(source, target, joint, punctuation)


_VERSION = 1  # of the file that `TokenizerPair.save` writes


def _blank(
    kind: Kind, vocab_size: int | None, lowercase: bool, min_frequency: int, unicode: str, apart: bool
) -> tuple[tokenizers.Tokenizer, trainers.Trainer]:
    """A tokenizer of the library that has learnt nothing, and what teaches it."""
    unknown = RESERVED[UNK]
    learn = {"special_tokens": RESERVED, "min_frequency": min_frequency, "show_progress": False}
    if kind == "bpe":
        model = models.BPE(unk_token=unknown)
        trainer = trainers.BpeTrainer(vocab_size=vocab_size or BPE_SIZE, **learn)
    elif kind == "byte-bpe":
        model, every_byte = models.BPE(), pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=vocab_size or BPE_SIZE, initial_alphabet=every_byte, **learn)
    else:
        model = models.WordLevel(unk_token=unknown)
        trainer = trainers.WordLevelTrainer(vocab_size=vocab_size or 2**31, **learn)
    library = tokenizers.Tokenizer(model)
    form = normalizers.NFC() if unicode == "nfc" else normalizers.NFKC()
    library.normalizer = normalizers.Sequence([form, normalizers.Lowercase(), form] if lowercase else [form])  # either may undo the other: ™ is TM
    words = pre_tokenizers.WhitespaceSplit()
    marks = [pre_tokenizers.Split(tokenizers.Regex(r" ?[\p{P}\p{S}]+"), "isolated")] if apart else []
    library.pre_tokenizer = {
        "words": words,
        "characters": pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), "isolated"),
        # a space goes in front of each word: a mark that cannot occur inside one
        "bpe": pre_tokenizers.Sequence([words, pre_tokenizers.Metaspace(" ", prepend_scheme="always", split=False), *marks]),
        "byte-bpe": pre_tokenizers.ByteLevel(add_prefix_space=False),
    }[kind]
    if kind != "words":  # whose tokens the library joins by spaces; here `decode` does without it, but others read tokenizer.json
        library.decoder = {"characters": decoders.Fuse(), "bpe": decoders.Sequence([decoders.Fuse(), decoders.Strip(" ", 1, 0)]),
                           "byte-bpe": decoders.ByteLevel()}[kind]
    return library, trainer


def _is_mark(character: str) -> bool:
    """Whether it is punctuation or a symbol."""
    return unicodedata.category(character)[0] in "PS"


def encodable(text: str) -> str:
    """The text with "?" for halves of surrogate pairs: they stand for undecodable input, and the library refuses them."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
