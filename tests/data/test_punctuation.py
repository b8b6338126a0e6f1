"""Punctuation apart from words, and joined again: there and back, and as the files of Multi30k have it."""
import os
from pathlib import Path

import pytest

from minitx.data.punctuation import Punctuation

MULTI30K = Path(os.environ.get("MINITX_MULTI30K", "multi30k"))

PEOPLE_WRITE = [
    ("A dog, a cat.", "A dog , a cat ."),
    ("It's the dogs' house: isn't it?", "It &apos;s the dogs &apos; house : isn &apos;t it ?"),
    ('He said "stop" (twice)!', "He said &quot; stop &quot; ( twice ) !"),
    ("1,000 people at 3.5 % on St. Mary's well-known square...", "1,000 people at 3.5 % on St. Mary &apos;s well-known square ..."),
    ("Black & white [sic]", "Black &amp; white &#91; sic &#93;"),
    ("", ""),
]


@pytest.mark.parametrize("written, split", PEOPLE_WRITE, ids=[written for written, _ in PEOPLE_WRITE])
def test_punctuation_is_split_and_joined_again(written, split):
    form = Punctuation()
    assert form.split(written) == split
    assert form.split(split) == split, "what is split stays as it is"
    assert form.join(split) == written.replace(" %", "%")
    assert Punctuation(escaped=False).split(written).split() == [word.replace("&apos;", "'").replace("&quot;", '"').replace("&amp;", "&")
                                                                   .replace("&#91;", "[").replace("&#93;", "]") for word in split.split()]


def test_odd_quotes_and_dashes_become_plain():
    assert Punctuation(escaped=False).split("„Halt“ – sagte’s …") == "\" Halt \" - sagte 's ..."


def test_french_apostrophes_stay_with_what_is_before_them():
    form = Punctuation(escaped=False, elided=True)
    assert form.split("L'homme qu'il voit.") == "L' homme qu' il voit ."
    assert form.join("L' homme qu' il voit .") == "L'homme qu'il voit."


def test_hyphens_of_other_versions_of_the_scripts_are_joined():
    assert Punctuation().join("a well @-@ known dog .") == "a well-known dog."
    assert Punctuation().split("a well @-@ known dog .") == "a well-known dog ."
    form = Punctuation.of(["a well @-@ known dog .", "a cat ."])
    assert form == Punctuation(hyphens=True)
    assert form.split("A well-known, 20-year-old dog - yes.") == "A well @-@ known , 20 @-@ year @-@ old dog - yes ."
    assert form.split(form.split("a well-known dog.")) == "a well @-@ known dog ."


@pytest.mark.parametrize(
    "lines, form",
    [
        (["A dog.", "Two cats, one dog!"], None),
        (["a dog", "un perro"], None),
        (["a dog .", "two cats , one dog"], Punctuation()),
        (["it &apos;s a dog ."], Punctuation()),
        (["it 's a dog ."], Punctuation(escaped=False)),
        (["l' homme , c' est toi ."], Punctuation(escaped=False, elided=True)),
        (["a dog .", "a cat ."] * 9 + ["A dog and a cat."], Punctuation()),
        (["a dog .", "A cat."], None),
        ([], None),
    ],
    ids=str,
)
def test_the_form_of_a_text_is_seen(lines, form):
    assert Punctuation.of(lines) == form


@pytest.mark.skipif(not MULTI30K.exists(), reason="Multi30k is not part of minitx; MINITX_MULTI30K names its folder")
@pytest.mark.parametrize("language", ["en", "de"])
def test_multi30k_is_split_as_its_published_files_are(language):
    raw, published = ((MULTI30K / f"val.{name}{language}").read_text(encoding="utf-8").splitlines() for name in ("", "lc.norm.tok."))
    form = Punctuation.of(published)
    assert form == Punctuation() and Punctuation.of(raw) is None
    assert sum(form.split(one.lower()) != other for one, other in zip(raw, published)) <= 4
    assert sum(form.split(one) != one for one in published) == 0
    assert sum(form.join(other) != " ".join(one.lower().split()) for one, other in zip(raw, published)) <= 14
