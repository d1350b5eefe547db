"""Measurements of speed and memory, each with the target it is held to."""
