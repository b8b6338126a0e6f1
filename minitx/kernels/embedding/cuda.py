"""Embedding on CUDA. Versions of the backward pass, from naive to fast:

1. A thread for each element of g, which adds it to its row with an atomic addition: fast, but sums come in another order, with other bits, each time.
2. `naive.py`: a block for each row of the table, which looks through all ids for its own. Vocabulary × text comparisons.
3. The places of each id are listed first, by counting, in the order of the text; then a block for each row of the table goes through its list.

For the list, the text is cut into tiles. A thread for each place counts how often its id stands before it in its tile; a thread for each id adds up
what the tiles have. Nobody looks whether an id is in the table, as the CPU would have to wait for the answer: one that is not gives a row of NaN.
"""
import numpy as np
from numba import cuda
from numba.cuda import types

from ..runtime.cuda import array, empty, flat, kernel, zeros
from ..runtime.elements import ROWS, THREADS, first_column, over_matrix, read, width_for, write
from ..runtime.intrinsics import WARP, ZERO
from ..runtime.rows import for_sizes, this_row
from .reference import check_kinds

TILE = 1024  # places that are counted together, by as many threads
_NAN = np.float32(np.nan)


def embedding(weight, ids, out=None):
    """See reference.embedding."""
    check_kinds("embedding", ids, weight.dtype)
    vocabulary, d = weight.shape
    out = empty(weight, ids.shape + (d,)) if out is None else out
    if out.size > 0:
        if vocabulary == 0:
            raise IndexError("embedding: there are ids but the table has no rows")
        over_matrix(_embedding, ids.size, d, (flat(weight, weight.dtype), out.reshape(-1)), ids.astype(np.int32).reshape(-1), vocabulary, d)
    return out


@for_sizes(1, 4)
def _embedding(width):
    @kernel(lambda real: (array(real, 1), array(real, 1), array(types.int32, 1), types.int64, types.int64), threads=THREADS, variant=width)
    def embedding(weight, out, ids, vocabulary, d):
        values = cuda.local.array(width, weight.dtype)
        row, j = this_row(), first_column(width)
        if row < ids.size and j < d:
            id_ = ids[row]
            if 0 <= id_ < vocabulary:
                read(values, weight, id_ * d + j)
            else:
                for k in range(width):
                    values[k] = _NAN
            write(out, row * d + j, values)

    return embedding


def embedding_backward(g, ids, vocabulary, dweight=None):
    """See reference.embedding_backward."""
    check_kinds("embedding_backward", ids, g.dtype, g)
    d = g.shape[-1]
    dweight = empty(g, (vocabulary, d)) if dweight is None else dweight
    if g.size == 0 or vocabulary == 0:
        dweight.fill(0)
        return dweight
    places, ends = _places(ids.astype(np.int32).reshape(-1), vocabulary)
    arrays = flat(g, g.dtype), dweight.reshape(-1)
    width = width_for(arrays, d)
    _sum[width][(vocabulary, -(-d // (WARP * width))), (WARP, ROWS)](*arrays, places, ends, d)
    return dweight


def _places(ids, vocabulary):
    """The places of id 0 in the text, then those of id 1, …, and behind the last place of each id (places, ends)."""
    tile = min(TILE, WARP * -(-ids.size // WARP))
    tiles = -(-ids.size // tile)
    before, places = empty(ids, ids.size), empty(ids, ids.size)
    counts, totals = zeros(ids, (tiles, vocabulary)), empty(ids, vocabulary)
    _count[tiles, tile](ids, before, counts)
    _begin[-(-vocabulary // THREADS), THREADS](counts, totals)
    ends = totals.cumsum(dtype=np.int32)
    _list[tiles, tile](ids, before, counts, totals, ends, places)
    return places, ends


def _ints(*ndims):
    return tuple([array(types.int32, ndim) for ndim in ndims])


@kernel(lambda _: _ints(1, 1, 2), threads=TILE)
def _count(ids, before, counts):
    """How often each id stands before its place in the tile, and how often in all of it. `counts` comes as zeros."""
    tile = cuda.shared.array(TILE, types.int32)
    i = cuda.grid(1)
    tile[cuda.threadIdx.x] = ids[i] if i < ids.size else -1
    cuda.syncthreads()
    own, earlier, later = tile[cuda.threadIdx.x], 0, 0
    for other in range(cuda.blockDim.x):
        if tile[other] == own:
            if other < cuda.threadIdx.x:
                earlier += 1
            else:
                later += 1
    if i < ids.size:
        before[i] = earlier
        if later == 1 and 0 <= own < counts.shape[1]:  # the last of its kind: one thread of the block
            counts[cuda.blockIdx.x, own] = earlier + 1


@kernel(lambda _: _ints(2, 1), threads=THREADS)
def _begin(counts, totals):
    """Replace what each tile has of an id by what the tiles before it have."""
    v = cuda.grid(1)
    if v < totals.size:
        total = 0
        for tile in range(counts.shape[0]):
            count = counts[tile, v]
            counts[tile, v] = total
            total += count
        totals[v] = total


@kernel(lambda _: _ints(1, 1, 2, 1, 1, 1), threads=TILE)
def _list(ids, before, counts, totals, ends, places):
    """Write each place where it stands in the list."""
    i = cuda.grid(1)
    if i < ids.size:
        v = ids[i]
        if 0 <= v < totals.size:
            places[ends[v] - totals[v] + counts[cuda.blockIdx.x, v] + before[i]] = i


@for_sizes(1, 4)
def _sum(width):
    @kernel(lambda real: (array(real, 1), array(real, 1), *_ints(1, 1), types.int64), threads=THREADS, variant=width)
    def sum(g, dweight, places, ends, d):
        """A block for a part of a row of the table: its warps share out the places, and are added up one after the other."""
        values, totals = cuda.local.array(width, g.dtype), cuda.local.array(width, g.dtype)
        sums = cuda.shared.array((width, ROWS, WARP), g.dtype)
        v, j, lane, part = cuda.blockIdx.x, first_column(width), cuda.threadIdx.x, cuda.threadIdx.y
        for k in range(width):
            totals[k] = ZERO
        if j < d:
            for place in range((ends[v - 1] if v > 0 else 0) + part, ends[v], ROWS):
                read(values, g, places[place] * d + j)
                for k in range(width):
                    totals[k] += values[k]
        for k in range(width):
            sums[k, part, lane] = totals[k]
        cuda.syncthreads()
        if part == 0 and j < d:
            for k in range(width):
                for other in range(1, ROWS):
                    totals[k] += sums[k, other, lane]
            write(dweight, v * d + j, totals)

    return sum
