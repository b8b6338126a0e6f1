"""Korean: subject, object, verb; whatever describes comes first, particles tell the roles, the verb ends the sentence.

    오늘 | 그 빨간 고양이 두 마리는 | 공원에서 | 쥐 한 마리를 | 쫓지 않는다
    time   topic                     place      object         verb group

A word is what stands between two spaces: a noun with its particle, a verb with its endings. The plain written style.
"""

from .hangul import attach, before_n, past_stem, plain_present, with_n_or_l
from .language import Language, Sentence, Word, mark, words
from .lexicon import NUMBERS, Concept, is_mass
from .meanings import (
    SEVERAL,
    Clause, Determiner, Event, Existence, Identity, NounPhrase, Pair, Pronoun, Quality, Relative, Scene,
)

# A particle: its rule, its form after a vowel, its form after a consonant.
TOPIC = ("topic particle", "는", "은")
SUBJECT = ("subject particle", "가", "이")
OBJECT = ("object particle", "를", "을")
AND = ("and particle", "와", "과")
OF = ("possession", "의", "의")
TO = ("recipient", "에게", "에게")


def realise(scene: Scene) -> Sentence:
    """Say it in Korean."""
    said = words(*scene.time.ko, rules=("time",)) if scene.time else []
    if scene.link == "when":
        return Sentence(tuple(said + _when(scene.second) + _clause(scene.clause)))
    if scene.link == "and":
        return Sentence(tuple(said + _first_of_two(scene.clause) + _clause(scene.second)))
    return Sentence(tuple(said + _clause(scene.clause)))


KOREAN = Language("ko", "Korean", realise)


def _clause(clause: Clause) -> list[Word]:
    match clause:
        case Event(subject=subject):
            return _subject(subject) + _complements(clause) + mark(_verb_group(clause), "verb last")
        case Identity(subject=subject, what=what, negated=negated):
            return (_subject(subject) if subject else _this(what)) + _identity(what, negated)
        case Quality(subject=subject, adjective=adjective, very=very, negated=negated):
            return _subject(subject) + _very(very) + _predicate_adjective(adjective, negated)
        case Existence(what=what, place=place):
            where = Word(place.ko[0] + "에", ("place",))
            return [where] + _noun_phrase(what, SUBJECT) + [Word("있다", ("existence", "verb last"))]


def _first_of_two(event: Event) -> list[Word]:
    """The first of two clauses joined by and ends in -고: 그 개는 자고; the second one tells the tense of both."""
    verb = Word(_stem(event.verb) + "고", ("coordination",))
    return _subject(event.subject) + _complements(event) + [verb]


def _when(event: Event) -> list[Word]:
    """A clause of time comes first, ends in -(으)ㄹ 때 and has a subject, no topic: 그 개가 잘 때."""
    when = [Word(with_n_or_l(_stem(event.verb), "ㄹ"), ("when clause",)), Word("때", ("when clause",))]
    return _noun_phrase(event.subject, SUBJECT) + _complements(event) + when


def _complements(event: Event) -> list[Word]:
    """What stands between subject and verb: 자주 | 공원에서 | 그 소녀에게 | 책을 | 천천히."""
    adverb = words(*event.adverb.ko, rules=("adverb",)) if event.adverb else []
    manner = event.adverb and event.adverb.kind == "manner"
    said = [] if manner else adverb
    if event.place:
        said = said + [Word(event.place.ko[0] + "에서", ("place",))]
    if event.recipient:
        said = said + _noun_phrase(event.recipient, TO)
    if event.object:
        said = said + _noun_phrase(event.object, OBJECT)
    return said + (adverb if manner else [])


# Verbs


def _stem(concept: Concept) -> str:
    return concept.ko[0].removesuffix("다")


def _verb_group(event: Event) -> list[Word]:
    """먹는다, 먹었다, 먹을 것이다, 먹고 싶다, 먹고 싶어 한다, 먹을 수 있다, and the same with 않다."""
    stem = _stem(event.verb)
    not_ = Word(stem + "지", ("negation",))
    prospective = with_n_or_l(stem, "ㄹ")
    match event.tense:
        case "want":
            return [Word(stem + "고", ("wish and ability",))] + _wish(event)
        case "can":
            able = words(prospective, "수", rules=("wish and ability",))
            can = Word("없다", ("wish and ability", "negation")) if event.negated else Word("있다", ("wish and ability",))
            return able + [can]
        case "future" if event.negated:
            return [not_, Word("않을", ("negation", "future")), Word("것이다", ("future",))]
        case "future":
            return words(prospective, "것이다", rules=("future",))
        case "past" if event.negated:
            return [not_, Word("않았다", ("negation", "past tense"))]
        case "past":
            return [Word(past_stem(stem) + "다", ("past tense",))]
        case _:
            return [not_, Word("않는다", ("negation",))] if event.negated else [Word(plain_present(stem))]


def _wish(event: Event) -> list[Word]:
    """Of oneself 싶다, 싶지 않다; of others 싶어 한다, 싶어 하지 않는다."""
    own, others = ("wish and ability",), ("somebody's wish",)
    if isinstance(event.subject, Pronoun):
        if event.negated:
            return [Word("싶지", (*own, "negation")), Word("않다", ("negation",))]
        return [Word("싶다", own)]
    if event.negated:
        return [Word("싶어", own + others), Word("하지", (*others, "negation")), Word("않는다", ("negation",))]
    return [Word("싶어", own + others), Word("한다", others)]


def _predicate_adjective(adjective: Concept, negated: bool) -> list[Word]:
    """An adjective ends the sentence like a verb: 피곤하다, 피곤하지 않다."""
    rules = ("predicate adjective", "verb last")
    if negated:
        return [Word(_stem(adjective) + "지", (*rules, "negation")), Word("않다", ("negation", "verb last"))]
    return [Word(adjective.ko[0], rules)]


def _identity(what: NounPhrase, negated: bool) -> list[Word]:
    """고양이다, 책이다; 고양이가 아니다."""
    if negated:
        return _noun_phrase(what, SUBJECT) + [Word("아니다", ("copula", "negation", "verb last"))]
    *before, last = _noun_phrase(what, ("copula", "다", "이다"))
    return before + mark([last], "verb last")


# Nouns


def _subject(subject) -> list[Word]:
    """What is known is the topic (그 개는), what is new the subject (개 한 마리가)."""
    known = isinstance(subject, Pronoun) or subject.definite
    return _noun_phrase(subject, TOPIC if known else SUBJECT)


def _this(what: NounPhrase) -> list[Word]:
    """이것은, 이것들은."""
    this = [Word("이것", ("copula",))]
    return _with_particle(_plural(this) if what.plural else this, TOPIC)


def _noun_phrase(phrase: NounPhrase | Pair | Pronoun, particle: tuple[str, str, str]) -> list[Word]:
    match phrase:
        case Pronoun(plural=plural):
            return _with_particle([Word("우리" if plural else "내" if particle is SUBJECT else "나")], particle)
        case Pair(first=first, second=second):
            *before, last = _noun_phrase(first, AND)
            return before + mark([last], "coordination") + _noun_phrase(second, particle)
    said = _relative(phrase.relative) if phrase.relative else []
    said = said + _determiner(phrase)
    if phrase.adjective:
        said = said + _very(phrase.very) + [_before_noun(phrase.adjective)]
    noun = [Word(phrase.noun.ko[0])]
    if phrase.determiner in (Determiner.KIND, Determiner.NONE):
        return said + _with_particle(noun, particle)
    if phrase.count > 1 or phrase.determiner is Determiner.A:
        return said + noun + _with_particle(_counted(phrase), particle)
    return said + _with_particle(_plural(noun) if phrase.count == SEVERAL else noun, particle)


def _with_particle(said: list[Word], particle: tuple[str, str, str]) -> list[Word]:
    """The particle joins the last word: 고양이 두 마리 + 를."""
    rule, after_vowel, after_consonant = particle
    *before, (text, rules) = said
    return [*before, Word(attach(text, after_vowel, after_consonant), (*rules, rule))]


def _counted(phrase: NounPhrase) -> list[Word]:
    """한 마리, 두 권, 몇 명: a number and the counter of the noun."""
    number = "몇" if phrase.count == SEVERAL else NUMBERS["ko"][phrase.count - 1]
    return words(number, phrase.noun.ko[1], rules=("portion" if is_mass(phrase.noun) else "counting",))


def _determiner(phrase: NounPhrase) -> list[Word]:
    """그, 이, 내, 우리, 마리아의, 그 소녀의."""
    match phrase.determiner:
        case Determiner.THE:
            return [Word("그")]
        case Determiner.THIS:
            return [Word("이")]
        case Determiner.OWNED if isinstance(phrase.owner, Pronoun):
            return [Word("우리" if phrase.owner.plural else "내", ("possession",))]
        case Determiner.OWNED:
            return _noun_phrase(phrase.owner, OF)
        case _:
            return []


def _before_noun(adjective: Concept) -> Word:
    """큰, 무거운, 빨간; after 있다 맛있는."""
    stem = _stem(adjective)
    return Word(stem + "는" if stem.endswith("있") else with_n_or_l(stem, "ㄴ"), ("adjective form",))


def _relative(relative: Relative) -> list[Word]:
    """쥐를 쫓는 (고양이), 마리아가 읽은 (책)."""
    stem = _stem(relative.verb)
    verb = with_n_or_l(stem, "ㄴ") if relative.past else before_n(stem) + "는"
    rules = ("relative clause", "past tense") if relative.past else ("relative clause",)
    role = OBJECT if relative.head_is_subject else SUBJECT
    return _noun_phrase(relative.other, role) + [Word(verb, rules)]


def _plural(said: list[Word]) -> list[Word]:
    *before, (text, rules) = said
    return [*before, Word(text + "들", (*rules, "plural"))]


def _very(very: bool) -> list[Word]:
    return [Word("아주", ("very",))] * very
