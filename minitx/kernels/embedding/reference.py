"""Embedding in plain NumPy; `embedding` runs on Tensors as well."""
import numpy as np


def embedding(weight, ids, out=None):
    """weight[ids]: weight (vocabulary, d) float32 or float64, ids integers of any shape; ids.shape + (d,). `out` may be the array to write it to."""
    check("embedding", ids, weight.shape[0], weight.dtype)
    if out is None:
        return weight[ids]
    out[...] = weight[ids]
    return out


def embedding_backward(g, ids, vocabulary, dweight=None):
    """dweight (vocabulary, d) from g = ∂L/∂out, of shape ids.shape + (d,); `dweight` may be the array to write it to."""
    check("embedding_backward", ids, vocabulary, g.dtype, g)
    dweight = np.empty((vocabulary, g.shape[-1]), g.dtype) if dweight is None else dweight
    dweight.fill(0)
    np.add.at(dweight, ids.reshape(-1), g.reshape(ids.size, g.shape[-1]))
    return dweight


def check(name, ids, vocabulary, dtype, g=None):
    """Raise ValueError, TypeError or IndexError with what is wrong, what was expected and the likely fix."""
    check_kinds(name, ids, dtype, g)
    if ids.size and (ids.min() < 0 or ids.max() >= vocabulary):
        raise IndexError(f"{name}: ids run from {ids.min()} to {ids.max()} but the table has {vocabulary} rows, "
                         "from 0; does the vocabulary fit the data?")


def check_kinds(name, ids, dtype, g=None):
    """As `check`, without a look at the values."""
    if dtype.char not in "fd":
        raise TypeError(f"{name}: the rows are {dtype}, expected float32 or float64; use .astype(np.float32)")
    if ids.dtype.kind not in "iu":
        raise TypeError(f"{name}: ids are {ids.dtype}, expected integers; use .astype(np.int32)")
    if g is not None and g.shape[:-1] != ids.shape:
        raise ValueError(f"{name}: g has shape {g.shape} but ids {ids.shape}; g has one axis more, the features")
