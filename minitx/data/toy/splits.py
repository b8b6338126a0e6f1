"""Corpora: pairs of sentences for training, and held-out splits that each ask another question.

    unseen_sentences      new sentences of the kind seen in training: has the grammar been learnt?
    unseen_combinations   known words in pairs that training never showed (a tenth of all adjective-noun and verb-object pairs)
    longer                more clauses and more words than any training sentence
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from minitx.data.toy.dice import Dice
from minitx.data.toy.language import LANGUAGES, Language, Sentence, parse_pair
from minitx.data.toy.lexicon import ADJECTIVES, NOUNS, VERBS, Concept, suits
from minitx.data.toy.meanings import Scene, combinations
from minitx.data.toy.scenes import Scenes

HELD_OUT_SHARE = 0.12

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

    No sentence occurs twice, on either side, in any two parts; the words of the held-out parts all occur in training.
    Raises UserError where the pair names no two languages.
    """
    source, target = (LANGUAGES[code] for code in parse_pair(pair))
    held_out = held_out_combinations(seed)
    seen: set[str] = set()

    def fresh(stream: int, longer: bool, wanted: Callable[[Scene], bool]) -> Iterator[Example]:
        scenes = Scenes(seed, stream, longer)
        while True:
            scene = scenes.draw()
            if not wanted(scene):
                continue
            example = translate(scene, source, target)
            if example.source not in seen and example.target not in seen:
                yield example

    def take(n: int, examples: Iterator[Example]) -> list[Example]:
        taken = []
        for example in islice(examples, n):
            seen.update((example.source, example.target))
            taken.append(example)
        return taken

    def familiar(scene: Scene) -> bool:
        return held_out.isdisjoint(combinations(scene))

    train = take(n_train, fresh(TRAIN_STREAM, False, familiar))
    source_words = {word for example in train for word in example.source.split()}
    target_words = {word for example in train for word in example.target.split()}
    longest_source = max(example.source.count(" ") for example in train)
    longest_target = max(example.target.count(" ") for example in train)

    def known(examples: Iterator[Example]) -> Iterator[Example]:
        for example in examples:
            if source_words.issuperset(example.source.split()) and target_words.issuperset(example.target.split()):
                yield example

    def beyond(examples: Iterator[Example]) -> Iterator[Example]:
        for example in examples:
            if example.source.count(" ") > longest_source and example.target.count(" ") > longest_target:
                yield example

    validation = take(n_validation, known(fresh(VALIDATION_STREAM, False, familiar)))
    splits = {
        "unseen_sentences": take(n_test, known(fresh(SENTENCES_STREAM, False, familiar))),
        "unseen_combinations": take(n_test, known(fresh(COMBINATIONS_STREAM, False, lambda scene: not familiar(scene)))),
        "longer": take(n_test, beyond(known(fresh(LONGER_STREAM, True, familiar)))),
    }
    return Corpus((source.code, target.code), train, validation, splits, held_out)


def translate(scene: Scene, source: Language, target: Language) -> Example:
    """Say one meaning in two languages."""
    translation: Sentence = target.realise(scene)
    rules = tuple(word.rules for word in translation.words)
    return Example(str(source.realise(scene)), str(translation), rules, scene)


def possible_combinations() -> dict[Concept, list[Concept]]:
    """For each adjective the nouns it describes, for each verb the nouns it takes as objects."""
    return {word: [noun for noun in NOUNS if suits(noun, word.objects)] for word in ADJECTIVES + VERBS if word.objects}


def held_out_combinations(seed: int) -> frozenset[tuple[Concept, Concept]]:
    """The pairs that training must not see: some of the nouns of every adjective and of every verb, at least a tenth."""
    dice, held_out = Dice(seed, COMBINATION_STREAM), set()
    for word, nouns in possible_combinations().items():
        nouns = dict.fromkeys(nouns, 1.0)
        held_out.update((word, noun) for noun in dice.sample(nouns, max(1, round(HELD_OUT_SHARE * len(nouns)))))
    return frozenset(held_out)
