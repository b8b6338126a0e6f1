"""Arrays in safetensors files, which are mapped into memory or read piece by piece: the safetensors library itself copies them whole, and NumPy has no bfloat16."""
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.files import read_bytes
from ..errors import UserError

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
KINDS = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "F64": "<f8"}  # what can be read, and as what
_PIECE = 1 << 20  # numbers that are read and converted at a time


@dataclass(frozen=True)
class StoredArray:
    """An array in a safetensors file."""

    path: Path
    kind: str  # "F32", "F16", "BF16" or "F64"
    shape: tuple
    offset: int  # of its first byte

    @property
    def can_be_mapped(self):
        """Whether the numbers stand in the file as they would in memory."""
        return self.kind == "F32" and self.offset % 4 == 0 and math.prod(self.shape) > 0 and sys.byteorder == "little"

    def map(self):
        """The float32 array, as pages of the file; what is written to them stays in this process."""
        return np.asarray(np.memmap(self.path, np.float32, "c", self.offset, self.shape))

    def read(self, into):
        """Fill the contiguous float32 array `into`."""
        into, dtype = into.reshape(-1), np.dtype(KINDS[self.kind])
        for first in range(0, into.size, _PIECE):
            piece = into[first:first + _PIECE]
            numbers = np.fromfile(self.path, dtype, piece.size, offset=self.offset + first * dtype.itemsize)
            if self.kind == "BF16":  # the upper half of a float32
                bits = piece.view(np.uint32)
                bits[...] = numbers
                bits <<= 16
            else:
                piece[...] = numbers


def stored_arrays(folder):
    """{name: StoredArray} of all weights in a folder; like transformers, of the whole file where there are parts as well."""
    index = folder / INDEX
    if (folder / WHOLE).exists() or not index.exists():
        return _arrays_of_file(folder / WHOLE)
    parts = read_json(index).get("weight_map")
    if not isinstance(parts, dict) or not all(isinstance(part, str) and Path(part).name == part for part in parts.values()):
        raise UserError(f"{index} is damaged: its weight_map does not name files of this folder")
    return {name: array for part in sorted(set(parts.values())) for name, array in _arrays_of_file(folder / part).items()}


def _arrays_of_file(path):
    import safetensors

    if not path.is_file():
        raise UserError(f"{path} does not exist; a pretrained folder holds model.safetensors, or model.safetensors.index.json and the parts it names")
    try:
        with safetensors.safe_open(str(path), framework="numpy"):  # checks the whole header; it tells names, but not where arrays lie
            pass
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is damaged or not a safetensors file: {str(error).splitlines()[0]}") from None
    return {name: StoredArray(path, entry["dtype"], tuple(entry["shape"]), 8 + length + entry["data_offsets"][0])
            for name, entry in header.items() if name != "__metadata__"}


def read_json(path):
    """The object in a JSON file; a UserError where the file is missing, or something else."""
    try:
        content = json.loads(read_bytes(path).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged: it is not an object of names and values")
    return content
