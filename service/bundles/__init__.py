"""Bundles of defect types: written, and checked at the door, without a word of the models."""
