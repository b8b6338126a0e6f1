"""Pretrained weights: folders in the format of Hugging Face's transformers, of GPT-2 or Llama architecture, read and written.

    config.json          the sizes, which each architecture calls by names of its own
    model.safetensors    the weights; or model.safetensors.index.json, and the parts ("shards") that it names
    tokenizer.json       read by `data.pretrained.PretrainedTokenizer`

Float32 weights that stand in the file as they do in the model are not read but mapped into memory: the system fetches what is used, into memory that
all processes share and that it can take back. GPT-2's matrices are stored (in, out), so they are used as transposed views. Others, numbers of 16 bits
and Llama's matrices, of which several lie in one here, are read piece by piece to where they stay.
"""
import json
from pathlib import Path

import numpy as np

from ..data.files import write_atomically
from ..errors import UserError
from .architectures import ARCHITECTURES, config_of
from .decoder_only import DecoderOnly
from .stored import INDEX, KINDS, WHOLE, read_json, stored_arrays


def from_pretrained(folder):
    """The `DecoderOnly` in a folder that `save_pretrained`, of transformers or below, has written: float32, in eval mode.

    Raises: UserError for an architecture that is neither GPT-2 nor Llama (or Mistral, which is Llama with a window), for options of theirs that are not
    here, and for damaged files.
    """
    folder = Path(folder)
    config = read_json(folder / "config.json")
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in ARCHITECTURES:
        raise UserError(f"{folder} holds a model of architecture {kind!r}; minitx reads {', '.join(ARCHITECTURES)}")
    architecture = ARCHITECTURES[kind]
    try:
        model = DecoderOnly(**architecture.options(config), seed=None)
        model.dropout.p = config.get("embd_pdrop", model.dropout.p)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{folder / 'config.json'}: {error}") from None
    stored = {name.removeprefix(architecture.prefix): array for name, array in stored_arrays(folder).items()}
    for name, parameter in model.named_parameters():
        sources = architecture.sources(name)
        for source in sources:
            if source not in stored:
                raise UserError(f"{folder} lacks the weights {source}; is it copied whole?")
        parameter.data = _load([stored.pop(source) for source in sources], parameter.shape, architecture.is_transposed(name, parameter),
                               f"{folder}: {' and '.join(sources)}")
    unknown = [name for name in stored if not name.endswith(architecture.no_weights) and not (name == "lm_head.weight" and model.output is None)]
    if unknown:
        raise UserError(f"{folder} holds weights that a {kind} model does not have here: {', '.join(unknown[:3])}")
    return model.eval()


def save_pretrained(model, folder, tokenizer=None, end=()):
    """Write a `DecoderOnly` as a folder that transformers loads, in float32.

    With learnt positions and layer norms it becomes a GPT-2; with rotary positions, RMS norms and SwiGLU a Llama, or if it has a window a Mistral. Other
    models do not exist there, and are a UserError. `tokenizer`: a `Tokenizer` or `PretrainedTokenizer`, written as tokenizer.json. `end`: the ids with
    which the model ends a text, as a `Generator` has them.
    """
    config = config_of(model) | {"eos_token_id": list(end) or None}
    architecture = ARCHITECTURES[config["model_type"]]
    own, arrays = dict(model.named_parameters()), {}
    for name in architecture.parameters(len(model.layers)):
        if name in own:
            array = own[name].numpy()
        elif architecture.needs_biases and name.endswith("bias"):
            array = np.zeros(len(own[name.replace("bias", "weight")].data))
        else:
            continue
        sources = architecture.sources(name)
        parts = np.split(array.T if architecture.is_transposed(name, array) else array, _ends(model, len(sources)))
        for source, part in zip(sources, parts, strict=True):
            prefix = "" if source == "lm_head.weight" else architecture.prefix
            arrays[prefix + source] = np.ascontiguousarray(part, np.float32)
    from safetensors.numpy import save

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / WHOLE, save(arrays, metadata={"format": "pt"}))
    (folder / INDEX).unlink(missing_ok=True)  # of other weights that were here in parts
    if tokenizer is not None:
        write_atomically(folder / "tokenizer.json", tokenizer.to_library_json())
    write_atomically(folder / "config.json", json.dumps(config, indent=2) + "\n")


def ends_of(folder):
    """The ids with which the model in a folder ends a text."""
    files = [Path(folder) / name for name in ("generation_config.json", "config.json")]
    found = [read_json(file).get("eos_token_id") for file in files if file.exists()]
    ends = next((ids for ids in found if ids is not None), [])
    return ends if isinstance(ends, list) else [ends]


def is_pretrained(folder):
    """Whether a folder is of this format; the config.json of a run has no "model_type"."""
    try:
        return "model_type" in read_json(Path(folder) / "config.json")
    except UserError:
        return False


def _load(sources, shape, transposed, what):
    """A parameter of `shape`, float32, whose rows are those of the `sources` (`StoredArray`), one behind the other."""
    stored_shape = shape[::-1] if transposed else shape
    rows = sum(source.shape[0] for source in sources if source.shape)
    if rows != stored_shape[0] or any(source.shape[1:] != stored_shape[1:] for source in sources):
        raise UserError(f"{what}: {stored_shape} numbers are expected by config.json, but {' and '.join(str(source.shape) for source in sources)} are stored")
    for source in sources:
        if source.kind not in KINDS:
            raise UserError(f"{what}: the numbers are stored as {source.kind}; minitx reads {', '.join(KINDS)}")
    if len(sources) == 1 and sources[0].can_be_mapped:
        array = sources[0].map()
    else:
        array, row = np.empty(stored_shape, np.float32), 0
        for source in sources:
            source.read(array[row:row + source.shape[0]])
            row += source.shape[0]
    return array.T if transposed else array


def _ends(model, parts):
    """Where the rows of those parameters of ours are cut that are several of theirs: gates and values, or queries, keys and values."""
    return {1: [], 2: [model.layers[0].linear2.weight.shape[1]], 3: list(model.layers[0].self_attn.ends[1:3])}[parts]
