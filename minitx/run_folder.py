"""A run is a folder, complete in itself: copied to another machine it translates there.

    config.json         settings, hashes of the user's files, version
    tokenizer.json      both tokenizers
    validation.tsv      held-out pairs of the user's own text; for a language model validation.txt, the end of its text
    model.safetensors   the best weights so far
    last/state.safetensors   weights, optimizer and position of the last save, from which training goes on
    last/epoch-N.safetensors   weights at the ends of the last epochs, until their mean is taken
    metrics.jsonl       one object a line
    *.png               pictures

Every file is written beside and renamed, so that a kill at any instant leaves the previous one whole; metrics.jsonl grows, and loses a line cut short.
"""
import json
import shutil
from pathlib import Path

import numpy as np

from .data.files import write_atomically
from .data.tokenizers import TokenizerPair
from .errors import UserError
from .kernels.runtime import devices
from .settings import Settings, read_config

FORMAT = 1


class RunFolder:
    """The files of one run."""

    def __init__(self, path):
        self.path = Path(path)
        self.config, self.tokenizer = self.path / "config.json", self.path / "tokenizer.json"
        self.validation, self.model = self.path / "validation.tsv", self.path / "model.safetensors"
        self.validation_text = self.path / "validation.txt"
        self.last, self.metrics = self.path / "last" / "state.safetensors", self.path / "metrics.jsonl"

    def exists(self):
        """Whether there is a run in the folder."""
        return self.config.exists()

    def create(self, settings, **facts):
        """Make the folder, with config.json; whatever an earlier run left there goes first. Files in a folder without a run are not touched."""
        self.path.mkdir(parents=True, exist_ok=True)
        if self.exists():
            for file in (self.tokenizer, self.validation, self.validation_text, self.model, self.metrics, *self.path.glob("*.png")):
                file.unlink(missing_ok=True)
            shutil.rmtree(self.last.parent, ignore_errors=True)
        write_atomically(self.config, json.dumps({"format": FORMAT, **facts, "settings": settings.to_json()}, indent=2) + "\n")
        self.last.parent.mkdir(exist_ok=True)

    def settings(self) -> Settings:
        """The settings that the run was started with."""
        return self._config()[0]

    def facts(self) -> dict:
        """Everything else in config.json."""
        return self._config()[1]

    def tokenizers(self) -> TokenizerPair:
        """Both tokenizers."""
        return TokenizerPair.load(self.tokenizer)

    def load_model(self, device="cpu"):
        """The model with its best weights, ready to translate on "cpu" or "cuda"."""
        settings = self.settings()
        tokenizers = self.tokenizers()
        model = build_model(settings, len(tokenizers.source), len(tokenizers.target))
        load_weights(model, self.model)
        return model.to(device).eval()

    def _config(self):
        settings, config = read_config(self.path)
        if config.get("format") != FORMAT:
            raise UserError(f"{self.config} has format {config.get('format')!r}; this minitx reads format {FORMAT}")
        return settings, config


def build_model(settings, source_vocabulary, target_vocabulary):
    """The model that the settings describe, with fresh weights drawn from their seed."""
    from .models import DecoderOnly, EncoderDecoder, PrefixLanguageModel, RecurrentTranslator

    def chosen(*names):
        return {name: getattr(settings, name) for name in ("d_model", "n_layers", "dropout", "attention_dropout", "seed", *names)}

    of_transformers = ("n_heads", "d_ff", "activation_dropout", "activation", "positions", "normalization", "experts", "experts_per_token", "balance")
    if settings.model == "encoder-decoder":
        model = EncoderDecoder(source_vocabulary, target_vocabulary, **chosen(*of_transformers, "norm", "score", "tie_embeddings", "max_length"))
    elif settings.model == "recurrent":
        options = chosen("cell", "score", "context", "bidirectional", "tie_embeddings", "max_length")
        model = RecurrentTranslator(source_vocabulary, target_vocabulary, **options)
    else:
        options = chosen(*of_transformers, "bias") | {"tie_embeddings": settings.tie_embeddings != "none"}
        options |= {"n_kv_heads": settings.n_kv_heads or None, "window": settings.window or None}
        model = (PrefixLanguageModel(target_vocabulary, max_length=settings.max_length, **options) if settings.text is None else
                 DecoderOnly(target_vocabulary, max_length=settings.block, **options))
    return model if settings.dtype == "float32" else model.to(settings.dtype)


def load_weights(model, path):
    """Fill the model from a safetensors file; a UserError says what is wrong with the file."""
    arrays, _ = read_safetensors(path)
    try:
        model.load_state_dict(arrays)
    except ValueError as error:
        raise UserError(f"{path} does not fit the settings beside it: {error}") from None


def save_safetensors(path, arrays, metadata=None):
    """Write {name: array}, and {name: text} about them, atomically. Of texts only one, for the library writes several in random order."""
    import safetensors.numpy

    arrays = {name: np.asarray(devices.host(array), order="C") for name, array in arrays.items()}
    write_atomically(path, safetensors.numpy.save(arrays, metadata=metadata))


def read_safetensors(path):
    """({name: array}, {name: text}) of a safetensors file."""
    import safetensors

    if not Path(path).is_file():
        raise UserError(f"{path} does not exist: the run was stopped before its first save, or not copied whole")
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is damaged or not a safetensors file: {str(error).splitlines()[0]}") from None
