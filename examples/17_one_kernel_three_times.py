r"""
17. One kernel, three times
===========================

    *"A fused kernel computes the same formula as the operations it is made of, only faster, because it goes through
    memory once. And since it runs in parallel, its last digits differ from run to run."*

Layer norm, as it stands in ``minitx/kernels/layer_norm``: in plain NumPy, for the processor, and for the graphics card
where there is one. We compare what they compute, what they move, and their bits; the formula turns out to be the
smaller part of the matter.
"""

# %%
# Three files, one formula
# ------------------------
# Over a row *x* of *n* elements, with weight γ and bias β:
#
# .. math::  \mu = \frac{1}{n}\sum_j x_j \qquad \sigma^2 = \frac{1}{n}\sum_j (x_j - \mu)^2 \qquad
#            \text{out}_j = \gamma_j \frac{x_j - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \beta_j
#
# ``reference.py`` is this in NumPy, one operation after the other. ``cpu.py`` is a loop over rows that Numba compiles,
# shared among threads. ``cuda.py`` gives a row to a few threads of a graphics card, which keep it in their registers.
import time

import numpy as np
from threadpoolctl import threadpool_limits

from lesson import BLUE, GREEN, MARKERS, ORANGE, QUICK, claim, myth, panels, picture, table
from minitx.errors import UserError
from minitx.kernels.layer_norm import cpu, reference
from minitx.kernels.runtime import devices, launch, threads

FILES = {"reference.py": (reference, np), "cpu.py": (cpu, np)}
try:
    cupy = devices.library("cuda")
    from minitx.kernels.layer_norm import cuda

    FILES["cuda.py"] = cuda, cupy
    print("a graphics card is here: all three files are compared\n")
except (ImportError, UserError, RuntimeError) as why:
    print(f"no graphics card here, so two of the three files are compared ({str(why).splitlines()[0]})\n")

ROWS, N = 2000, 512
generator = np.random.default_rng(0)
x, g = generator.normal(size=(2, ROWS, N)).astype(np.float32)
weight, bias = generator.normal(size=(2, N)).astype(np.float32)


def both(file, library, x, g, weight, bias):
    """out, dx, dweight and dbias of one of the files, as NumPy arrays."""
    x, g, weight, bias = map(library.asarray, (x, g, weight, bias))
    out, mean, rstd = file.layer_norm(x, weight, bias)
    return [devices.host(array) for array in (out, *file.layer_norm_backward(g, x, weight, mean, rstd))]


exact = both(reference, np, *(array.astype(np.float64) for array in (x, g, weight, bias)))
EPS = 2.0 ** -23  # of float32: the distance from 1 to the next number
errors = {name: [np.abs(found - truth).max() / np.abs(truth).max() / EPS for found, truth in zip(both(*file, x, g, weight, bias), exact)]
          for name, file in FILES.items()}
table(["largest error, in roundings of the largest element", "out", "dx", "dweight", "dbias"],
      [(name, *(f"{error:.2f}" for error in values)) for name, values in errors.items()], align="<>>>>")
of_rows = max(error for values in errors.values() for error in values[:2])
claim("what is computed within a row is the same in all files, to within a few roundings", f"at most {of_rows:.1f}", of_rows < 4)
claim("so it is for the gradients of γ and β, sums over all rows; they are better where parts of the rows are added first",
      f"{max(errors['reference.py'][2:]):.0f} roundings where NumPy adds {ROWS} rows one to the other, {max(errors['cpu.py'][2:]):.0f} where the kernel adds "
      f"{launch.blocks(ROWS, N)} blocks", max(errors["cpu.py"][2:]) < max(errors["reference.py"][2:]) < ROWS / 20)

# %%
# The same formula is not the same arithmetic
# -------------------------------------------
# Whoever wants to read a row only once might compute the variance as :math:`\overline{x^2} - \mu^2`, which is the same
# formula, a line further on. In numbers with seven digits it is not: if the mean is large, two large numbers are
# subtracted that agree in nearly all of them.
MEANS = 10.0 ** np.arange(0, 5)


def short_cut(x):
    mean = x.mean(axis=-1, keepdims=True)
    variance = np.maximum((x * x).mean(axis=-1, keepdims=True) - mean * mean, 0)
    return (x - mean) * (variance + np.float32(1e-5)) ** np.float32(-0.5)


def off(function, mean):
    shifted = x[:100] + np.float32(mean)
    truth = reference.layer_norm(shifted.astype(np.float64))[0]
    return np.abs(function(shifted) - truth).max() / np.abs(truth).max()


lost = {"short cut": [off(short_cut, mean) for mean in MEANS], "cpu.py": [off(lambda x: cpu.layer_norm(x)[0], mean) for mean in MEANS]}
table(["error, relative, where the mean is", *(f"{mean:g}" for mean in MEANS)],
      [(name, *(f"{value:.0e}" for value in values)) for name, values in lost.items()], align="<" + ">" * len(MEANS))
myth("the same formula gives the same result",
     f"around a mean of {MEANS[3]:g} the short cut is wrong by {lost['short cut'][3]:.0%}, the kernel by {lost['cpu.py'][3]:.0e}; it goes over the row "
     "for the mean, for the variance and for the result, after the first time while it is in cache", lost["short cut"][3] > 100 * lost["cpu.py"][3])

# %%
# What is moved
# -------------
# An array that counts: every operation on it adds the bytes that it reads and writes. For NumPy that is all that
# happens. The kernel reads the row and writes the result; what lies between stays in cache.


class Counting(np.ndarray):
    moved = 0

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        plain = [array.view(np.ndarray) if isinstance(array, np.ndarray) else array for array in inputs]
        result = getattr(ufunc, method)(*plain, **options)
        Counting.moved += sum(getattr(array, "nbytes", 0) for array in (*plain, result))
        return result.view(Counting)


reference.layer_norm(x.view(Counting), weight.view(Counting), bias.view(Counting))
arrays = Counting.moved / x.nbytes
claim("in plain operations the forward pass moves several times what the kernel moves",
      f"{arrays:.0f} times the size of x, where one reading and one writing are 2", arrays > 4 * 2)

# %%
# The bits
# --------
# A sum of floating-point numbers depends on the order. Were the rows dealt out to as many threads as there are, each
# with a sum of its own, the gradient of the weight would change with the machine. The kernels of minitx cut the work into
# blocks whose number comes from the shape alone, and add the blocks up in their order.
bits = []
for number in (1, 0):  # 0: all
    threads.set_threads(number)
    bits.append(both(cpu, np, x, g, weight, bias))
differing = [np.count_nonzero(one != other) for one, other in zip(*bits)]
myth("what runs in parallel gives other last digits on another number of threads",
     f"on 1 and on {threads.get_threads()} threads, {sum(differing)} of {sum(array.size for array in bits[0]):,} numbers differ", not sum(differing))
parts = (g * x).reshape(4, -1, N)
orders = [np.add.reduce([part.sum(axis=0, dtype=np.float32) for part in parts[list(order)]]) for order in ((0, 1, 2, 3), (3, 1, 0, 2))]
claim("it would be so, were the parts added as they come", f"the same four parts in another order: {np.count_nonzero(orders[0] != orders[1])} of {N} sums differ",
      np.count_nonzero(orders[0] != orders[1]) > N / 10)
print(f"the shape ({ROWS}, {N}) is cut into {launch.blocks(ROWS, N)} blocks, on any machine\n")

# %%
# The clock
# ---------
# Forward and backward; on the processor one thread and only the time that it was busy with it. As in lesson 13 nothing is
# claimed of times. What to look for: a call has its price, which small arrays pay many times over; a kernel is worth most
# where arrays no longer fit the cache; and a graphics card wants much to do at once.
SIZES = (4, 32, 256, 2048) if QUICK else (1, 4, 32, 256, 2048, 16384)


def seconds(file, library, rows, budget=0.03 if QUICK else 0.2):
    x, g = (library.asarray(generator.normal(size=(rows, N)).astype(np.float32)) for _ in range(2))
    gamma, beta, on_card = library.asarray(weight), library.asarray(bias), library is not np
    clock = time.perf_counter if on_card else time.process_time

    def once():
        _, mean, rstd = file.layer_norm(x, gamma, beta)
        file.layer_norm_backward(g, x, gamma, mean, rstd)
        if on_card:
            library.cuda.get_current_stream().synchronize()

    once()
    best, until = np.inf, clock() + budget
    while clock() < until:
        start = clock()
        once()
        best = min(best, clock() - start)
    return best


threads.set_threads(1)
with threadpool_limits(1):
    times = {name: [seconds(*file, rows) for rows in SIZES] for name, file in FILES.items()}
threads.set_threads(0)
table(["microseconds, forward and backward", *(f"{rows} rows" for rows in SIZES)],
      [(name, *(f"{value * 1e6:,.0f}" for value in values)) for name, values in times.items()], align="<" + ">" * len(SIZES))

figure, (left, right) = panels(1, 2, size=(12, 4.2))
for (name, values), colour, marker in zip(times.items(), (ORANGE, BLUE, GREEN), MARKERS):
    left.plot(SIZES, np.array(values) * 1e6, color=colour, marker=marker, markersize=5, label=name)
left.set(xscale="log", yscale="log", title="Microseconds, forward and backward", xlabel=f"rows of {N}")
left.set_xticks(SIZES, [str(rows) for rows in SIZES])
left.minorticks_off()
left.legend(frameon=False)
for (name, values), colour, marker in zip(lost.items(), (ORANGE, BLUE), MARKERS):
    right.plot(MEANS, values, color=colour, marker=marker, markersize=5, label=name)
right.set(xscale="log", yscale="log", title="Error, relative to the largest element", xlabel="mean of the row")
right.legend(frameon=False)
picture(figure, "17_one_kernel_three_times",
        "Left: the time of each file, on one thread of this machine. Right: what becomes of the result when the variance is computed "
        "by the short cut, and what the kernel makes of the same rows.")

# %%
# What to remember
# ----------------
# A kernel is not another formula but another order: of reading, of adding, of keeping. The reference says what is right,
# and is kept beside it for ever, because every one of these orders is a chance to be wrong.
