"""BLEU and chrF as papers report them: each form of the text is what it says, whichever form came in."""
import pytest
import sacrebleu

from minitx.data.punctuation import Punctuation
from minitx.training.metrics import text_scores
from minitx.training.scoring import as_it_is, bleu_by_length, paper_scores

REFERENCES = ["The dog's house, an old one, is red.", "Two cats do not see the dog.", 'He said "stop"!'] * 3
HYPOTHESES = ["the dog's home, an old one, is red.", "Two cats do not see a dog.", 'He said "Stop"!'] * 3
SPLIT = {"The dog's house, an old one, is red.": "the dog &apos;s house , an old one , is red .", "Two cats do not see the dog.": "two cats do not see the dog .",
         'He said "stop"!': "he said &quot; stop &quot; !", "the dog's home, an old one, is red.": "the dog &apos;s home , an old one , is red .",
         "Two cats do not see a dog.": "two cats do not see a dog .", 'He said "Stop"!': "he said &quot; stop &quot; !"}


def split(texts):
    return [SPLIT[text] for text in texts]


def by_names(found):
    return {(one["measure"], one["form"]): one for one in found}


@pytest.mark.parametrize("hypotheses", [HYPOTHESES, split(HYPOTHESES)], ids=["raw", "split"])
@pytest.mark.parametrize("references", [REFERENCES, split(REFERENCES)], ids=["raw", "split"])
def test_the_tokenised_score_does_not_depend_on_the_form_that_came_in(hypotheses, references):
    scores = by_names(paper_scores(hypotheses, references))
    expected = sacrebleu.BLEU(tokenize="none", lowercase=True, force=True).corpus_score(split(HYPOTHESES), [split(REFERENCES)]).score
    found = scores["BLEU", "tokenised, lowercased"]
    assert found["score"] == pytest.approx(expected) and 50 < expected < 99
    assert "case:lc|" in found["signature"] and "tok:none" in found["signature"]


def test_raw_text_is_scored_as_people_write_it_capitals_and_all():
    scores = by_names(paper_scores(HYPOTHESES, REFERENCES))
    assert scores["BLEU", "raw text"]["score"] == pytest.approx(sacrebleu.BLEU().corpus_score(HYPOTHESES, [REFERENCES]).score)
    assert scores["chrF", "raw text"]["score"] == pytest.approx(sacrebleu.CHRF().corpus_score(HYPOTHESES, [REFERENCES]).score)
    assert "case:mixed" in scores["BLEU", "raw text"]["signature"] and "tok:13a" in scores["BLEU", "raw text"]["signature"]
    assert scores["BLEU", "raw text"]["score"] < scores["BLEU", "tokenised, lowercased"]["score"]
    joined = by_names(paper_scores(split(HYPOTHESES), split(REFERENCES)))
    assert joined["chrF", "raw text"]["score"] == pytest.approx(
        sacrebleu.CHRF().corpus_score([text.lower() for text in HYPOTHESES], [[text.lower() for text in REFERENCES]]).score)


def test_text_that_is_split_is_scored_as_it_is():
    """Published figures are of the files as they are: a line of another form, or with other spaces, is not put right."""
    references = ["a dog 's house .", "two cats , one dog ."] * 2
    hypotheses = ["a dog &apos;s house .", "two cats , one dog ."] * 2
    assert by_names(paper_scores(hypotheses, references))["BLEU", "tokenised, lowercased"]["score"] < 80


@pytest.mark.parametrize("texts, tokenizer", [(["这是一只红色的猫。", "我们看见了两只狗"], "tok:zh"), (["これは猫です", "犬がいる"], "tok:char"), (["the cat, a dog", "이것은 짧은 한국어 문장 입니다"], "tok:13a")])
def test_scripts_without_spaces_have_their_tokenizer(texts, tokenizer):
    scores = paper_scores([texts[0], texts[1][:-1]], texts)
    assert tokenizer in scores[1]["signature"] and 0 < scores[1]["score"] < 100


def test_a_form_that_is_known_is_not_guessed():
    """Too few marks to see it by."""
    form, references = Punctuation(), ["the dog &apos;s tail is long ."] * 3
    found = by_names(paper_scores(["the dog &apos;s tail is long"] * 3, references, form))
    raw = sacrebleu.BLEU().corpus_score(["the dog's tail is long"] * 3, [["the dog's tail is long."] * 3]).score
    assert found["BLEU", "raw text"]["score"] == pytest.approx(raw) and raw > 80
    assert by_names(paper_scores(["the dog &apos;s tail is long"] * 3, references))["BLEU", "raw text"]["score"] < 20


@pytest.mark.parametrize("text, tokenizer", [("我喜欢红色的猫。", "zh"), ("我 喜欢 红色 的 猫 。", "none"), ("これは猫です", "char"), ("the red cats do not see it", "none")])
def test_text_as_it_is_has_its_words_found_where_no_spaces_part_them(text, tokenizer):
    assert as_it_is([text] * 3) == tokenizer
    scores, signature = text_scores([text] * 3, [text + "x"] * 3)
    assert f"tok:{tokenizer}" in signature and scores["bleu"] > 40


def test_bleu_is_told_for_groups_of_sentences_of_like_length():
    sources = ["a b c", "a b c d", " ".join("abcdefgh"), " ".join("abcdefghij") + " k", " ".join("a" * 61)]
    references = ["a b c d e", "a b c d e", "one two three four five .", "one two three four five", "x y z w"]
    found = bleu_by_length(sources, ["a b c d e", "a b c d e", "one two three four", "nothing of the kind", "x y z w"], references)
    assert [(group["words"], group["sentences"]) for group in found] == [("1–5", 2), ("6–10", 1), ("11–15", 1), ("over 60", 1)]
    assert found[0]["bleu"] == pytest.approx(100) and 0 < found[1]["bleu"] < 100 and found[2]["bleu"] < 20
