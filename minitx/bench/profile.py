"""Where the time of a program goes, operation by operation.

    with profile():                         # time forward and backward, bytes kept, calls
        loss(x).backward()
"""
import time
import weakref

from ..autograd.inspect import Monitor, bytes_text, kept_bytes


class profile(Monitor):
    """A context manager that counts, for each operation, its calls, the time of its forward and its backward, and the bytes it keeps for backward.

    Time spent in operations that another one calls (a checkpoint that computes again) is theirs. Arrays kept by several operations count once, for
    the first of them; leaves do not count. The table is printed at the end of the block unless `show=False`; `table()` gives it as text.
    """

    def __init__(self, show=True):
        self.show, self.rows, self.elsewhere, self.counted = show, {}, 0.0, weakref.WeakValueDictionary()

    def __exit__(self, kind, *rest):
        super().__exit__()
        if self.show and kind is None:
            print(self.table())

    def watch_forward(self, op, arrays, run):
        row = self._row(op)
        row["calls"] += 1
        return self._timed(row, "forward", run)

    def recorded(self, node):
        super().recorded(node)
        self._row(node.op)["kept"] += kept_bytes(node, self.counted)

    def watch_backward(self, node, g, run):
        return self._timed(self._row(node.op), "backward", run)

    def table(self):
        """One line per operation, the slowest first."""
        rows = sorted(self.rows.items(), key=lambda item: -item[1]["forward"] - item[1]["backward"])
        rows.append(("total", {column: sum(row[column] for _, row in rows) for column in ("calls", "forward", "backward", "kept")}))
        lines = [f"{'operation':20} {'calls':>7} {'forward ms':>11} {'backward ms':>12} {'kept':>10}"]
        return "\n".join(lines + [f"{name:20} {row['calls']:7d} {row['forward'] * 1e3:11.3f} {row['backward'] * 1e3:12.3f} {bytes_text(row['kept']):>10}"
                                  for name, row in rows])

    def _row(self, op):
        return self.rows.setdefault(op.name, {"calls": 0, "forward": 0.0, "backward": 0.0, "kept": 0})

    def _timed(self, row, column, run):
        outer, self.elsewhere, start = self.elsewhere, 0.0, time.perf_counter()
        try:
            return run()
        finally:
            spent = time.perf_counter() - start
            row[column] += spent - self.elsewhere
            self.elsewhere = outer + spent
