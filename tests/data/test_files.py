"""Reading, cleaning, splitting and hashing the user's parallel text; writing that a failure cannot spoil."""

import errno
import gzip
import hashlib
import os
from pathlib import Path

import pytest

from minitx.data import files
from minitx.data.files import (
    Pair, clean, count_words, read_lines, read_parallel, read_tsv, sha256, split_validation, write_atomically,
)
from minitx.errors import UserError


def write(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last_end", [True, False])
def test_lines_lose_their_ends_and_nothing_else(tmp_path, end, last_end):
    lines = ["  two spaces before, one after ", "", "tab\tinside", "这是猫", "고양이"]
    path = write(tmp_path / "text", end.join(lines) + (end if last_end else ""))
    assert read_lines(path) == lines


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r"])
def test_only_a_newline_ends_a_line(tmp_path, separator):
    path = write(tmp_path / "text", f"a{separator}b\nc\n")
    assert read_lines(path) == [f"a{separator}b", "c"]


def test_an_empty_line_at_the_end_is_a_line(tmp_path):
    assert read_lines(write(tmp_path / "text", "a\n\n")) == ["a", ""]


def test_gzip_is_known_by_its_content_not_its_name(tmp_path):
    compressed = write(tmp_path / "no-suffix", gzip.compress("ä\nb\n".encode()))
    plain = write(tmp_path / "plain.gz", "ä\nb\n")
    assert read_lines(compressed) == read_lines(plain) == ["ä", "b"]


def test_a_byte_order_mark_is_not_text(tmp_path):
    assert read_lines(write(tmp_path / "text", b"\xef\xbb\xbfa\nb\n")) == ["a", "b"]


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "is empty"),
        (gzip.compress(b""), "is empty"),
        (gzip.compress(b"some text\n" * 100)[:-12], "cannot be unpacked"),
        (gzip.compress(b"some text\n" * 100)[:-8] + b"\0" * 8, "cannot be unpacked"),
        (b"\x1f\x8b and then no gzip", "cannot be unpacked"),
        ("good\nbesser\n".encode() + b"a\xff b\n", r"line 3 holds byte 0xff at byte offset 13"),
        (gzip.compress(b"\xe4hnlich\n"), r"line 1 holds byte 0xe4 at byte offset 0"),
        ("a\n€".encode()[:-1], r"line 2 holds byte 0xe2 at byte offset 2"),
    ],
)
def test_a_file_that_is_not_text_is_the_users_error(tmp_path, data, message):
    path = write(tmp_path / "corpus.de", data)
    with pytest.raises(UserError, match=message) as error:
        read_lines(path)
    assert str(path) in str(error.value)


def test_missing_files_and_directories_are_named(tmp_path):
    with pytest.raises(UserError, match="nowhere does not exist"):
        read_lines(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is a directory"):
        read_lines(tmp_path)


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UserError, match="secret cannot be read: Permission denied"):
        read_lines(tmp_path / "secret")


def test_parallel_files_pair_line_by_line(tmp_path):
    source, target = write(tmp_path / "en", "a cat\na dog\n"), write(tmp_path / "es", "un gato\nun perro")
    pairs = read_parallel(source, target)
    assert pairs == [("a cat", "un gato"), ("a dog", "un perro")]
    assert (pairs[1].source, pairs[1].target) == ("a dog", "un perro")


def test_different_line_counts_are_both_told(tmp_path):
    source, target = write(tmp_path / "en", "1\n2\n3\n"), write(tmp_path / "es", "1\n2\n")
    with pytest.raises(UserError, match=r"en has 3 lines but .*es has 2"):
        read_parallel(source, target)


def test_tsv_has_two_columns(tmp_path):
    assert read_tsv(write(tmp_path / "tsv", "a cat\tun gato\r\n\tempty source\n")) == [
        Pair("a cat", "un gato"), Pair("", "empty source"),
    ]


@pytest.mark.parametrize("line, tabs", [("no tab", 0), ("a\tb\tc", 2), ("", 0)])
def test_a_tsv_line_with_another_number_of_tabs_is_named(tmp_path, line, tabs):
    with pytest.raises(UserError, match=f"line 2 has {tabs} tabs"):
        read_tsv(write(tmp_path / "tsv", f"a\tb\n{line}\nc\td\n"))


def test_cleaning_drops_each_bad_pair_once_and_reports_why():
    good = [Pair("a b", "c"), Pair(" a\u00a0b ", "c d e f")]
    pairs = [
        good[0],
        Pair("", "a"),
        Pair("a", " \t\u3000"),
        Pair("", ""),
        Pair("a b c d e f", "a b c d e"),
        Pair("a b c d e f", "a"),
        Pair("a", "b c d"),
        good[1],
    ]
    kept, report = clean(pairs, max_words=5, max_ratio=2)
    assert kept == good
    assert (report.total, report.kept, report.empty, report.long, report.lopsided) == (8, 2, 3, 2, 1)
    assert str(report) == (
        "2 of 8 pairs kept; left out: 3 with an empty side, 2 with more than 5 words,"
        " 1 with a side more than 2 times as long as the other"
    )


def test_bounds_of_cleaning_are_inclusive():
    pairs = [Pair("a b c d", "a b")]
    kept, report = clean(pairs, max_words=4, max_ratio=2)
    assert kept == pairs
    assert str(report) == "1 of 1 pairs kept"


def test_a_corpus_without_a_usable_pair_is_an_error_that_says_why():
    with pytest.raises(UserError, match="usable: 0 of 2 pairs kept; left out: 2 with an empty side"):
        clean([Pair("", "a"), Pair("b", " ")])


@pytest.mark.parametrize(
    "text, words",
    [
        ("this is a cat", 4), ("", 0), (" \u3000\n", 0), ("déjà vu", 2), ("这是猫", 3), ("ネコです", 4),
        ("고양이가 개를 봅니다", 3), ("这是 Tom 的猫。", 6), ("แมวอยู่ในบ้าน", 4),
    ],
)
def test_words_are_counted_in_scripts_without_spaces_too(text, words):
    assert count_words(text) == words


def numbered(n: int) -> list[Pair]:
    return [Pair(f"source {i}", f"target {i}") for i in range(n)]


def test_validation_is_held_out_and_training_keeps_its_order():
    pairs = numbered(50)
    training, validation = split_validation(pairs, 10, seed=1)
    assert len(validation) == 10 and len(training) == 40
    assert sorted(training + validation) == sorted(pairs)
    assert training == [pair for pair in pairs if pair in training]
    assert validation != pairs[:10] and validation != pairs[-10:]


def test_the_seed_alone_decides_what_is_held_out():
    first, again, other = (split_validation(numbered(50), 10, seed)[1] for seed in (1, 1, 2))
    assert first == again
    assert set(first) != set(other)


@pytest.mark.parametrize("n_pairs, expected", [(2, 1), (19, 1), (400, 20), (30_000, 1000)])
def test_by_default_a_twentieth_but_at_most_a_thousand_is_held_out(n_pairs, expected):
    assert len(split_validation(numbered(n_pairs))[1]) == expected


def test_a_repeated_source_is_never_on_both_sides_nor_twice_in_validation():
    pairs = [Pair(f"source {i % 20}", f"target {i}") for i in range(200)]
    training, validation = split_validation(pairs, 5, seed=0)
    held_out = [pair.source for pair in validation]
    assert len(set(held_out)) == 5
    assert not set(held_out) & {pair.source for pair in training}
    assert len(training) == 15 * 10


@pytest.mark.parametrize("pairs, n", [(numbered(1), None), (numbered(3), 3), ([Pair("same", "x")] * 9, 1), ([], None)])
def test_too_small_a_corpus_asks_for_validation_files(pairs, n):
    with pytest.raises(UserError, match="name validation files"):
        split_validation(pairs, n)


def test_the_hash_is_of_the_bytes(tmp_path):
    path = write(tmp_path / "text", b"a\r\n")
    assert sha256(path) == hashlib.sha256(b"a\r\n").hexdigest()
    with pytest.raises(UserError, match="does not exist"):
        sha256(tmp_path / "nowhere")


@pytest.mark.parametrize("data, expected", [("ä\n", b"\xc3\xa4\n"), (b"\0\xff\r\n", b"\0\xff\r\n"), ("", b"")])
def test_writing_replaces_the_file_and_leaves_nothing_else(tmp_path, data, expected):
    path = write(tmp_path / "config.json", "the old one, which is longer")
    write_atomically(path, data)
    assert path.read_bytes() == expected
    assert os.listdir(tmp_path) == ["config.json"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_whole_and_no_other(tmp_path, monkeypatch, failing, error):
    def fail(*arguments):
        raise error

    path = write(tmp_path / "config.json", "old")
    monkeypatch.setattr(files.os, failing, fail)
    with pytest.raises(type(error)):
        write_atomically(path, "new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["config.json"]


def test_the_data_is_on_the_disk_before_the_name(tmp_path, monkeypatch):
    path, steps = tmp_path / "config.json", []
    fsync, replace = os.fsync, os.replace

    def watched_fsync(number):
        steps.append(f"fsync {os.fstat(number).st_size}")
        fsync(number)

    def watched_replace(old, new):
        steps.append("replace")
        replace(old, new)

    monkeypatch.setattr(files.os, "fsync", watched_fsync)
    monkeypatch.setattr(files.os, "replace", watched_replace)
    write_atomically(path, "four")
    assert steps == ["fsync 4", "replace"]


def test_what_a_kill_left_behind_is_overwritten(tmp_path):
    write(tmp_path / "config.json.tmp", "half of a file that was never fin")
    write_atomically(tmp_path / "config.json", "new")
    assert (tmp_path / "config.json").read_text(encoding="utf-8") == "new"
    assert os.listdir(tmp_path) == ["config.json"]
