"""Kernels of a device, where torch's own choice is slow."""
