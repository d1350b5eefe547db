"""Reading of JSON files that other programs wrote, in any encoding, with errors in one sentence.

JSON is UTF-8. But programs on Windows also write UTF-8 with a byte order mark and UTF-16, and
Python writes ``NaN`` and ``Infinity``, which are not valid JSON.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from drivemim.errors import DataError

_LOG = logging.getLogger(__name__)
Content: TypeAlias = bytes | memoryview
_SMALL = 4096
"""Bytes; only files up to this size are searched for content other than spaces."""
_COMPRESSED = {
    b"\x1f\x8b": ("gzip", "gunzip -k"),
    b"BZh": ("bzip2", "bunzip2 -k"),
    b"\xfd7zXZ": ("xz", "unxz -k"),
    b"\x28\xb5\x2f\xfd": ("zstd", "unzstd"),
    b"PK\x03\x04": ("zip", "unzip"),
}
"""Compressed files: format and command to unpack them, by their first bytes."""


class JsonText:
    """Content of a JSON file.

    Args:
        path: the file, for warnings.
        content: bytes of the file, which may be a view of mapped memory.
        begin: start of the error messages, with the file's name.
        fix: what the user can do about a broken file.

    Attributes:
        content: content of the file as UTF-8, without a byte order mark.

    Raises:
        DataError: if the file is empty, compressed, or not valid in its encoding.
    """

    def __init__(self, path: Path, content: Content, *, begin: str, fix: str) -> None:
        self._path, self._begin, self._fix = path, begin, fix
        self.content = self._as_utf8(content)

    def decode(self, kind: Any, *, strict: bool = True) -> Any:
        """Decode the content; ``NaN`` and ``Infinity`` are read as ``null``, with a warning.

        Args:
            kind: the type to decode into.
            strict: whether to refuse numbers that are written as text, and integers that are
                written as 3.0.

        Raises:
            msgspec.ValidationError: if the content is JSON, but not of the type.
            DataError: if the content is not JSON; the message has the reason and the fix.
        """
        try:
            try:
                return msgspec.json.decode(self.content, type=kind, strict=strict)
            except msgspec.ValidationError:
                raise
            except msgspec.DecodeError as error:
                self.content = self._without_constants(str(error))
            return msgspec.json.decode(self.content, type=kind, strict=strict)
        except msgspec.ValidationError:
            raise
        except UnicodeDecodeError:
            raise self._not_utf8() from None
        except RecursionError:
            raise self._error(f"it is nested too deeply; {self._fix}") from None
        except msgspec.DecodeError as error:
            raise self._error(f"it is not JSON ({error}); {self._fix}") from None

    def check_document(self) -> None:
        """Check that the content is not JSON lines: a value on each line, not one document.

        Raises:
            DataError: if the content is JSON lines.
        """
        first, _, rest = bytes(self.content).lstrip().partition(b"\n")
        try:
            json.loads(first)
            json.loads(rest.lstrip().partition(b"\n")[0])
        except ValueError:
            return
        raise self._error("it has a JSON value on each line (JSON lines); write one JSON document")

    def _as_utf8(self, content: Content) -> Content:
        """Return the content as UTF-8, without a byte order mark.

        Raises:
            DataError: if it is empty, compressed, or not valid in its encoding.
        """
        start = bytes(content[:8])
        for magic, (name, command) in _COMPRESSED.items():
            if start.startswith(magic):
                raise self._error(f"it is compressed ({name}); unpack it: {command} {self._path}")
        encoding = json.detect_encoding(start)
        if encoding.startswith("utf-8"):
            # A copy, because mapped memory cannot be closed while a view of a part of it exists.
            content = bytes(content[3:]) if encoding == "utf-8-sig" else content
        else:
            try:
                content = bytes(content).decode(encoding).encode()
            except UnicodeError as error:
                raise self._error(f"it is damaged {encoding} ({error}); {self._fix}") from None
        if len(content) <= _SMALL and not bytes(content).strip():
            raise self._error(f"it is empty; {self._fix}")
        return content

    def _without_constants(self, problem: str) -> bytes:
        """Return the content with ``null`` in place of ``NaN`` and ``Infinity``; warn of them.

        Args:
            problem: why the content could not be decoded, for the error.

        Raises:
            DataError: if the content is not JSON for another reason.
        """
        constants: list[str] = []
        try:
            text = bytes(self.content).decode()
        except UnicodeDecodeError:
            raise self._not_utf8() from None
        try:
            document = json.loads(text, parse_constant=constants.append)
        except json.JSONDecodeError as error:
            if "truncated" in problem or error.pos >= len(text.rstrip()):
                raise self._error(f"it ends too early ({problem}); {self._fix}") from None
            self.check_document()
            raise self._error(f"it is not JSON ({problem}); {self._fix}") from None
        if constants:
            _LOG.warning(
                "%s: %d values are %s, which JSON does not have; they are read as missing (null)",
                self._path, len(constants), " or ".join(sorted(set(constants))),
            )  # fmt: skip
        return json.dumps(document).encode()

    def _not_utf8(self) -> DataError:
        """Return the error for content that is not valid UTF-8."""
        try:
            bytes(self.content).decode()
        except UnicodeDecodeError as error:
            return self._error(
                f"it is not UTF-8 (byte {error.start} is 0x{self.content[error.start]:02x}); write "
                f"it as UTF-8, for example iconv -f latin1 -t utf-8 {self._path}"
            )
        return self._error(f"it has text that is not Unicode; {self._fix}")

    def _error(self, problem: str) -> DataError:
        return DataError(f"{self._begin}{problem}")
