"""What the kernels stand on: one pool of threads, BLAS inside it, vector mathematics, reused memory and the registry."""
