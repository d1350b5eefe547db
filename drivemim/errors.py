"""Errors a user can cause: each message names the thing, its value and the cure.

The command line tools print these as one line; anything else keeps its traceback.
"""


class ConfigError(ValueError):
    """A config, or an option on the command line, that cannot be what was meant."""


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, of another model, or that could not be written."""


class NonFiniteLossError(ArithmeticError):
    """A training loss became infinite or not a number."""
