"""Codecs and the canonical form of an image: what happens to a file at the door."""
