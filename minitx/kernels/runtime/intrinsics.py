"""What CUDA kernels are written with: numbers, functions, loads and stores of 16 bytes, and sums and maxima over a warp or a block.

Python has no word for some instructions of a GPU. An `intrinsic` writes one into the machine code; its twin says in Python what it does, and is
what the simulator runs.
"""
import math

import numpy as np
from numba import cuda
from numba.cuda import types
from scipy import special

from .cuda import SIMULATED, device

WARP = 32
ALL = 0xFFFFFFFF  # the lanes of a warp that take part
# A Python number beside a float32 makes a float64 of it, which most GPUs compute at a 32nd or 64th of the speed; these leave float32 and float64 alone.
ZERO, ONE, HALF, LOWEST = np.float32(0), np.float32(1), np.float32(0.5), np.float32(-np.inf)

# The GPU's functions, of float32 and float64. In the simulator NumPy's, which keep the dtype and give infinities where Python's raise an error.
exp, log, sqrt, tanh, erf = (np.exp, np.log, np.sqrt, np.tanh, special.erf) if SIMULATED else (math.exp, math.log, math.sqrt, math.tanh, math.erf)


def intrinsic(twin):
    """Decorate what writes an instruction (see numba.cuda.extending.intrinsic); in the simulator `twin` takes its place."""
    if SIMULATED:
        return lambda instruction: twin
    from numba.cuda.extending import intrinsic as of_numba

    return of_numba


def _of_one_number(twin, instruction):
    """The function of a float32 that one instruction of the GPU computes."""
    @intrinsic(twin)
    def function(typingctx, x):
        def codegen(context, builder, signature, arguments):
            from llvmlite import ir

            real = ir.FloatType()
            return builder.call(ir.InlineAsm(ir.FunctionType(real, [real]), f"{instruction} $0, $1;", "=f,f"), arguments)

        return types.float32(types.float32), codegen

    return function


# Of float32 only, and good to two units in the last place (log2 near 1 to 2⁻²²). `exp` and `log` are made of them and some instructions around.
exp2, log2 = _of_one_number(np.exp2, "ex2.approx.ftz.f32"), _of_one_number(np.log2, "lg2.approx.ftz.f32")


def _load4(x, index):
    _check_address(x, index)
    return tuple(x.reshape(-1)[index:index + 4])


@intrinsic(_load4)
def load4(typingctx, x, index):
    """Elements index … index + 3 of a contiguous array of any shape, counted through it; `index` a multiple of 4. One instruction in float32."""
    def codegen(context, builder, signature, arguments):
        vector = builder.load(_vector(context, builder, signature, arguments), align=16)
        parts = [builder.extract_element(vector, _i32(k)) for k in range(4)]
        return context.make_tuple(builder, signature.return_type, parts)

    return types.UniTuple(x.dtype, 4)(x, index), codegen


def _store4(x, index, a, b, c, d):
    _check_address(x, index)
    x.reshape(-1)[index:index + 4] = a, b, c, d


@intrinsic(_store4)
def store4(typingctx, x, index, a, b, c, d):
    """Write four values where `load4` reads them."""
    def codegen(context, builder, signature, arguments):
        from llvmlite import ir

        pointer = _vector(context, builder, signature, arguments)
        vector = ir.Constant(pointer.type.pointee, ir.Undefined)
        for k in range(4):
            vector = builder.insert_element(vector, arguments[2 + k], _i32(k))
        builder.store(vector, pointer, align=16)
        return context.get_dummy_value()

    return types.void(x, index, x.dtype, x.dtype, x.dtype, x.dtype), codegen


def _check_address(x, index):
    if (x.ctypes.data + int(index) * x.dtype.itemsize) % 16:
        raise ValueError(f"load4, store4: index {index} of an array of shape {x.shape} is not at a multiple of 16 bytes")


def _vector(context, builder, signature, arguments):
    """A pointer to four elements of the array that is the first argument, from the index that is the second."""
    from llvmlite import ir

    index = context.cast(builder, arguments[1], signature.args[1], types.uint64)
    first = builder.gep(context.make_array(signature.args[0])(context, builder, arguments[0]).data, [index])
    return builder.bitcast(first, ir.VectorType(first.type.pointee, 4).as_pointer(first.type.addrspace))


def _i32(value):
    from llvmlite import ir

    return ir.Constant(ir.IntType(32), value)


@device
def warp_sum(value):
    """The sum over the 32 lanes of a warp, in every lane: halves exchanged, quarters, …, neighbours."""
    for distance in (16, 8, 4, 2, 1):
        value += cuda.shfl_xor_sync(ALL, value, distance)
    return value


@device
def warp_max(value):
    """The largest over the lanes of a warp, in every lane."""
    for distance in (16, 8, 4, 2, 1):
        value = max(value, cuda.shfl_xor_sync(ALL, value, distance))
    return value


@device
def row_sum(value, scratch):
    """The sum over the threads of a row of the block (threadIdx.x), in each of them; `scratch` is a shared array of 32.

    Rows of more than one warp are alone in their block, and meet in `scratch`.
    """
    value = warp_sum(value)
    if cuda.blockDim.x > WARP:
        lane = cuda.threadIdx.x % WARP
        cuda.syncthreads()  # whoever still reads what an earlier call left in scratch
        if lane == 0:
            scratch[cuda.threadIdx.x // WARP] = value
        cuda.syncthreads()
        value = warp_sum(scratch[lane] if lane < cuda.blockDim.x // WARP else ZERO)
    return value


@device
def row_max(value, scratch):
    """As `row_sum`, the largest."""
    value = warp_max(value)
    if cuda.blockDim.x > WARP:
        lane = cuda.threadIdx.x % WARP
        cuda.syncthreads()
        if lane == 0:
            scratch[cuda.threadIdx.x // WARP] = value
        cuda.syncthreads()
        value = warp_max(scratch[lane] if lane < cuda.blockDim.x // WARP else LOWEST)
    return value
