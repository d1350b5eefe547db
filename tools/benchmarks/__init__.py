"""Benchmarks of speed and memory; the index benchmark has targets."""
