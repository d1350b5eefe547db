"""Tables of a model card."""

import re


def rows_of(text):
    """Return the tables by title, each with its rows: the first cell -> the other cell."""
    tables, title = {}, ""
    for line in text.splitlines():
        if line.startswith("#"):
            title = line.lstrip("# ")
        elif match := re.fullmatch(r"\| (.+?) \| (.*) \|", line):
            table = tables.setdefault(title, {})
            assert match[1] not in table
            table[match[1]] = match[2]
    return tables
