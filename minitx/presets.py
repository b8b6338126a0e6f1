"""Which settings a new or resumed run has, from what its user named: presets, and what goes with what."""
from pathlib import Path

from .errors import UserError
from .settings import Settings, read_config

PRESETS = {
    "toy": {},
    # Pairs of one's own. The fewer there are, the smaller the model and the more it has to forget: 40 passes over 30,000 pairs take two cores under an
    # hour, 12 over 200,000 some four.
    "small": {
        "tokenizer": "bpe", "vocab_size": 8000, "joint_vocabulary": True, "tie_embeddings": "all", "n_layers": 4, "d_ff": 512, "dropout": 0.2,
        "label_smoothing": 0.1, "steps": 0, "epochs": 40, "batch_tokens": 2048, "learning_rate": 3e-3, "warmup": 400, "validate_every": 0,
    },
    "laptop": {
        "tokenizer": "bpe", "vocab_size": 10_000, "joint_vocabulary": True, "tie_embeddings": "all", "d_model": 256, "n_layers": 4, "d_ff": 1024,
        "dropout": 0.1, "label_smoothing": 0.1, "steps": 0, "epochs": 12, "batch_tokens": 4096, "learning_rate": 1e-3, "warmup": 1000,
        "validate_every": 0,
    },
    # Transformer-Tiny of Wu et al. 2021, "Good for Misconceived Reasons", which reports 41.02 BLEU on Multi30k's Test2016, English to German, lowercased
    # and tokenised, with beam 5. Their two processes took batches of 4,096 tokens each; fairseq drops nothing behind the activation. They stop after ten
    # epochs without a better loss, or 8,000 updates, and average the last ten epochs.
    "multi30k-tiny": {
        "tokenizer": "bpe", "vocab_size": 10_000, "joint_vocabulary": True, "tie_embeddings": "all", "n_layers": 4, "d_ff": 256, "dropout": 0.3,
        "activation_dropout": 0.0, "norm": "post", "label_smoothing": 0.1, "batch_tokens": 4096, "accumulate": 2, "learning_rate": 5e-3,
        "schedule": "inverse-sqrt", "warmup": 2000, "clip": 0.0, "steps": 8000, "validate_every": 0, "patience": 10, "average": 10,
    },
    # The sizes and the ten epochs of the Transformer in Ben Trevett's PyTorch tutorials, which reports 36.52 BLEU on Multi30k's Test2016, German to English,
    # greedily, with words that occur twice, learned positions and a constant learning rate. That recipe reaches 33.1 on the validation text, where one German
    # word in twenty-three is unknown to it; this one, with subwords, smaller batches and a rate that falls, 38.0 (benchmarks/road_to_attention.py has theirs).
    "multi30k-tutorial": {
        "tokenizer": "bpe", "vocab_size": 10_000, "joint_vocabulary": True, "lowercase": True, "tie_embeddings": "all", "d_model": 256, "n_heads": 8,
        "d_ff": 512, "dropout": 0.2, "activation_dropout": 0.1, "attention_dropout": 0.1, "norm": "post", "max_length": 100, "label_smoothing": 0.1,
        "steps": 0, "epochs": 10, "batch_tokens": 1200, "learning_rate": 1e-3, "schedule": "cosine", "warmup": 400, "best_by": "bleu", "validate_every": 0,
    },
    # The small configuration that nanoGPT publishes for characters on a CPU.
    "language-model": {
        "model": "decoder-only", "tokenizer": "characters", "n_layers": 4, "d_ff": 512, "activation": "gelu", "positions": "learned", "bias": False,
        "steps": 2000, "optimizer": "adamw", "learning_rate": 1e-3, "final_learning_rate": 0.1, "beta2": 0.99, "weight_decay": 0.1,
    },
    # What ten minutes on two cores buy of the same text: Llama's blocks, more layers than width, four times the context, and a learning rate as high as
    # layers this narrow bear. 1.46 on the last tenth of Shakespeare, where "language-model" reaches 1.90 from a fifth as many characters.
    "shakespeare": {
        "model": "decoder-only", "tokenizer": "characters", "n_layers": 6, "d_ff": 352, "activation": "swiglu", "normalization": "rms",
        "positions": "rotary", "bias": False, "block": 256, "batch_sequences": 8, "steps": 4200, "optimizer": "adamw", "learning_rate": 4e-3,
        "final_learning_rate": 0.1, "beta2": 0.99, "weight_decay": 0.1, "validate_every": 700,
    },
}
"""Settings that go together: what differs from the defaults. Parallel text starts from "small" or, from SMALL pairs on, from "laptop", --text from
"language-model", all else from "toy"."""

SMALL = 50_000

LANGUAGE_MODELS = ("language-model", "shakespeare")
"""Presets that are for --text, and the only ones that are."""

_FILES = ("src", "tgt", "valid_src", "valid_tgt", "tsv", "text")

CHANGED_ON_RESUME = (*_FILES, "device", "threads")
"""Settings that may be named again when a run is resumed: where its files are now and what it runs on."""

_SILENT = ("n_heads", "n_kv_heads", "d_ff", "activation_dropout", "norm", "normalization", "activation", "positions", "window", "bias",
           "experts", "experts_per_token", "balance")
"""Settings that say nothing about a recurrent model."""


def choose(named: dict, preset: str | None = None) -> tuple[Settings, str]:
    """The settings of a new run and its preset: the defaults, then the preset, then what the user `named`."""
    for name in _FILES:
        if named.get(name) == "":
            raise UserError(f"{name} is an empty name; name a file")
    parallel = any(named.get(name) is not None for name in ("src", "tgt", "tsv"))
    text = named.get("text") is not None
    preset = preset or ("language-model" if text else _preset_for_pairs(named) if parallel else "toy")
    if preset not in PRESETS:
        raise UserError(f"preset: {preset!r} is not one of {', '.join(PRESETS)}")
    if text != (preset in LANGUAGE_MODELS):
        raise UserError(f"preset {preset} is for {'pairs of sentences; drop --text' if text else 'a language model; add --text FILE'}, "
                        f"or take another preset")
    if (parallel or text) and named.get("pair") is not None:
        raise UserError("pair names toy languages but src, tgt, tsv or text name your own text; drop one of the two")
    if named.get("steps") and named.get("epochs"):
        raise UserError(f"steps is {named['steps']} and epochs is {named['epochs']}, but only one of them can say how "
                        f"long the run is; drop the other")
    values = PRESETS[preset] | named
    _check_named(named, text, values.get("model"))
    if parallel or text:
        values["pair"] = None
    if "epochs" in named and "steps" not in named:
        values["steps"] = 0
    if values.get("model") == "decoder-only" and not text:
        values.setdefault("joint_vocabulary", True)
    if values.get("model") == "recurrent":
        values.setdefault("n_layers", 1)
    settings = Settings(**values)
    if settings.pair is not None:
        from .data.toy import parse_pair

        parse_pair(settings.pair)
    return settings, preset


def _preset_for_pairs(named):
    """By how many there are; a file that cannot be read is told when it is trained on."""
    from .data.files import read_lines

    path = named.get("src") or named.get("tsv") or named["tgt"]
    if not Path(path).is_file():  # a pipe can be read once
        return "small"
    try:
        return "small" if len(read_lines(path)) < SMALL else "laptop"
    except UserError:
        return "small"


def _check_named(named, text, model):
    """Refuse what says nothing about the data or the model at hand, rather than to train on as if it had not been typed."""
    for name in _SILENT if model == "recurrent" else ():
        if name in named:
            raise UserError(f"{name} says nothing about a recurrent model; drop --{name.replace('_', '-')}, or take --model encoder-decoder")
    for name in ("experts_per_token", "balance") if named.get("experts", 1) == 1 else ():
        if name in named:
            raise UserError(f"{name} says nothing about a single feed-forward network; add --experts 4, or drop --{name.replace('_', '-')}")
    silent = ("batch_tokens", "joint_vocabulary", "max_length") if text else ("batch_sequences", "block", "validation_tail")
    for name in silent:
        if name in named:
            flag = f"--{name.replace('_', '-')}"
            about, instead = ("pairs of sentences", "a language model takes --batch-sequences and --block") if text else (
                "--text", "pairs of sentences take --batch-tokens and --max-length")
            raise UserError(f"{name} is for {about}; drop {flag}: {instead}")


def choose_resumed(run: Path, named: dict) -> Settings:
    """The settings of the run to be resumed, with what the user `named` again; more would make it another run."""
    for name in named:
        if name not in CHANGED_ON_RESUME:
            raise UserError(f"{name} cannot change when a run is resumed; only {', '.join(CHANGED_ON_RESUME)} can")
    settings = read_config(run)[0]
    for name in _FILES:
        if name in named and getattr(settings, name) is None:
            raise UserError(f"{name}: the run was started without such text, and goes on without it; drop --{name.replace('_', '-')}")
    return settings.replace(**named)
