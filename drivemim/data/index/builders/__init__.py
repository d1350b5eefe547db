"""Builders: each reads one kind of source and writes a ``FrameIndex``."""
