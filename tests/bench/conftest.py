"""Measuring inside the test's own process, where a kernel can be broken on purpose."""
import pytest

from minitx.bench import kernels, scaling, training, worker


class Inside:
    """Answers as a `Worker` does, without a process."""

    def __init__(self, side):
        self.side, self.server = side, worker.Server(side.removesuffix("-kept"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Nothing is left behind."""

    def ask(self, do, **request):
        answer = self.server.answer({"do": do, **request})
        assert "failed" not in answer and "mistake" not in answer, answer
        return answer

    def timer(self, threads):
        return lambda seconds: self.ask("time", seconds=seconds, threads=threads)["times"]


@pytest.fixture
def inside(monkeypatch):
    """Every side is measured in this process."""
    monkeypatch.setattr(worker, "SETTLING", 0)
    for module in (kernels, training, scaling):
        monkeypatch.setattr(module, "Worker", Inside)
    return Inside
