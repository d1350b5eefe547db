"""nuScenes tables written by other programs."""

import gzip
import json
import re

import pytest

from drivemim.data.index.builders import nuscenes_schema as schema
from drivemim.data.index.builders.nuscenes_tables import read_table
from drivemim.errors import DataError

ROWS = [
    {"token": "straße", "translation": [1, 2.5, 3], "rotation": [1, 0, 0, 0], "timestamp": 5},
    {"token": "b", "translation": [4, 5, 6], "rotation": [0, 1, 0, 0], "timestamp": 6},
]


@pytest.fixture
def read(tmp_path):
    """Reads an ego_pose.json of the content."""

    def read(content):
        (tmp_path / "ego_pose.json").write_bytes(content)
        return read_table(tmp_path, schema.EgoPose, "ego_pose")

    return read


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_every_encoding_of_unicode_is_read(read, encoding, caplog):
    rows = read(json.dumps(ROWS, ensure_ascii=False).encode(encoding))
    assert [(row.token, row.translation) for row in rows] == [
        ("straße", (1, 2.5, 3)), ("b", (4, 5, 6))
    ]  # fmt: skip
    assert caplog.messages == []


def test_unread_columns_are_reported_in_a_file_with_a_byte_order_mark(read, caplog):
    rows = [{**row, "quality": 1} for row in ROWS]
    read(json.dumps(rows).encode("utf-8-sig"))
    (message,) = caplog.messages
    assert "ego_pose.json has columns that are not read: quality. If" in message


def test_nan_is_refused_only_in_columns_that_are_read(read, caplog):
    rows = [{**row, "speed": float("nan")} for row in ROWS]
    assert len(read(json.dumps(rows).encode())) == 2
    (message,) = caplog.messages
    assert "ego_pose.json: 2 values are NaN, which JSON does not have" in message
    rows[1]["translation"] = [4, float("nan"), 6]
    with pytest.raises(DataError, match=r"ego_pose\.json: Expected `float`.*\$\[1\]\.translation"):
        read(json.dumps(rows).encode())


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (
            gzip.compress(b"[]", mtime=0),
            ["it is compressed (gzip); unpack it: gunzip -k ", "ego_pose.json"],
        ),
        (json.dumps(ROWS, ensure_ascii=False).encode("latin1"), ["it is not UTF-8"]),
        (json.dumps(ROWS).encode()[:-1], ["it ends too early ", "; download or unpack"]),
        ("\n".join(map(json.dumps, ROWS)).encode(), ["a JSON value on each line (JSON lines)"]),
        (
            json.dumps([ROWS[0], ROWS[0]]).encode(),
            ["has the row 'straße' more than once; download"],
        ),
        (b"\xef\xbb\xbf" + json.dumps({"a": 1}).encode(), ["Expected `array`, got `object`"]),
        (b" \n", ["it is empty; download or unpack"]),
    ],
)
def test_unreadable_files_are_refused_in_one_line(read, content, parts):
    with pytest.raises(DataError, match=".*".join(map(re.escape, parts))) as caught:
        read(content)
    assert "ego_pose.json" in str(caught.value)
    assert "\n" not in str(caught.value)
