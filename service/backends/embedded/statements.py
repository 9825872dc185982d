"""Splits text into the statements that a textual rule with `unit: statement` is searched in.

Owns the splitting for SQL, Dockerfiles, HCL and YAML; any other language is split by lines. Comments are
blanked, offsets are kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

_SQL_PARTS: Final = re.compile(
    r"(?P<comment>--[^\n]*|/\*[\s\S]*?\*/)|(?P<string>'(?:[^']|'')*')|(?P<dollar>\$\w*\$)|(?P<end>;)"
)
_HCL_BLOCK: Final = re.compile(
    r"^[A-Za-z_]\w*(?:[ \t]+\"[^\"\n]*\"|[ \t]+\w+)*[ \t]*\{[\s\S]*?^\}", re.MULTILINE
)
_COMMENT_LINE: Final = re.compile(r"^[ \t]*#.*$", re.MULTILINE)


def statements(text: str, language: str) -> Iterator[tuple[int, str]]:
    """Offset and text of each statement."""
    yield from _SPLITTERS.get(language, _lines)(text)


def _sql(text: str) -> Iterator[tuple[int, str]]:
    """SQL statements; a dollar quote's body counts as statements too, since it is code."""
    kept, start, at = [], 0, 0
    for part in _SQL_PARTS.finditer(text):
        kept.append(text[at : part.start()])
        at = part.end()
        if part["end"] is not None:
            yield start, "".join(kept)
            kept, start = [], at
        else:
            kept.append(part[0] if part["string"] is not None else _blank(part[0]))
    rest = "".join(kept) + text[at:]
    if rest.strip():
        yield start, rest


def _dockerfile(text: str) -> Iterator[tuple[int, str]]:
    """Instructions with their continuation lines."""
    start, at, open_line = 0, 0, False
    for line in _COMMENT_LINE.sub(lambda found: _blank(found[0]), text).split("\n"):
        if not open_line:
            start = at
        at += len(line) + 1
        open_line = line.rstrip().endswith("\\") or (open_line and not line.strip())
        if not open_line:
            yield start, text[start : at - 1]


def _hcl(text: str) -> Iterator[tuple[int, str]]:
    """Top-level blocks; a piece without a whole block is one statement."""
    plain = _COMMENT_LINE.sub(lambda found: _blank(found[0]), text)
    at = 0
    for block in _HCL_BLOCK.finditer(plain):
        if plain[at : block.start()].strip():
            yield at, plain[at : block.start()]
        yield block.start(), block[0]
        at = block.end()
    if plain[at:].strip():
        yield at, plain[at:]


def _yaml(text: str) -> Iterator[tuple[int, str]]:
    """Documents, divided by `---`."""
    plain = _COMMENT_LINE.sub(lambda found: _blank(found[0]), text)
    at = 0
    for mark in re.finditer(r"^---.*$", plain, re.MULTILINE):
        yield at, plain[at : mark.start()]
        at = mark.end()
    yield at, plain[at:]


def _lines(text: str) -> Iterator[tuple[int, str]]:
    at = 0
    for line in text.split("\n"):
        yield at, line
        at += len(line) + 1


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)


_SPLITTERS: Final[dict[str, Callable[[str], Iterator[tuple[int, str]]]]] = {
    "sql": _sql,
    "dockerfile": _dockerfile,
    "terraform": _hcl,
    "yaml": _yaml,
}
