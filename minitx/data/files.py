"""The user's own parallel text: two line-aligned files or one with tabs, cleaned, split, hashed; and safe writing."""

import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from .batches import permutation


class Pair(NamedTuple):
    """A sentence and its translation."""

    source: str
    target: str


def read_parallel(source_path: str | Path, target_path: str | Path) -> list[Pair]:
    """Pairs from two files, where line n of one translates line n of the other; see `read_lines`.

    Raises:
        UserError: the files have different numbers of lines.
    """
    sources, targets = read_lines(source_path), read_lines(target_path)
    if len(sources) != len(targets):
        raise UserError(
            f"{source_path} has {len(sources)} lines but {target_path} has {len(targets)}:"
            " line n of one must be the translation of line n of the other"
        )
    return [Pair(source, target) for source, target in zip(sources, targets)]


def read_tsv(path: str | Path) -> list[Pair]:
    """Pairs from one file with a source, a tab and a target in each line; see `read_lines`.

    Raises:
        UserError: a line does not hold exactly one tab.
    """
    pairs = []
    for number, line in enumerate(read_lines(path), 1):
        columns = line.split("\t")
        if len(columns) != 2:
            raise UserError(
                f"{path}: line {number} has {len(columns) - 1} tabs; each line must be a source, one tab and a target"
            )
        pairs.append(Pair(*columns))
    return pairs


def read_lines(path: str | Path) -> list[str]:
    """Lines of a UTF-8 file, without their ends (\\n or \\r\\n); see `read_text`.

    Nothing else ends a line: U+2028 and its like stay where they are, so that two aligned files stay aligned.
    """
    lines = read_text(path, "it must hold one sentence per line").removesuffix("\n").split("\n")
    return [line.removesuffix("\r") for line in lines]


def read_text(path: str | Path, wanted: str = "it must hold text") -> str:
    """The text of a UTF-8 file, plain or gzip-compressed, without a byte order mark; `wanted` is what an empty one lacks.

    Raises:
        UserError: the file is missing, a directory, empty, damaged, or not UTF-8 (with the line and the byte).
    """
    data = read_bytes(path)
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{path} begins like a gzip file but cannot be unpacked: {error}") from None
    if not data:
        raise UserError(f"{path} is empty; {wanted}")
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path} is not UTF-8: line {line} holds byte 0x{data[error.start]:02x} at byte offset {error.start} of the"
            " file; save it as UTF-8"
        ) from None


@dataclass(frozen=True)
class Report:
    """What `clean` kept of a corpus and why it dropped the rest; `str()` of it is a line for the screen."""

    total: int
    empty: int  # one side holds no word
    long: int  # one side has more than max_words words
    lopsided: int  # one side has more than max_ratio times the words of the other
    max_words: int
    max_ratio: float

    @property
    def kept(self) -> int:
        return self.total - self.empty - self.long - self.lopsided

    def __str__(self) -> str:
        kept = f"{self.kept:,} of {self.total:,} pairs kept"
        reasons = [
            f"{count:,} {reason}"
            for count, reason in (
                (self.empty, "with an empty side"),
                (self.long, f"with more than {self.max_words} words"),
                (self.lopsided, f"with a side more than {self.max_ratio:g} times as long as the other"),
            )
            if count
        ]
        return f"{kept}; left out: {', '.join(reasons)}" if reasons else kept


def clean(pairs: Sequence[Pair], of: str = "", max_words: int = 200, max_ratio: float = 9.0) -> tuple[list[Pair], Report]:
    """The usable pairs, unchanged and in order, and a report of the others, each counted once; `of`: where they are from, for an error.

    Words are counted so that languages written without spaces compare with the others: see `count_words`.

    Raises:
        UserError: no pair is usable.
    """
    kept, empty, long, lopsided = [], 0, 0, 0
    for pair in pairs:
        shorter, longer = sorted((count_words(pair[0]), count_words(pair[1])))
        if shorter == 0:
            empty += 1
        elif longer > max_words:
            long += 1
        elif longer > max_ratio * shorter:
            lopsided += 1
        else:
            kept.append(pair)
    report = Report(len(pairs), empty, long, lopsided, max_words, max_ratio)
    if not kept:
        raise UserError(f"no sentence pair {of}is usable: {report}")
    return kept, report


def count_words(text: str) -> int:
    """Words between white space; where a script writes none, a Chinese character or a Japanese kana counts as one
    word, and so do up to four letters of Thai, Lao, Burmese or Khmer."""
    return len(text.split()) if text.isascii() else len(_WORD.findall(text))


_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[{_UNSPACED}]{{1,4}}|[^\s{_IDEOGRAPHS}{_UNSPACED}]+")


def split_validation(pairs: Sequence[Pair], n: int | None = None, seed: int = 0) -> tuple[list[Pair], list[Pair]]:
    """Holds out `n` pairs for validation (default: 5 %, at most 1,000); returns (training, validation).

    No validation source occurs in training or twice in validation: repeated sentences would be remembered, not
    translated. What is left of the training pairs keeps its order.

    Raises:
        UserError: the corpus has too few different sources to leave something on both sides.
    """
    if n is None:
        n = min(1000, max(1, len(pairs) // 20))
    held_out = {}  # source: its pair
    for row in permutation(len(pairs), seed):
        if len(held_out) == n:
            break
        held_out.setdefault(pairs[row][0], pairs[row])
    training = [pair for pair in pairs if pair[0] not in held_out]
    if n < 1 or len(held_out) < n or not training:
        different = len({pair[0] for pair in pairs})
        raise UserError(
            f"cannot hold out {n} pairs for validation from {len(pairs)} with {different} different source sentences;"
            " name validation files of your own"
        )
    return training, list(held_out.values())


def read_bytes(path: str | Path) -> bytes:
    """A file's bytes; a UserError that names the file when it is missing, a directory or not readable."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except OSError as error:
        if Path(path).is_dir():  # opening one is a PermissionError on Windows
            raise UserError(f"{path} is a directory; a file was expected") from None
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes, by which a resumed run knows its data again."""
    return hashlib.sha256(read_bytes(path)).hexdigest()


def write_atomically(path: str | Path, data: bytes | str) -> None:
    """Writes beside `path` and renames, so that a kill at any instant leaves the old file whole, or the new one.

    Text becomes UTF-8 with its line ends as they are. When writing fails (a full disk is an OSError), what was written
    is removed and the old file stays.
    """
    path = Path(path)
    beside = path.with_name(path.name + ".tmp")  # one name: what a kill leaves behind, the next write overwrites
    try:
        with open(beside, "wb") as file:
            file.write(data.encode("utf-8") if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())  # before the rename: a file must not appear under its name with nothing in it
        os.replace(beside, path)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk does not say which file did not fit
        raise
