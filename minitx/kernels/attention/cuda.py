"""Attention on CUDA.

Versions, from naive to fast:

- `naive.py`: a thread for each query, and in the backward pass for each key, as the formula says it. Takes everything; the lesson.
- `tiled.py`, `tiled_backward.py`: FlashAttention in float32. Tiles of 64 queries and 64 keys are copied to shared memory once for 128 threads, and
  a thread makes 4 · 8 scores of them in registers; from sm_80 on the next copy runs meanwhile. For heads of 4 to 128 features, in fours.
- `tensor_cores.py`, `tensor_cores_backward.py`: FlashAttention-2 in bfloat16, since sm_80; for heads of 8 to 128 features, in eights. They are called
  by their own names: minitx computes in float32, and has no arrays of bfloat16 to choose them by.
"""
from ..runtime import devices
from . import naive, reference, tiled, tiled_backward


def attention(q, k, v, heads, *arguments, **options):
    """See reference.attention."""
    version = tiled if tiled.takes(q, heads) else naive
    return version.attention(q, k, v, heads, *arguments, **options)


def attention_backward(g, q, k, v, out, log_sum_exp, heads, *arguments, **options):
    """See reference.attention_backward."""
    version = tiled_backward if tiled.takes(q, heads) else naive
    return version.attention_backward(g, q, k, v, out, log_sum_exp, heads, *arguments, **options)


def attention_weights(q, k, heads, causal=False, lengths=None, mask=None, kv_heads=None, window=None):
    """See reference.attention_weights, which computes them in main memory: they are for pictures."""
    q_host, k_host, lengths, mask = (x if x is None else devices.host(x) for x in (q, k, lengths, mask))
    return devices.place(reference.attention_weights(q_host, k_host, heads, causal, lengths, mask, kv_heads, window), q)
