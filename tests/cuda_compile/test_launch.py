"""What a launch hands to a compiled kernel, without a GPU: the host's numbers, alone or in named tuples, as its signature has them."""
import ctypes
from types import SimpleNamespace

import pytest
from numba.cuda import types, typing
from numba.cuda.dispatcher import _Kernel, _LaunchConfiguration

from minitx.kernels.attention import tiled
from minitx.kernels.runtime import cuda

from . import compiler

KERNELS = compiler.all_kernels()
HIGH = 2**63 + 5  # a key of dropout, which int64 does not hold


def of_the_host(kind):
    """A value as Python has it, which is int64, float64 or bool wherever it is not an array."""
    if isinstance(kind, types.BaseNamedTuple):
        return kind.instance_class(*map(of_the_host, kind))
    if isinstance(kind, types.Array):
        return None
    return True if kind == types.boolean else 0.25 if isinstance(kind, types.Float) else HIGH if kind == types.uint64 else 1


@pytest.mark.parametrize("name", KERNELS)
def test_numbers_become_those_of_the_signature(name, monkeypatch):
    kernel = KERNELS[name]
    signature = kernel.signature(types.float32)
    launched, dispatcher = [], kernel.dispatcher()
    compiled = SimpleNamespace(launch=lambda arguments, *_: launched.append(arguments), signature=typing.signature(types.none, *signature),
                               objectmode=False, entry_point=None)
    dispatcher.add_overload(compiled, signature)  # in the place of what only a GPU can load
    cuda.only_one_signature(dispatcher)
    monkeypatch.setattr(type(dispatcher), "_update_launch_config_sensitivity", lambda *_: None)
    given = [of_the_host(kind) for kind in signature]
    launch = type(dispatcher).configure.__wrapped__(dispatcher, 3, 64, 0)
    assert isinstance(launch, _LaunchConfiguration)
    launch(*given)
    (arrived,) = launched
    plain, handed = _Kernel.__new__(_Kernel), []
    plain.extensions = []
    for kind, value in zip(signature, arrived, strict=True):
        if not isinstance(kind, types.Array):
            plain._prepare_args(kind, value, None, [], handed)
    wanted = [leaf for kind in signature if not isinstance(kind, types.Array) for leaf in (kind if isinstance(kind, types.BaseTuple) else [kind])]
    for leaf, number in zip(wanted, handed, strict=True):
        if leaf == types.boolean:
            assert number is True
        else:
            assert (number.value, 8 * ctypes.sizeof(number)) == (of_the_host(leaf), leaf.bitwidth)


def test_the_key_of_a_cached_kernel_is_the_same_in_every_process_and_changes_with_any_file(monkeypatch):
    """Its functions within functions would have another in every process, and its device functions stand in other files."""
    kernel, codegen = KERNELS[tiled._attention[True, 2].name], SimpleNamespace(magic_tuple=lambda: ("sm_90",))
    one, two = (kernel.dispatcher()._cache._index_key("signature", codegen) for _ in range(2))
    assert one == two and kernel.name in one
    cuda._sources.cache_clear()
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda self: b"changed")
    assert kernel.dispatcher()._cache._index_key("signature", codegen) != one
    monkeypatch.undo()
    cuda._sources.cache_clear()
