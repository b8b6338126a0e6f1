"""English: subject, verb, object; a little agreement, and the help of "do".

    today | the two red cats | do not chase | a mouse | in the park
    time    subject            verb group     object    place
"""

from .language import Language, Sentence, Word, mark, words
from .lexicon import NUMBERS, Concept, is_mass, is_person
from .meanings import (
    PAST, SEVERAL,
    Clause, Determiner, Event, Existence, Identity, NounPhrase, Pair, Pronoun, Quality, Relative, Scene,
)


def realise(scene: Scene) -> Sentence:
    """Say it in English."""
    said = words(*scene.time.en, rules=("time",)) if scene.time else []
    said += _clause(scene.clause)
    if scene.link == "when":
        said += [Word("when", ("when clause",))] + _clause(scene.second)
    elif scene.link == "and":
        said += [Word("and", ("coordination",))] + _clause(scene.second)
    return Sentence(tuple(said))


ENGLISH = Language("en", "English", realise)


def _clause(clause: Clause) -> list[Word]:
    match clause:
        case Event(subject=subject):
            return _noun_phrase(subject) + _predicate(clause)
        case Identity(subject=subject, what=what, negated=negated):
            return _identity_subject(subject, what) + _be(subject or what, negated) + _noun_phrase(what)
        case Quality(subject=subject, adjective=adjective, very=very, negated=negated):
            said = mark(_adjective(adjective, very), "predicate adjective")
            return _noun_phrase(subject) + _be(subject, negated) + said
        case Existence(what=what, place=place):
            be = Word("are" if what.plural else "is", ("existence", "verb agreement"))
            return [Word("there", ("existence",)), be] + _noun_phrase(what) + _place(place)


def _predicate(event: Event) -> list[Word]:
    """The verb group, then what follows it: does not give | a book | to maria | slowly | in the park."""
    said = _verb_group(event)
    if event.object:
        said += _noun_phrase(event.object)
    if event.recipient:
        said += [Word("to", ("recipient",))] + _noun_phrase(event.recipient)
    if event.adverb and event.adverb.kind == "manner":
        said += words(*event.adverb.en, rules=("adverb",))
    return said + (_place(event.place) if event.place else [])


# Verbs


def _verb_group(event: Event) -> list[Word]:
    """eats, ate, will eat, wants to eat, can eat; does not eat, did not eat, will not eat, ..."""
    bare = [Word(event.verb.en[0])]
    adds_s = _third_person_singular(event.subject)
    not_ = [Word("not", ("negation",))] if event.negated else []
    match event.tense:
        case "future":
            group = [Word("will", ("future",))] + not_ + bare
        case "can" if event.negated:
            group = [Word("cannot", ("wish and ability", "negation"))] + bare
        case "can":
            group = [Word("can", ("wish and ability",))] + bare
        case "want" if event.negated:
            group = _do(event) + not_ + words("want to", rules=("wish and ability",)) + bare
        case "want":
            want = Word("wants" if adds_s else "want", ("wish and ability", "verb agreement"))
            group = [want, Word("to", ("wish and ability",))] + bare
        case _ if event.negated:
            group = _do(event) + not_ + bare
        case _:
            group = [_finite(event.verb, event.subject, event.tense == PAST)]
    if event.adverb and event.adverb.kind == "frequency":
        group = words(*event.adverb.en, rules=("adverb",)) + group
    return group + _preposition(event.verb)


def _do(event: Event) -> list[Word]:
    if event.tense == PAST:
        return [Word("did", ("do-support", "past tense"))]
    return [Word("does" if _third_person_singular(event.subject) else "do", ("do-support", "verb agreement"))]


def _finite(verb: Concept, subject, past: bool) -> Word:
    """eat, eats, ate."""
    base = verb.en[0]
    if past and verb.en[1:] and verb.en[1] != "-":
        return Word(verb.en[1], ("past tense", "irregular past"))
    if past:
        return Word(_add_ed(base), ("past tense",))
    return Word(_add_s(base) if _third_person_singular(subject) else base, ("verb agreement",))


def _preposition(verb: Concept) -> list[Word]:
    """for, in "look for"."""
    return words(*verb.en[2:], rules=("verb with a preposition",))


def _be(subject, negated: bool) -> list[Word]:
    be = Word("are" if subject.plural else "is", ("copula", "verb agreement"))
    return [be, Word("not", ("negation",))] if negated else [be]


def _third_person_singular(subject) -> bool:
    return not isinstance(subject, Pronoun) and not subject.plural


# Nouns


def _noun_phrase(phrase: NounPhrase | Pair | Pronoun) -> list[Word]:
    match phrase:
        case Pronoun(plural=plural):
            return [Word("we" if plural else "i")]
        case Pair(first=first, second=second):
            return _noun_phrase(first) + [Word("and", ("coordination",))] + _noun_phrase(second)
    said = _adjective(phrase.adjective, phrase.very) if phrase.adjective else []
    if is_mass(phrase.noun):
        said = said + [Word(phrase.noun.en[0])]
        said = _portion(phrase) + said if phrase.determiner is Determiner.A else said
    else:
        said = said + [_noun(phrase.noun, phrase.plural)]
    said = _determiner(phrase, said[0].text) + said
    return said + (_relative(phrase, phrase.relative) if phrase.relative else [])


def _noun(noun: Concept, plural: bool) -> Word:
    """cat, cats; mouse, mice."""
    if not plural:
        return Word(noun.en[0])
    if len(noun.en) > 1:
        return Word(noun.en[1], ("plural", "irregular plural"))
    return Word(_add_s(noun.en[0]), ("plural",))


def _portion(phrase: NounPhrase) -> list[Word]:
    """cup of, cups of."""
    container = phrase.noun.en[1]
    return words(_add_s(container) if phrase.plural else container, "of", rules=("portion",))


def _determiner(phrase: NounPhrase, following: str) -> list[Word]:
    """a, an, the, these, my, maria's, some, three, the three; nothing for maria, for water, for "these are cats"."""
    number = [Word(NUMBERS["en"][phrase.count - 1], ("counting",))] if phrase.count > 1 else []
    match phrase.determiner:
        case Determiner.A | Determiner.KIND if phrase.count == 1:
            return [Word("an" if following[0] in "aeiou" and not following.startswith("us") else "a", ("a or an",))]  # a useful
        case Determiner.A if phrase.count == SEVERAL:
            return [Word("some", ("counting",))]
        case Determiner.THE:
            return [Word("the")] + number
        case Determiner.THIS:
            return [Word("these" if phrase.plural else "this", ("this or these",))] + number
        case Determiner.OWNED:
            return _owner(phrase.owner) + number
        case _:
            return number


def _owner(owner: NounPhrase | Pronoun) -> list[Word]:
    """my, our, maria's, the girl's."""
    if isinstance(owner, Pronoun):
        return [Word("our" if owner.plural else "my", ("possession",))]
    *before, noun = _noun_phrase(owner)
    return [*before, Word(noun.text + "'s", ("possession",))]


def _adjective(adjective: Concept, very: bool) -> list[Word]:
    return [Word("very", ("very",))] * very + [Word(adjective.en[0])]


def _identity_subject(subject: NounPhrase | None, what: NounPhrase) -> list[Word]:
    """This in "this is a cat", where nothing else is named."""
    return _noun_phrase(subject) if subject else [Word("these" if what.plural else "this", ("this or these",))]


def _relative(head: NounPhrase, relative: Relative) -> list[Word]:
    """The cat | that chases the dog; the book | that maria reads."""
    that = Word("who" if is_person(head.noun) else "that", ("relative clause", "who or that"))
    subject = head if relative.head_is_subject else relative.other
    verb = mark([_finite(relative.verb, subject, relative.past)], "relative clause") + _preposition(relative.verb)
    other = _noun_phrase(relative.other)
    return [that] + (verb + other if relative.head_is_subject else other + verb)


def _place(place: Concept) -> list[Word]:
    return words("in" if place.kind == "city" else "in the", *place.en, rules=("place",))


# Spelling


def _add_s(word: str) -> str:
    """dog, dogs; push, pushes; cry, cries."""
    if word.endswith(("s", "sh", "ch", "x")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def _add_ed(word: str) -> str:
    """push, pushed; chase, chased; hug, hugged, but fix, fixed; cry, cried."""
    if len(word) == 3 and word[1] in "aeiou" and word[2] not in "aeiouwxy":
        word += word[2]
    if word.endswith("e"):
        return word + "d"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ied"
    return word + "ed"
