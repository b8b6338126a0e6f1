"""What becomes of a kernel on an architecture, without a GPU: Python to LTO-IR, as at run time, to machine code, with ptxas's figures from its log."""
import importlib
import pathlib
import re
from dataclasses import dataclass, field

from cuda.bindings import nvjitlink
from numba import cuda
from numba.cuda import types

import minitx.kernels
from minitx.kernels.runtime.cuda import KERNELS

ARCHITECTURES = (75, 80, 86, 89, 90)  # T4 and RTX 20, A100, RTX 30, RTX 40, H100 and H200


@dataclass
class Compiled:
    """Figures of one kernel: registers a thread, bytes of stack and of spilled registers, of shared memory; and its PTX, linked and optimised."""

    registers: int
    spilled: int
    stack: int
    shared: int
    ptx: str = field(repr=False)  # of the newest architecture only


def all_kernels():
    """Every CUDA kernel of minitx, by name."""
    root = pathlib.Path(minitx.kernels.__file__).parent
    for path in sorted(root.glob("*/*.py")):
        if "runtime.cuda import" in path.read_text(encoding="utf-8"):
            importlib.import_module(".".join(("minitx.kernels", *path.relative_to(root).with_suffix("").parts)))
    return {kernel.name: kernel for kernel in KERNELS}


def compile_everywhere(name):
    """{architecture: figures} of the kernel called `name`.

    The LTO-IR is made once, for the first architecture that the kernel runs on; linked for the others it gives the figures of their own.
    """
    kernel = all_kernels()[name]
    code = lto_ir(kernel, kernel.since)
    return {architecture: figures(code, name, architecture) for architecture in ARCHITECTURES if architecture >= kernel.since}


def lto_ir(kernel, architecture, real=types.float32, blocks=None):
    """What the compiler hands on to the linker; `blocks` for another bound on the registers than the kernel's own."""
    bounds = kernel.threads, blocks or kernel.blocks
    return cuda.compile(kernel.function, kernel.signature(real), cc=divmod(architecture, 10), device=False, abi="numba", output="ltoir",
                        launch_bounds=bounds, **kernel.options)[0]


def figures(code, name, architecture):
    """The `Compiled` of LTO-IR on an architecture."""
    _, log = _link(code, name, architecture, "-Xptxas=-v")
    ptx, _ = _link(code, name, architecture, "-ptx") if architecture == max(ARCHITECTURES) else ("", "")
    shared = re.search(r"(\d+) bytes smem", log)
    return Compiled(registers=int(re.search(r"Used (\d+) registers", log)[1]), spilled=sum(map(int, re.findall(r"(\d+) bytes spill", log))),
                    stack=int(re.search(r"(\d+) bytes stack frame", log)[1]), shared=int(shared[1]) if shared else 0, ptx=ptx)


def _link(code, name, architecture, *flags):
    """Machine code (or, with -ptx, PTX) and the linker's log."""
    flags = [f"-arch=sm_{architecture}", "-lto", *flags]
    link = nvjitlink.create(len(flags), flags)
    nvjitlink.add_data(link, nvjitlink.InputType.LTOIR, bytes(code), len(code), name)
    nvjitlink.complete(link)
    if "-ptx" in flags:
        result = bytearray(nvjitlink.get_linked_ptx_size(link))
        nvjitlink.get_linked_ptx(link, result)
        result = bytes(result).rstrip(b"\0").decode()
    else:
        result = bytearray(nvjitlink.get_linked_cubin_size(link))
        nvjitlink.get_linked_cubin(link, result)
    log = bytearray(max(1, nvjitlink.get_info_log_size(link)))
    nvjitlink.get_info_log(link, log)
    nvjitlink.destroy(link)
    return result, log.decode()

