"""Bytes from files, diffs and standard input -> text. Owns the choice of encoding, nothing else."""

from __future__ import annotations

import codecs
from typing import Final

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decode_file(data: bytes) -> str | None:
    """A whole file's text with "\\n" line ends; None when it is binary."""
    if is_binary(data):
        return None
    return decode_line(data.removeprefix(codecs.BOM_UTF8)).replace("\r\n", "\n")


def is_binary(data: bytes) -> bool:
    """git's test: a NUL among the first 8,000 bytes."""
    return b"\0" in data[:8000]


def decode_diff(data: bytes) -> str:
    """A diff's text, line by line: files of different encodings share one diff.

    A byte order mark decides for the whole (PowerShell's `git diff > x.patch` writes UTF-16).
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace").replace("\r\n", "\n")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return "\n".join(decode_line(line) for line in data.split(b"\n"))


def decode_line(data: bytes) -> str:
    """UTF-8; else Windows-1252, the most common other one, with U+FFFD for its five unused bytes."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")
