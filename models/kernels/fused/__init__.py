"""Kernels for Triton, which comes with torch for CUDA: several steps of torch in one pass over memory."""
