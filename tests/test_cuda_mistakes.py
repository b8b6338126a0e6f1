"""What scripts/mutate_cuda.py would do, without the runs: every mistake can be made, and every file of CUDA kernels has one."""
import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def mutate_cuda(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import mutate_cuda

    yield mutate_cuda
    del sys.modules["mutate_cuda"], sys.modules["cuda_mistakes"]


def test_every_mistake_can_be_made_in_one_place_and_is_python(mutate_cuda):
    mistakes = list(mutate_cuda.all_mistakes())
    for mistake in mistakes:
        source = (ROOT / mutate_cuda.KERNELS / mistake.path).read_text(encoding="utf-8")
        ast.parse(mistake.into(source))
        assert mistake.into(source) != source, mistake
        assert all((ROOT / tests.split()[0]).exists() for tests in mistake.tests), mistake
    assert set(mutate_cuda.DROPPED) <= {mistake.kind for mistake in mistakes}


def test_every_file_of_kernels_has_mistakes(mutate_cuda):
    having = {mistake.path for mistake in mutate_cuda.all_mistakes()}
    for path in (ROOT / mutate_cuda.KERNELS).glob("*/*.py"):
        if "\n@kernel(" in path.read_text(encoding="utf-8"):
            assert path.relative_to(ROOT / mutate_cuda.KERNELS).as_posix() in having


def test_a_text_that_is_gone_or_there_twice_is_named(mutate_cuda, monkeypatch):
    for text, times in (("nowhere", 0), ("import", 5)):
        monkeypatch.setattr(mutate_cuda, "MISTAKES", {"gelu/cuda.py": [("sum", text, "")]})
        with pytest.raises(SystemExit, match=f"gelu/cuda.py: '{text}' is there {times} times, expected once"):
            list(mutate_cuda.all_mistakes())
