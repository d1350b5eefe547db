"""JSON files of programs on Windows, in Python and in pipelines."""

import bz2
import gzip
import json
import lzma
from pathlib import Path

import msgspec
import pytest

from drivemim.data.index.json_text import JsonText
from drivemim.errors import DataError

VALUE = {"name": "Straße", "numbers": [1, 2.5]}
PLAIN = json.dumps(VALUE, ensure_ascii=False)


def text(content):
    return JsonText(Path("a.json"), content, begin="a.json: ", fix="write it again")


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"],
)
@pytest.mark.parametrize("view", [bytes, memoryview])
def test_every_encoding_of_unicode_is_read(encoding, view):
    assert text(view(PLAIN.encode(encoding))).decode(dict) == VALUE


def test_constants_are_missing_and_counted(caplog):
    content = b'\xef\xbb\xbf{"a": NaN, "b": [1, Infinity, -Infinity], "c": "NaN"}'
    found = text(content)
    assert found.decode(dict) == {"a": None, "b": [1, None, None], "c": "NaN"}
    assert msgspec.json.decode(found.content) == found.decode(dict)
    assert caplog.messages == [
        "a.json: 3 values are -Infinity or Infinity or NaN, which JSON does not have; they are "
        "read as missing (null)"
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a.json: it is empty; write it again"),
        (b" \n\n", "a.json: it is empty; write it again"),
        (b"\xef\xbb\xbf", "a.json: it is empty; write it again"),
        (
            gzip.compress(b"{}", mtime=0),
            r"a.json: it is compressed \(gzip\); unpack it: gunzip -k a.json",
        ),
        (bz2.compress(b"{}"), r"compressed \(bzip2\); unpack it: bunzip2"),
        (lzma.compress(b"{}"), r"compressed \(xz\); unpack it: unxz"),
        (b"PK\x03\x04rest", r"compressed \(zip\); unpack it: unzip"),
        (PLAIN.encode("latin1"),
         r"a.json: it is not UTF-8 \(byte 14 is 0xdf\); write it as UTF-8.* iconv -f latin1"),
        (PLAIN.encode("utf-16")[:-1], "a.json: it is damaged utf-16"),
        (PLAIN.encode()[:-2], r"a.json: it ends too early \(.*\); write it again"),
        (b'{"a": 1}\n{"a": 2}\n', "has a JSON value on each line .JSON lines.; write one"),
        (b'{"a": 1,}', r"a.json: it is not JSON \(.*byte 8\)\); write it again"),
        (b"<html></html>", r"a.json: it is not JSON \(.*byte 0\)\); write it again"),
        (b'{"a": 1}\x00\x00', "a.json: it is not JSON"),
        (b'{"a": NaN, "b": 1,}', "a.json: it is not JSON"),
        (b'{"a": "\\ud800", "b": 1}', "a.json: it is not JSON"),
        (b'{"a": ' + b"[" * 100_000, "a.json: it is nested too deeply; write it again"),
    ],
)  # fmt: skip
def test_unreadable_files_are_refused_in_one_sentence(content, message):
    with pytest.raises(DataError, match=message) as caught:
        text(content).decode(dict)
    assert "\n" not in str(caught.value)


def test_another_type_is_an_error_unless_decoding_is_lenient():
    with pytest.raises(msgspec.ValidationError, match="Expected `int`, got `str`"):
        text(b'{"a": "1"}').decode(dict[str, int])
    assert text(b'{"a": "1"}').decode(dict[str, int], strict=False) == {"a": 1}
