"""The frame index: its format, its builders, and the files that it names."""
