"""Writes benchmarks/cuda-registers.md: `python -m tests.cuda_compile.table`, in an environment with numba-cuda and its compiler, without a GPU."""
import importlib.metadata
import multiprocessing
import pathlib
import sys

from . import compiler

PATH = pathlib.Path(__file__).parents[2] / "benchmarks" / "cuda-registers.md"


def table(compiled):
    """The page for {kernel: {architecture: figures}}."""
    kernels = compiler.all_kernels()
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("numba-cuda", "nvidia-nvvm", "nvidia-nvjitlink"))
    lines = ["# What each CUDA kernel takes of a multiprocessor", "",
             f"Compiled for five architectures without a GPU, by {versions}; nothing here was run or timed.",
             "`python -m tests.cuda_compile.table` writes this page, and `pytest tests/cuda_compile` holds what it says: no kernel spills a register or has a stack,",
             "none computes in float64.", "",
             "Registers are a thread's, of 65,536 that a multiprocessor has; `blocks` is how many blocks of so many threads the registers must let in at once.",
             "`spilled` are bytes of registers and of stack in slow memory, on the architecture that has most of them. A kernel that needs instructions of a newer",
             "architecture has no figure for an older one.", "",
             "| kernel | threads × blocks | shared memory, bytes | spilled, bytes | " + " | ".join(f"sm_{architecture}" for architecture in compiler.ARCHITECTURES) + " |",
             "|---|---|---|---|" + "---|" * len(compiler.ARCHITECTURES)]
    for name, found in compiled.items():
        kernel, registers = kernels[name], [str(found[architecture].registers) if architecture in found else "" for architecture in compiler.ARCHITECTURES]
        shared = " / ".join(dict.fromkeys(f"{figures.shared:,}" for figures in found.values()))
        spilled = max(figures.spilled + figures.stack for figures in found.values())
        lines.append(f"| {name} | {kernel.threads} × {kernel.blocks} | {shared} | {spilled} | " + " | ".join(registers) + " |")
    return "\n".join(lines) + "\n"


def main():
    names = list(compiler.all_kernels())
    with multiprocessing.get_context("spawn").Pool() as pool:
        compiled = dict(zip(names, pool.map(compiler.compile_everywhere, names, chunksize=1)))
    PATH.write_text(table(compiled), encoding="utf-8")
    print(PATH, file=sys.stderr)


if __name__ == "__main__":
    main()
