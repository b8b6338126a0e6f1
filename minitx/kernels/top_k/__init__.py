"""The most probable words: of each row of logits its k largest, and log Σ exp of the row, which makes log-probabilities of them.

A search needs nothing else of the logits, and they come to 44 MB for a thousand hypotheses and ten thousand words: both are found while a row is in
cache. Searches compute in main memory wherever the model is, so there is no `cuda.py`.
"""
from ..runtime.registry import serve

(top_k,) = serve(__name__, "top_k")
