"""Add a fifth toy language: Esperanto, whose endings are so regular that its whole grammar fits on a page.

    python examples/add_a_language.py

A language is a function from a meaning (a Scene: who does what to whom) to a Sentence, whose words name the grammatical
rules that made them. Three steps: a vocabulary, the function, `toy.register`. Afterwards "en-eo", "ko-eo" and "eo-zh"
are pairs like the others: `toy.corpus("en-eo")` makes training data, and evaluation counts errors by rule.
"""

from minitx.data import toy
from minitx.data.toy.language import Language, Sentence, Word
from minitx.data.toy.lexicon import Concept, is_mass
from minitx.data.toy.meanings import SEVERAL, Determiner, Event, Existence, Identity, Pair, Pronoun, Quality, Scene

# 1. The vocabulary: a root for each concept of minitx/data/toy/lexicon.py. The grammar adds the endings.

ROOTS = """
man vir, woman virin, boy knab, girl knabin, king reĝ, queen reĝin, uncle onkl, aunt onklin, knight kavalir,
witch sorĉistin, grandfather av, grandmother avin, maria mari, carlos karl, elena elen, sofia sofi, juan johan,
david david, jieun jieun, minjun minjun, xiaolan ŝjaŭlan, xiaowei ŝjaŭvej, singer kantist, student student,
artist artist, journalist ĵurnalist, dentist dentist, athlete atlet,
cat kat, dog hund, horse ĉeval, cow bovin, bird bird, rabbit kunikl, mouse mus, bear urs, fox vulp,
elephant elefant, duck anas, frog ran, giraffe ĝiraf, wolf lup,
apple pom, orange oranĝ, banana banan, tomato tomat, carrot karot, egg ov, bread pan, cheese fromaĝ, meat viand,
cake kuk, rice riz, pasta past, water akv, milk lakt, juice suk, coffee kaf, tea te,
book libr, letter leter, poem poem, novel roman, hat ĉapel, shirt ĉemiz, coat mantel, skirt jup, car aŭt,
bicycle bicikl, boat boat, table tabl, chair seĝ, lamp lamp, bed lit, ball pilk, doll pup, guitar gitar,
watch horloĝ, ring ring, key ŝlosil, flower flor, tree arb,
piece pec, bowl bovl, bottle botel, cup tas,
kitchen kuirej, garden ĝarden, park park, school lernej, market bazar, library bibliotek, hospital hospital,
museum muze, restaurant restoraci, hotel hotel, theater teatr, office oficej, forest arbar, castle kastel,
church preĝej, station staci, village vilaĝ, madrid madrid, seoul seul, london london, beijing pekin,
paris pariz,
red ruĝ, yellow flav, blue blu, black nigr, white blank, big grand, small malgrand, new nov,
expensive multekost, cheap malmultekost, pretty bel, heavy pez, light malpez, useful util, dirty malpur,
strange strang, long long, famous fam, clever inteligent, strong fort, brave kuraĝ, quiet kviet, tired lac,
hungry malsat, sad malĝoj, happy feliĉ, fresh freŝ, sweet dolĉ, delicious bongust, hot varmeg, cold malvarm,
sleep dorm, rest ripoz, play lud, run kur, work labor, study stud, sing kant, dance danc, cry plor, eat manĝ,
drink trink, read leg, write skrib, draw desegn, clean purig, push puŝ, buy aĉet, sell vend, fix ripar,
hide kaŝ, see vid, look for serĉ, wait for atend, chase ĉas, hug brakum, help help, give don, lend prunt,
send send,
always ĉiam, often ofte, sometimes foje, slowly malrapide, quickly rapide, quietly kviete, carefully zorge,
happily ĝoje,
yesterday hieraŭ, last night pasintnokte, last week pasintsemajne, last year pasintjare, tomorrow morgaŭ,
tonight ĉi-nokte, next week venontsemajne, next year venontjare, every day ĉiutage, every week ĉiusemajne,
today hodiaŭ, this week ĉi-semajne, this year ĉi-jare, monday lunde, tuesday marde, wednesday merkrede,
thursday ĵaŭde, friday vendrede, saturday sabate, sunday dimanĉe, spring printempe, summer somere,
autumn aŭtune, winter vintre
"""
ROOT = dict(entry.strip().rsplit(" ", 1) for entry in ROOTS.split(","))
NUMBERS = "unu du tri kvar kvin ses sep ok naŭ dek".split()
ENDINGS = {"present": "as", "past": "is", "future": "os", "want": "as", "can": "as"}

toy.RULES["accusative"] = "Esperanto marks the object with -n, and all that goes with it: la ruĝan katon"

# 2. The grammar: nouns end in -o and adjectives in -a, with -j for several and -n for objects; verbs in -as, -is, -os.


def realise(scene: Scene) -> Sentence:
    words = [Word(ROOT[scene.time.name], ("time",))] if scene.time else []
    words += clause(scene.clause)
    if scene.link:
        link = Word("kiam", ("when clause",)) if scene.link == "when" else Word("kaj", ("coordination",))
        words += [link] + clause(scene.second)
    return Sentence(tuple(words))


def clause(meaning) -> list[Word]:
    match meaning:
        case Event():
            return noun_phrase(meaning.subject) + predicate(meaning)
        case Identity(subject=subject, what=what, negated=negated):
            this = [Word("ĉi"), Word("tiuj" if what.plural else "tio")]
            return (noun_phrase(subject) if subject else this) + be(negated) + noun_phrase(what)
        case Quality(subject=subject, adjective=quality, very=very, negated=negated):
            return noun_phrase(subject) + be(negated) + adjective(quality, very, subject.plural)
        case Existence(what=what, place=place):
            return be(False) + noun_phrase(what) + where(place)


def predicate(event: Event) -> list[Word]:
    words = [Word("ne", ("negation",))] if event.negated else []
    words += [Word(ROOT[event.adverb.name], ("adverb",))] if event.adverb else []
    if event.tense in ("want", "can"):
        auxiliary = "volas" if event.tense == "want" else "povas"
        words += [Word(auxiliary, ("wish and ability",)), Word(ROOT[event.verb.name] + "i", ("wish and ability",))]
    else:
        words.append(verb(event.verb, event.tense))
    if event.object:
        words += noun_phrase(event.object, accusative=True)
    if event.recipient:
        words += [Word("al", ("recipient",))] + noun_phrase(event.recipient)
    return words + (where(event.place) if event.place else [])


def noun_phrase(phrase, accusative: bool = False) -> list[Word]:
    """la tri ruĝaj katoj de mario, kiujn ... ; one ending for all."""
    match phrase:
        case Pronoun(plural=plural):
            return [Word("ni" if plural else "mi")]
        case Pair(first=first, second=second):
            return noun_phrase(first, accusative) + [Word("kaj", ("coordination",))] + noun_phrase(second, accusative)

    noun = phrase.noun
    portion = is_mass(noun) and phrase.determiner is Determiner.A
    words = determiner(phrase, accusative)
    if portion:  # du tasoj da kafo: the cup is counted and is the object
        words += [inflect(ROOT[noun.en[1]] + "o", phrase.plural, accusative, "portion"), Word("da", ("portion",))]
    plural, accusative = (False, False) if portion else (phrase.plural, accusative)
    if phrase.adjective:
        words += adjective(phrase.adjective, phrase.very, plural, accusative)
    words.append(inflect(ROOT[noun.name] + "o", plural, accusative))
    if phrase.owner and not isinstance(phrase.owner, Pronoun):
        words += [Word("de", ("possession",))] + noun_phrase(phrase.owner)
    return words + (relative(phrase) if phrase.relative else [])


def determiner(phrase, accusative: bool) -> list[Word]:
    """la, ĉi tiuj, miaj, kelkaj, tri; nothing for "a"."""
    words = []
    if phrase.determiner is Determiner.THIS:
        words = [Word("ĉi"), inflect("tiu", phrase.plural, accusative)]
    elif isinstance(phrase.owner, Pronoun):
        words = [inflect("nia" if phrase.owner.plural else "mia", phrase.plural, accusative, "possession")]
    elif phrase.determiner in (Determiner.THE, Determiner.OWNED):
        words = [Word("la")]
    elif phrase.determiner is Determiner.A and phrase.count == SEVERAL:
        words = [inflect("kelka", True, accusative, "counting")]
    return words + ([Word(NUMBERS[phrase.count - 1], ("counting",))] if phrase.count > 1 else [])


def adjective(quality: Concept, very: bool, plural: bool, accusative: bool = False) -> list[Word]:
    said = inflect(ROOT[quality.name] + "a", plural, accusative, "adjective agreement")
    return [Word("tre", ("very",)), said] if very else [said]


def relative(head) -> list[Word]:
    """kiu ĉasas la muson, kiun la muso ĉasas: the ending of "kiu" tells the two apart."""
    clause_, tense = head.relative, "past" if head.relative.past else "present"
    which = inflect("kiu", head.plural, not clause_.head_is_subject, "relative clause")
    other = noun_phrase(clause_.other, accusative=clause_.head_is_subject)
    said = [verb(clause_.verb, tense)]
    return [which] + (said + other if clause_.head_is_subject else other + said)


def verb(concept: Concept, tense: str) -> Word:
    rules = {"past": ("past tense",), "future": ("future",)}
    return Word(ROOT[concept.name] + ENDINGS[tense], rules.get(tense, ()))


def be(negated: bool) -> list[Word]:
    return [Word("ne", ("negation",))] * negated + [Word("estas", ("copula",))]


def where(place: Concept) -> list[Word]:
    words = ["en", ROOT[place.name] + "o"] if place.kind == "city" else ["en", "la", ROOT[place.name] + "o"]
    return [Word(word, ("place",)) for word in words]


def inflect(word: str, plural: bool, accusative: bool, *rules: str) -> Word:
    """katoj, katon, katojn."""
    rules += ("plural",) * plural + ("accusative",) * accusative
    return Word(word + "j" * plural + "n" * accusative, rules)


# 3. Register it, and every pair with "eo" exists.

toy.register(Language("eo", "Esperanto", realise))

if __name__ == "__main__":
    print(toy.describe("en-eo", n=3, seed=1))
    corpus = toy.corpus("ko-eo", n_train=2000, n_test=50)
    print(f"\nA corpus from Korean: {len(corpus.train)} pairs for training, such as")
    for example in corpus.train[:3]:
        print(f"  {example.source}\n    {example.target}")
