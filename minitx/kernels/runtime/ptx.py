"""Instructions of GPUs since sm_80 that neither Python nor LLVM has a word for, written as PTX; their twins are for the simulator.

Copies from global into shared memory that run while the threads compute: `copy16` begins one, `wait_for_copies` waits for all that the thread began.
The threads of a block see each other's after a barrier that follows.
"""
import numpy as np
from llvmlite import ir
from numba import cuda
from numba.cuda import types

from .cuda import SIMULATED
from .intrinsics import intrinsic, load4, store4

_VOID, _I32, _I64 = ir.VoidType(), ir.IntType(32), ir.IntType(64)


def _copy16(target, place, source, index, there):
    values = load4(source, index) if there else (source.dtype.type(0),) * 4
    store4(target, place, *[source.dtype.type(np.nan)] * 4)  # from now on it holds anything, until the thread has waited
    cuda.postpone(lambda: store4(target, place, *values))


@intrinsic(_copy16)
def copy16(typingctx, target, place, source, index, there):
    """Begin to copy 16 bytes from source[index] on to target[place] on, a place in shared memory; zeros where they are not `there`."""
    def codegen(context, builder, signature, arguments):
        to, come = _address(context, builder, signature, arguments, 0, shared=True), _address(context, builder, signature, arguments, 2)
        size = builder.select(arguments[4], ir.Constant(_I32, 16), ir.Constant(_I32, 0))
        _emit(builder, "cp.async.cg.shared.global [$0], [$1], 16, $2;", _VOID, "r,l,r,~{memory}", [to, come, size])
        return context.get_dummy_value()

    return types.void(target, place, source, index, types.boolean), codegen


@intrinsic(lambda: cuda.perform())
def wait_for_copies(typingctx):
    """Wait until the copies that the thread began are done."""
    def codegen(context, builder, signature, arguments):
        _emit(builder, "cp.async.wait_all;", _VOID, "~{memory}", [])
        return context.get_dummy_value()

    return types.void(), codegen


def _emit(builder, instruction, result, constraints, operands, side_effect=True):
    kind = ir.FunctionType(result, [operand.type for operand in operands])
    return builder.call(ir.InlineAsm(kind, instruction, constraints, side_effect=side_effect), operands)


def _address(context, builder, signature, arguments, position, shared=False):
    """Of the element of the array that is argument `position`, at the index that is the next; 32 bits in shared memory."""
    index = context.cast(builder, arguments[position + 1], signature.args[position + 1], types.int64)
    data = context.make_array(signature.args[position])(context, builder, arguments[position]).data
    pointer = builder.gep(data, [index])
    if shared:
        return builder.ptrtoint(builder.addrspacecast(pointer, pointer.type.pointee.as_pointer(3)), _I32)
    return builder.ptrtoint(pointer, _I64)
