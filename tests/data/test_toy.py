"""The toy languages: right sentences, one translation each, splits that hold out what they say."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from minitx.data import toy
from minitx.data.toy import english, hangul
from minitx.data.toy.describe import width
from minitx.data.toy.lexicon import ADJECTIVES, ADVERBS, NOUNS, PLACES, TIMES, VERBS, is_mass
from minitx.data.toy.meanings import (
    CAN, FUTURE, PAST, PRESENT, SEVERAL, WANT,
    Determiner, Event, Existence, Identity, NounPhrase, Pair, Pronoun, Quality, Relative, Scene, clauses, combinations,
)
from minitx.data.toy.splits import possible_combinations
from minitx.errors import UserError

ROOT = Path(__file__).parents[2]
SOME = {concept.name: concept for concept in NOUNS + PLACES + TIMES + ADVERBS}
THE, THIS, A, KIND, OWNED, NONE = (Determiner(name) for name in ("the", "this", "a", "kind", "owned", "none"))


def noun(name, determiner=THE, count=1, adjective=None, **more):
    return NounPhrase(SOME[name], determiner, count, adjective and describing(adjective), **more)


def doing(name):
    return next(verb for verb in VERBS if verb.name == name)


def describing(name):
    return next(adjective for adjective in ADJECTIVES if adjective.name == name)


SENTENCES = [
    (
        Scene(Identity(None, noun("cat", KIND))),
        "this is a cat",
        "este es un gato",
        "이것은 고양이다",
        "这 是 猫",
    ),
    (
        Scene(Identity(None, noun("apple", KIND, SEVERAL, "expensive"), negated=True)),
        "these are not expensive apples",
        "estas no son manzanas caras",
        "이것들은 비싼 사과가 아니다",
        "这些 不 是 贵 的 苹果",
    ),
    (
        Scene(Event(noun("cat", count=SEVERAL, adjective="red"), doing("see"), noun("dog"), negated=True)),
        "the red cats do not see the dog",
        "los gatos rojos no ven al perro",
        "그 빨간 고양이들은 그 개를 보지 않는다",
        "那些 红色 的 猫 看不见 那 条 狗",
    ),
    (
        Scene(
            Event(noun("mouse", A, 2), doing("eat"), noun("cheese", A, 3), tense=PAST, place=SOME["kitchen"]),
            SOME["yesterday"],
        ),
        "yesterday two mice ate three pieces of cheese in the kitchen",
        "ayer dos ratones comieron tres trozos de queso en la cocina",
        "어제 쥐 두 마리가 부엌에서 치즈 세 조각을 먹었다",
        "昨天 两 只 老鼠 在 厨房 里 吃 了 三 块 奶酪",
    ),
    (
        Scene(Event(noun("maria", NONE), doing("give"), noun("book", A), noun("boy"), tense=FUTURE)),
        "maria will give a book to the boy",
        "maría le va a dar un libro al niño",
        "마리아는 그 소년에게 책 한 권을 줄 것이다",
        "玛丽亚 会 给 那 个 男孩 一 本 书",
    ),
    (
        Scene(Event(noun("girl", THIS, SEVERAL), doing("sing"), tense=WANT, negated=True)),
        "these girls do not want to sing",
        "estas niñas no quieren cantar",
        "이 소녀들은 노래하고 싶어 하지 않는다",
        "这些 女孩 不 想 唱歌",
    ),
    (
        Scene(Event(Pronoun(plural=False), doing("dance"), tense=WANT, place=SOME["seoul"])),
        "i want to dance in seoul",
        "quiero bailar en seúl",
        "나는 서울에서 춤추고 싶다",
        "我 想 在 首尔 跳舞",
    ),
    (
        Scene(Event(noun("horse", A), doing("push"), noun("table"), tense=CAN, negated=True)),
        "a horse cannot push the table",
        "un caballo no puede empujar la mesa",
        "말 한 마리가 그 탁자를 밀 수 없다",
        "一 匹 马 不 能 推 那 张 桌子",
    ),
    (
        Scene(Quality(noun("cow", OWNED, owner=noun("king")), describing("tired"), very=True)),
        "the king's cow is very tired",
        "la vaca del rey está muy cansada",
        "그 왕의 소는 아주 피곤하다",
        "那 位 国王 的 奶牛 非常 疲惫",
    ),
    (
        Scene(Quality(noun("lamp", THIS), describing("blue"), negated=True)),
        "this lamp is not blue",
        "esta lámpara no es azul",
        "이 램프는 파랗지 않다",
        "这 盏 灯 不 是 蓝色 的",
    ),
    (
        Scene(
            Quality(
                noun("boy", relative=Relative(doing("help"), True, noun("maria", NONE), past=False)),
                describing("happy"),
            )
        ),
        "the boy who helps maria is happy",
        "el niño que ayuda a maría está feliz",
        "마리아를 돕는 그 소년은 행복하다",
        "帮助 玛丽亚 的 那 个 男孩 很 快乐",
    ),
    (
        Scene(Identity(None, noun("poem", relative=Relative(doing("write"), False, noun("woman"), True)))),
        "this is the poem that the woman wrote",
        "este es el poema que la mujer escribió",
        "이것은 그 여자가 쓴 그 시다",
        "这 是 那 个 女人 写 过 的 那 首 诗",
    ),
    (
        Scene(Identity(noun("elena", NONE), noun("singer", KIND, adjective="famous", very=True))),
        "elena is a very famous singer",
        "elena es una cantante muy famosa",
        "엘레나는 아주 유명한 가수다",
        "埃琳娜 是 非常 有名 的 歌手",
    ),
    (
        Scene(Existence(noun("flower", A, SEVERAL, "white"), SOME["garden"])),
        "there are some white flowers in the garden",
        "hay algunas flores blancas en el jardín",
        "정원에 하얀 꽃 몇 송이가 있다",
        "花园 里 有 几 朵 白色 的 花",
    ),
    (
        Scene(Event(Pair(noun("cat"), noun("dog")), doing("drink"), noun("milk", NONE), adverb=SOME["always"])),
        "the cat and the dog always drink milk",
        "el gato y el perro siempre beben leche",
        "그 고양이와 그 개는 항상 우유를 마신다",
        "那 只 猫 和 那 条 狗 总是 喝 牛奶",
    ),
    (
        Scene(Event(Pronoun(True), doing("rest"), tense=PRESENT), None, "when", Event(noun("bear"), doing("sleep"))),
        "we rest when the bear sleeps",
        "descansamos cuando el oso duerme",
        "그 곰이 잘 때 우리는 쉰다",
        "那 头 熊 睡觉 的 时候 我们 休息",
    ),
    (
        Scene(
            Event(noun("wolf", OWNED, 2, owner=Pronoun(True)), doing("run"), tense=PAST),
            None,
            "and",
            Event(noun("fox", OWNED, owner=Pronoun(False)), doing("play"), tense=PAST),
        ),
        "our two wolves ran and my fox played",
        "nuestros dos lobos corrieron y mi zorro jugó",
        "우리 늑대 두 마리는 달리고 내 여우는 놀았다",
        "我们 的 两 匹 狼 奔跑 了 而 我 的 狐狸 玩 了",
    ),
]


@pytest.mark.parametrize(("scene", "en", "es", "ko", "zh"), SENTENCES, ids=[row[1] for row in SENTENCES])
def test_a_meaning_is_said_right(scene, en, es, ko, zh):
    said = {code: str(language.realise(scene)) for code, language in toy.LANGUAGES.items()}
    assert (said["en"], said["es"], said["ko"], said["zh"]) == (en, es, ko, zh)


@pytest.mark.parametrize("adjective, article", [("useful", "a"), ("expensive", "an")])
def test_a_or_an_goes_by_the_sound(adjective, article):
    assert str(english.realise(Scene(Identity(None, noun("book", KIND, adjective=adjective))))) == f"this is {article} {adjective} book"


@pytest.mark.parametrize(
    ("dictionary", "present", "past", "prospective", "modifier"),
    [
        ("먹다", "먹는다", "먹었", "먹을", "먹은"),
        ("자다", "잔다", "잤", "잘", "잔"),
        ("찾다", "찾는다", "찾았", "찾을", "찾은"),
        ("보다", "본다", "봤", "볼", "본"),
        ("마시다", "마신다", "마셨", "마실", "마신"),
        ("쓰다", "쓴다", "썼", "쓸", "쓴"),
        ("돕다", "돕는다", "도왔", "도울", "도운"),
        ("팔다", "판다", "팔았", "팔", "판"),
        ("보내다", "보낸다", "보냈", "보낼", "보낸"),
        ("춤추다", "춤춘다", "춤췄", "춤출", "춤춘"),
        ("쉬다", "쉰다", "쉬었", "쉴", "쉰"),
        ("일하다", "일한다", "일했", "일할", "일한"),
    ],
)
def test_korean_verbs_are_conjugated_by_their_last_sound(dictionary, present, past, prospective, modifier):
    stem = dictionary.removesuffix("다")
    assert hangul.plain_present(stem) == present
    assert hangul.past_stem(stem) == past
    assert (hangul.with_n_or_l(stem, "ㄹ"), hangul.with_n_or_l(stem, "ㄴ")) == (prospective, modifier)


def test_english_verbs_double_their_last_letter_where_it_is_said_short():
    past = {"hug": "hugged", "fix": "fixed", "cry": "cried", "chase": "chased", "push": "pushed"}
    assert {base: english._add_ed(base) for base in past} == past


def test_korean_particles_follow_the_final_consonant():
    assert [hangul.attach(word, "는", "은") for word in ("고양이", "말", "책들")] == ["고양이는", "말은", "책들은"]


@pytest.mark.parametrize(("longer", "n"), [(False, 20_000), (True, 2_000)])
def test_a_sentence_has_one_meaning_in_every_language(longer, n):
    scenes = toy.Scenes(seed=1, stream=0, longer=longer)
    meanings = {code: {} for code in toy.LANGUAGES}
    for _ in range(n):
        scene = scenes.draw()
        for code, language in toy.LANGUAGES.items():
            assert meanings[code].setdefault(str(language.realise(scene)), scene) == scene


def test_what_is_negated_is_no_other_sentence_in_any_language():
    """Without doing it to some is doing it to hardly any in Chinese, and 看不见 is both does not see and cannot see."""
    scenes, seen = toy.Scenes(seed=3, stream=0), Counter()
    for _ in range(5_000):
        event = scenes.draw().clause
        if isinstance(event, Event) and event.negated:
            seen[event.verb.name, event.tense] += 1
            if isinstance(event.object, NounPhrase) and event.object.determiner is A and event.object.count in (1, SEVERAL):
                assert is_mass(event.object.noun)
    assert seen["see", "present"] and not seen["see", "can"] and sum(seen.values()) > 300


@pytest.fixture(scope="module", params=["en-es", "ko-zh"])
def corpus(request):
    return toy.corpus(request.param)


def test_sentences_are_rich_and_not_long(corpus):
    for side in ("source", "target"):
        sentences = [getattr(example, side).split() for example in corpus.train]
        assert sum(map(len, sentences)) / len(sentences) >= 8
        assert max(map(len, sentences)) <= 22
        forms = Counter(word for sentence in sentences for word in sentence)
        assert len(forms) >= 250


def test_parts_have_their_sizes_and_share_no_sentence(corpus):
    parts = [corpus.train, corpus.validation, *corpus.splits.values()]
    assert [len(part) for part in parts] == [40_000, 300, 500, 500, 500]
    assert list(corpus.splits) == ["unseen_sentences", "unseen_combinations", "longer"]
    for side in ("source", "target"):
        everything = [getattr(example, side) for part in parts for example in part]
        assert len(set(everything)) == len(everything)


def test_a_tenth_of_the_combinations_is_held_out(corpus):
    for kind in (ADJECTIVES, VERBS):
        possible = {(word, noun) for word, nouns in possible_combinations().items() if word in kind for noun in nouns}
        assert len(possible & corpus.held_out) >= len(possible) / 10
    for example in corpus.train + corpus.splits["unseen_sentences"] + corpus.validation + corpus.splits["longer"]:
        assert not combinations(example.meaning) & corpus.held_out
    for example in corpus.splits["unseen_combinations"]:
        assert combinations(example.meaning) & corpus.held_out


def test_longer_sentences_have_more_clauses_and_more_words(corpus):
    assert max(clauses(example.meaning) for example in corpus.train) == 2
    assert min(clauses(example.meaning) for example in corpus.splits["longer"]) >= 3
    for side in ("source", "target"):
        longest = max(len(getattr(example, side).split()) for example in corpus.train)
        assert all(len(getattr(example, side).split()) > longest for example in corpus.splits["longer"])


def test_every_word_of_the_tests_is_known_from_training(corpus):
    for side in ("source", "target"):
        known = {word for example in corpus.train for word in getattr(example, side).split()}
        for split in (corpus.validation, *corpus.splits.values()):
            assert known.issuperset(word for example in split for word in getattr(example, side).split())


@pytest.mark.parametrize("code", ["en", "es", "ko", "zh"])
def test_fifteen_rules_or_more_occur_often_and_are_explained(code):
    scenes, n = toy.Scenes(seed=0, stream=1), 5_000
    sentences = [toy.LANGUAGES[code].realise(scenes.draw()) for _ in range(n)]
    counts = Counter(rule for said in sentences for rule in {rule for word in said.words for rule in word.rules})
    assert toy.RULES.keys() >= counts.keys()
    assert len(counts) >= 15
    assert min(counts.values()) >= 0.03 * n, counts.most_common()[-1]


def test_rules_belong_to_the_words_of_the_target(corpus):
    for example in corpus.train[:1000]:
        assert len(example.rules) == len(example.target.split())


def test_words_are_lower_case_with_one_space_between(corpus):
    for example in corpus.train[:1000]:
        for text in (example.source, example.target):
            assert text == " ".join(text.lower().split())


def test_the_same_seed_gives_the_same_corpus_in_another_process():
    make = "toy.corpus('es-ko', 3, n_train=50, n_test=5).train"
    code = f"from minitx.data import toy; print([example.target for example in {make}])"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
            capture_output=True, text=True, encoding="utf-8", check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    here = toy.corpus("es-ko", 3, n_train=50, n_test=5)
    assert runs[0] == runs[1] == f"{[example.target for example in here.train]}\n"
    assert toy.corpus("es-ko", 4, n_train=50, n_test=5).train != here.train


@pytest.mark.parametrize("source", ["en", "es", "ko", "zh"])
@pytest.mark.parametrize("target", ["en", "es", "ko", "zh"])
def test_every_pair_exists(source, target):
    if source != target:
        corpus = toy.corpus(f"{source}-{target}", n_train=200, n_test=5)
        assert corpus.pair == (source, target)
        assert all(example.source and example.target for example in corpus.train)


@pytest.mark.parametrize("pair", ["en-xx", "en", "en-en", "", "en-es-ko"])
def test_an_unknown_pair_is_an_error_that_names_the_languages(pair):
    with pytest.raises(UserError, match=f"en, es, ko, zh.*{pair}"):
        toy.parse_pair(pair)


def test_descriptions_are_aligned_in_the_terminal():
    lines = toy.describe("en-ko", n=1, seed=3).splitlines()
    assert lines[0].startswith("en  ") and lines[1].startswith("ko  ")
    rows = [line.split() for line in lines[3 : lines.index("", 3)]]
    assert [row[0] for row in rows] == lines[1].split()[1:]
    starts = {width(line[: line.index(row[1], 4 + len(row[0]))]) for line, row in zip(lines[3:], rows) if row[1:]}
    assert len(starts) == 1
    assert width("고양이 cat") == 10


def test_the_example_adds_a_language():
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "add_a_language.py"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        capture_output=True, text=True, encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert "accusative" in done.stdout


def test_a_language_code_is_lower_case():
    with pytest.raises(ValueError, match="EO"):
        toy.register(toy.Language("EO", "Esperanto", toy.LANGUAGES["en"].realise))
