"""Layers, with PyTorch's names: `Module` and what models are built of."""
from .attention import SCORES, KeyValueCache, MultiHeadAttention, make_score  # noqa: F401
from .batch_norm import BatchNorm  # noqa: F401
from .blocks import DecoderLayer, EncoderLayer  # noqa: F401
from .experts import Experts, balanced  # noqa: F401
from .layers import Dropout, Embedding, LayerNorm, Linear, Norm, Positions, RMSNorm, Rotary, Zeros, sinusoidal_positions  # noqa: F401
from .module import Module, Parameter  # noqa: F401
from .recurrent import GRU, LSTM  # noqa: F401
