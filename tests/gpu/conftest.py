"""Everything again on a GPU: `pytest -m gpu`. Other commands do not look into this folder; without a GPU, that one says what is missing and fails."""
from pathlib import Path

import pytest

from minitx.kernels.runtime import gpu

HERE = Path(__file__).parent


def pytest_ignore_collect(collection_path, config):
    named = [Path(argument.split("::")[0]).resolve() for argument in config.args]
    asked = "gpu" in config.getoption("markexpr") or any(path.is_relative_to(HERE) for path in named)
    return None if asked else True


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.gpu)


def pytest_collection_finish(session):
    if any(item.path.is_relative_to(HERE) for item in session.items) and (missing := gpu.missing()):
        raise pytest.UsageError(f"no GPU to test on: {missing}")


@pytest.fixture
def cupy():
    """CuPy itself, in the place of its stand-in in tests/device."""
    import cupy

    return cupy
