"""Kernels and training steps, timed: against the plain NumPy reference, against PyTorch, and against what the machine can do."""
