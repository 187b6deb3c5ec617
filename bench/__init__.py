"""Benchmarks and measurements behind every claim in docs/benchmarks.md."""
