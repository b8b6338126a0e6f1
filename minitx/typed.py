"""What can be typed behind a flag, and how the bytes of an argument become text."""
import os
import warnings
from typing import Annotated

from cyclopts import Parameter


def whole(_, tokens):
    """A whole number as Python reads it; cyclopts alone would round 5.5."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"{tokens[0].value!r} is not a whole number") from None


Whole = Annotated[int, Parameter(converter=whole)]
Texts = Annotated[list[str], Parameter(negative=())]
Switch = Annotated[bool, Parameter(negative=(), show_default=False)]


def typed(argument: str, keep_lines=False) -> str:
    """The text of an argument, whatever the locale."""
    return decoded(os.fsencode(argument), keep_lines)


def decoded(line: bytes, keep_lines=False) -> str:
    """The text of some bytes; what is not UTF-8 warns and is read as unknown characters."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        warnings.warn(f"byte {error.start + 1} of {line[:40]!r} is not UTF-8; read as an unknown character")
        text = line.decode("utf-8", errors="replace")
    return text if keep_lines else " ".join(text.splitlines())  # one line in, one line out, whatever separators Unicode knows
