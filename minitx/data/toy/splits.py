"""Corpora: pairs of sentences for training, and held-out splits that each ask another question.

    unseen_sentences      new sentences of the kind seen in training: has the grammar been learnt?
    unseen_combinations   known words, but an adjective with a noun or a verb with an object that training never showed
    longer                more clauses and more words than any training sentence
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from .dice import Dice
from .language import LANGUAGES, Language, parse_pair
from .lexicon import ADJECTIVES, NOUNS, VERBS, Concept, suits
from .meanings import Scene, combinations
from .scenes import Scenes

HELD_OUT_SHARE = 0.12
FEW = 2_000  # training sentences that are too few to show every word

# Every part of a corpus draws from its own stream of random numbers.
COMBINATION_STREAM, TRAIN_STREAM, VALIDATION_STREAM, SENTENCES_STREAM, COMBINATIONS_STREAM, LONGER_STREAM = range(6)


@dataclass(frozen=True, slots=True)
class Example:
    """A sentence, its one right translation, and for every word of the translation the rules that made it."""

    source: str
    target: str
    rules: tuple[tuple[str, ...], ...]
    meaning: Scene


@dataclass
class Corpus:
    """Training examples, a few for validation, and the held-out splits in the order of their difficulty."""

    pair: tuple[str, str]
    train: list[Example]
    validation: list[Example]
    splits: dict[str, list[Example]]
    held_out: frozenset[tuple[Concept, Concept]] = field(repr=False)


def corpus(pair: str, seed: int = 0, n_train: int = 40_000, n_test: int = 500, n_validation: int = 300) -> Corpus:
    """Make the corpus of a pair such as "en-es"; the same arguments give the same corpus on any machine.

    No sentence occurs twice on either side. The words of the held-out parts all occur in training, unless n_train is
    under 2,000. Raises UserError where the pair names no two languages.
    """
    source, target = (LANGUAGES[code] for code in parse_pair(pair))
    collect = _Collector(seed, source, target).collect
    held_out = held_out_combinations(seed)

    def familiar(scene: Scene) -> bool:
        return held_out.isdisjoint(combinations(scene))

    train = collect(n_train, TRAIN_STREAM, familiar)
    words = {word for example in train for text in (example.source, example.target) for word in text.split()}
    longest_source = max((example.source.count(" ") for example in train), default=0)
    longest_target = max((example.target.count(" ") for example in train), default=0)

    def known(example: Example) -> bool:
        return n_train < FEW or (words.issuperset(example.source.split()) and words.issuperset(example.target.split()))

    def longer(example: Example) -> bool:
        beyond = example.source.count(" ") > longest_source and example.target.count(" ") > longest_target
        return beyond and known(example)

    validation = collect(n_validation, VALIDATION_STREAM, familiar, known)
    splits = {
        "unseen_sentences": collect(n_test, SENTENCES_STREAM, familiar, known),
        "unseen_combinations": collect(n_test, COMBINATIONS_STREAM, lambda scene: not familiar(scene), known),
        "longer": collect(n_test, LONGER_STREAM, familiar, longer),
    }
    return Corpus((source.code, target.code), train, validation, splits, held_out)


class _Collector:
    """Draws scenes and keeps their translations, none of them twice."""

    def __init__(self, seed: int, source: Language, target: Language):
        self.seed, self.source, self.target = seed, source, target
        self.seen_sources: set[str] = set()
        self.seen_targets: set[str] = set()

    def collect(
        self, n: int, stream: int, wanted: Callable[[Scene], bool], fits: Callable[[Example], bool] | None = None
    ) -> list[Example]:
        """The first n examples of a stream whose meaning is wanted and whose sentences fit."""
        scenes, examples = Scenes(self.seed, stream, longer=stream == LONGER_STREAM), []
        while len(examples) < n:
            scene = scenes.draw()
            if not wanted(scene):
                continue
            example = translate(scene, self.source, self.target)
            if example.source in self.seen_sources or example.target in self.seen_targets:
                continue
            if fits is not None and not fits(example):
                continue
            self.seen_sources.add(example.source)
            self.seen_targets.add(example.target)
            examples.append(example)
        return examples


def translate(scene: Scene, source: Language, target: Language) -> Example:
    """Say one meaning in two languages."""
    translation = target.realise(scene)
    rules = tuple(word.rules for word in translation.words)
    return Example(str(source.realise(scene)), str(translation), rules, scene)


def possible_combinations() -> dict[Concept, list[Concept]]:
    """For each adjective the nouns it describes, for each verb the nouns it takes as objects."""
    return {word: [noun for noun in NOUNS if suits(noun, word.objects)] for word in ADJECTIVES + VERBS if word.objects}


def held_out_combinations(seed: int) -> frozenset[tuple[Concept, Concept]]:
    """What training must not see together: at least a tenth of the adjective-noun and of the verb-object pairs."""
    dice, held_out = Dice(seed, COMBINATION_STREAM), set()
    for word, nouns in possible_combinations().items():
        nouns = dict.fromkeys(nouns, 1.0)
        held_out.update((word, noun) for noun in dice.sample(nouns, max(1, round(HELD_OUT_SHARE * len(nouns)))))
    return frozenset(held_out)
