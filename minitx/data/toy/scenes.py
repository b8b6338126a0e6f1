"""Scenes drawn at random: what can sensibly happen, and how often.

`Scenes(seed, stream).draw()` gives one Scene after the other; a seed and a stream give the same ones on any machine.
The shares are chosen so that sentences have about ten English words and every grammatical rule turns up often.
"""

from dataclasses import replace

from . import lexicon
from .dice import Dice
from .lexicon import Concept, adjectives_for, is_mass, is_person, nouns_of, suits, verbs_with
from .meanings import (
    CAN, FUTURE, PAST, PRESENT, SEVERAL, WANT,
    Determiner, Event, Existence, Identity, NounPhrase, Pair, Pronoun, Quality, Relative, Scene, clauses, size,
)

ANIMATE = ("person", "animal")
THINGS = ("fruit", "text", "clothes", "vehicle", "furniture", "toy", "plant")
PAIRED = ("person", "animal", "food", "drink")  # what stands in "x and y"
TENSES = {PRESENT: 0.32, PAST: 0.28, FUTURE: 0.14, WANT: 0.13, CAN: 0.13}
TENSE_OF_TIMES = {PRESENT: "present", PAST: "past", FUTURE: "future", WANT: "future", CAN: "future"}

# The shares of the four kinds of sentences, and how much a sentence may say (`size` counts about words).
SENTENCES = {"event_scene": 0.66, "identity_scene": 0.14, "quality_scene": 0.13, "existence_scene": 0.07}
SIZES, LONGER_SIZES = (6, 13), (17, 21)

# What may be added to "somebody does something", with its weight; a sentence gets one to three of them.
EXTRAS = {"time": 3.0, "place": 2.4, "adverb": 2.4, "relative": 2.6, "pair": 1.6, "owner": 2.0, "link": 2.6}


class Scenes:
    """An endless source of scenes; `longer` ones have three clauses or more, the others at most two."""

    def __init__(self, seed: int, stream: int, longer: bool = False):
        self.dice = Dice(seed, stream)
        self.longer = longer
        self.taken: set[Concept] = set()  # the nouns of the scene at hand: nobody chases himself

    def draw(self) -> Scene:
        """The next scene that says enough, and not too much."""
        smallest, largest = LONGER_SIZES if self.longer else SIZES
        while True:
            self.taken.clear()
            scene = getattr(self, self.dice.weighted({"event_scene": 1.0} if self.longer else SENTENCES))()
            if smallest <= size(scene) <= largest and (not self.longer or clauses(scene) >= 3):
                return scene

    # The four kinds of sentences.

    def event_scene(self) -> Scene:
        dice = self.dice
        verb, tense = dice.pick(lexicon.VERBS), dice.weighted(TENSES)
        if tense == PAST and verb.flag == "no past":
            tense = PRESENT
        several = (2, 2, 3) if not verb.objects else (0, 1, 1) if verb.flag == "giving" else (1, 2, 2)
        extras = dice.sample(self.possible_extras(verb, tense), 4 if self.longer else dice.pick(several))
        if "relative" in extras and "link" in extras and not self.longer:
            extras.remove(dice.pick(("relative", "link")))
        link = "link" in extras and ("when" if tense == PRESENT and dice.chance(0.75) else "and")
        negated = not link and "adverb" not in extras and dice.chance(0.3) and (verb.name, tense) != ("see", CAN)  # 看不见 is both
        clause = self.event(verb, tense, extras, negated=negated)
        time = self.time(TENSE_OF_TIMES[tense], weekly=clause.adverb is None) if "time" in extras else None
        if not link:
            return Scene(clause, time)
        second_verb = verb
        while second_verb is verb or second_verb.flag == "giving" or (tense == PAST and second_verb.flag == "no past"):
            second_verb = dice.pick(lexicon.VERBS)
        return Scene(clause, time, link, self.event(second_verb, tense, {"relative"} if self.longer else set()))

    def identity_scene(self) -> Scene:
        dice = self.dice
        negated = dice.chance(0.4)
        if dice.chance(0.3):
            this_person = {"determiner": Determiner.THIS, "numerals": False}
            who = self.name() if dice.chance(0.5) else self.noun_phrase("person", **this_person)
            what = dice.pick(nouns_of("profession"))
            return Scene(Identity(who, self.described(what, Determiner.KIND, who.count, adjective=0.6), negated))
        noun = self.new_noun("animal", *THINGS)
        form = dice.weighted({"kind": 0.5, "owner": 0.25, "relative": 0.25})
        if form == "kind":
            what = self.described(noun, Determiner.KIND, dice.pick((1, SEVERAL)), adjective=0.8)
        elif form == "owner":
            what = self.described(noun, Determiner.OWNED, 1, adjective=0.6, owner=self.owner())
        else:
            what = self.with_relative(noun, past=dice.chance(0.5), several=False)
        return Scene(Identity(None, what, negated))

    def quality_scene(self) -> Scene:
        dice = self.dice
        extra = dice.weighted({"owner": 1, "relative": 1, "pair": 1, "when": 1, "time": 1})
        if extra == "pair":
            subject = self.pair(*ANIMATE)
            noun, other = subject.first.noun, subject.second.noun
            choices = [a for a in adjectives_for(noun) if a in adjectives_for(other)]
        else:
            subject = self.noun_phrase(*ANIMATE, *THINGS, extra=extra, definite=True, adjective=0.2, past=False)
            choices = [a for a in adjectives_for(subject.noun) if a is not subject.adjective]
        adjective = dice.pick(choices)
        very = adjective not in lexicon.COLOURS and dice.chance(0.35)
        quality = Quality(subject, adjective, very, negated=not very and dice.chance(0.4))
        passing = adjective.es[-1] == "estar"
        if extra == "when" and passing:
            return Scene(quality, None, "when", self.event(dice.pick(lexicon.VERBS[:9]), PRESENT, set()))
        return Scene(quality, self.time("present") if passing and extra in ("time", "when") else None)

    def existence_scene(self) -> Scene:
        what = self.noun_phrase(*ANIMATE, *THINGS, determiner=Determiner.A, adjective=0.8)
        time = self.time("present") if self.dice.chance(0.5) else None
        return Scene(Existence(what, self.dice.pick(lexicon.PLACES)), time)

    # Their parts.

    def possible_extras(self, verb: Concept, tense: str) -> dict[str, float]:
        extras = dict(EXTRAS)
        if tense != PRESENT and verb.flag != "manner":
            del extras["adverb"]
        if tense in (WANT, CAN):
            del extras["link"]
        return extras

    def event(self, verb: Concept, tense: str, extras: set[str], negated: bool = False) -> Event:
        """An event with these extras; a bare second clause gets none."""
        dice, past = self.dice, tense == PAST
        structure = next((extra for extra in ("relative", "pair", "owner") if extra in extras), None)
        hosts = self.hosts(structure, verb, extras)
        at_subject = structure if "subject" in hosts else None
        at_object = structure if "object" in hosts else None
        adjective = 0.42 if extras else 0.2

        if at_subject == "pair":
            subject = self.pair(*verb.subjects)
        elif at_subject is None and not past and dice.chance(0.4 if tense == PRESENT else 0.16):
            subject = Pronoun(plural=dice.chance(0.5))
        else:
            definite = not extras
            subject = self.noun_phrase(
                *verb.subjects, extra=at_subject, definite=definite, adjective=adjective, past=past
            )

        thing = recipient = None
        if verb.objects:
            if at_object == "pair":
                thing = self.pair(*verb.objects)
            else:
                thing = self.noun_phrase(*verb.objects, extra=at_object, adjective=adjective, past=past)
                if negated and thing.determiner is Determiner.A and thing.count in (1, SEVERAL) and not is_mass(thing.noun):
                    thing = replace(thing, determiner=Determiner.THE)  # 没 买 几 本 书 is: hardly any
        if verb.flag == "giving":
            recipient = self.noun_phrase("person", definite=True, adjective=0.0)

        adverb = None
        if "adverb" in extras:
            frequency = tense == PRESENT and at_subject != "relative" and (verb.flag != "manner" or dice.chance(0.5))
            if frequency or verb.flag == "manner":
                kind = "frequency" if frequency else "manner"
                adverb = dice.pick([adverb for adverb in lexicon.ADVERBS if adverb.kind == kind])
        place = dice.pick(lexicon.PLACES) if "place" in extras else None
        return Event(subject, verb, thing, recipient, tense, negated, adverb, place)

    def hosts(self, structure: str | None, verb: Concept, extras: set[str]) -> list[str]:
        """Which part of the event gets the relative clause, the pair or the owner, so that nobody can misread it."""
        possible = ["subject"]
        if structure == "relative" and verb.objects and verb.flag != "giving" and not extras & {"place", "adverb"}:
            possible.append("object")  # in "draws the lamp that maria buys in the park", who is in the park?
        if structure == "pair" and any(kind in PAIRED for kind in verb.objects):
            possible.append("object")
        if structure == "owner" and verb.objects:
            possible = ["object"] if verb.subjects == ("person",) else ["subject", "object"]
        return possible if self.longer and structure == "relative" else [self.dice.pick(possible)]

    def noun_phrase(
        self, *kinds: str, extra: str | None = None, determiner: Determiner | None = None,
        definite: bool = False, adjective: float = 0.42, past: bool = False, numerals: bool = True,
    ) -> NounPhrase:
        """A noun of these kinds with a determiner and a number, perhaps an adjective, an owner or a relative clause."""
        dice = self.dice
        if "person" in kinds and extra is None and determiner is None and dice.chance(0.16):
            return self.name()
        noun = self.new_noun(*kinds)
        if is_mass(noun):
            if dice.chance(0.4):
                return self.described(noun, Determiner.NONE, 1, adjective)
            return self.described(noun, Determiner.A, dice.pick((1, 1, 2, 3, 4, 5)), adjective * 0.5)
        if extra == "relative":
            return self.with_relative(noun, past)
        if extra == "owner" and noun.kind != "person":
            count = 1 if dice.chance(0.65) else self.numeral()
            return self.described(noun, Determiner.OWNED, count, adjective, owner=self.owner())
        if determiner is None:
            weights = {Determiner.THE: 0.4, Determiner.THIS: 0.25, Determiner.A: 0.0 if definite else 0.35}
            determiner = dice.weighted(weights)
        if determiner is Determiner.A or suits(noun, ANIMATE):
            count = dice.weighted({1: 0.5, SEVERAL: 0.3, 2: 0.2 if numerals else 0})
        else:
            count = dice.weighted({1: 0.6, 2: 0.4 if numerals else 0})  # Korean seldom marks the plural of things
        return self.described(noun, determiner, self.numeral() if count == 2 else count, adjective)

    def described(self, noun: Concept, determiner: Determiner, count: int, adjective: float, **more) -> NounPhrase:
        """The noun phrase, with an adjective that fits in this share of the cases."""
        choices = adjectives_for(noun)
        if not choices or not self.dice.chance(adjective):
            return NounPhrase(noun, determiner, count, **more)
        quality = self.dice.pick(choices)
        very = quality not in lexicon.COLOURS and self.dice.chance(0.25)
        return NounPhrase(noun, determiner, count, quality, very, **more)

    def with_relative(self, noun: Concept, past: bool, several: bool = True) -> NounPhrase:
        """The cat that chases the dog, the book that maria reads."""
        dice = self.dice
        as_subject = is_person(noun) or (noun.kind == "animal" and dice.chance(0.5))
        verb = dice.pick(verbs_with(noun, as_subject))
        while past and verb.flag == "no past":
            verb = dice.pick(verbs_with(noun, as_subject))
        if as_subject:
            other = self.noun_phrase(*verb.objects, adjective=0.15)
        elif not past and dice.chance(0.2):
            other = Pronoun(plural=dice.chance(0.5))
        else:
            other = self.noun_phrase(*verb.subjects, definite=True, adjective=0.15)
        count = SEVERAL if several and suits(noun, ANIMATE) and dice.chance(0.4) else 1
        return self.described(noun, Determiner.THE, count, 0.2, relative=Relative(verb, as_subject, other, past))

    def pair(self, *kinds: str) -> Pair:
        """maria and this dog, bread and cheese."""
        kinds = tuple(kind for kind in kinds if kind in PAIRED)
        return Pair(self.one_of_pair(kinds), self.one_of_pair(kinds))

    def one_of_pair(self, kinds: tuple[str, ...]) -> NounPhrase:
        if "person" in kinds and self.dice.chance(0.3):
            return self.name()
        noun = self.new_noun(*kinds)
        determiner = Determiner.NONE if is_mass(noun) else self.dice.pick((Determiner.THE, Determiner.THIS))
        return self.described(noun, determiner, 1, adjective=0.25)

    def owner(self) -> NounPhrase | Pronoun:
        if self.dice.chance(0.45):
            return Pronoun(plural=self.dice.chance(0.4))
        return self.name() if self.dice.chance(0.4) else NounPhrase(self.new_noun("person"), Determiner.THE)

    def name(self) -> NounPhrase:
        return NounPhrase(self.new_noun("name"), Determiner.NONE)

    def numeral(self) -> int:
        return 2 + int(self.dice.number() * 9)

    def time(self, tense: str, weekly: bool = True) -> Concept:
        """A time for the tense; "always" does not go with "every week"."""
        return self.dice.pick([t for t in lexicon.TIMES if tense in t.tenses and (weekly or "every" not in t.name)])

    def new_noun(self, *kinds: str) -> Concept:
        choices = nouns_of(*kinds)
        noun = self.dice.pick(choices)
        while noun in self.taken:
            noun = self.dice.pick(choices)
        self.taken.add(noun)
        return noun
