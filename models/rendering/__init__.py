"""Procedural surfaces, parts and defects with exact masks."""
