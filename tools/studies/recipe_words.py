"""Messages of label studies in the words of a recipe study, whose settings are in a file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from drivemim.errors import CheckpointError, ConfigError, DataError

# Flags of tools/label_efficiency.py, and what stands for them in the file of a recipe study.
_WORDS = (
    (re.compile(r"--init (\S+)\.(\d+)(?![\w.])"), r"recipe \1, backbone \2"),
    (re.compile(r", or give --transductive, which says so in the results"), ""),
    (re.compile(r"--cfg-options\b"), "detector.options"),
    (re.compile(r"give --allow-boxes-read\b"), "set detector.allow_boxes_read=True"),
    (re.compile(r"--metric\b"), "detector.metrics"),
    (re.compile(r"--(train|val|fractions|iterations)\b"), r"detector.\1"),
)


@contextmanager
def recipe_words() -> Iterator[None]:
    """Rewrite the flags of a label study in errors as the settings of a recipe study."""
    try:
        yield
    except (CheckpointError, ConfigError, DataError) as error:
        text = str(error)
        for flag, words in _WORDS:
            text = flag.sub(words, text)
        error.args = (text,)
        raise
