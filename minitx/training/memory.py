"""Whether a batch fits into the memory there is: a batch that does not is divided, and an update takes as many more of them."""
import os
from pathlib import Path

from ..autograd.backward import reachable
from ..autograd.inspect import kept_bytes
from ..data.batches import make_batch

_SHARE = 0.7  # of what is free: the rest is for what else the machine does, and for what the estimate leaves out
_FEW = 64  # pairs of the batch that is measured
_GROUPS = Path("/sys/fs/cgroup")


def fitted(settings, model, batches, pairs):
    """(settings, a sentence or None): `batch_tokens` divided and `accumulate` multiplied by the smallest power of two with which a batch fits.

    An update sees as many sentences as before, so that this changes how they are grouped and nothing else. `batches`: all that were cut from `pairs`
    of ids with these settings.
    """
    free = available()
    if free is None or settings.device != "cpu":
        return settings, None
    fixed, per_position = _needs(model, pairs)
    needed, parts = fixed + per_position * batches.most_positions(), 1
    while fixed + per_position * batches.most_positions() / parts > _SHARE * free and settings.batch_tokens // (2 * parts) >= settings.max_length:
        parts *= 2
    if parts == 1:
        return settings, None
    smaller = settings.replace(batch_tokens=settings.batch_tokens // parts, accumulate=settings.accumulate * parts)
    return smaller, (f"batches of {settings.batch_tokens:,} tokens would take about {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free: "
                     f"{parts} batches of {smaller.batch_tokens:,} take the place of each")


def available():
    """Bytes that this process may still take, or None where the system does not say."""
    limits = [_meminfo(), _group("memory.max", "memory.current", "memory.stat", "inactive_file"),
              _group("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file")]
    known = [limit for limit in limits if limit is not None]
    if known:
        return max(0, min(known))
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2  # of all, free or not
    except (AttributeError, ValueError, OSError):
        return None


def _needs(model, pairs):
    """(bytes whatever the batch: gradients and the optimizer's two moments, bytes for each position of source and target).

    What the tape of a small batch keeps is the peak of a step to within a tenth: the backward pass frees as it goes.
    """
    batch = make_batch(pairs[:_FEW])
    with model.trial():
        loss, counted = model.loss(batch), {}
    kept = sum(kept_bytes(node, counted) for node in reachable([loss], 0))
    return 3 * sum(parameter.data.nbytes for parameter in model.parameters()), kept / (batch.source.size + batch.target_in.size)


def _meminfo():
    kilobytes = _number("/proc/meminfo", "MemAvailable:")
    return None if kilobytes is None else 1024 * kilobytes


def _number(path, name):
    """The number behind a name in a file with one of each in a line, or None."""
    try:
        with open(path, encoding="utf-8") as lines:
            return next(int(line.split()[1]) for line in lines if line.split()[:1] == [name])
    except (OSError, StopIteration, ValueError):
        return None


def _group(limit, used, statistics, cache):
    """What a container's control group has left, or None: without a limit, or without such groups. What it uses for files is given back when asked for."""
    try:
        left = int((_GROUPS / limit).read_text()) - int((_GROUPS / used).read_text())
    except (OSError, ValueError):
        return None
    return left + (_number(_GROUPS / statistics, cache) or 0)
