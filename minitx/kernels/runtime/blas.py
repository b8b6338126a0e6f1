"""BLAS inside Numba: `gemm`, one matrix product on the calling thread, to be used in the body of a `prange`.

SciPy exports BLAS as C pointers (scipy.linalg.cython_blas). Registered with LLVM under a name, such a pointer can be called from compiled
code that is still cached on disk. Each thread of Numba's pool computes its own block with a single-threaded product, so there is one pool
of threads and not two that spin against each other.
"""
import llvmlite.binding as llvm
import scipy.linalg.cython_blas  # noqa: F401  (loads the library whose addresses are taken below)
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import get_cython_function_address, intrinsic

_ROUTINES = {types.float32: "sgemm", types.float64: "dgemm"}
for _routine in _ROUTINES.values():
    llvm.add_symbol("minitx_" + _routine, get_cython_function_address("scipy.linalg.cython_blas", _routine))


@intrinsic
def gemm(typingctx, transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
    """Row-major c[m, n] = alpha · op(a)[m, k] @ op(b)[k, n] + beta · c, in float32 or float64, on one thread.

    `a`, `b` and `c` are arrays of any number of dimensions whose first element is the first of its matrix; `lda`, `ldb`, `ldc` are the distances
    between the rows *as stored*, so heads and column blocks of a larger matrix are used in place. `op` transposes where the flag says so.
    """
    dtype = c.dtype
    if dtype not in _ROUTINES or a.dtype != dtype or b.dtype != dtype:
        raise TypingError(f"gemm: a, b and c must all be float32 or all float64; they are {a.dtype}, {b.dtype} and {c.dtype}")
    i32 = types.int32
    signature = types.void(types.boolean, types.boolean, i32, i32, i32, dtype, a, i32, b, i32, dtype, c, i32)

    def codegen(context, builder, signature, arguments):
        byte, integer, real = ir.IntType(8), ir.IntType(32), context.get_value_type(dtype)

        def address(kind, value):
            slot = cgutils.alloca_once(builder, kind)
            builder.store(value, slot)
            return slot

        def data(index):
            return context.make_array(signature.args[index])(context, builder, arguments[index]).data

        def letter(flag):  # 'T' transposes, 'N' does not
            return address(byte, builder.select(builder.trunc(flag, ir.IntType(1)), byte(ord("T")), byte(ord("N"))))

        pointers = [kind.as_pointer() for kind in (byte, integer, real)]
        p_byte, p_int, p_real = pointers
        kind = ir.FunctionType(ir.VoidType(), [p_byte, p_byte, p_int, p_int, p_int, p_real, p_real, p_int, p_real, p_int, p_real, p_real, p_int])
        function = cgutils.get_or_insert_function(builder.module, kind, "minitx_" + _ROUTINES[dtype])
        t_a, t_b, rows, columns, inner, alpha_, _, ld_a, _, ld_b, beta_, _, ld_c = arguments
        # BLAS counts in columns; read that way, row-major c is its transpose: cᵀ = op(b)ᵀ op(a)ᵀ.
        builder.call(function, [
            letter(t_b), letter(t_a), address(integer, columns), address(integer, rows), address(integer, inner),
            address(real, alpha_), data(8), address(integer, ld_b), data(6), address(integer, ld_a),
            address(real, beta_), data(11), address(integer, ld_c)])
        return context.get_dummy_value()

    return signature, codegen
