"""Every CUDA kernel, compiled for five architectures without a GPU: `pytest tests/cuda_compile`, in an environment with numba-cuda."""
import multiprocessing
import re

import pytest

from . import compiler

KERNELS = compiler.all_kernels()
_VECTOR = {"load4", "read_row", "read", "read_piece"}  # who calls these reads 16 bytes at a time, unless it has one element a thread


@pytest.fixture(scope="session")
def compiled(request):
    """{kernel: {architecture: figures}} of the kernels that are tested, from as many processes as there are cores."""
    names = sorted({item.callspec.params["name"] for item in request.session.items if hasattr(item, "callspec")})
    with multiprocessing.get_context("spawn").Pool() as pool:
        return dict(zip(names, pool.map(compiler.compile_everywhere, names, chunksize=1)))


@pytest.mark.parametrize("name", KERNELS)
def test_fits_the_registers(compiled, name):
    kernel = KERNELS[name]
    for architecture, figures in compiled[name].items():
        where = f"sm_{architecture}: {figures}"
        assert figures.spilled == 0 and figures.stack == 0, where
        assert figures.registers * kernel.threads * kernel.blocks <= 65_536, where
        assert figures.shared <= 48 * 1024, where


@pytest.mark.parametrize("name", KERNELS)
def test_float32_stays_float32(compiled, name):
    assert re.findall(r".*\.f64.*", compiled[name][90].ptx) == []


@pytest.mark.parametrize("name", [name for name, kernel in KERNELS.items()
                                  if _VECTOR & set(kernel.function.__code__.co_names) and not name.endswith("[1]")])
def test_reads_16_bytes_at_a_time_into_registers(compiled, name):
    assert re.search(r"ld\.global(\.nc)?\.v4", compiled[name][90].ptx)
    assert not re.search(r"(ld|st)\.local", compiled[name][90].ptx)


@pytest.mark.parametrize("name", [name for name in KERNELS if ".tensor_cores." in name])
def test_multiplies_on_tensor_cores(compiled, name):
    width, ptx = int(re.search(r"\[(\d+)\]", name)[1]), compiled[name][90].ptx
    per_tile = 2 * (64 // 8) * (width // 16)  # of two products, 64 keys with `width` features for 16 queries, 8 columns and 16 terms at a time
    assert len(re.findall(r"mma\.sync\.aligned\.m16n8k16\.row\.col\.f32\.bf16\.bf16\.f32", ptx)) == per_tile
    assert len(re.findall(r"ldmatrix\.sync\.aligned\.m8n8\.x4", ptx)) == per_tile // 2 + width // 16


@pytest.mark.parametrize("name", [name for name, kernel in KERNELS.items() if kernel.since >= 80])
def test_copies_16_bytes_at_a_time_to_shared_memory(compiled, name):
    assert re.search(r"cp\.async\.cg\.shared\.global \[\S+\], \[\S+\], 16", compiled[name][90].ptx)


def test_too_few_registers_are_seen():
    kernel = KERNELS["softmax.cuda.softmax[32]"]
    assert compiler.figures(compiler.lto_ir(kernel, 90, blocks=16), kernel.name, 90).spilled > 0  # 32 registers a thread


def test_one_lto_ir_serves_all_architectures():
    kernel = KERNELS["softmax.cuda.softmax[16]"]
    own, other = (compiler.figures(compiler.lto_ir(kernel, architecture), kernel.name, 80) for architecture in (80, kernel.since))
    assert own == other
