"""Every setting of a training run: its name, its default, its help and what it may be, in this one dataclass.

The flags of `minitx train` and the `config.json` of a run are made from it.
"""
import dataclasses
import difflib
import json
import math
import types
import typing
from pathlib import Path
from typing import Literal

from .errors import UserError


def _setting(default, help, group, **bounds):
    """A field with its help, its group in `--help`, and bounds: at_least, at_most (inclusive), above, below."""
    return dataclasses.field(default=default, metadata={"help": help, "group": group, "bounds": bounds})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one run, checked when it is made; `UserError` names what is wrong and the likely fix."""

    pair: str | None = _setting("en-es", "toy languages, SOURCE-TARGET (see minitx grammar)", "Data")
    src: str | None = _setting(None, "your own source text: UTF-8, a sentence a line, plain or .gz", "Data")
    tgt: str | None = _setting(None, "its translation, line by line", "Data")
    valid_src: str | None = _setting(None, "source text for validation; without it, some of --src is held out", "Data")
    valid_tgt: str | None = _setting(None, "its translation, line by line", "Data")
    tsv: str | None = _setting(None, "instead of --src and --tgt: a sentence, a tab, its translation", "Data")
    text: str | None = _setting(None, "text for a language model, which learns to go on with it", "Data")
    validation_tail: float = _setting(0.1, "share of --text, at its end, that is held out", "Data", above=0, below=1)

    tokenizer: Literal["words", "characters", "bpe"] = _setting("words", "what a token is", "Text")
    vocab_size: int = _setting(8000, "most tokens a vocabulary may have", "Text", at_least=8, at_most=1_000_000)
    joint_vocabulary: bool = _setting(False, "one vocabulary for both languages (decoder-only: true)", "Text")
    min_frequency: int = _setting(1, "how often a word or character, with bpe a pair of pieces, must occur to get a token of its own", "Text",
                                  at_least=1, at_most=1_000_000)
    lowercase: bool = _setting(False, "small letters only", "Text")
    unicode: Literal["nfc", "nfkc"] = _setting("nfc", "form of the characters; nfkc makes plain ones of \ufb01, \uff26 and \u00b2", "Text")
    bpe_dropout: float = _setting(0.0, "share of BPE merges left out, anew in every epoch of training (bpe, pairs)", "Text", at_least=0, below=1)
    max_length: int = _setting(256, "longest sentence, in tokens with the one that ends it", "Text", at_least=2, at_most=100_000)

    model: Literal["encoder-decoder", "decoder-only", "recurrent"] = _setting("encoder-decoder", "the architecture", "Model")
    d_model: int = _setting(128, "features of a token", "Model", at_least=1, at_most=16_384)
    n_heads: int = _setting(4, "attention heads, each of d_model / n_heads features", "Model", at_least=1, at_most=1024)
    n_kv_heads: int = _setting(0, "heads of keys and values, each for several of queries; 0: one for each (decoder-only)", "Model",
                               at_least=0, at_most=1024)
    n_layers: int = _setting(3, "layers of the encoder, and of the decoder (recurrent: 1)", "Model", at_least=1, at_most=256)
    d_ff: int = _setting(384, "hidden features of the feed-forward network", "Model", at_least=1, at_most=131_072)
    dropout: float = _setting(0.0, "share of activations dropped in training", "Model", at_least=0, below=1)
    activation_dropout: float | None = _setting(
        None, "the same behind the feed-forward network's activation; as --dropout when not given", "Model", at_least=0, below=1)
    attention_dropout: float = _setting(0.0, "the same of the attention weights", "Model", at_least=0, below=1)
    norm: Literal["pre", "post"] = _setting("pre", "a norm before each sub-layer, or after it as in 2017", "Model")
    normalization: Literal["layer", "rms", "batch"] = _setting(
        "layer", "of each token by itself, layer norm or RMS norm; batch: of each feature over all tokens of a batch", "Model")
    activation: Literal["relu", "gelu", "swiglu"] = _setting(
        "relu", "between the feed-forward network's two layers; swiglu: decoder-only", "Model")
    positions: Literal["sinusoidal", "learned", "rotary", "none"] = _setting(
        "sinusoidal", "how a token knows its place; rotary: decoder-only", "Model")
    window: int = _setting(0, "a token sees so many, itself included; 0: all before it (decoder-only)", "Model",
                           at_least=0, at_most=1_000_000)
    bias: bool = _setting(True, "linear layers and norms add a learnt vector (without it: decoder-only)", "Model")
    score: Literal["none", "additive", "bilinear", "dot", "scaled-dot", "cosine"] = _setting(
        "scaled-dot", "how attention compares a query with a key; none: no attention (recurrent)", "Model")
    cell: Literal["gru", "lstm"] = _setting("gru", "what a recurrent layer remembers with (recurrent)", "Model")
    context: Literal["auto", "start", "input", "output"] = _setting(
        "auto", "where a recurrent decoder reads the source: where it starts, beside each word, or behind its state; "
        "auto: start without attention, else output", "Model")
    bidirectional: bool = _setting(False, "a recurrent encoder also reads from the right", "Model")
    experts: int = _setting(1, "feed-forward networks per layer, of which a router gives each token some", "Model", at_least=1, at_most=1024)
    experts_per_token: int = _setting(2, "how many of the experts each token takes", "Model", at_least=1, at_most=1024)
    balance: float = _setting(0.01, "weight of the loss by which experts come to share the work", "Model", at_least=0, at_most=1000)
    tie_embeddings: Literal["none", "decoder", "all"] = _setting(
        "decoder", "target embedding = output layer (decoder), = source embedding too (all)", "Model")

    steps: int = _setting(1250, "updates of the weights; 0: count --epochs instead", "Training",
                          at_least=0, at_most=1_000_000_000)
    epochs: int = _setting(0, "passes over the training data, if --steps is 0", "Training", at_least=0, at_most=100_000)
    batch_tokens: int = _setting(1024, "tokens of a batch: sentences × longest target", "Training",
                                 at_least=1, at_most=16_777_216)
    batch_sequences: int = _setting(12, "blocks of --text in a batch", "Training", at_least=1, at_most=1_000_000)
    block: int = _setting(64, "tokens of a block, the most that a language model sees at once", "Training",
                          at_least=1, at_most=1_000_000)
    accumulate: int = _setting(1, "batches per update", "Training", at_least=1, at_most=100_000)
    optimizer: Literal["adam", "adamw"] = _setting("adam", "update rule", "Training")
    learning_rate: float = _setting(3e-3, "its peak, after the warm-up", "Training", above=0, at_most=100)
    schedule: Literal["inverse-sqrt", "cosine", "constant"] = _setting("cosine", "decay after the warm-up", "Training")
    final_learning_rate: float = _setting(0.02, "where cosine ends, as a share of the peak", "Training", at_least=0, at_most=1)
    warmup: int = _setting(100, "updates in which the learning rate rises from 0", "Training",
                           at_least=0, at_most=1_000_000_000)
    beta1: float = _setting(0.9, "Adam's decay of the mean gradient", "Training", at_least=0, below=1)
    beta2: float = _setting(0.98, "Adam's decay of the mean squared gradient", "Training", at_least=0, below=1)
    weight_decay: float = _setting(0.0, "shrinks the weights (adamw only)", "Training", at_least=0, at_most=100)
    clip: float = _setting(1.0, "largest norm of all gradients together; 0: no clipping", "Training", at_least=0)
    label_smoothing: float = _setting(0.0, "probability spread evenly over all tokens", "Training", at_least=0, below=1)
    validate_every: int = _setting(250, "updates between validations; 0: one at the end of each epoch", "Training",
                                   at_least=0, at_most=1_000_000_000)
    best_by: Literal["loss", "bleu"] = _setting("loss", "what makes a validation the best so far", "Training")
    patience: int = _setting(0, "stop after so many validations without a better one; 0: never", "Training",
                             at_least=0, at_most=1_000_000)
    average: int = _setting(0, "keep the mean of the weights at the ends of the last so many epochs; 0: the best weights", "Training",
                            at_least=0, at_most=10_000)
    seed: int = _setting(0, "of the data, the weights, the batches and dropout", "Training",
                         at_least=0, at_most=2**63 - 1)

    device: Literal["cpu", "cuda"] = _setting("cpu", "where to compute", "Machine")
    threads: int = _setting(0, "threads of the CPU kernels; 0: all; the results do not depend on it", "Machine",
                            at_least=0, at_most=1024)
    dtype: Literal["float32", "float64"] = _setting("float32", "numbers of the weights and activations", "Machine")

    def __post_init__(self):
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _checked(field, getattr(self, field.name)))
        self._check_data()
        self._check_together()

    def _check_data(self):
        for one, other in (("src", "tgt"), ("tgt", "src"), ("valid_src", "valid_tgt"), ("valid_tgt", "valid_src")):
            if getattr(self, one) is not None and getattr(self, other) is None:
                raise UserError(f"{one} is given without {other}; parallel text needs both files")
        if self.src is not None and self.tsv is not None:
            raise UserError("src and tsv are both given; take --src with --tgt, or --tsv alone")
        if self.text is not None and self.own_text:
            raise UserError(f"text and {'tsv' if self.src is None else 'src'} are both given; take --text for a language "
                            f"model, or parallel text for a translator")
        if not self.own_text:
            if self.valid_src is not None:
                raise UserError("valid_src is given without training text; add --src and --tgt, or --tsv")
            if self.pair is None and self.text is None:
                raise UserError("there is nothing to train on; give --pair, --src with --tgt, --tsv or --text")

    def _check_together(self):
        self._check_model()
        if self.tie_embeddings == "all" and not self.joint_vocabulary and self.text is None:
            raise UserError("tie_embeddings all shares one table between both languages, which needs one vocabulary; "
                            "add --joint-vocabulary or take --tie-embeddings decoder")
        if not self.steps and not self.epochs:
            raise UserError("steps and epochs are both 0, so nothing would be trained; try --steps 1250 or --epochs 10")
        if self.bpe_dropout and (self.tokenizer != "bpe" or self.text is not None):
            raise UserError(f"bpe_dropout is {self.bpe_dropout:g} but needs pairs of sentences and tokenizer bpe; drop --bpe-dropout, or add --tokenizer bpe")
        if self.weight_decay and self.optimizer == "adam":
            raise UserError(f"weight_decay is {self.weight_decay:g} but only optimizer adamw takes it here; take --optimizer adamw or --weight-decay 0")

    def _check_model(self):
        """Of the three families, each has what the others lack."""
        if self.text is not None and self.model != "decoder-only":
            raise UserError(f"text trains a language model, which is decoder-only; drop --model {self.model}")
        for name, taken in _TAKEN[self.model].items():
            if getattr(self, name) not in taken:
                value = str(getattr(self, name)).lower()
                default, flag = type(self).__dataclass_fields__[name].default, f"--{name.replace('_', '-')}"
                instead = {"true": f"drop {flag}", "false": f"drop --no-{name}"}.get(value, f"take {flag} {default if default in taken else taken[0]}")
                others = [] if self.text else [model for model in _TAKEN if getattr(self, name) in _TAKEN[model].get(name, (getattr(self, name),))]
                raise UserError(f"{name} is {value}, which {'an' if self.model[0] == 'e' else 'a'} {self.model} model does not have; {instead}"
                                + (f", or --model {others[0]}" if others else ""))
        if self.model == "recurrent":
            self._check_recurrent()
        else:
            self._check_transformer()

    def _check_recurrent(self):
        if self.score == "none" and self.context == "output":
            raise UserError("context output is what attention finds, set behind the state, but with score none there is no attention; "
                            "take --context start or input")
        if self.score != "none" and self.context == "start":
            raise UserError(f"context start shows the decoder the last state alone, and score {self.score} is of attention, which looks at every "
                            "word; take --context input or output, or --score none")
        if self.bidirectional and self.d_model % 2:
            raise UserError(f"d_model is {self.d_model} but each direction of a bidirectional encoder takes half of it; try {self.d_model + 1}")

    def _check_transformer(self):
        if self.d_model % self.n_heads:
            below = self.d_model - self.d_model % self.n_heads
            nearest = " or ".join(str(size) for size in (below, below + self.n_heads) if size)
            raise UserError(f"d_model is {self.d_model}, which n_heads, {self.n_heads}, does not divide; "
                            f"each head takes d_model / n_heads features, so try d_model {nearest}")
        if self.positions == "sinusoidal" and self.d_model % 2:
            raise UserError(f"d_model is {self.d_model} but sinusoidal positions, pairs of sine and cosine, need an "
                            f"even one; try {self.d_model + 1}, or --positions learned")
        if self.experts > 1 and self.experts_per_token > self.experts:
            raise UserError(f"experts_per_token is {self.experts_per_token} but there are {self.experts} experts; take at most as many")
        if self.model == "encoder-decoder":
            return
        if self.text is None and not self.joint_vocabulary:
            raise UserError("a decoder-only model reads both languages through one table, which needs one vocabulary; "
                            "add --joint-vocabulary")
        if self.n_kv_heads and self.n_heads % self.n_kv_heads:
            fit = ", ".join(str(n) for n in range(1, self.n_heads + 1) if self.n_heads % n == 0)
            raise UserError(f"n_kv_heads is {self.n_kv_heads}, which does not divide n_heads, {self.n_heads}; take one of {fit}")
        if self.positions == "rotary" and self.d_model // self.n_heads % 2:
            raise UserError(f"a head has d_model / n_heads = {self.d_model // self.n_heads} features but rotary positions "
                            f"turn pairs of them; try --d-model {self.d_model + self.n_heads}")
        if self.text is not None and self.best_by == "bleu":
            raise UserError("best_by is bleu but a language model translates nothing; drop --best-by bleu")
        if self.text is not None and self.tokenizer == "words":
            raise UserError("tokenizer words forgets spaces and line ends, so text would not come back; "
                            "take --tokenizer characters or bpe")

    @property
    def own_text(self) -> bool:
        """Whether the data is the user's parallel text (src and tgt, or tsv)."""
        return self.src is not None or self.tsv is not None

    def replace(self, **changes) -> "Settings":
        """A copy with some settings changed, checked again."""
        return dataclasses.replace(self, **changes)

    def to_json(self) -> dict:
        """Plain values by name, for `config.json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict, origin: str = "config.json") -> "Settings":
        """The settings in `values`, defaults for those it lacks; `origin` is named in the `UserError` of a bad one."""
        if not isinstance(values, dict):
            raise UserError(f"{origin}: settings are {_described(values)} but must be an object of names and values")
        known = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise UserError(f"{origin}: unknown setting {name!r}{did_you_mean(name, known)}")
        try:
            return cls(**values)
        except UserError as error:
            raise UserError(f"{origin}: {error}") from None


_NOT_RECURRENT = {"cell": ("gru",), "context": ("auto",), "bidirectional": (False,)}
_TAKEN = {
    "encoder-decoder": {"n_kv_heads": (0,), "activation": ("relu", "gelu"), "positions": ("sinusoidal", "learned", "none"),
                        "window": (0,), "bias": (True,), "score": ("additive", "bilinear", "dot", "scaled-dot", "cosine"), **_NOT_RECURRENT},
    "decoder-only": {"norm": ("pre",), "score": ("scaled-dot",), **_NOT_RECURRENT},
    "recurrent": {},
}
"""What each model takes of the settings that another has more choices for."""


def read_config(run: Path) -> tuple[Settings, dict]:
    """The settings of the run in folder `run`, and all that its config.json holds (settings under "settings")."""
    path = Path(run) / "config.json"
    if not Path(run).is_dir():
        raise UserError(f"{run}: there is no such folder; a run is the folder that minitx train made")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{run} holds no run: it has no config.json") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {str(error).splitlines()[0]}") from None
    if not isinstance(config, dict) or "settings" not in config:
        raise UserError(f"{path} is not the config.json of a run: it has no settings")
    return Settings.from_json(config["settings"], str(path)), config


def did_you_mean(name: str, known) -> str:
    """"; did you mean …?" with the nearest of the `known` names, or nothing where none is near."""
    nearest = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""


def _checked(field, value):
    """`value` as the field's type, if it is of that type and within its bounds."""
    optional = isinstance(field.type, types.UnionType)
    kind = typing.get_args(field.type)[0] if optional else field.type
    if optional and value is None:
        return None
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        if value not in choices:
            raise UserError(f"{field.name}: {value!r} is not one of {', '.join(choices)}")
        return value
    if kind is float and type(value) is int and _finite(value):
        value = float(value)
    if type(value) is not kind:
        raise UserError(f"{field.name} is {_described(value)} but must be {_KINDS[kind]}; {_default(field)}")
    if kind in (int, float):
        _check_bounds(field, value)
    return value


_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def _check_bounds(field, value):
    bounds = field.metadata["bounds"]
    holds = {"at_least": lambda limit: value >= limit, "at_most": lambda limit: value <= limit,
             "above": lambda limit: value > limit, "below": lambda limit: value < limit}
    if not (_finite(value) and all(holds[bound](limit) for bound, limit in bounds.items())):
        wanted = " and ".join(f"{bound.replace('_', ' ')} {limit:,}" for bound, limit in bounds.items())
        kind = _KINDS[type(value)]
        raise UserError(f"{field.name} is {_described(value)} but must be {kind}, {wanted}; {_default(field)}")


def _finite(value):
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the largest float
        return False


def _default(field):
    return f"the default is {field.default}"


def _described(value):
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
