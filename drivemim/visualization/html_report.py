"""A report in a single HTML file, with embedded pictures and charts and no external resources."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Protocol

from drivemim.files import write_bytes

MAX_BYTES = 5_000_000
"""Largest size of a report, so that it can be sent by email."""

STYLE = """
:root { color-scheme: light; }
body { margin: 0; background: #f5f6f8; color: #1f2430; line-height: 1.5;
       font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 28px; margin: 0 0 4px; }
h2 { font-size: 20px; margin: 40px 0 8px; }
p { margin: 8px 0; max-width: 78ch; }
.lead { color: #50586a; }
figure { margin: 12px 0 20px; padding: 12px; background: #fff; border: 1px solid #e1e4ea;
         border-radius: 6px; overflow-x: auto; }
figure img, figure svg { width: 100%; height: auto; display: block; }
figure img { max-width: 760px; }
figcaption { color: #50586a; font-size: 14px; margin-top: 8px; }
table { border-collapse: collapse; background: #fff; margin: 12px 0 20px; font-size: 14px; }
th, td { border: 1px solid #e1e4ea; padding: 6px 12px; text-align: right;
         font-variant-numeric: tabular-nums; }
th { background: #eef1f5; font-weight: 600; }
th:first-child, td:first-child { text-align: left; }
caption { caption-side: bottom; text-align: left; color: #50586a; padding-top: 6px; }
pre { background: #fff; border: 1px solid #e1e4ea; border-radius: 6px; padding: 12px;
      overflow-x: auto; font-size: 12.5px; white-space: pre-wrap; overflow-wrap: anywhere; }
@media (min-width: 900px) { table { min-width: 60%; } }
@media (max-width: 600px) {
  main { padding: 16px 12px 32px; }
  figure { padding: 6px; }
  figure svg { min-width: 640px; }  /* narrower, and text of 8 pt is too small: charts scroll */
  table { font-size: 11px; }
  th, td { padding: 3px 4px; }
}
"""


class ReportPart(Protocol):
    """A part of a section."""

    def html(self) -> str:
        """Return the part as HTML."""
        ...


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str

    def html(self) -> str:
        """Return the paragraph as HTML."""
        return f"<p>{escape(self.text)}</p>"


@dataclass(frozen=True)
class Code:
    """Commands or settings, verbatim."""

    text: str

    def html(self) -> str:
        """Return the text as HTML."""
        return f"<pre>{escape(self.text)}</pre>"


@dataclass(frozen=True)
class Picture:
    """An embedded JPEG or PNG picture.

    Attributes:
        data: bytes of the file.
        caption: text below the picture, and its alternative text.
    """

    data: bytes
    caption: str

    def html(self) -> str:
        """Return the picture as HTML.

        Raises:
            ValueError: if the bytes are neither JPEG nor PNG.
        """
        if self.data.startswith(b"\xff\xd8"):
            kind = "jpeg"
        elif self.data.startswith(b"\x89PNG"):
            kind = "png"
        else:
            raise ValueError(f"picture {self.caption!r} is neither a JPEG nor a PNG file")
        source = base64.b64encode(self.data).decode()
        caption = escape(self.caption, quote=True)
        return (
            f'<figure><img src="data:image/{kind};base64,{source}" alt="{caption}">'
            f"<figcaption>{caption}</figcaption></figure>"
        )


@dataclass(frozen=True)
class Chart:
    """An embedded SVG element."""

    svg: str
    caption: str = ""

    def html(self) -> str:
        """Return the chart as HTML."""
        caption = f"<figcaption>{escape(self.caption)}</figcaption>" if self.caption else ""
        return f"<figure>{self.svg}{caption}</figure>"


@dataclass(frozen=True)
class Table:
    """A table with a header; the first column contains the row names."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""

    def html(self) -> str:
        """Return the table as HTML.

        Raises:
            ValueError: if a row is longer or shorter than the header.
        """
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(f"row {list(row)} does not fit the header {list(self.header)}")
        head = "".join(f"<th>{escape(cell)}</th>" for cell in self.header)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self.rows
        )
        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


@dataclass(frozen=True)
class ReportSection:
    """A heading and the parts below it."""

    title: str
    parts: Sequence[ReportPart]

    def html(self) -> str:
        """Return the section as HTML."""
        parts = "\n".join(part.html() for part in self.parts)
        return f"<section><h2>{escape(self.title)}</h2>\n{parts}\n</section>"


def render_report(title: str, lead: str, sections: Sequence[ReportSection]) -> str:
    """Render the whole page.

    Args:
        title: title of the page.
        lead: summary below the title.
        sections: sections, in order.
    """
    body = "\n".join(section.html() for section in sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{escape(title)}</h1>\n<p class="lead">{escape(lead)}</p>\n{body}\n'
        "</main>\n</body>\n</html>\n"
    )


def write_report(path: Path, page: str) -> None:
    """Write the page atomically.

    Raises:
        ValueError: if it is larger than ``MAX_BYTES``.
    """
    data = page.encode()
    if len(data) > MAX_BYTES:
        raise ValueError(
            f"{path} would have {len(data) / 1e6:.1f} MB; use fewer or smaller pictures "
            f"(at most {MAX_BYTES / 1e6:.0f} MB)"
        )
    write_bytes(path, data)
