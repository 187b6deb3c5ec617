"""Stable Diffusion 1.5 by its shape, with random weights: what a backbone of that size costs."""
