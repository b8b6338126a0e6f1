"""Every CUDA kernel, compiled for five architectures without a GPU: `pytest tests/cuda_compile`, in an environment with numba-cuda."""
import multiprocessing
import re

import pytest

from . import compiler, table

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


@pytest.mark.parametrize("name", [name for name in KERNELS if ".tensor_cores" in name])
def test_multiplies_on_tensor_cores(compiled, name):
    function, slices, ptx = *re.search(r"(\w+)\[(\d+)\]", name).groups(), compiled[name][90].ptx
    slices = int(slices) // 32
    # products of 16 rows of a warp and as many columns as are worked on at a time; matrices that are loaded once, on the left of products
    products, columns, once = {"attention": (2, 64, 1), "dq": (3, 16, 2), "dkv": (4, 16, 2)}[function]
    count = products * (columns // 8) * 2 * slices  # instructions of 8 columns and 16 terms, or the other way round
    assert len(re.findall(r"mma\.sync\.aligned\.m16n8k16\.row\.col\.f32\.bf16\.bf16\.f32", ptx)) == count
    assert len(re.findall(r"ldmatrix\.sync\.aligned\.m8n8\.x4", ptx)) == count // 2 + once * 2 * slices


@pytest.mark.parametrize("name", [name for name, kernel in KERNELS.items() if kernel.since >= 80])
def test_copies_16_bytes_at_a_time_to_shared_memory(compiled, name):
    assert re.search(r"cp\.async\.cg\.shared\.global \[\S+\], \[\S+\], 16", compiled[name][90].ptx)


def test_the_table_names_every_kernel():
    named = re.findall(r"^\| (\S.*?) \| \d+ × \d+ \|", table.PATH.read_text(encoding="utf-8"), re.MULTILINE)
    assert named == list(KERNELS), "write the table again: python -m tests.cuda_compile.table"


def test_too_few_registers_are_seen():
    kernel = KERNELS["softmax.cuda.softmax[32]"]
    assert compiler.figures(compiler.lto_ir(kernel, 90, blocks=16), kernel.name, 90).spilled > 0  # 32 registers a thread


def test_one_lto_ir_serves_all_architectures():
    kernel = KERNELS["softmax.cuda.softmax[16]"]
    own, other = (compiler.figures(compiler.lto_ir(kernel, architecture), kernel.name, 80) for architecture in (80, kernel.since))
    assert own == other
