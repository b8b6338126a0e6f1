"""Where the time of an update goes, for `minitx train --profile`: each operation, the products within it, clipping, optimizer, data, and Python.

Every batch is trained on twice, once watched and once not, so that what watching costs is told. The products of the update whose size is in the middle are
then multiplied alone, as `bench training` does, and those of the others are taken to run at the same rate.
"""
import collections
import contextlib
import math
import tempfile
import time
from pathlib import Path

from ..autograd.inspect import Monitor
from ..kernels.runtime import threads
from ..silent import Silent
from ..training.run import train
from . import products
from .profile import profile

WARM_UP, UPDATES = 4, 24
PARTS = {"data": ("batches", "next"), "clipping": ("optimizer", "clipping"), "optimizer": ("optimizer", "update")}
"""{part of an update: (attribute of the trainer, its method)}."""


def run(settings, console=None):
    """Profile some updates of a training run with these settings, from new weights; nothing is saved. See `measure` for what is returned."""
    with tempfile.TemporaryDirectory() as folder:
        return train(settings, out=Path(folder) / "run", console=_Preparations(console or Silent()), instead=measure)


def measure(trainer, updates=UPDATES):
    """{"seconds": of an update, "watched": of a watched one, "rows": [...], "parts": {name: seconds}, …}: plain values, means over the less disturbed half.

    A row: "operation", "calls", "forward" and "backward" seconds, "products" (seconds of its matrix products alone) and their "operations".
    "parts" are "data", "clipping" (the norm of all gradients), "optimizer", and "Python and the rest": what is left of a watched update.
    """
    for _ in range(WARM_UP):
        trainer.update()
    seen = [_update(trainer, watched_first=number % 2 == 0) for number in range(updates)]  # neither is always the one that finds the batch in the cache
    seen.sort(key=lambda update: max(update.plain, update.watched) / update.operations())
    return _result(seen[:-(-updates // 2)], trainer.optimizer.data.dtype)


def _update(trainer, watched_first):
    """One update twice on the same batches; returns the `_Watch` of it."""
    watch, position = _Watch(), trainer.batches.state()
    for watched in (watched_first, not watched_first):
        trainer.batches.restore(position)
        with watch.around(trainer) if watched else contextlib.nullcontext():
            start = time.perf_counter()
            _, watch.tokens = trainer.update()
            seconds = time.perf_counter() - start
        if watched:
            watch.watched = seconds
        else:
            watch.plain = seconds
    return watch


def _result(seen, dtype):
    def mean(values):
        return sum(values) / len(seen)

    alone = _products(seen, dtype)
    rows = []
    for name in {name: None for watch in seen for name in watch.rows}:
        columns = {column: mean(watch.rows[name][column] for watch in seen if name in watch.rows) for column in ("calls", "forward", "backward")}
        seconds, operations = alone.get(name, (0.0, 0))
        rows.append({"operation": name, **columns, "products": seconds / len(seen), "operations": operations / len(seen)})
    rows.sort(key=lambda row: -row["forward"] - row["backward"])
    parts = {part: mean(watch.parts[part] for watch in seen) for part in PARTS if any(part in watch.parts for watch in seen)}
    watched = mean(watch.watched for watch in seen)
    parts["Python and the rest"] = watched - sum(parts.values()) - sum(row["forward"] + row["backward"] for row in rows)
    return {"bench": "profile", "threads": threads.get_threads(), "updates": len(seen), "tokens": mean(watch.tokens for watch in seen),
            "seconds": mean(watch.plain for watch in seen), "watched": watched, "rows": rows, "parts": parts}


class _Preparations(Silent):
    """Shows of a run what comes before its first step."""

    def __init__(self, console):
        self.machine, self.compiling, self.model = console.machine, console.compiling, console.model


class _Watch(profile):
    """Times operations and parts of one update, and notes the products that operations ask for: {operation: Counter of products}."""

    def __init__(self):
        super().__init__(show=False)
        self.parts, self.static, self.products = {}, {}, collections.defaultdict(collections.Counter)
        self.plain = self.watched = self.tokens = 0

    @contextlib.contextmanager
    def around(self, trainer):
        """Watch what happens in the block, and time the PARTS of a `Trainer`."""
        owners = [(part, getattr(trainer, owner), method) for part, (owner, method) in PARTS.items()]
        for part, owner, method in owners:
            setattr(owner, method, self._part(part, getattr(owner, method)))
        try:
            with self:
                yield
        finally:
            for _, owner, method in owners:
                delattr(owner, method)  # the class's shows again

    def _part(self, name, function):
        def timed(*args):
            start = time.perf_counter()
            result = function(*args)
            self.parts[name] = self.parts.get(name, 0.0) + time.perf_counter() - start
            return result

        return timed

    def operations(self):
        """Of all products; 1 where there are none."""
        return sum(map(_operations, self.products.values())) or 1

    def forward(self, op, arrays, static):
        self.static = static
        return super().forward(op, arrays, static)

    def watch_forward(self, op, arrays, run):
        if op.name in PRODUCTS:
            self.products[op.name].update(PRODUCTS[op.name](*arrays, **self.static))
        return super().watch_forward(op, arrays, run)

    def recorded(self, node):
        """What is kept is not asked here, and takes a while to count."""
        Monitor.recorded(self, node)


def _of_linear(x, weight, *_, **__):
    return products.linear(math.prod(x.shape[:-1]), x.shape[-1], len(weight))


def _of_output_layer(x, weight, *_, **__):
    return products.output_layer(len(x), x.shape[-1], len(weight))


def _of_matmul(a, b):
    """Of a batch of matrices, each one's."""
    if b.ndim <= 2:
        a = a.reshape(-1, a.shape[-1])
    rows, inner, columns = a.shape[-2] if a.ndim > 1 else 1, a.shape[-1], b.shape[-1] if b.ndim > 1 else 1
    count = max(math.prod(a.shape[:-2]), math.prod(b.shape[:-2]))
    return products.linear(rows, inner, columns) * count


def _of_heads(batch, queries, keys, width, heads):
    return [products.Heads(batch, heads, queries, keys, width // heads)]


def _of_self_attention(qkv, *, heads, kv_heads=None, **_):
    batch, time, width = qkv.shape  # (batch, time, queries' heads and those of keys and values side by side)
    return _of_heads(batch, time, time, width * heads // (heads + 2 * (kv_heads or heads)), heads)


def _of_attention(q, k, *_, heads, **__):
    return _of_heads(len(q), q.shape[1], k.shape[1], q.shape[2], heads)


PRODUCTS = {"linear": _of_linear, "linear_cross_entropy_loss": _of_output_layer, "matmul": _of_matmul, "attention": _of_attention,
            "self_attention": _of_self_attention, "cross_attention": _of_attention}
"""{operation: a function that gives the products of its forward and its backward}; attention is counted whole, also what a mask hides."""


def _products(seen, dtype):
    """{operation: (seconds, operations)} of the products of all updates, from what those of the middle one take."""
    middle = sorted(seen, key=_Watch.operations)[len(seen) // 2].products
    ready = products.ready({product for counted in middle.values() for product in counted}, dtype)
    seconds = {product: products.quickest(function) for product, function in ready.items()}
    found = {}
    for name, counted in middle.items():
        total = sum(_operations(watch.products[name]) for watch in seen)
        found[name] = sum(seconds[product] * count for product, count in counted.items()) * total / _operations(counted), total
    return found


def _operations(counted):
    return sum(product.operations * count for product, count in counted.items())
