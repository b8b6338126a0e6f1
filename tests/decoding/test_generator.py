"""Text from a language model: each sample as if it were alone, in whatever batch, and no more of it than was asked for."""
from types import SimpleNamespace

import numpy as np
import pytest

from minitx.autograd import no_grad
from minitx.data.text import pieces
from minitx.data.tokenizers import Tokenizer
from minitx.decoding.generator import Generator
from minitx.errors import UserError
from minitx.models import DecoderOnly

TEXT = "the cat sat on the mat, and the dog saw it.\nwhat did the cat say?\n" * 3
CHARACTERS = Tokenizer.train("characters", pieces(TEXT))
BYTES = Tokenizer.train("byte-bpe", pieces(TEXT), 300)


class Scripted:
    """A model that says what it was told to, whatever the prompt: sample i of a batch says scripts[i % len(scripts)], and nothing else."""

    max_length = 1000

    def __init__(self, tokenizer, *scripts):
        self.tokenizer, self.scripts, self.rows = tokenizer, [tokenizer.encode(script) for script in scripts], []
        self.embedding = SimpleNamespace(weight=range(len(tokenizer)))

    def eval(self):
        return self

    def read(self, ids, lengths, capacity):
        cache = ScriptedCache(list(range(len(ids))), np.asarray(lengths))
        return self.step(np.zeros(len(ids)), cache), cache

    def step(self, ids, cache):
        self.rows.append(len(ids))
        logits = np.full((len(ids), len(self.tokenizer)), -30.0, np.float32)
        for row, number in enumerate(cache.numbers):
            script = self.scripts[number % len(self.scripts)]
            logits[row, script[min(cache.said, len(script) - 1)]] = 30
        cache.said, cache.lengths = cache.said + 1, cache.lengths + 1
        return logits


class ScriptedCache:
    def __init__(self, numbers, lengths):
        self.numbers, self.lengths, self.said = numbers, lengths, 0

    def select(self, rows):
        kept = len(rows) <= len(self.numbers)  # more rows: samples that read one prompt together go apart
        self.numbers, self.lengths = [self.numbers[row] for row in rows] if kept else list(range(len(rows))), self.lengths[rows]


def scripted(*scripts, tokenizer=CHARACTERS):
    return Generator(Scripted(tokenizer, *scripts), tokenizer)


def random_generator(tokenizer=CHARACTERS, max_length=16, dtype="float64", **options):
    sizes = {"d_model": 16, "n_heads": 2, "n_layers": 2, "d_ff": 24, "seed": 3}
    model = DecoderOnly(len(tokenizer), max_length=max_length, **{**sizes, **options})
    for parameter in model.parameters():  # far from uniform, so that a mistake shows in what is said
        parameter.data *= 8
    return Generator(model.to(dtype), tokenizer)


def greedy_by_the_full_model(generator, prompt, n):
    """The definition: the most probable token after all tokens so far, the model seeing the whole text each time."""
    ids = CHARACTERS.encode(prompt)
    for _ in range(n):
        with no_grad():
            logits = np.asarray(generator.model(np.array([ids], np.int32)))[0, -1]
        logits[:4] = -np.inf
        ids.append(int(logits.argmax()))
    return CHARACTERS.decode(ids)[len(prompt):]


# What comes out

@pytest.mark.parametrize("options", [
    {"positions": "learned"}, {"positions": "sinusoidal"}, {"window": 5},
    {"positions": "rotary", "n_kv_heads": 1, "normalization": "rms", "activation": "swiglu", "bias": False}], ids=str)
def test_at_temperature_0_it_says_what_the_full_model_finds_most_probable(options):
    generator = random_generator(max_length=40, **options)
    prompts = ["the cat", "a", "what did the dog say?"]
    assert generator.generate(prompts, max_tokens=12, temperature=0) == [greedy_by_the_full_model(generator, one, 12) for one in prompts]


def test_prompts_of_different_lengths_in_one_batch_are_continued_as_each_alone():
    generator = random_generator(max_length=64)
    prompts = ["t", "the cat sat", "on the mat, and", "the"]
    together = generator.generate(prompts, max_tokens=30, seed=5)
    assert together == [generator.generate(one, max_tokens=30, seed=5) for one in prompts]
    assert len(set(together)) == 4 and {len(text) for text in together} == {30}


def test_samples_of_a_prompt_differ_and_do_not_depend_on_how_many_there_are():
    generator = random_generator()
    two, five = (generator.generate("the ", n=n, max_tokens=30) for n in (2, 5))
    assert five[:2] == two and len(set(five)) == 5


def test_the_same_seed_gives_the_same_text_and_another_one_another():
    generator = random_generator()
    first = generator.generate("the ", seed=1, max_tokens=30, temperature=1.3, top_p=0.9)
    assert generator.generate("the ", seed=1, max_tokens=30, temperature=1.3, top_p=0.9) == first
    assert generator.generate("the ", seed=2, max_tokens=30, temperature=1.3, top_p=0.9) != first


def test_strings_and_lists_come_back_as_they_went_in():
    generator = scripted("on")
    assert generator.generate("a", max_tokens=2) == "on"
    assert generator.generate(["a"], max_tokens=2) == ["on"]
    assert generator.generate("a", n=2, max_tokens=2) == ["on", "on"]
    assert generator.generate(["a", "b"], n=2, max_tokens=2) == [["on", "on"], ["on", "on"]]
    assert generator.generate([]) == []


def test_special_tokens_are_never_said():
    generator = random_generator()
    generator.model.embedding.weight.data[:4] *= 100
    assert not set("".join(generator.generate("the", n=20, max_tokens=30))) & set("<>")


def test_only_what_the_filters_leave_is_said():
    generator = random_generator()
    best = generator.next_tokens("the", k=1)[0].token
    assert set(generator.generate("the", n=50, max_tokens=1, top_k=1)) == {best}
    assert set(generator.generate("the", n=50, max_tokens=1, min_p=1.0)) == {best}
    assert len(set(generator.generate("the", n=50, max_tokens=1, temperature=5.0))) > 5


def test_the_penalty_counts_the_prompt():
    generator = random_generator()
    likely = generator.next_tokens("the", k=1)[0].token
    assert generator.generate("the" + likely, max_tokens=1, temperature=0, repetition_penalty=1e6) not in set("the" + likely)


# A context that is full

@pytest.mark.parametrize("prompt", ["the", "the cat sat on the mat, and the dog"])
def test_a_text_longer_than_the_model_goes_on_from_the_last_of_it(prompt):
    """When the 16 positions are full the model goes on with the last 12 tokens. The definition again, without a cache."""
    generator = random_generator()
    ids, begin = CHARACTERS.encode(prompt), 0
    begin = max(0, len(ids) - 16)
    for _ in range(40):
        if len(ids) - begin > 16:
            begin = len(ids) - 12
        with no_grad():
            logits = np.asarray(generator.model(np.array([ids[begin:]], np.int32)))[0, -1]
        logits[:4] = -np.inf
        ids.append(int(logits.argmax()))
    if len(prompt) > 16:
        with pytest.warns(UserWarning, match="a prompt of 35 tokens: the model sees the last 16"):
            found = generator.generate(prompt, max_tokens=40, temperature=0)
    else:
        found = generator.generate(prompt, max_tokens=40, temperature=0)
    assert prompt + found == CHARACTERS.decode(ids)


@pytest.mark.filterwarnings("ignore:a prompt of")
def test_a_full_context_of_one_sample_changes_nothing_for_the_others():
    generator = random_generator()
    prompts = ["t", "the cat sat", "the cat sat on the mat, and the dog", "what"]
    assert generator.generate(prompts, max_tokens=50) == [generator.generate(one, max_tokens=50) for one in prompts]


def test_a_model_of_one_position_still_speaks():
    assert len(random_generator(max_length=1).generate("t", max_tokens=5)) == 5


# Where a text ends

def test_a_stop_string_ends_its_sample_and_is_not_part_of_it():
    generator = scripted("the cat sat on the mat", "dog", "saw it")
    assert generator.generate(["a", "b", "c"], max_tokens=20, stop=" o")[0] == "the cat sat"
    assert scripted("the cat sat").generate("a", max_tokens=11, stop=["x", "cat", "the c"]) == ""  # the first that appears
    assert scripted("tta").generate("a", max_tokens=3, stop="ta") == "t"
    assert scripted("the cat").generate("the cat", max_tokens=7, stop=["sat", ""]) == "the cat"  # not found, and the prompt does not count


def test_a_stop_string_may_end_within_a_token():
    [cat] = BYTES.encode(" cat")
    assert scripted(" cat cat", tokenizer=BYTES).generate("a", max_tokens=2, stop="ca") == " "


def test_samples_that_have_ended_leave_the_batch():
    generator = scripted("a.", "a dog.", "a cat and.", "a dog saw it.")
    assert generator.generate(list("abcd"), max_tokens=50, stop=".") == ["a", "a dog", "a cat and", "a dog saw it"]
    assert generator.model.rows == [4] * 2 + [3] * 4 + [2] * 4 + [1] * 3


def test_samples_of_one_prompt_read_it_once():
    generator = scripted("a dog", "a cat")
    assert generator.generate(["a", "b", "a"], n=2, max_tokens=5) == [["a dog", "a cat"]] * 3
    assert generator.model.rows == [2] + [6] * 4
    random = random_generator()
    found = random.generate(["the", "a cat", "the"], n=3, max_tokens=9, seed=2)
    assert found[0] == found[2] == random.generate("the", n=3, max_tokens=9, seed=2) and found[1] == random.generate("a cat", n=3, max_tokens=9, seed=2)
    assert len(set(found[0])) == 3 and not set(found[0]) & set(found[1])


def test_the_end_of_a_text_ends_it_where_the_model_knows_one():
    generator = Generator(Scripted(CHARACTERS, "the cat sat"), CHARACTERS, end=CHARACTERS.encode("s"))
    assert generator.generate("a", max_tokens=50) == "the cat "


@pytest.mark.parametrize("tokens", [1, 7])
def test_no_more_tokens_come_than_were_asked_for(tokens):
    assert len(random_generator().generate("the", max_tokens=tokens)) == tokens


# Piece by piece

@pytest.mark.parametrize("stop", [(), "at", ["mat,", "dog saw"]])
def test_a_stream_is_the_text_in_pieces(stop):
    script = "the cat sat on the mat, and the dog saw it"
    for tokenizer in (CHARACTERS, BYTES):
        generator = scripted(script, tokenizer=tokenizer)
        streamed = list(generator.stream("a", max_tokens=30, stop=stop))
        assert "".join(streamed) == generator.generate("a", max_tokens=30, stop=stop) and all(streamed)
    assert len(list(scripted(script).stream("a", max_tokens=30))) == 30


def test_what_may_become_a_stop_string_is_held_back():
    assert list(scripted("a mad man").stream("a", max_tokens=9, stop="mat")) == ["a", " ", "mad", " ", "m", "a", "n"][:3] + [" ", "man"]


def test_a_character_comes_when_it_is_whole():
    text = "é猫🙂"
    assert list(scripted(text, tokenizer=BYTES).stream("a", max_tokens=9)) == ["é", "猫", "🙂"]
    assert scripted(text, tokenizer=BYTES).generate("a", max_tokens=4) == "é\ufffd"  # what is cut at the end is not hidden


# The next token

def test_the_distribution_is_that_of_the_model_beside_that_of_the_draw():
    generator = random_generator()
    with no_grad():
        logits = np.asarray(generator.model(np.array([CHARACTERS.encode("the")], np.int32)))[0, -1]
    shares = np.exp(logits) / np.exp(logits).sum()
    found = generator.next_tokens("the", k=len(CHARACTERS), top_k=3)
    order = np.argsort(-shares)
    assert [one.token for one in found] == CHARACTERS.tokens(order)
    np.testing.assert_allclose([one.probability for one in found], shares[order], rtol=1e-6)
    assert sum(one.chance for one in found) == pytest.approx(1) and sum(one.chance > 0 for one in found) == 3
    assert len(generator.next_tokens("the")) == 10
    with pytest.warns(UserWarning, match="sees the last 16"):
        assert generator.next_tokens("the cat sat on the mat, and")[0].probability < 1


# Prompts

def test_an_empty_prompt_begins_a_line():
    generator = random_generator()
    assert generator.generate("", max_tokens=9) == generator.generate("\n", max_tokens=9)
    one_line = Tokenizer.train("characters", ["abc"])
    assert len(random_generator(one_line).generate("", max_tokens=5)) == 5


def test_a_character_that_was_never_seen_is_named_and_read_as_unknown():
    generator = random_generator()
    assert generator.unknown("the 猫 Cat") == ["猫", "C"]
    assert len(generator.generate("the 猫", max_tokens=5)) == 5


@pytest.mark.parametrize("options, said", [({"n": 0}, "n is 0"), ({"max_tokens": 0}, "max_tokens is 0"), ({"temperature": -1.0}, "temperature"),
                                           ({"seed": -2}, "seed is -2")])
def test_a_mistake_is_named(options, said):
    with pytest.raises(UserError, match=said):
        random_generator().generate("the", **options)


def test_what_is_wrong_with_a_stream_is_told_before_its_first_piece():
    generator = scripted("the cat")
    for wrong, said in (({"temperature": -1}, "temperature"), ({"max_tokens": 0}, "max_tokens is 0"), ({"seed": -1}, "seed")):
        with pytest.raises(UserError, match=said):
            generator.stream("the", **wrong)


def test_a_stop_string_has_the_form_of_the_text():
    """An e and an accent are one character to a tokenizer that has brought its text to that form."""
    tokenizer = Tokenizer.train("characters", ["the caf\u00e9 and more"])
    assert scripted("the caf\u00e9 and", tokenizer=tokenizer).generate("", max_tokens=12, stop="e\u0301") == "the caf"
