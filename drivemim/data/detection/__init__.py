"""Data sets and transforms for detectors, which need MMDetection."""
