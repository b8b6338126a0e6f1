"""Instructions of GPUs since sm_80 that neither Python nor LLVM has a word for, written as PTX; their twins are for the simulator.

Copies from global into shared memory that run while the threads compute: `copy16` begins one, `wait_for_copies` waits for all that the thread began.
The threads of a block see each other's after a barrier that follows.

Products on tensor cores, of matrices that the 32 lanes of a warp hold together (PTX ISA, "Matrix fragments for mma.m16n8k16"): of A (16, 16) in bfloat16,
lane l has columns 2·(l mod 4) and one more of row l / 4 in a_0, of the row 8 further down in a_1, and the same 8 columns further on in a_2 and a_3; of
B (16, 8) rows 2·(l mod 4) and one more of column l / 4 in b_0, and 8 further down in b_1; of C (16, 8) in float32, columns 2·(l mod 4) and one more of
row l / 4, and of the row 8 further down. A bfloat16 is the upper half of a float32, kept here as a uint16; two of them are a uint32, the first one below.
"""
import numpy as np
from llvmlite import ir
from numba import cuda
from numba.cuda import types

from .cuda import SIMULATED
from .intrinsics import intrinsic

_VOID, _REAL, _I32, _I64 = ir.VoidType(), ir.FloatType(), ir.IntType(32), ir.IntType(64)
_PACK = "cvt.rn.bf16x2.f32 $0, $1, $2;"  # the upper half first


def _copy16(target, place, source, index, there):
    count, target, source = 16 // source.dtype.itemsize, target.reshape(-1), source.reshape(-1)
    _check_16_bytes(target, place)
    values = np.zeros(count, source.dtype)
    if there:
        _check_16_bytes(source, index)
        values = list(source[index:index + count])
    target[place:place + count] = np.nan if source.dtype.kind == "f" else 0x7FC0  # from now on it holds anything, until the thread has waited

    def arrive():
        target[place:place + count] = values

    cuda.postpone(arrive)


def _check_16_bytes(x, index):
    if (x.ctypes.data + int(index) * x.dtype.itemsize) % 16:
        raise ValueError(f"16 bytes at index {index} of an array of shape {x.shape} do not begin at a multiple of 16 bytes")


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


def _load_matrices(x, index, transposed):
    _check_16_bytes(x, index)
    places, row, column, x = cuda.exchange(index), cuda.laneid // 4, 2 * (cuda.laneid % 4), x.reshape(-1)
    words = []
    for m in range(0, 32, 8):
        low, high = ((places[m + column] + row, places[m + column + 1] + row) if transposed else (places[m + row] + column, places[m + row] + column + 1))
        words.append(np.uint32(int(x[low]) | int(x[high]) << 16))
    return tuple(words)


def _loader(transposed):
    @intrinsic(lambda x, index: _load_matrices(x, index, transposed))
    def load_matrices(typingctx, x, index):
        """Four matrices (8, 8) of 16-bit numbers from shared memory, as the warp's lanes hold them; lane 8·m + r says where row r of matrix m is."""
        def codegen(context, builder, signature, arguments):
            place = _address(context, builder, signature, arguments, 0, shared=True)
            instruction = f"ldmatrix.sync.aligned.m8n8.x4{'.trans' if transposed else ''}.shared.b16 {{$0, $1, $2, $3}}, [$4];"
            parts = _emit(builder, instruction, ir.LiteralStructType([_I32] * 4), "=r,=r,=r,=r,r,~{memory}", [place])
            return context.make_tuple(builder, signature.return_type, [builder.extract_value(parts, k) for k in range(4)])

        return types.UniTuple(types.uint32, 4)(x, index), codegen

    return load_matrices


load_matrices, load_matrices_transposed = _loader(False), _loader(True)


def _multiply_add(*mine):
    """What the whole warp gives, computed once by whoever comes first."""
    fragments = cuda.exchange(mine)
    if "product" not in fragments:
        a, b, c = np.zeros((16, 16), np.float32), np.zeros((16, 8), np.float32), np.zeros((16, 8), np.float32)
        for lane in range(32):
            row, column = lane // 4, 2 * (lane % 4)
            a_0, a_1, a_2, a_3, b_0, b_1, *sums = fragments[lane]
            a[row, column:column + 2], a[row + 8, column:column + 2] = _two(a_0), _two(a_1)
            a[row, column + 8:column + 10], a[row + 8, column + 8:column + 10] = _two(a_2), _two(a_3)
            b[column:column + 2, row], b[column + 8:column + 10, row] = _two(b_0), _two(b_1)
            c[row, column:column + 2], c[row + 8, column:column + 2] = sums[:2], sums[2:]
        fragments["product"] = a @ b + c
    row, column = cuda.laneid // 4, 2 * (cuda.laneid % 4)
    product = fragments["product"]
    return product[row, column], product[row, column + 1], product[row + 8, column], product[row + 8, column + 1]


@intrinsic(_multiply_add)
def multiply_add(typingctx, a_0, a_1, a_2, a_3, b_0, b_1, c_0, c_1, c_2, c_3):
    """A B + C on tensor cores, in one instruction of a whole warp."""
    def codegen(context, builder, signature, arguments):
        instruction = "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};"
        parts = _emit(builder, instruction, ir.LiteralStructType([_REAL] * 4), "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f", arguments)
        return context.make_tuple(builder, signature.return_type, [builder.extract_value(parts, k) for k in range(4)])

    word, real = types.uint32, types.float32
    return types.UniTuple(real, 4)(word, word, word, word, word, word, real, real, real, real), codegen


def _pack(low, high):
    bits = np.array([low, high], np.float32).view(np.uint32).astype(np.uint64)
    rounded = np.where(np.isnan([low, high]), 0x7FFF, bits + 0x7FFF + (bits >> 16 & 1) >> 16).astype(np.uint32)
    return rounded[0] | rounded[1] << np.uint32(16)


@intrinsic(_pack)
def pack(typingctx, low, high):
    """Two float32 as two bfloat16 in one word, rounded to nearest, ties to even."""
    def codegen(context, builder, signature, arguments):
        return _emit(builder, _PACK, _I32, "=r,f,f", arguments[::-1], side_effect=False)

    return types.uint32(types.float32, types.float32), codegen


def _load_pair(x, index):
    _check_4_bytes(x, index)
    return tuple(_two(int(x[index]) | int(x[index + 1]) << 16))


@intrinsic(_load_pair)
def load_pair(typingctx, x, index):
    """Two neighbouring bfloat16 of an array of one dimension as float32; `index` is even."""
    def codegen(context, builder, signature, arguments):
        word = builder.load(_word(context, builder, signature, arguments), align=4)
        parts = builder.shl(word, ir.Constant(_I32, 16)), builder.and_(word, ir.Constant(_I32, 0xFFFF0000))
        return context.make_tuple(builder, signature.return_type, [builder.bitcast(part, _REAL) for part in parts])

    return types.UniTuple(types.float32, 2)(x, index), codegen


def _store_pair(x, index, low, high):
    _check_4_bytes(x, index)
    word = int(_pack(low, high))
    x[index], x[index + 1] = word & 0xFFFF, word >> 16


@intrinsic(_store_pair)
def store_pair(typingctx, x, index, low, high):
    """Write two float32 where `load_pair` reads them."""
    def codegen(context, builder, signature, arguments):
        word = _emit(builder, _PACK, _I32, "=r,f,f", [arguments[3], arguments[2]], side_effect=False)
        builder.store(word, _word(context, builder, signature, arguments), align=4)
        return context.get_dummy_value()

    return types.void(x, index, types.float32, types.float32), codegen


def _check_4_bytes(x, index):
    if (x.ctypes.data + 2 * int(index)) % 4:
        raise ValueError(f"load_pair, store_pair: index {index} of an array of shape {x.shape} is not at a multiple of 4 bytes")


def _word(context, builder, signature, arguments):
    """A pointer to 32 bits of the array that is the first argument, at the index that is the second."""
    index = context.cast(builder, arguments[1], signature.args[1], types.int64)
    first = builder.gep(context.make_array(signature.args[0])(context, builder, arguments[0]).data, [index])
    return builder.bitcast(first, _I32.as_pointer(first.type.addrspace))


def _two(word):
    """The two float32 in a word of two bfloat16."""
    return np.array([int(word) << 16 & 0xFFFFFFFF, int(word) & 0xFFFF0000], np.uint32).view(np.float32)


@intrinsic(lambda x: x)
def afresh(typingctx, x):
    """x, an int32, of which the compiler shall not know that it had it before: what is made of it in a loop is made anew, and takes no registers else."""
    def codegen(context, builder, signature, arguments):
        return _emit(builder, "mov.b32 $0, $1;", _I32, "=r,r", arguments)

    return types.int32(types.int32), codegen


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
