"""Tables of a model card."""

import re


def rows_of(text):
    """Tables by title: key and cell of every row."""
    found, title = {}, ""
    for line in text.splitlines():
        if line.startswith("#"):
            title = line.lstrip("# ")
        elif match := re.fullmatch(r"\| (.+?) \| (.*) \|", line):
            table = found.setdefault(title, {})
            assert match[1] not in table
            table[match[1]] = match[2]
    return found
