"""Kernels: arrays in, arrays out; nothing here knows of Tensor.

One folder per operation, with the same mathematics side by side: `reference.py` (NumPy, the formula as it is written), `cpu.py` (Numba)
and `cuda.py` (numba.cuda). The folder's docstring derives the backward pass; `runtime.registry` picks the file by the arrays' type.
"""
