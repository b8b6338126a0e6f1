r"""Lesson: add a fused kernel to minitx.

    python examples/add_a_kernel.py                # the picture goes into the current folder, or --out FOLDER

The operation is RMS normalisation (Zhang and Sennrich 2019). Written with NumPy it is six plain operations: each reads
its inputs from memory, writes its result there, and has a gradient that does the same. Here it becomes one operation,
whose kernel reads each row once and does everything to it while it is in cache. (minitx has one already, `mx.rms_norm`;
this is how it came about.)

Forward. Over a row x of n elements, with weight γ:

    r = (Σ_j x_j² / n + ε)^(−½)        x̂_j = r x_j        out_j = γ_j x̂_j

Backward. With g = ∂L/∂out, the weight first: out_j = γ_j x̂_j in every row, so

    dγ_j = Σ_rows g_j x̂_j

For x, let a_j = ∂L/∂x̂_j = γ_j g_j. Each x̂_j contains x_i twice, as itself if i = j, and within r:

    ∂r/∂x_i = −½ (Σ_j x_j² / n + ε)^(−3/2) · 2 x_i / n = −r³ x_i / n = −r² x̂_i / n
    ∂x̂_j/∂x_i = r δ_ij + x_j ∂r/∂x_i = r (δ_ij − x̂_j x̂_i / n)
    dx_i = Σ_j a_j ∂x̂_j/∂x_i = r (a_i − x̂_i m)        where  m = Σ_j a_j x̂_j / n

One thing to expect of this: a row twice as long gives the same output, if ε = 0. So dx must be orthogonal to x, and it
is: Σ_i x_i dx_i = n m − m Σ_i x̂_i² = 0, since then Σ_i x̂_i² = n.
"""
import argparse
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numba import float32, float64, int64, njit, prange

import minitx as mx
from minitx.autograd import gradcheck, op
from minitx.bench.profile import profile
from minitx.kernels.runtime import launch, threads
from minitx.kernels.runtime.compiled import reads, writes
from minitx.kernels.runtime.memory import empty, empty_like

parser = argparse.ArgumentParser(description="write a fused kernel, check it and time it")
parser.add_argument("--out", default=".", metavar="FOLDER", help="where the picture goes (the current folder)")
parser.add_argument("--quick", action="store_true", help="time it at small sizes only")
options = parser.parse_args()


# 1. The reference: the formulas above, line by line. It is what a kernel is compared with, and the forward, made of
# functions that work on Tensors too, is also what minitx differentiates when a gradient of the gradient is wanted.

def reference(x, weight, eps):
    """x (..., n) float32 or float64, weight (n,). Returns out like x, and r (..., 1)."""
    r = (np.mean(x * x, axis=-1, keepdims=True) + eps) ** -0.5
    return x * r * weight, r


def reference_backward(g, x, weight, r):
    """dx and dweight, from g = ∂L/∂out and what the forward took and gave."""
    normalised = x * r
    a = g * weight
    dx = r * (a - normalised * np.mean(a * normalised, axis=-1, keepdims=True))
    return dx, np.sum(g * normalised, axis=tuple(range(x.ndim - 1)))


# 2. The kernels. All leading axes are flattened: x is (rows, n). Rows are independent, so threads share them, in
# blocks of rows.
#
# dγ is a sum over all rows, and sums of floats depend on their order. Were there one block for each thread, the result
# would change with the machine. So the number of blocks comes from the shape alone (launch.blocks), each block has a
# place of its own for its part of the sum, and the parts are added in the order of the blocks, whoever computed them.
#
# The types are written out, one signature for each dtype, because Numba would compile anew (for seconds) whenever an
# array came that is read-only: `reads` takes both kinds. launch.OPTIONS asks for threads, for a cache on disk, and for
# sums that may be vectorised. launch.share is told how many nanoseconds the work takes on one thread, and leaves it to
# one thread where waking another would take longer.

REALS = (float32, float64)
compiling = time.perf_counter()


@njit([(reads(real, 2, "C"), reads(real, 1, "C"), real, int64, writes(real, 2), writes(real, 1)) for real in REALS],
      **launch.OPTIONS)
def rms_norm_kernel(x, weight, eps, blocks, out, r):
    rows, n = x.shape
    before = launch.share(x.size // 5)
    for block in prange(blocks):
        for i in range(block * rows // blocks, (block + 1) * rows // blocks):
            squares = x.dtype.type(0)
            for j in range(n):
                squares += x[i, j] * x[i, j]
            scale = x.dtype.type(1) / np.sqrt(squares / x.dtype.type(n) + eps)
            for j in range(n):
                out[i, j] = x[i, j] * scale * weight[j]
            r[i] = scale
    launch.restore(before)


@njit([(reads(real, 2, "C"), reads(real, 2, "C"), reads(real, 1, "C"), reads(real, 1, "C"), int64, writes(real, 2),
        writes(real, 2), writes(real, 1)) for real in REALS], **launch.OPTIONS)
def rms_norm_backward_kernel(g, x, weight, r, blocks, dx, parts, dweight):
    rows, n = x.shape
    zero = x.dtype.type(0)
    before = launch.share(x.size // 3)
    for block in prange(blocks):
        for j in range(n):
            parts[block, j] = zero
        for i in range(block * rows // blocks, (block + 1) * rows // blocks):
            products = zero
            for j in range(n):
                weighted = g[i, j] * x[i, j] * r[i]
                products += weighted * weight[j]
                parts[block, j] += weighted
            m = products / x.dtype.type(n)
            for j in range(n):
                dx[i, j] = r[i] * (g[i, j] * weight[j] - x[i, j] * r[i] * m)
    launch.restore(before)
    for j in range(n):
        dweight[j] = zero
    for block in range(blocks):
        for j in range(n):
            dweight[j] += parts[block, j]


compiling = time.perf_counter() - compiling


# 3. Around each, a function on arrays of any shape. A kernel looks at no bounds: what it is not to meet stops here.

def forward(x, weight, eps):
    """The same as `reference`, by the kernel."""
    if x.dtype.char not in "fd" or weight.dtype != x.dtype:
        raise TypeError(f"rms_norm: x is {x.dtype} and weight {weight.dtype}; they must both be float32, or both "
                        "float64; use .astype")
    if weight.shape != x.shape[-1:] or weight.shape in ((), (0,)):
        raise ValueError(f"rms_norm: x has shape {x.shape} and weight {weight.shape}; weight must be (n,) where n >= 1 "
                         "is the length of the last axis of x")
    rows = launch.rows(x, x.dtype)  # (rows, n), a copy only where x is not contiguous
    out, r = empty(x.shape, x.dtype), empty(x.shape[:-1] + (1,), x.dtype)
    rms_norm_kernel(rows, np.ascontiguousarray(weight), eps, launch.blocks(*rows.shape), out.reshape(rows.shape),
                    r.reshape(-1))
    return out, r


def backward(g, x, weight, r, blocks=None):
    """The same as `reference_backward`, by the kernel."""
    rows = launch.rows(x, x.dtype)
    blocks = blocks or launch.blocks(*rows.shape)
    dx, dweight = empty(x.shape, x.dtype), empty(weight.shape, x.dtype)
    parts = empty((blocks, len(weight)), x.dtype)
    rms_norm_backward_kernel(launch.rows(g, x.dtype), rows, np.ascontiguousarray(weight), r.reshape(-1), blocks,
                             dx.reshape(rows.shape), parts, dweight)
    return dx, dweight


# 4. The operation. A fused forward returns its output and then its residuals, what the rule wants besides the inputs.
# The rule is a kernel, which runs on arrays and has no gradient of its own: that is why there must be a reference.

def reference_output(x, weight, *, eps=1e-6):
    return reference(x, weight, eps)[0]


@op(reference=reference_output, residuals="r")
def rms_norm(x, weight, *, eps=1e-6):
    """x / √(mean(x²) + eps) · weight over the last axis (Zhang and Sennrich 2019): x (..., n), weight (n,)."""
    return forward(x, weight, eps)


@rms_norm.vjp
def _(g, x, weight, r):
    return backward(g, x, weight, r)


# For comparison, the same formulas served by NumPy: what the derivation alone is worth, without a kernel.

@op(reference=reference_output, residuals="r")
def rms_norm_in_numpy(x, weight, *, eps=1e-6):
    return reference(x, weight, eps)


@rms_norm_in_numpy.vjp
def _(g, x, weight, r):
    return reference_backward(g, x, weight, r)


# 5. Is it right? What was claimed above, beside what is measured.

def report(what, claimed, measured):
    print(f"{what:66}{claimed:>12}{measured!s:>14}")


def furthest(arrays, exact):
    """The largest difference, relative to the largest element, over pairs of arrays."""
    return max(np.abs(a - b).max() / np.abs(b).max() for a, b in zip(arrays, exact))


def both(x, weight, g, eps=1e-6):
    """out, dx and dweight, by the kernels."""
    out, r = forward(x, weight, eps)
    return out, *backward(g, x, weight, r)


rng = np.random.default_rng(0)
ROWS, N = 1000, 384
x, g = rng.normal(size=(2, ROWS, N))  # float64
weight = rng.normal(size=N)
small = rng.normal(size=(2, 3, 5)), rng.normal(size=5)

print(f"{'':66}{'claimed':>12}{'measured':>14}")
exact_out, exact_r = reference(x, weight, 1e-6)
exact = exact_out, *reference_backward(g, x, weight, exact_r)
single = [array.astype(np.float32) for array in (x, weight, g)]
report("float32: furthest from the reference in float64 (relative)", "< 1e-6", f"{furthest(both(*single), exact):.1e}")
report("float64: the same", "< 1e-14", f"{furthest(both(x, weight, g), exact):.1e}")

_, dx, _ = both(x, weight, g, eps=0.0)
cosine = np.sum(x * dx, axis=-1) / np.linalg.norm(x, axis=-1) / np.linalg.norm(dx, axis=-1)
report("ε = 0: cosine of the angle between x and dx, largest of all rows", "0", f"{np.abs(cosine).max():.1e}")

report("gradcheck: dx and dweight do what the values do", "True", gradcheck(rms_norm, small))
report("second order, and create_graph=True agrees with the kernel", "True", gradcheck(rms_norm, small, order=2))

runs = []
for count in (1, 0):  # 0: all
    threads.set_threads(count)
    runs.append(both(*single))
different = sum(np.count_nonzero(one != other) for one, other in zip(*runs))
report(f"elements that differ between 1 and {threads.get_threads()} threads", "0", different)
one, two = (backward(single[2], *single[:2], forward(*single[:2], 1e-6)[1], blocks=count)[1] for count in (1, 2))
report("... of dweight, had each of two threads one block", "many", f"{np.count_nonzero(one != two)} of {N}")


def kept(f):
    """Bytes that f's tape keeps for the backward, besides the leaves."""
    with profile(show=False) as seen:
        f(mx.tensor(single[0], requires_grad=True), mx.tensor(single[1], requires_grad=True))
    return sum(row["kept"] for row in seen.rows.values())


report("bytes kept for the backward: one r for each row", f"{4 * ROWS:,}", f"{kept(rms_norm):,}")
report("... by plain operations: x̂ too", f"> {4 * ROWS * N:,}", f"{kept(reference_output):,}")


# 6. Would a mistake be seen? Here γ stays outside the sum: a_j = g_j. With γ = 1, as training begins, that is right,
# and it passes. Check a gradient at a place that is not special.

def attempt(what, *args, **kwargs):
    try:
        print(f"{what:34}", gradcheck(*args, **kwargs))
    except AssertionError as error:
        print(f"{what:34}", error)


@op(reference=reference_output, residuals="r")
def forgetful(x, weight, *, eps=1e-6):
    return forward(x, weight, eps)


@forgetful.vjp
def _(g, x, weight, r):
    return backward(g, x, np.ones_like(weight), r)


print()
attempt("γ forgotten, checked at γ = 1:", forgetful, (small[0], np.ones(5)))
attempt("γ forgotten, checked at another γ:", forgetful, small)


# Kernel and reference are two programs for one function, and they can part. The first order knows the kernel alone; the
# second order sees both. This reference adds ε after the root.

@op(reference=lambda x, weight, *, eps: x / (np.mean(x * x, axis=-1, keepdims=True) ** 0.5 + eps) * weight,
    residuals="r")
def parted(x, weight, *, eps):
    return forward(x, weight, eps)


@parted.vjp
def _(g, x, weight, r):
    return backward(g, x, weight, r)


attempt("another reference, first order:", lambda x, weight: parted(x, weight, eps=0.1), small)
attempt("another reference, second order:", lambda x, weight: parted(x, weight, eps=0.1), small, order=2)


# 7. Is it worth it? Forward and backward through the tape, at several sizes; the best of several rounds in which all
# take turns. The kernels move five arrays like x, two forward (x, out) and three backward (g, x, dx), two and a half
# times what a copy moves: what that takes is the floor for one thread.

def step(f):
    def run(x, weight, g):
        x.grad = weight.grad = None
        f(x, weight).backward(g)
    return run


def copies(x, weight, g):
    for _ in range(5):
        np.copyto(empty_like(g), g)


ALL = threads.get_threads()
WAYS = {  # name: (what to time, number of threads, how many times it does what is asked, colour)
    "plain operations": (step(reference_output), ALL, 1, "#b45309"),
    "NumPy": (step(rms_norm_in_numpy), ALL, 1, "#6b7280"),
    "kernel, 1 thread": (step(rms_norm), 1, 1, "#60a5fa"),
    f"kernel, {ALL} thread{'s' * (ALL > 1)}": (step(rms_norm), ALL, 1, "#1d4ed8"),
    "2.5 copies": (copies, 1, 2, "black"),
}


def time_all(rows, n, seconds):
    """{name: seconds for one forward and backward of float32 (rows, n)}"""
    x, g = rng.normal(size=(2, rows, n)).astype(np.float32)
    arguments = mx.tensor(x, requires_grad=True), mx.tensor(np.ones(n, np.float32), requires_grad=True), g
    best, until = dict.fromkeys(WAYS, np.inf), time.perf_counter() + seconds
    while time.perf_counter() < until or np.inf in best.values():
        for name, (run, count, times, _) in WAYS.items():
            threads.set_threads(count)
            start = time.perf_counter()
            run(*arguments)
            best[name] = min(best[name], (time.perf_counter() - start) / times)
    return best


WIDTH = 512
sizes = [8 * 4 ** k for k in range(3 if options.quick else 6)]
print(f"\nmilliseconds, forward and backward of float32 (rows, {WIDTH}); the kernels compiled in {compiling:.1f} s, or "
      "came from the disk\n")
print(f"{'rows':>8}" + "".join(f"{name:>19}" for name in WAYS) + f"{'plain / kernel':>17}")
measured = []
for rows in sizes:
    times = time_all(rows, WIDTH, seconds=0.2 if options.quick else 0.7)
    measured.append(times)
    print(f"{rows:8}" + "".join(f"{seconds * 1e3:19.3f}" for seconds in times.values())
          + f"{times['plain operations'] / times['kernel, 1 thread']:17.1f}")


# 8. See it. The time per element says why: it rises to the left, where a call costs more than the work it does, and to
# the right, where the arrays no longer fit the cache.

def picture(path):
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    elements = WIDTH * np.array(sizes)
    for name, (run, _, _, colour) in WAYS.items():
        seconds = np.array([times[name] for times in measured])
        style = {"color": colour, "label": name} | ({"linestyle": ":"} if run is copies else {"marker": "o"})
        left.loglog(elements, seconds * 1e3, **style)
        right.loglog(elements, seconds / elements * 1e9, **style)
    left.set(title="RMS norm, forward and backward", ylabel="milliseconds")
    right.set(title="The same, for one element", ylabel="nanoseconds")
    for axes in (left, right):
        axes.set_xlabel(f"elements of x (float32, rows of {WIDTH})")
        axes.grid(color="#e5e7eb", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.yaxis.set_major_formatter("{x:g}")
    left.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, facecolor="white")
    return path


print("\nThe picture:", picture(Path(options.out) / "add_a_kernel.png"))

# In minitx, the parts stand in a folder, as those of minitx/kernels/layer_norm do: the derivation in its __init__.py,
# reference.py and cpu.py with the same functions in each, and the operation in minitx/autograd/fused.py.
