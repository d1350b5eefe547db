"""Boxes of frames: ground truth in 2-D, box sources for clips, and tracks."""
