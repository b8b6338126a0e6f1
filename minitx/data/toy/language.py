"""What the four grammars share: a word that knows its rules, a sentence, a language, and the register of languages."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ...errors import UserError


class Word(NamedTuple):
    """One written word and the names of the grammatical rules that gave it its form or its place."""

    text: str
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sentence:
    """A realised meaning; `str(sentence)` has one space between the words."""

    words: tuple[Word, ...]

    def __str__(self) -> str:
        return " ".join(word.text for word in self.words)


@dataclass(frozen=True, slots=True)
class Language:
    """A language is a code, a name, and a function from a meaning to the one sentence that says it."""

    code: str
    name: str
    realise: Callable[..., Sentence]


LANGUAGES: dict[str, Language] = {}


def register(language: Language) -> None:
    """Add a language (or replace the one with the same code), so that every pair with its code exists from now on."""
    if "-" in language.code or not language.code.islower():
        expected = "the code of a language is lower case without '-', such as 'eo'"
        raise ValueError(f"register: {expected}; got {language.code!r}")
    LANGUAGES[language.code] = language


def parse_pair(pair: str) -> tuple[str, str]:
    """Split "en-es" into ("en", "es"); a UserError says which languages there are."""
    source, dash, target = pair.partition("-")
    if not dash or source not in LANGUAGES or target not in LANGUAGES or source == target:
        known = ", ".join(LANGUAGES)
        raise UserError(f"pair: expected two different languages of {known}, written like en-es; got {pair!r}")
    return source, target


def words(*texts: str, rules: tuple[str, ...] = ()) -> list[Word]:
    """Several words that the same rules made; a text with spaces gives one word for each part."""
    return [Word(part, rules) for text in texts for part in text.split()]


def mark(made: list[Word], *rules: str) -> list[Word]:
    """The same words, made by these rules too."""
    return [Word(text, before + tuple(rule for rule in rules if rule not in before)) for text, before in made]
