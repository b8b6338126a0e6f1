"""Tokenizers of all kinds: exact on the way back, deaf to special tokens in the text, the same on any machine."""

import functools
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given, strategies as st

from minitx.data.batches import SPECIAL_TOKENS
from minitx.data.text import pieces
from minitx.data.punctuation import Punctuation
from minitx.data.tokenizers import KINDS, Tokenizer, TokenizerPair
from minitx.errors import UserError

LINES = [
    "the red cats do not see the dog",
    "the dog sees a low house and a lower tree",
    "los gatos rojos no ven al perro",
    "ein Mädchen klettert über den Zaun .",
    "고양이가 개를 봅니다 .",
    "这 是 一 只 猫 。",
] * 3


@pytest.fixture(params=KINDS)
def tokenizer(request) -> Tokenizer:
    return Tokenizer.train(request.param, LINES, vocab_size=120 if request.param == "bpe" else None)


def test_the_special_tokens_come_first(tokenizer):
    assert tokenizer.tokens(range(4)) == list(SPECIAL_TOKENS) == ["<pad>", "<bos>", "<eos>", "<unk>"]


def test_what_was_learnt_from_is_restored_exactly(tokenizer):
    for line in LINES:
        ids = tokenizer.encode(line)
        assert min(ids) > 3
        assert tokenizer.decode(ids) == line


def test_a_batch_is_encoded_as_its_texts_are(tokenizer):
    texts = [*LINES, "", "zzz", "猫猫 perro"]
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]


def test_every_token_knows_the_word_it_is_of(tokenizer):
    text = "  the dags Zoe\u0308 Ægir's 猫 ."  # an e and two dots, which NFC makes one character
    words = tokenizer.words(text)
    assert len(words) == len(tokenizer.encode(text))
    if tokenizer.kind == "characters":
        assert "".join(words) == "  the dags Zo\u00eb Ægir's 猫 ."
    elif tokenizer.kind == "byte-bpe":
        assert list(dict.fromkeys(words)) == [" ", " the", " dags", " Zo\u00eb", " Ægir", "'s", " 猫", " ."]
    else:
        assert list(dict.fromkeys(words)) == ["the", "dags", "Zo\u00eb", "Ægir's", "猫", "."]


def test_unknown_tokens_are_replaced_in_their_order(tokenizer):
    if tokenizer.kind in ("words", "characters"):
        assert tokenizer.decode([3, 2, 3, 3, 3], ["a", None, "b"]).replace(" ", "") == "a<unk>b<unk>"


def test_an_unknown_character_of_bpe_takes_its_whole_word_with_it_but_no_punctuation():
    tokenizer = Tokenizer.train("bpe", ["ein kleiner hund.", "sch n, ja"] * 3, 60, apart=True)
    ids = tokenizer.encode("schön, 漢字 hund.")
    assert tokenizer.tokens(ids).count("<unk>") == 3
    assert tokenizer.decode(ids) == "sch<unk>n, <unk><unk> hund."
    assert tokenizer.decode(ids, ["schön", "漢字", "漢字"]) == "schön, 漢字 hund."
    assert tokenizer.decode(ids, [None, None, "猫"]) == "sch<unk>n, 猫 hund."


@pytest.mark.parametrize("lowercase", [False, True])
def test_normalized_text_is_what_comes_back(tokenizer, lowercase):
    letters = "  the  Dogs Zoe\u0308 \n"
    other = Tokenizer.train(tokenizer.kind, [letters, letters.lower()], lowercase=lowercase, vocab_size=300 if tokenizer.kind == "byte-bpe" else None)
    assert other.normalize(letters) == other.decode(other.encode(letters)) != letters
    assert other.normalize(letters).islower() == lowercase


def test_tokenizers_are_equal_when_they_cut_alike(tokenizer):
    assert tokenizer == Tokenizer.from_json(tokenizer.to_json())
    assert tokenizer != Tokenizer.train(tokenizer.kind, LINES, vocab_size=len(tokenizer), lowercase=True)


def test_length_counts_the_special_tokens():
    tokenizer = Tokenizer.train("words", ["b a b"])
    assert len(tokenizer) == 6
    assert tokenizer.kind == "words"
    assert tokenizer.tokens([4, 5]) == ["b", "a"]  # the more frequent word first


def test_pieces_are_shown_with_their_spaces():
    characters = Tokenizer.train("characters", ["a b"])
    assert characters.tokens(characters.encode("b a")) == ["b", "▁", "a"]
    bpe = Tokenizer.train("bpe", ["ab ab"] * 3)
    assert bpe.tokens(bpe.encode("ab b")) == ["▁ab", "▁", "b"]


def test_bpe_splits_a_new_word_into_pieces_it_knows():
    tokenizer = Tokenizer.train("bpe", ["low lower lowest new newer newest wide wider"] * 5)
    ids = tokenizer.encode("widest lows")
    assert 3 not in ids and len(ids) > 2
    assert tokenizer.decode(ids) == "widest lows"


@pytest.mark.parametrize("name", SPECIAL_TOKENS)
@pytest.mark.parametrize("template", ["{0}", "the {0} dog", "the{0}dog", "{0} {0} the", "{0}\t", "▁{0}"])
def test_a_special_token_in_the_text_is_text(tokenizer, name, template):
    text = template.format(name)
    ids = tokenizer.encode(text)
    assert set(ids).isdisjoint({0, 1, 2})
    if tokenizer.kind == "words":
        assert len(ids) == len(text.split())


@pytest.mark.parametrize("kind", KINDS)
def test_a_special_token_in_the_training_text_is_learnt_as_a_word(kind):
    text = "x<eos> <eos> <eos>x <unk> a<pad>b"
    tokenizer = Tokenizer.train(kind, [text] * 5)
    ids = tokenizer.encode(text)
    assert min(ids) > 3
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode([1, *ids, 2, 0, 0]) == text


def test_decode_drops_the_frame_wherever_it_stands_but_shows_the_unknown():
    tokenizer = Tokenizer.train("words", ["a b"])
    a, b = tokenizer.encode("a b")
    assert tokenizer.decode([1, a, 2, b, 0, 3, 0]) == "a b <unk>"
    assert tokenizer.decode([]) == ""


@pytest.mark.parametrize(
    "kind, unknown, decoded",
    [
        ("words", ["xylophone", "dogs,"], "the <unk> <unk> dog <unk>"),
        ("characters", ["x", "y", ","], "the <unk><unk>lo<unk>hone dogs<unk> dog <unk><unk>lo<unk>hone"),
        ("bpe", ["x", "y", ","], "the <unk><unk>lo<unk>hone dogs<unk> dog <unk><unk>lo<unk>hone"),
    ],
)
def test_words_never_seen_are_named_and_still_encode(kind, unknown, decoded):
    tokenizer = Tokenizer.train(kind, [line.replace("p", "b") for line in LINES[:2]])
    text = "the xylophone dogs, dog xylophone"
    if kind != "words":
        unknown = [*unknown[:2], "p", *unknown[2:]]
    assert tokenizer.unknown(text) == unknown
    assert tokenizer.decode(tokenizer.encode(text)) == decoded
    assert tokenizer.unknown("the dog") == []


def test_unicode_forms_of_one_text_are_one_text(tokenizer):
    assert tokenizer.encode("Ma\u0308dchen") == tokenizer.encode("M\u00e4dchen")
    assert tokenizer.unknown("Ma\u0308dchen") == []


@pytest.mark.parametrize("kind", KINDS)
def test_lowercase_holds_for_training_and_text(kind):
    tokenizer = Tokenizer.train(kind, ["Der HUND"], lowercase=True)
    assert tokenizer.decode(tokenizer.encode("der HunD")) == "der hund"
    cased = Tokenizer.train(kind, ["Der HUND"])
    assert "D" in cased.decode(cased.encode("Der HUND"))


def test_characters_keep_every_space_and_newline():
    text = "  a \t b\u00a0c\u3000\n\r\n🙂 "
    tokenizer = Tokenizer.train("characters", [text])
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode(text)) == len(text)


@pytest.mark.parametrize("kind", ["words", "bpe"])
def test_any_white_space_separates_words(kind):
    tokenizer = Tokenizer.train(kind, LINES)
    assert tokenizer.decode(tokenizer.encode(" the\t dog\u3000\u00a0\u2028sees\n")) == "the dog sees"
    assert tokenizer.encode("the  dog") == tokenizer.encode("the dog")


def test_byte_bpe_knows_every_character_and_keeps_all_white_space():
    tokenizer = Tokenizer.train("byte-bpe", LINES)
    text = "naïve\r\n\n  \t猫🙂 <eos>\u2028 "
    ids = tokenizer.encode(text)
    assert min(ids) > 3 and tokenizer.unknown(text) == [] and tokenizer.decode(ids) == text
    assert tokenizer.tokens(tokenizer.encode(" the\n\t dog")) == ["▁the", "↵", "⇥", "▁dog"]


def test_a_character_that_tokens_cut_in_two_shows_as_unknown_until_it_is_whole():
    tokenizer = Tokenizer.train("byte-bpe", ["abc"])
    ids = tokenizer.encode("猫")
    assert len(ids) == 3 and tokenizer.tokens(ids) == ["\ufffd"] * 3
    assert tokenizer.decode(ids[:2]) == "\ufffd" and tokenizer.decode(ids) == "猫"


@pytest.mark.parametrize("kind", ["characters", "byte-bpe"])
@given(st.text(alphabet="ab \n\t\u0301'猫\u2028", max_size=60))
def test_a_long_text_is_encoded_in_parts_as_it_is_whole(kind, text):
    tokenizer = _learnt(kind)
    ids = tokenizer.encode_text(text)
    assert ids.dtype == "int32" and ids.tolist() == tokenizer.encode(text)


@functools.cache
def _learnt(kind):
    return Tokenizer.train(kind, pieces("ab a\n\nb'a ba\n  ab\t\nb 猫\u2028 a\u0301\n" * 20))


hostile_text = st.text(alphabet="ab<eos>/▁#Ġ \tä한국猫🙂\u00a0", max_size=30)


@given(hostile_text, st.sampled_from(KINDS))
def test_any_text_is_restored_by_a_tokenizer_that_has_learnt_it(text, kind):
    tokenizer = Tokenizer.train(kind, [text, "a"])
    expected = text if kind in ("characters", "byte-bpe") else " ".join(text.split())
    assert tokenizer.decode(tokenizer.encode(text)) == expected


def test_halves_of_surrogate_pairs_become_question_marks(tokenizer):
    assert tokenizer.encode("the \ud83d dog") == tokenizer.encode("the ? dog")
    assert tokenizer.encode_batch(["the \ud83d dog"]) == [tokenizer.encode("the ? dog")]
    assert tokenizer.unknown("the \ud83d dog") == ([] if tokenizer.kind == "byte-bpe" else ["?"])


def test_a_small_vocabulary_keeps_the_most_frequent_words():
    lines = ["c b a"] * 3 + ["b a"] * 2 + ["b"]
    assert Tokenizer.train("words", lines, vocab_size=6).tokens([4, 5]) == ["b", "a"]
    assert Tokenizer.train("words", lines, min_frequency=5).tokens([4, 5]) == ["b", "a"]
    assert len(Tokenizer.train("words", lines, min_frequency=5)) == 6


def test_bpe_learns_as_many_tokens_as_asked_for():
    assert len(Tokenizer.train("bpe", LINES, vocab_size=100)) == 100


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"kind": "sentencepiece", "lines": LINES}, "'sentencepiece'; it must be one of words, characters, bpe"),
        ({"kind": "words", "lines": LINES, "vocab_size": 4}, "vocab_size is 4; .* at least 5"),
        ({"kind": "bpe", "lines": LINES, "vocab_size": -3}, "vocab_size is -3"),
        ({"kind": "bpe", "lines": ["abc def"], "vocab_size": 10}, "has 7 different characters .* take at least 11"),
        ({"kind": "byte-bpe", "lines": LINES, "vocab_size": 100}, "there are 256 different bytes .* take at least 260"),
        ({"kind": "words", "lines": [" ", ""]}, "nothing to learn"),
        ({"kind": "bpe", "lines": []}, "nothing to learn"),
    ],
)
def test_what_cannot_be_learnt_is_the_users_error(arguments, message):
    with pytest.raises(UserError, match=message):
        Tokenizer.train(**arguments)


def test_bpe_takes_a_vocabulary_that_just_holds_the_characters():
    tokenizer = Tokenizer.train("bpe", ["abc def"], vocab_size=11)
    assert tokenizer.decode(tokenizer.encode("fed cab")) == "fed cab"


def test_json_restores_the_tokenizer(tokenizer):
    again = Tokenizer.from_json(tokenizer.to_json())
    assert again.kind == tokenizer.kind and len(again) == len(tokenizer)
    for text in [*LINES, "the <eos> dog zzz", ""]:
        ids = tokenizer.encode(text)
        assert again.encode(text) == ids
        assert again.decode(ids) == tokenizer.decode(ids)
        assert again.unknown(text) == tokenizer.unknown(text)
    assert again.to_json() == tokenizer.to_json()


def altered_json(**changes) -> str:
    return json.dumps(json.loads(Tokenizer.train("words", LINES).to_json()) | changes)


def other_specials() -> dict:
    library = json.loads(Tokenizer.train("words", LINES).to_json())["library"]
    library["model"]["vocab"] |= {"<bos> ": 2, "<eos> ": 1}
    return library


@pytest.mark.parametrize(
    "text, message",
    [
        ("{", "not JSON"),
        ("[1, 2]", "kind must be one of"),
        ("{}", "kind must be one of"),
        (altered_json(kind="unigram"), "kind must be one of"),
        (altered_json(library=None), "the library cannot read it"),
        (altered_json(library={"model": "none"}), "the library cannot read it"),
        (altered_json(library=other_specials()), "ids 0 to 3 must be <pad> <bos> <eos> <unk>"),
    ],
)
def test_json_that_is_not_ours_is_the_users_error(text, message):
    with pytest.raises(UserError, match=message):
        Tokenizer.from_json(text)


def test_bpe_learns_the_same_on_any_number_of_threads():
    code = (
        "from minitx.data.tokenizers import Tokenizer\n"
        "lines = [f'{a}{b} {b}{c} {c}{a}{b}' for a in 'abcdef' for b in 'uvwxyz' for c in 'klmnop']\n"
        "print(Tokenizer.train('bpe', lines, 300).to_json())"
    )
    outputs = set()
    for parallel, threads in (("false", "1"), ("true", "1"), ("true", "3")):
        environment = os.environ | {"TOKENIZERS_PARALLELISM": parallel, "RAYON_NUM_THREADS": threads}
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True, env=environment
        )
        outputs.add(run.stdout)
    assert len(outputs) == 1
    assert outputs.pop().count('"merges"') == 1


def test_the_librarys_threads_are_left_alone_unless_asked_for():
    code = "import os, minitx.data.tokenizers; print(os.environ['TOKENIZERS_PARALLELISM'])"
    environment = {key: value for key, value in os.environ.items() if key != "TOKENIZERS_PARALLELISM"}
    for given_value, expected in (({}, "false"), ({"TOKENIZERS_PARALLELISM": "true"}, "true")):
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment | given_value
        )
        assert run.stdout.strip() == expected


PAIRS = [("the dog", "el perro"), ("the cat", "el gato")] * 5


def test_each_side_learns_its_own_vocabulary():
    pair = TokenizerPair.train("words", PAIRS)
    assert not pair.joint
    assert pair.source.unknown("the perro") == ["perro"]
    assert pair.target.unknown("the perro") == ["the"]


def test_a_joint_vocabulary_is_one_tokenizer_of_both_sides():
    pair = TokenizerPair.train("words", PAIRS, joint=True)
    assert pair.joint and pair.source is pair.target
    assert pair.source.unknown("the dog el gato") == []


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_pair_survives_its_file(tmp_path, kind, joint):
    pair = TokenizerPair.train(kind, PAIRS, joint=joint, lowercase=True)
    pair.save(tmp_path / "tokenizer.json")
    again = TokenizerPair.load(tmp_path / "tokenizer.json")
    assert again.joint == joint and (again.source is again.target) == joint
    for source, target in PAIRS[:2]:
        assert again.source.encode(source.upper()) == pair.source.encode(source)
        assert again.target.encode(target) == pair.target.encode(target)
    assert os.listdir(tmp_path) == ["tokenizer.json"]


def test_a_broken_tokenizer_file_is_named(tmp_path):
    path = tmp_path / "tokenizer.json"
    TokenizerPair.train("words", PAIRS).save(path)
    whole = path.read_bytes()
    description = json.loads(whole)
    for data, message in [
        (whole[: len(whole) // 2], "is broken"),
        (b"\xff\xfe", "is broken"),
        (b"", "is broken"),
        (b"[]", "holds no tokenizers of minitx"),
        (b'{"model": {}}', "holds no tokenizers of minitx"),
        (json.dumps(description | {"minitx_tokenizers": 99}).encode(), "has format 99; this minitx reads format 1"),
        (json.dumps(description | {"target": None}).encode(), "kind must be one of"),
    ]:
        path.write_bytes(data)
        with pytest.raises(UserError, match=message) as error:
            TokenizerPair.load(path)
        assert str(path) in str(error.value)
    with pytest.raises(UserError, match="nowhere does not exist"):
        TokenizerPair.load(tmp_path / "nowhere")


def test_nfkc_makes_plain_letters_of_what_looks_like_them():
    plain, folded = (Tokenizer.train("characters", ["fin. F2 abc"], unicode=form) for form in ("nfc", "nfkc"))
    assert folded.decode(folded.encode("ﬁn… Ｆ²")) == "fin... F2" and "<unk>" in plain.decode(plain.encode("ﬁn… Ｆ²"))
    assert Tokenizer.from_json(folded.to_json()).encode("ﬁ") == folded.encode("fi")
    assert folded.words("ﬁn") == ["f", "i", "n"]


def test_bpe_keeps_punctuation_apart_from_letters_when_it_is_asked_to():
    lines = ['"Ha!" he said (twice), "it\'s red-hot." $5'] * 50
    apart, joined = (Tokenizer.train("bpe", lines, 80, apart=way) for way in (True, False))
    assert apart.tokens(apart.encode(lines[0])) == ['▁"', "Ha", '!"', "▁he", "▁said", "▁(", "twice", "),", '▁"', "it", "'", "s", "▁red", "-", "hot", '."', "▁$", "5"]
    assert len(joined.encode(lines[0])) < len(apart.encode(lines[0]))
    for text in (*lines, "a - b", "(", "¿Qué? ¡No!", "。猫"):
        assert apart.decode(apart.encode(text)).replace("<unk>", "") == "".join(c for c in text if not apart.unknown(c))


RAW = [("The cat's house is red.", "La casa del gato es roja."), ("A dog, a cat.", "Un perro, un gato.")] * 20
SPLIT = [("the cat &apos;s house is red .", "la casa del gato es roja ."), ("a dog , a cat .", "un perro , un gato .")] * 20


def test_a_pair_knows_whether_its_text_has_punctuation_apart(tmp_path):
    for pairs, form in ((RAW, None), (SPLIT, Punctuation()), ([("a b", "c d")], None)):
        pair = TokenizerPair.train("words", pairs)
        assert pair.punctuation == (form, form)
        pair.save(tmp_path / "pair.json")
        assert TokenizerPair.load(tmp_path / "pair.json") == pair


def test_bpe_of_raw_text_has_punctuation_apart_and_of_split_text_as_it_is():
    raw, split = (TokenizerPair.train("bpe", pairs, 100, joint=True) for pairs in (RAW, SPLIT))
    assert raw.source.tokens(raw.source.encode("The cat, red.")) == ["▁The", "▁cat", ",", "▁red", "."]
    assert split.source.tokens(split.source.encode("the cat &apos;s")) == ["▁the", "▁cat", "▁&apos;s"]


def test_text_without_capitals_reads_them_as_small_letters():
    pair = TokenizerPair.train("words", [("the cat", "Un gato")])
    assert pair.source.encode("The CAT") == pair.source.encode("the cat")
    assert pair.target.encode("un") == [3] != pair.target.encode("Un")


def test_files_from_before_punctuation_was_known_are_read(tmp_path):
    path = tmp_path / "pair.json"
    TokenizerPair.train("words", SPLIT).save(path)
    description = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**description, "punctuation": [{"shape": "odd"}, None]}), encoding="utf-8")
    with pytest.raises(UserError, match="pair.json: punctuation is .*odd"):
        TokenizerPair.load(path)
    del description["punctuation"]
    path.write_text(json.dumps(description), encoding="utf-8")
    assert TokenizerPair.load(path).punctuation == (None, None)
