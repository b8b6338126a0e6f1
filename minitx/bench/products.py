"""The matrix products of a step alone, with nothing between them: the floor under any way to compute the step.

They are multiplied by our own product on our own threads, each cut as it is quickest here, and all on the same three pieces of memory, so that what fits
into the cache is there. Attention is counted whole, also the half that a causal mask hides, and padded positions count; nothing is computed twice.
"""
import time
from dataclasses import dataclass

import numpy as np
from numba import njit, prange

from ..kernels.runtime import blas, launch
from .measure import Subject
from .workloads import read_batches, workload

_CHUNK = 512  # rows of the output layer at a time: its logits need not exist all at once
_CUTS = ((2, 1), (4, 1), (8, 1), (16, 1), (1, 2), (1, 4), (2, 2), (2, 4))  # blocks of rows × blocks of columns that are tried


@dataclass(frozen=True)
class Product:
    """c (rows, columns) = op(a) @ op(b), summed over `inner`; op transposes where the flag says so."""

    rows: int
    columns: int
    inner: int
    transpose_a: bool = False
    transpose_b: bool = False

    @property
    def operations(self):
        """Multiplications and additions."""
        return 2 * self.rows * self.columns * self.inner

    @property
    def sizes(self):
        """Elements of a, b and c."""
        return self.rows * self.inner, self.inner * self.columns, self.rows * self.columns


@dataclass(frozen=True)
class Heads:
    """The products of attention: scores and values, and with `backward` the four of their gradients."""

    batch: int
    heads: int
    queries: int
    keys: int
    size: int
    backward: bool = True

    @property
    def operations(self):
        """Multiplications and additions."""
        return 2 * self.batch * self.heads * self.queries * self.keys * self.size * (6 if self.backward else 2)

    @property
    def sizes(self):
        """Elements of the arrays on the queries' and on the keys' side."""
        return self.batch * self.heads * self.queries * self.size, self.batch * self.heads * self.keys * self.size


def linear(rows, features, outputs, backward=True):
    """The products of a linear layer: its output, and the gradients of its input and of its weight."""
    forward = [Product(rows, outputs, features, transpose_b=True)]
    return forward + [Product(rows, features, outputs), Product(outputs, features, rows, transpose_a=True)] if backward else forward


def of_step(work, batch):
    """All products of one step of a `Workload` on a batch {name: array}."""
    d, heads, layers = (work.model[name] for name in ("d_model", "n_heads", "n_layers"))
    d_ff = work.model.get("d_ff") or 4 * d
    size = d // heads
    if work.kind == "language model":
        sequences, length = batch["target_in"].shape
        rows = sequences * length
        layer = linear(rows, d, 3 * d) + [Heads(sequences, heads, length, length, size)] + linear(rows, d, d)
        return (layer + linear(rows, d, d_ff) + linear(rows, d_ff, d)) * layers + output_layer(rows, d, work.vocabulary)
    if work.kind == "decoding":
        return _of_decoding(work, batch, d, heads, layers, d_ff, size)
    (sequences, source), target = batch["source"].shape, batch["target_in"].shape[1]
    rows_in, rows_out = sequences * source, sequences * target
    encoder = linear(rows_in, d, 3 * d) + [Heads(sequences, heads, source, source, size)] + linear(rows_in, d, d)
    encoder += linear(rows_in, d, d_ff) + linear(rows_in, d_ff, d)
    decoder = linear(rows_out, d, 3 * d) + [Heads(sequences, heads, target, target, size)] + linear(rows_out, d, d)
    decoder += linear(rows_out, d, d) + linear(rows_in, d, 2 * d) + [Heads(sequences, heads, target, source, size)] + linear(rows_out, d, d)
    decoder += linear(rows_out, d, d_ff) + linear(rows_out, d_ff, d)
    return (encoder + decoder) * layers + output_layer(rows_out, d, work.vocabulary)


def _of_decoding(work, batch, d, heads, layers, d_ff, size):
    (rows, source), steps = batch["source"].shape, work.batch[1]

    def forward(count, features, outputs):
        return linear(count, features, outputs, backward=False)

    encoder = forward(rows * source, d, 3 * d) + [Heads(rows, heads, source, source, size, False)] + forward(rows * source, d, d)
    encoder += forward(rows * source, d, d_ff) + forward(rows * source, d_ff, d)
    found = encoder * layers + forward(rows * source, d, 2 * d) * layers
    for step in range(steps):
        layer = forward(rows, d, 3 * d) + [Heads(rows, heads, 1, step + 1, size, False)] + forward(rows, d, d) * 2
        layer += [Heads(rows, heads, 1, source, size, False)] + forward(rows, d, d) + forward(rows, d, d_ff) + forward(rows, d_ff, d)
        found += layer * layers + forward(rows, d, work.vocabulary)
    return found


def output_layer(rows, d, vocabulary):
    """The products of an output layer, in chunks of rows."""
    sizes = [min(_CHUNK, rows - start) for start in range(0, rows, _CHUNK)]
    return [product for size in sizes for product in linear(size, d, vocabulary)]


class ProductsSubject(Subject):
    """All products of a step, one after the other, for each batch of a workload in turn."""

    def __init__(self, spec):
        work, batches = workload(spec["name"], spec.get("changes")), read_batches(spec["folder"])
        self.steps = [of_step(work, batch) for batch in batches]
        self.cycle, self.place = len(batches), 0
        self.ready = ready({product for step in self.steps for product in step})

    @property
    def operations(self):
        """Multiplications and additions of a step, on average over the batches."""
        return sum(product.operations for step in self.steps for product in step) / len(self.steps)

    def rewind(self):
        self.place = 0

    def step(self):
        for product in self.steps[self.place % self.cycle]:
            self.ready[product]()
        self.place += 1

    def facts(self):
        return {"operations": self.operations}


def ready(distinct, dtype=np.float32):
    """{product: a function that computes it} on memory that all share."""
    size = max((sum(product.sizes) for product in distinct), default=0)
    memory = [np.random.default_rng(i).standard_normal(size, dtype=dtype) for i in range(3)]
    return {product: _heads_ready(product, memory) if isinstance(product, Heads) else _product_ready(product, memory) for product in distinct}


def _product_ready(product, memory):
    """A function that computes the product, cut as it is quickest."""
    shapes = [(product.inner, product.rows) if product.transpose_a else (product.rows, product.inner),
              (product.columns, product.inner) if product.transpose_b else (product.inner, product.columns), (product.rows, product.columns)]
    a, b, c = (piece[:rows * columns].reshape(rows, columns) for piece, (rows, columns) in zip(memory, shapes))

    def cut(row_blocks, column_blocks):
        return lambda: _multiply(a, b, c, product.transpose_a, product.transpose_b, product.inner, row_blocks, column_blocks)

    tried = {(rows, columns): cut(rows, columns) for rows, columns in _CUTS if rows <= product.rows and columns <= product.columns}
    return min(tried.values(), key=quickest) if tried else cut(1, 1)


def quickest(function, tries=5):
    """Seconds of the quickest of some calls."""
    function()
    times = []
    for _ in range(tries):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


@njit(**launch.OPTIONS)
def _multiply(a, b, c, transpose_a, transpose_b, inner, row_blocks, column_blocks):
    rows, columns = c.shape
    one, zero = c.dtype.type(1), c.dtype.type(0)
    for block in prange(row_blocks * column_blocks):
        i, j = block // column_blocks, block % column_blocks
        top, bottom = i * rows // row_blocks, (i + 1) * rows // row_blocks
        left, right = j * columns // column_blocks, (j + 1) * columns // column_blocks
        first = a[:, top:] if transpose_a else a[top:]
        second = b[left:] if transpose_b else b[:, left:]
        blas.gemm(transpose_a, transpose_b, bottom - top, right - left, inner, one, first, a.shape[1], second, b.shape[1], zero, c[top:, left:], columns)


def _heads_ready(product, memory):
    """A function that computes the products of all heads."""
    width = product.heads * product.size
    arrays = [piece[start:start + product.batch * time * width].reshape(product.batch, time, width)
              for start, time in ((0, product.queries), (product.sizes[0], product.keys)) for piece in memory[:2]]
    q, rows_out, k, columns_out = arrays
    return lambda: _multiply_heads(q, k, rows_out, columns_out, product.heads, product.backward)


@njit(**launch.OPTIONS)
def _multiply_heads(q, k, rows_out, columns_out, heads, backward):
    """q and k stand for all arrays of their shapes: queries, output and its gradient; keys, values and their gradients."""
    batch, tq, width = q.shape
    tk, d = k.shape[1], width // heads
    one, zero = q.dtype.type(1), q.dtype.type(0)
    for block in prange(min(64, batch * heads)):
        scores = np.empty((tq, tk), q.dtype)
        for item in range(block * batch * heads // min(64, batch * heads), (block + 1) * batch * heads // min(64, batch * heads)):
            b, column = item // heads, item % heads * d
            for _ in range(2 if backward else 1):  # Q Kᵀ and P V; for the gradients G Vᵀ and dS K
                blas.gemm(False, True, tq, tk, d, one, q[b, :, column:], width, k[b, :, column:], width, zero, scores, tk)
                blas.gemm(False, False, tq, d, tk, one, scores, tk, k[b, :, column:], width, zero, rows_out[b, :, column:], width)
            for _ in range(2 if backward else 0):  # Pᵀ G and dSᵀ Q
                blas.gemm(True, False, tk, d, tq, one, scores, tk, q[b, :, column:], width, zero, columns_out[b, :, column:], width)
