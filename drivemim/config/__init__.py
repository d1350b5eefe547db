"""Configs: reading, checking, building models from them, and what a run leaves of them."""
