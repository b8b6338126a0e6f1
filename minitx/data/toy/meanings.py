"""Meanings without words: a scene says who does what to whom, how many, which, when, where, and whether at all.

The vocabulary (`Concept`) comes from lexicon.py; english.py, spanish.py and the others turn a Scene into words.
Every distinction here is heard in every language, so that a sentence has exactly one translation.
"""

from dataclasses import dataclass
from enum import Enum

from .lexicon import Concept

SEVERAL = 0  # a count that is not told: the cats, some cats

PRESENT, PAST, FUTURE, WANT, CAN = "present", "past", "future", "want", "can"


class Determiner(Enum):
    """How a listener finds the thing: a cat, the cat, this cat, my cat, some kind of cat, or no need (maria, water)."""

    A = "a"
    THE = "the"
    THIS = "this"
    OWNED = "owned"  # NounPhrase.owner says by whom
    KIND = "kind"  # what follows "this is": one of that kind
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Pronoun:
    """Who speaks: I, or we. The others are always named."""

    plural: bool


@dataclass(frozen=True, slots=True)
class NounPhrase:
    """Some thing or person: "the two very big dogs that chase maria". Mass nouns with Determiner.A are portions."""

    noun: Concept
    determiner: Determiner
    count: int = 1  # SEVERAL, or 1 to 10
    adjective: Concept | None = None
    very: bool = False
    owner: "NounPhrase | Pronoun | None" = None
    relative: "Relative | None" = None

    @property
    def plural(self) -> bool:
        return self.count != 1

    @property
    def definite(self) -> bool:
        return self.determiner is not Determiner.A


@dataclass(frozen=True, slots=True)
class Pair:
    """Two things side by side: the cat and the dog."""

    first: NounPhrase
    second: NounPhrase

    @property
    def plural(self) -> bool:
        return True

    @property
    def definite(self) -> bool:
        return self.second.definite


@dataclass(frozen=True, slots=True)
class Relative:
    """A clause that tells which one. The head is its subject (who chases maria) or its object (that maria chases)."""

    verb: Concept
    head_is_subject: bool
    other: NounPhrase | Pronoun | None  # the object where the head is the subject, and the reverse
    past: bool


@dataclass(frozen=True, slots=True)
class Event:
    """Somebody does something: "maria does not give a book to the boy in the park"."""

    subject: NounPhrase | Pair | Pronoun
    verb: Concept
    object: NounPhrase | Pair | None = None
    recipient: NounPhrase | None = None
    tense: str = PRESENT  # or PAST, FUTURE, WANT, CAN
    negated: bool = False
    adverb: Concept | None = None
    place: Concept | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Something is something: "this is a cat" (subject None), "maria is a famous singer"."""

    subject: NounPhrase | None
    what: NounPhrase
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Quality:
    """Something is somehow: "these cats are very tired"."""

    subject: NounPhrase | Pair
    adjective: Concept
    very: bool = False
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Existence:
    """There is something somewhere: "there are two red cars in the park"."""

    what: NounPhrase
    place: Concept


Clause = Event | Identity | Quality | Existence


@dataclass(frozen=True, slots=True)
class Scene:
    """One sentence: a clause, perhaps at a time, perhaps joined to a second clause by "and" or "when"."""

    clause: Clause
    time: Concept | None = None
    link: str | None = None  # "and", "when"
    second: Clause | None = None


# Where meanings stand inside others.
_INNER = {
    Scene: ("clause", "second"),
    Event: ("subject", "object", "recipient"),
    Identity: ("subject", "what"),
    Quality: ("subject",),
    Existence: ("what",),
    Relative: ("other",),
    Pair: ("first", "second"),
    NounPhrase: ("owner", "relative"),
    Pronoun: (),
}


def parts(meaning) -> list:
    """The meaning itself and every meaning inside it."""
    found = [meaning]
    for name in _INNER[type(meaning)]:
        inner = getattr(meaning, name)
        if inner is not None:
            found += parts(inner)
    return found


def size(scene: Scene) -> int:
    """How much is said, in about the number of words that a language needs for it."""
    total = 2 * (scene.link is not None) + (scene.time is not None)
    for part in parts(scene):
        match part:
            case NounPhrase():
                pointed_out = part.determiner not in (Determiner.NONE, Determiner.KIND)
                total += 1 + pointed_out + (part.adjective is not None) + part.very + (part.count > 1)
            case Event():
                helped = part.negated or part.tense in (FUTURE, WANT, CAN)
                total += 1 + helped + (part.adverb is not None) + 2 * (part.place is not None)
            case Identity() | Quality():
                total += 2 + part.negated
            case Existence():
                total += 4
            case Relative():
                total += 2
            case Pair() | Pronoun():
                total += 1
    return total


def combinations(scene: Scene) -> set[tuple[Concept, Concept]]:
    """The adjective-noun and verb-object pairs that a scene brings together, wherever in the sentence they stand."""
    found = set()
    for part in parts(scene):
        match part:
            case NounPhrase(noun=noun, adjective=adjective, relative=relative):
                if adjective is not None:
                    found.add((adjective, noun))
                if relative is not None and not relative.head_is_subject:
                    found.add((relative.verb, noun))
            case Quality(subject=subject, adjective=adjective):
                found.update((adjective, noun) for noun in _heads(subject))
            case Event(verb=verb, object=thing):
                found.update((verb, noun) for noun in _heads(thing))
            case Relative(verb=verb, head_is_subject=True, other=other):
                found.update((verb, noun) for noun in _heads(other))
    return found


def clauses(scene: Scene) -> int:
    """How many clauses a sentence has, relative clauses counted."""
    return sum(isinstance(part, Event | Identity | Quality | Existence | Relative) for part in parts(scene))


def _heads(phrase) -> list[Concept]:
    match phrase:
        case Pair(first=first, second=second):
            return [first.noun, second.noun]
        case NounPhrase(noun=noun):
            return [noun]
    return []
