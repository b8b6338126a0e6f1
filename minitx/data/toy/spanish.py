"""Spanish: subject, verb, object; everything agrees, adjectives follow their noun, the verb's ending says who.

    hoy  | los dos gatos rojos | no persiguen | a un ratón | en el parque
    time   subject               verb group     object       place
"""

from .language import Language, Sentence, Word, mark, words
from .lexicon import NUMBERS, Concept, is_mass, is_person
from .meanings import (
    PAST, SEVERAL,
    Clause, Determiner, Event, Existence, Identity, NounPhrase, Pair, Pronoun, Quality, Relative, Scene,
)


def realise(scene: Scene) -> Sentence:
    """Say it in Spanish."""
    said = words(*scene.time.es, rules=("time",)) if scene.time else []
    said += _clause(scene.clause)
    if scene.link == "when":
        said += [Word("cuando", ("when clause",))] + _clause(scene.second)
    elif scene.link == "and":
        said += [Word("y", ("coordination",))] + _clause(scene.second)
    return Sentence(tuple(_contract(said)))


SPANISH = Language("es", "Spanish", realise)


def _clause(clause: Clause) -> list[Word]:
    match clause:
        case Event(subject=subject):
            return _subject(subject) + _predicate(clause)
        case Identity(subject=None, what=what, negated=negated):
            this = Word(_agree("este", what), ("article agreement",))
            return [this] + _no(negated) + [_be("ser", what)] + _noun_phrase(what)
        case Identity(subject=subject, what=what, negated=negated):
            return _noun_phrase(subject) + _no(negated) + [_be("ser", subject)] + _profession(subject, what)
        case Quality(subject=subject, adjective=adjective, very=very, negated=negated):
            verb = "estar" if adjective.es[-1] == "estar" else "ser"
            be = mark([_be(verb, subject)], "ser or estar")
            said = mark(_adjective(adjective, very, subject), "predicate adjective")
            return _noun_phrase(subject) + _no(negated) + be + said
        case Existence(what=what, place=place):
            return [Word("hay", ("existence",))] + _noun_phrase(what) + _place(place)


def _predicate(event: Event) -> list[Word]:
    """The verb group, then what follows it: no le da | un libro | a maría | despacio | en el parque."""
    said = _verb_group(event)
    if event.object:
        said += _object(event.object)
    if event.recipient:
        said += [Word("a", ("recipient",))] + _noun_phrase(event.recipient)
    if event.adverb and event.adverb.kind == "manner":
        said += words(*event.adverb.es, rules=("adverb",))
    return said + (_place(event.place) if event.place else [])


# Verbs

# I, we; she, they; she and they in the past.
_IRREGULAR = {
    "dormir": "duermo dormimos duerme duermen durmió durmieron",
    "jugar": "juego jugamos juega juegan jugó jugaron",
    "leer": "leo leemos lee leen leyó leyeron",
    "perseguir": "persigo perseguimos persigue persiguen persiguió persiguieron",
    "enviar": "envío enviamos envía envían envió enviaron",
    "ver": "veo vemos ve ven vio vieron",
    "dar": "doy damos da dan dio dieron",
    "querer": "quiero queremos quiere quieren",
    "poder": "puedo podemos puede pueden",
    "ir": "voy vamos va van",
    "ser": "soy somos es son",
    "estar": "estoy estamos está están",
}

_AUXILIARIES = ("querer", "poder", "ir", "ser", "estar")

# The same six endings for verbs in -ar, -er and -ir.
_ENDINGS = {
    "ar": "o amos a an ó aron",
    "er": "o emos e en ió ieron",
    "ir": "o imos e en ió ieron",
}


def _verb_group(event: Event) -> list[Word]:
    """come, comió, va a comer, quiere comer, puede comer; no come, a menudo come, le da."""
    infinitive = Word(event.verb.es[0])
    match event.tense:
        case "future":
            group = mark([_finite("ir", event.subject), Word("a"), infinitive], "future")
        case "want":
            group = mark([_finite("querer", event.subject), infinitive], "wish and ability")
        case "can":
            group = mark([_finite("poder", event.subject), infinitive], "wish and ability")
        case tense:
            group = [_finite(event.verb.es[0], event.subject, tense == PAST)]
    if event.recipient:
        group = [Word("les" if event.recipient.plural else "le", ("doubled recipient",))] + group
    if event.adverb and event.adverb.kind == "frequency":
        group = words(*event.adverb.es, rules=("adverb",)) + group
    return _no(event.negated) + group


def _finite(infinitive: str, subject, past: bool = False) -> Word:
    """como, comemos, come, comen, comió, comieron. Speakers stay out of the past: compramos would be both."""
    stem, ending = infinitive[:-2], infinitive[-2:]
    regular = [stem + e for e in _ENDINGS.get(ending, "").split()]
    forms = _IRREGULAR[infinitive].split() if infinitive in _IRREGULAR else regular
    speaking = isinstance(subject, Pronoun)
    form = forms[subject.plural + (0 if speaking else 4 if past else 2)]
    rules = ["past tense"] * past + ["verb agreement"] + ["dropped pronoun"] * speaking
    irregular = infinitive not in _AUXILIARIES and form not in regular
    return Word(form, (*rules, "irregular verb") if irregular else tuple(rules))


def _be(verb: str, subject) -> Word:
    return Word(_finite(verb, subject).text, ("copula", "verb agreement"))


def _no(negated: bool) -> list[Word]:
    return [Word("no", ("negation",))] * negated


# Nouns


def _subject(subject) -> list[Word]:
    return [] if isinstance(subject, Pronoun) else _noun_phrase(subject)


def _object(thing: NounPhrase | Pair) -> list[Word]:
    """a maría, al gato; el libro."""
    if isinstance(thing, Pair):
        return _object(thing.first) + [Word("y", ("coordination",))] + _object(thing.second)
    alive = is_person(thing.noun) or thing.noun.kind == "animal"
    return [Word("a", ("personal a",))] * alive + _noun_phrase(thing)


def _noun_phrase(phrase: NounPhrase | Pair) -> list[Word]:
    if isinstance(phrase, Pair):
        return _noun_phrase(phrase.first) + [Word("y", ("coordination",))] + _noun_phrase(phrase.second)
    noun = phrase.noun.es[0]
    if is_mass(phrase.noun):
        said = (_portion(phrase) if phrase.determiner is Determiner.A else []) + [Word(noun)]
    else:
        said = _determiner(phrase) + [Word(_plural(noun), ("plural",)) if phrase.plural else Word(noun)]
    if phrase.adjective:
        said += mark(_adjective(phrase.adjective, phrase.very, phrase), "adjective after the noun")
    if isinstance(phrase.owner, NounPhrase):
        said += [Word("de", ("possession",))] + _noun_phrase(phrase.owner)
    return said + (_relative(phrase, phrase.relative) if phrase.relative else [])


def _determiner(phrase: NounPhrase) -> list[Word]:
    """un gato, algunas vacas, tres vacas, la vaca, estas dos vacas, mi vaca; the owner's name comes after the noun."""
    number = [Word(NUMBERS["es"][phrase.count - 1], ("counting",))] if phrase.count > 1 else []
    match phrase.determiner:
        case Determiner.A | Determiner.KIND if phrase.count == 1:
            article = "un"
        case Determiner.A if phrase.count == SEVERAL:
            article = "alguno"
        case Determiner.THE:
            article = "el"
        case Determiner.THIS:
            article = "este"
        case Determiner.OWNED if isinstance(phrase.owner, Pronoun):
            article = "nuestro" if phrase.owner.plural else "mi"
        case Determiner.OWNED:
            article = "el"
        case _:
            return number
    rules = ("article agreement", "counting") if article == "alguno" else ("article agreement",)
    rules = (*rules, "possession") if isinstance(phrase.owner, Pronoun) else rules
    return [Word(_agree(article, phrase), rules)] + number


def _portion(phrase: NounPhrase) -> list[Word]:
    """una taza de, tres trozos de."""
    container = phrase.noun.es[2]
    one = "una" if container.endswith("a") else "un"
    if not phrase.plural:
        return [Word(one, ("article agreement",))] + words(container, "de", rules=("portion",))
    return [Word(NUMBERS["es"][phrase.count - 1], ("counting",))] + words(_plural(container), "de", rules=("portion",))


def _adjective(adjective: Concept, very: bool, of) -> list[Word]:
    return [Word("muy", ("very",))] * very + [Word(_agree(adjective.es[0], of), ("adjective agreement",))]


def _profession(subject: NounPhrase, what: NounPhrase) -> list[Word]:
    """maría es cantante, but maría es una cantante famosa: the article comes with an adjective."""
    noun = Word(_plural(what.noun.es[0]), ("plural",)) if subject.plural else Word(what.noun.es[0])
    if not what.adjective:
        return [noun]
    article = [] if subject.plural else [Word(_agree("un", subject), ("article agreement",))]
    return article + [noun] + mark(_adjective(what.adjective, what.very, subject), "adjective after the noun")


def _relative(head: NounPhrase, relative: Relative) -> list[Word]:
    """el gato | que persigue al ratón; el libro | que maría lee."""
    que = Word("que", ("relative clause",))
    if relative.head_is_subject:
        verb = _finite(relative.verb.es[0], head, relative.past)
        return [que] + mark([verb], "relative clause") + _object(relative.other)
    verb = _finite(relative.verb.es[0], relative.other, relative.past)
    return [que] + _subject(relative.other) + mark([verb], "relative clause")


def _place(place: Concept) -> list[Word]:
    name, *gender = place.es
    article = [] if not gender else ["la" if gender == ["f"] else "el"]
    return words("en", *article, name, rules=("place",))


# Forms

_ARTICLES = {  # masculine, feminine; masculine plural, feminine plural
    "un": "un una",
    "el": "el la los las",
    "este": "este esta estos estas",
    "mi": "mi mi mis mis",
}


def _agree(form: str, of: NounPhrase | Pair) -> str:
    """The form with the gender and number of the noun: rojo, roja, rojos, rojas; dos tazas de café frío."""
    plural = of.plural and not (isinstance(of, NounPhrase) and is_mass(of.noun))
    if form in _ARTICLES:
        return _ARTICLES[form].split()[_feminine(of) + 2 * plural]
    if form.endswith("o") and _feminine(of):
        form = form[:-1] + "a"
    return _plural(form) if plural else form


def _feminine(phrase: NounPhrase | Pair) -> bool:
    """Two together are feminine where both are."""
    if isinstance(phrase, Pair):
        return _feminine(phrase.first) and _feminine(phrase.second)
    return phrase.noun.es[1] == "f"


def _plural(word: str) -> str:
    """gato, gatos; flor, flores; feliz, felices; ratón, ratones."""
    if word[-1] in "aeiouéá":
        return word + "s"
    if word.endswith("z"):
        return word[:-1] + "ces"
    if word[-2:] in ("ón", "ín"):
        word = word[:-2] + {"ó": "o", "í": "i"}[word[-2]] + "n"
    return word + "es"


def _contract(said: list[Word]) -> list[Word]:
    """a el becomes al, de el becomes del."""
    contracted: list[Word] = []
    for word in said:
        if word.text == "el" and contracted and contracted[-1].text in ("a", "de"):
            before = contracted.pop()
            rules = tuple(dict.fromkeys((*before.rules, *word.rules, "contraction")))
            word = Word("al" if before.text == "a" else "del", rules)
        contracted.append(word)
    return contracted
