"""The stand-in answers as CuPy does."""
import warnings

import pytest

from . import standin
from .lines import LINES, answer


@pytest.mark.parametrize("line", LINES)
def test_the_stand_in_answers_as_cupy(line):
    with standin.installed() as library, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert answer(line, library, lambda: standin.waits) == LINES[line]
