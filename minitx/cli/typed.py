"""What can be typed behind a flag, how the bytes of an argument become text, and what several commands refuse."""
import os
import warnings
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..errors import UserError


def whole(_, tokens):
    """A whole number as Python reads it; cyclopts alone would round 5.5."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"{tokens[0].value!r} is not a whole number") from None


Whole = Annotated[int, Parameter(converter=whole)]
Runs = Annotated[list[Path], Parameter(negative=())]
Typed = Annotated[str, Parameter(allow_leading_hyphen=True)]
Texts = Annotated[list[str], Parameter(negative=(), allow_leading_hyphen=True)]
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


def check_beam(beam, alpha=1.0, beta=0.0):
    """Refuse a width that no search has, and what says nothing about greedy decoding."""
    if not 1 <= beam <= 1000:
        raise UserError(f"beam is {beam} but must be a whole number from 1 to 1,000; 4 is usual")
    for name, value, plain in (("alpha", alpha, 1.0), ("beta", beta, 0.0)):
        if beam == 1 and value != plain:
            raise UserError(f"{name} is {value}, but only a beam ranks translations by it; add --beam 4, or drop --{name}")


def require(device):
    """Refuse "cuda" where there is none."""
    if device == "cuda":
        from ..kernels.runtime import gpu

        if missing := gpu.missing():
            raise UserError(f"device cuda: {missing}; --device cpu works everywhere")


def translator_of(run, **options):
    """The translator of a run, or a UserError if it is a language model."""
    import minitx

    translator = minitx.load(run, **options)
    if not hasattr(translator, "translate"):
        raise UserError(f"{run} is a language model; use it with minitx generate")
    return translator
