"""What a run is trained on when the text is the user's own: read, held out, hashed."""
import pytest

from minitx.data import files
from minitx.errors import UserError
from minitx.settings import Settings
from minitx.training import corpus as corpora

from .small import small_settings


def test_validation_pairs_are_held_out_by_the_seed(tmp_path):
    settings = small_settings(tmp_path)
    corpus, again, other = (corpora.load(settings.replace(seed=seed)) for seed in (0, 0, 1))
    assert corpus.validation == again.validation != other.validation
    assert len(corpus.validation) == 6
    assert not {pair.source for pair in corpus.validation} & {pair.source for pair in corpus.train}
    assert corpus.splits == {"validation": corpus.validation}


def test_every_file_that_is_named_is_hashed(tmp_path):
    settings = small_settings(tmp_path)
    named = settings.replace(valid_src=settings.tgt, valid_tgt=settings.src)
    hashes = corpora.load(named).hashes
    assert hashes == {name: files.sha256(getattr(named, name)) for name in ("src", "tgt", "valid_src", "valid_tgt")}
    corpora.check_hashes(named, hashes, hashes)
    with pytest.raises(UserError, match="valid_src: .*is not the file.*--valid-src"):
        corpora.check_hashes(named, hashes, hashes | {"valid_src": "0"})


def test_a_file_with_tabs_is_the_same_corpus(tmp_path):
    two = corpora.load(small_settings(tmp_path))
    lines = zip(files.read_lines(tmp_path / "src.txt"), files.read_lines(tmp_path / "tgt.txt"))
    (tmp_path / "both.tsv").write_text("".join(f"{source}\t{target}\n" for source, target in lines), encoding="utf-8")
    one = corpora.load(Settings(tsv=str(tmp_path / "both.tsv"), pair=None))
    assert (one.train, one.validation) == (two.train, two.validation)
    assert set(one.hashes) == {"tsv"}


def test_the_report_says_what_was_left_out(tmp_path):
    settings = small_settings(tmp_path)
    with open(settings.src, "a", encoding="utf-8") as source, open(settings.tgt, "a", encoding="utf-8") as target:
        source.write("\nant\n")
        target.write("ANT\n" + "ANT " * 100 + "\n")
    assert corpora.load(settings).report == (
        "120 of 122 pairs kept; left out: 1 with an empty side, 1 with a side more than 9 times as long as the other")
    assert corpora.load(settings.replace(valid_src=settings.src, valid_tgt=settings.tgt)).report.splitlines()[1] == (
        "validation: 120 of 122 pairs kept; left out: 1 with an empty side, 1 with a side more than 9 times as long as the other")
