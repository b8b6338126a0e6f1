"""Chinese: subject, verb, object; nothing is inflected, place and manner come before the verb, small words do the rest.

    今天 | 那 两 只 红色 的 猫 | 不 | 在 公园 里 | 追 | 一 只 老鼠
    time   subject              not   place        verb  object

Words are separated by spaces, as a dictionary would separate them.
"""

from .language import Language, Sentence, Word, mark, words
from .lexicon import COLOURS, NUMBERS, Concept, is_mass
from .meanings import (
    PAST, PRESENT, SEVERAL,
    Clause, Determiner, Event, Existence, Identity, NounPhrase, Pair, Pronoun, Quality, Relative, Scene,
)


def realise(scene: Scene) -> Sentence:
    """Say it in Chinese."""
    said = words(*scene.time.zh, rules=("time",)) if scene.time else []
    if scene.link == "when":
        said += _clause(scene.second) + words("的 时候", rules=("when clause",)) + _clause(scene.clause)
    elif scene.link == "and":
        said += _clause(scene.clause) + [Word("而", ("coordination",))] + _clause(scene.second)
    else:
        said += _clause(scene.clause)
    return Sentence(tuple(said))


CHINESE = Language("zh", "Chinese", realise)


def _clause(clause: Clause) -> list[Word]:
    match clause:
        case Event(subject=subject):
            return _noun_phrase(subject) + _predicate(clause)
        case Identity(subject=subject, what=what, negated=negated):
            this = _noun_phrase(subject) if subject else [Word("这些", ("plural 些",)) if what.plural else Word("这")]
            return this + _not(negated) + [Word("是", ("copula",))] + _noun_phrase(what)
        case Quality(subject=subject):
            return _noun_phrase(subject) + _predicate_adjective(clause)
        case Existence(what=what, place=place):
            return _inside(place) + [Word("有", ("existence",))] + _noun_phrase(what)


def _predicate(event: Event) -> list[Word]:
    """不 | 在 公园 里 | 慢慢地 | 吃 | 苹果; 给 了 | 玛丽亚 | 一 本 书."""
    adverb = words(*event.adverb.zh, rules=("adverb", "before the verb")) if event.adverb else []
    manner = event.adverb and event.adverb.kind == "manner"
    said = ([] if manner else adverb) + _auxiliary(event)
    if event.place:
        said = said + mark([Word("在", ("place",))] + _inside(event.place), "before the verb")
    said = said + (adverb if manner else []) + _verb(event)
    if event.recipient:
        said = said + _noun_phrase(event.recipient)
    return said + (_noun_phrase(event.object) if event.object else [])


# Verbs


def _auxiliary(event: Event) -> list[Word]:
    """不, 没, 会, 不 会, 想, 不 能."""
    match event.tense:
        case "future":
            return _not(event.negated) + [Word("会", ("future",))]
        case "want":
            return _not(event.negated) + [Word("想", ("wish and ability",))]
        case "can":
            return _not(event.negated) + [Word("能", ("wish and ability",))]
        case "past":
            return [Word("没", ("negation", "了 and 过"))] * event.negated
        case _:
            return _not(event.negated and len(event.verb.zh) == 1)


def _verb(event: Event) -> list[Word]:
    """吃, 吃 了; 看见 is negated within: 看不见."""
    rules = ("recipient",) if event.recipient else ()
    if event.tense == PAST and not event.negated:
        return [Word(event.verb.zh[0], rules), Word("了", ("past tense", "了 and 过"))]
    if event.tense == PRESENT and event.negated and len(event.verb.zh) > 1:
        return [Word(event.verb.zh[1], ("negation",))]
    return [Word(event.verb.zh[0], rules)]


def _not(negated: bool) -> list[Word]:
    return [Word("不", ("negation",))] * negated


def _predicate_adjective(quality: Quality) -> list[Word]:
    """很 疲惫, 非常 疲惫, 不 疲惫; 是 红色 的, 不 是 红色 的."""
    adjective = Word(quality.adjective.zh[0], ("predicate adjective",))
    if quality.adjective in COLOURS:
        return _not(quality.negated) + [Word("是", ("copula",)), adjective, Word("的", ("predicate adjective",))]
    if quality.negated:
        return _not(True) + [adjective]
    return [Word("非常", ("very",)) if quality.very else Word("很", ("predicate adjective",)), adjective]


# Nouns


def _noun_phrase(phrase: NounPhrase | Pair | Pronoun) -> list[Word]:
    """Owner or relative clause, determiner and measure word, adjective, noun: 玛丽亚 的 | 两 本 | 新 | 书."""
    match phrase:
        case Pronoun(plural=plural):
            return [Word("我们" if plural else "我")]
        case Pair(first=first, second=second):
            return _noun_phrase(first) + [Word("和", ("coordination",))] + _noun_phrase(second)
    said = _relative(phrase.relative) if phrase.relative else []
    if phrase.owner:
        said = said + _noun_phrase(phrase.owner) + [Word("的", ("possession",))]
    said = said + _determiner(phrase)
    if phrase.adjective:
        said = said + _adjective(phrase.adjective, phrase.very)
    return said + [Word(phrase.noun.zh[0])]


def _determiner(phrase: NounPhrase) -> list[Word]:
    """一 只, 几 只, 两 只, 那 只, 那些, 那 两 只; 这 is like 那. Nothing before what has an owner, unless it is counted."""
    if phrase.determiner in (Determiner.KIND, Determiner.NONE):
        return []
    far = {Determiner.THE: "那", Determiner.THIS: "这"}.get(phrase.determiner)
    if far and phrase.count == SEVERAL:
        return [Word(far + "些", ("plural 些",))]
    said = [Word(far)] if far else []
    counting = "portion" if is_mass(phrase.noun) else "counting"
    if phrase.count == SEVERAL:
        said.append(Word("几", (counting,)))
    elif phrase.count > 1 or phrase.determiner is Determiner.A:
        said.append(Word(NUMBERS["zh"][phrase.count - 1], (counting,)))
    return said + [Word(phrase.noun.zh[1], ("measure word",))] if said else []


def _adjective(adjective: Concept, very: bool) -> list[Word]:
    """大, 聪明 的, 非常 大 的."""
    word, *de = adjective.zh
    said = [Word("非常", ("very",))] * very + [Word(word, ("的 after an adjective",))]
    return said + [Word("的", ("的 after an adjective",))] if de or very else said


def _relative(relative: Relative) -> list[Word]:
    """追 老鼠 的 (那 只 猫), 玛丽亚 读 的 (那 本 书); in the past 追 了 老鼠 的, 玛丽亚 读 过 的."""
    verb = [Word(relative.verb.zh[0], ("relative clause",))]
    if relative.past:
        verb.append(Word("了" if relative.head_is_subject else "过", ("past tense", "了 and 过")))
    other = _noun_phrase(relative.other)
    de = [Word("的", ("relative clause",))]
    return (verb + other if relative.head_is_subject else other + verb) + de


def _inside(place: Concept) -> list[Word]:
    """公园 里, but 首尔."""
    return words(*place.zh, *(["里"] if place.kind == "room" else []), rules=("place",))
