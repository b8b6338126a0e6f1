"""The two blocks of a Transformer. Each sublayer is wrapped in a residual connection and a norm, after it (2017) or before it.

Names of parameters are those of torch.nn.TransformerEncoderLayer and TransformerDecoderLayer.
"""
from .attention import MultiHeadAttention
from .experts import Experts
from .layers import Dropout, Linear, Norm
from .module import Module


class Block(Module):
    """What encoder and decoder layers share: the feed-forward network, or several `Experts`, and how a sublayer is wrapped."""

    def __init__(self, d_model, d_ff, dropout, norm, activation, generator, bias=True, activation_dropout=None, experts=1, experts_per_token=2):
        if norm not in ("pre", "post"):
            raise ValueError(f"norm: {norm!r} is not one of pre, post")
        if experts > 1:
            self.experts = Experts(d_model, d_ff, experts, experts_per_token, bias, activation, generator)
        else:
            self.experts = None
            self.linear1 = Linear(d_model, d_ff, bias=bias, activation=activation, generator=generator)
            self.linear2 = Linear(d_ff, d_model, bias=bias, generator=generator)
        self.dropout = Dropout(dropout)
        self.activation_dropout = activation_dropout  # None: as dropout
        self.norm_first = norm == "pre"

    def feed_forward(self, x, real=None):
        """Two linear layers, the same at every position, or those of the experts that it takes."""
        p = self.dropout.p if self.activation_dropout is None else self.activation_dropout
        return self.linear2(self.linear1(x, p=p)) if self.experts is None else self.experts(x, p, real)

    def sublayer(self, norm, x, function, real=None):
        """Post-norm: norm(x + function(x)), as published in 2017. Pre-norm: x + function(norm(x)), which trains deeper stacks (Xiong et al. 2020)."""
        if self.norm_first:
            return x + self.dropout(function(norm(x, real)))
        return norm.add(function(x), x, p=self.dropout.p if self.training else 0.0, real=real)


class EncoderLayer(Block):
    """Self-attention, then feed-forward: (batch, time, d_model) to the same shape. With a causal mask it is the layer of a decoder-only model.

    `attention`: further options of `MultiHeadAttention`.
    """

    def __init__(self, d_model, n_heads, d_ff, dropout=0.1, norm="post", activation="relu", generator=None, bias=True, activation_dropout=None,
                 attention_dropout=0.0, normalization="layer", eps=1e-5, experts=1, experts_per_token=2, **attention):
        # First, as its parameters come first: their order is that of the random numbers, and of the optimizer's arrays.
        self.self_attn = MultiHeadAttention(d_model, n_heads, attention_dropout, bias=bias, generator=generator, **attention)
        super().__init__(d_model, d_ff, dropout, norm, activation, generator, bias, activation_dropout, experts, experts_per_token)
        self.norm1, self.norm2 = (Norm(normalization, d_model, eps, bias) for _ in range(2))

    def forward(self, x, lengths=None, causal=False, cache=None, real=None):
        """x (batch, time, d_model); the first `lengths` positions of each row are real. With a cache, x holds only the positions not seen yet.

        `real` (batch, time): booleans, for what looks at a batch as a whole: which positions count for `BatchNorm` and the balance of `Experts`.
        """
        x = self.sublayer(self.norm1, x, lambda y: self.self_attn(y, causal=causal, lengths=lengths, cache=cache), real)
        return self.sublayer(self.norm2, x, lambda y: self.feed_forward(y, real), real)


class DecoderLayer(Block):
    """Causal self-attention, attention to the encoder's output, then feed-forward. `attention`: further options of `MultiHeadAttention`."""

    def __init__(self, d_model, n_heads, d_ff, dropout=0.1, norm="post", activation="relu", generator=None, activation_dropout=None,
                 attention_dropout=0.0, normalization="layer", experts=1, experts_per_token=2, **attention):
        self.self_attn = MultiHeadAttention(d_model, n_heads, attention_dropout, generator=generator, **attention)
        self.multihead_attn = MultiHeadAttention(d_model, n_heads, attention_dropout, generator=generator, **attention)
        super().__init__(d_model, d_ff, dropout, norm, activation, generator, activation_dropout=activation_dropout, experts=experts,
                         experts_per_token=experts_per_token)
        self.norm1, self.norm2, self.norm3 = (Norm(normalization, d_model) for _ in range(3))

    def forward(self, x, memory, memory_lengths, self_cache=None, cross_cache=None, real=None):
        """x (batch, time, d_model), memory (batch, source time, d_model); with caches, x holds only the positions not seen yet. `real`: of x, see above."""
        x = self.sublayer(self.norm1, x, lambda y: self.self_attn(y, causal=True, cache=self_cache), real)
        x = self.sublayer(self.norm2, x, lambda y: self.multihead_attn(y, memory, lengths=memory_lengths, cache=cross_cache), real)
        return self.sublayer(self.norm3, x, lambda y: self.feed_forward(y, real), real)
