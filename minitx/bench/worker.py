"""One side of a comparison in a process of its own, which answers requests line by line.

Two libraries in one process would share its threads' cores while each still spins for its own work, and its peak of memory would be both of theirs. So
each side lives in its own process, and the one that compares them asks them in turn; a side that is not asked sleeps.

    request   {"do": "open", "spec": {...}}     {"do": "time", "seconds": 0.1, "threads": 2}     {"do": "compare", "path": "truth.npz"}
    answer    {"opened": true}                  {"times": [...]}                                 {"error": 1e-7, "name": "dx"}     or {"failed": "why"}
"""
import contextlib
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import time

import numpy as np

from ..errors import UserError
from .measure import largest_error

MODULES = {"minitx": "ours", "reference": "ours", "torch": "against_torch", "cuda": "on_cuda", "cuda-naive": "on_cuda", "torch-cuda": "torch_on_cuda"}
"""{side: the file that serves it, with `open_subject(spec)`, `set_threads(count)` and the context `serving(side)`}."""

GPU_SIDES = {"cuda": "CUDA", "cuda-naive": "CUDA, naive", "torch-cuda": "torch, CUDA"}
"""{side on a GPU: its name in a row of kernels}: the fast kernels, the lessons, and PyTorch."""

KEEPING_MEMORY = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=17179869184:glibc.malloc.top_pad=268435456:glibc.malloc.hugetlb=1"
"""GLIBC_TUNABLES under which the C library keeps memory that was freed: what a large array costs PyTorch without the page faults (Linux only)."""

SETTLING = 0.03  # seconds for which threads may spin after their work is done (OpenBLAS's: 26 ms); the next side would find a core taken


class Worker:
    """The process of one side; use it in a `with` block. Side "torch-kept" is "torch" under an allocator that keeps its memory."""

    def __init__(self, side):
        self.side = side
        # A scheduler may wake the threads of a pool that slept on one core, and take 150 ms to part them: seen at half the speed, and at a fortieth.
        environment = {"OMP_PROC_BIND": "true", **os.environ}
        if side.endswith("-kept"):
            environment["GLIBC_TUNABLES"] = KEEPING_MEMORY
        command = [sys.executable, "-m", __name__, side.removesuffix("-kept")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def ask(self, do, **request):
        """The answer to a request; what fails in the worker is raised here."""
        try:
            self._process.stdin.write(json.dumps({"do": do, **request}).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            code = self._process.wait()
            raise RuntimeError(f"the process that measures {self.side} ended with code {code}" + (": out of memory?" if code == -9 else ""))
        answer = json.loads(line)
        if "mistake" in answer:
            raise UserError(answer["mistake"])
        if "failed" in answer:
            raise RuntimeError(f"{self.side}: {answer['failed']}")
        return answer

    def timer(self, threads):
        """A function of seconds that gives samples, for `measure.interleaved`."""
        return lambda seconds: self.ask("time", seconds=seconds, threads=threads)["times"]


def check_side(side):
    """Refuse to compare with what minitx does not know or what is not installed."""
    if side not in ("torch", "torch-kept"):
        raise UserError(f"against: {side!r} is not one of torch and torch-kept (torch with an allocator that keeps its memory)")
    if importlib.util.find_spec("torch") is None:
        raise UserError(f"against: {side} needs PyTorch, which is not installed here; pip install torch")


class Server:
    """What a worker is inside its process: the open subject, and an answer to each request."""

    def __init__(self, side):
        self.side, self.module, self.subject = side, importlib.import_module(f"{__package__}.{MODULES[side]}"), None

    def answer(self, request):
        """The answer to a request, a plain dictionary; what failed stands under "mistake" (the user's) or "failed"."""
        try:
            if request["do"] not in REQUESTS:
                raise ValueError(f"request {request['do']!r} is not one of {', '.join(REQUESTS)}")
            with self.module.serving(self.side):
                return REQUESTS[request["do"]](self, request)
        except UserError as error:
            return {"mistake": str(error)}
        except Exception as error:
            if os.environ.get("MINITX_DEBUG") == "1":
                raise
            return {"failed": f"{type(error).__name__}: {error}"}

    def _open(self, request):
        self.subject = None  # its memory goes before the next one is made
        self.subject = self.module.open_subject(request["spec"])
        return {"opened": True}

    def _time(self, request):
        if request["threads"]:
            self.module.set_threads(request["threads"])
        times = self.subject.sample(request["seconds"])
        time.sleep(SETTLING)
        return {"times": times}

    def _save(self, request):
        np.savez(request["path"], **self.subject.outputs())
        return {"saved": True}

    def _compare(self, request):
        with np.load(request["path"]) as expected:
            error, name = largest_error(self.subject.outputs(), expected)
        return {"error": error if np.isfinite(error) else None, "name": name}

    def _losses(self, request):
        return {"losses": self.subject.losses(request["count"])}

    def _facts(self, request):
        return {**(self.subject.facts() if self.subject else {}), "peak": peak_memory()}


REQUESTS = {"open": Server._open, "time": Server._time, "save": Server._save, "compare": Server._compare, "losses": Server._losses, "facts": Server._facts}


def peak_memory():
    """The most bytes of main memory that this process has held at once, or None where the system does not tell."""
    try:
        with open("/proc/self/status", encoding="ascii") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    # Answers go where standard output was; what a library prints goes to standard error.
    _answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _server = Server(sys.argv[1])
    for _line in sys.stdin:
        _answers.write(json.dumps(_server.answer(json.loads(_line))) + "\n")
        _answers.flush()
