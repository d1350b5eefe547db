"""The HTML report is one file without external resources."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from drivemim.visualization.html_report import (
    MAX_BYTES,
    Chart,
    Code,
    Picture,
    ReportSection,
    Table,
    Text,
    render_report,
    write_report,
)
from drivemim.visualization.panels import encode_image


class Tags(HTMLParser):
    """Collects addresses and checks that every element is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses = [], []

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def page():
    jpeg = encode_image(np.zeros((8, 8, 3), np.uint8))
    png = encode_image(np.zeros((8, 8, 3), np.uint8), ".png")
    blocks = [
        Text("5 < 6 & so on"),
        Picture(jpeg, 'a "quoted" caption'),
        Picture(png, "png"),
        Chart("<svg></svg>", "chart"),
        Table(["", "AP"], [["<pedestrian>", "1.0"]], "caption"),
        Code("python x --a=<b>"),
    ]
    return render_report(
        "Title & more", "Lead", [ReportSection("One", blocks), ReportSection("Two", [])]
    )


def test_well_formed_and_nothing_is_fetched(page):
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert len(tags.addresses) == 2
    assert all(address.startswith("data:image/") for address in tags.addresses)
    assert not re.search(r"https?://|@import|url\(", page)


def test_text_is_escaped(page):
    for text in ("5 &lt; 6 &amp; so on", "&lt;pedestrian&gt;", "--a=&lt;b&gt;", "Title &amp; more"):
        assert text in page
    assert 'alt="a &quot;quoted&quot; caption"' in page


def test_pictures_are_embedded_byte_for_byte(page):
    png = encode_image(np.zeros((8, 8, 3), np.uint8), ".png")
    assert base64.b64encode(png).decode() in page


def test_row_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="does not fit the header"):
        Table(["a", "b"], [["1"]]).html()


def test_unknown_picture_format_is_refused():
    with pytest.raises(ValueError, match="'what' is neither a JPEG nor a PNG"):
        Picture(b"GIF89a", "what").html()


def test_written_whole_or_not_at_all(tmp_path, page):
    path = tmp_path / "deep" / "report.html"
    write_report(path, page)
    assert path.read_text() == page
    with pytest.raises(ValueError, match="fewer or smaller pictures"):
        write_report(path, "x" * (MAX_BYTES + 1))
    assert path.read_text() == page
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
