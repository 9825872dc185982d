"""The text a finder looks at: a changed file's one side, whole where it is at hand, else the hunks' lines.

Owns the assembly of texts with their line numbers, and which of the lines the change touched. Reads files
only through the change's snapshot; matches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from review_data.domain import FileChange, FileStatus, Hunk, LineKind, Side, number_on
from review_data.language import language_of
from service.ports import Change

# A larger file is looked at by its hunks: the time must not depend on what the change left alone.
MAX_WHOLE: Final = 400_000
_TESTS: Final = re.compile(
    r"(?:^|/)(?:tests?|__tests__|specs?|testing|fixtures?|testdata|test-data|e2e|mocks?|__mocks__|testFixtures"
    r"|androidTest|integration[-_]tests?)/"
    r"|(?:_test|_tests|\.test|\.spec|_spec|\.cy|\.stories|Tests?|IT|Spec)\.\w+$|(?:^|/)(?:test_[^/]*|conftest)\.py$",
)


@dataclass(frozen=True, slots=True)
class Fragment:
    """Consecutive lines; `numbers[i]` is the i-th line's 1-based number in the file, None if made up.

    A carriage return inside a line is a line end here, as it is to compilers; both parts have one number.
    """

    text: str
    numbers: tuple[int | None, ...]

    def number(self, index: int) -> int | None:
        """The file's line number of the 0-based line `index`."""
        return self.numbers[index] if 0 <= index < len(self.numbers) else None


@dataclass(frozen=True)
class Source:
    """One side of a changed file. `touched` are the lines added (new side) or removed (old side)."""

    path: str
    side: Side
    language: str
    fragments: tuple[Fragment, ...]
    touched: dict[int, str]
    whole: bool

    @cached_property
    def text(self) -> str:
        """All fragments' text."""
        return "\n".join(fragment.text for fragment in self.fragments)

    @cached_property
    def is_test(self) -> bool:
        """Whether the file is a test, by its path."""
        return is_test_path(self.path)

    @cached_property
    def touched_text(self) -> str:
        """The touched lines' text."""
        return "\n".join(self.touched.values())


def is_test_path(path: str) -> bool:
    """Whether the path is that of a test, a fixture or an example of one."""
    return bool(_TESTS.search(path))


def language(file: FileChange) -> str:
    """The file's language by the change's word for it, else by its name."""
    return file.language or language_of(file.path)


def source_of(change: Change, file: FileChange, side: Side) -> Source:
    """The file's text on `side`; empty fragments when the file has no text there."""
    kind = LineKind.ADDED if side is Side.NEW else LineKind.REMOVED
    touched = {
        number: line.text
        for hunk in file.hunks
        for line in hunk.lines
        if line.kind is kind and (number := number_on(line, side)) is not None
    }
    path = file.path if side is Side.NEW else file.old_path or file.path
    text = change.snapshot.read(path, side)
    spoken = language(file)
    if text is not None and len(text) <= MAX_WHOLE and _agrees(text, touched):
        return Source(file.path, side, spoken, (_whole(text),), touched, True)
    fragments = tuple(_fragment(hunk, side, spoken) for hunk in file.hunks)
    whole = file.status is FileStatus.ADDED and side is Side.NEW
    return Source(file.path, side, spoken, tuple(part for part in fragments if part.text), touched, whole)


def _agrees(text: str, touched: dict[int, str]) -> bool:
    """Whether the diff's lines stand in the text: a snapshot of another moment must not move findings."""
    lines = text.split("\n")
    return all(
        number <= len(lines) and lines[number - 1].rstrip("\r") == line.rstrip("\r")
        for number, line in touched.items()
    )


def _whole(text: str) -> Fragment:
    return _parted(text, tuple(range(1, text.count("\n") + 2)))


def _parted(text: str, numbers: tuple[int | None, ...]) -> Fragment:
    if "\r" not in text:
        return Fragment(text, numbers)
    lines = zip(text.split("\n"), numbers, strict=True)
    parts = [(part, number) for line, number in lines for part in line.rstrip("\r").split("\r")]
    return Fragment("\n".join(part for part, _ in parts), tuple(number for _, number in parts))


def _fragment(hunk: Hunk, side: Side, spoken: str) -> Fragment:
    lines = [(line.text.rstrip("\r"), number_on(line, side)) for line in hunk.lines]
    shown: list[tuple[str, int | None]] = [(text, number) for text, number in lines if number is not None]
    if not shown:
        return Fragment("", ())
    at_start = shown[0][1] == 1
    head = [] if at_start else [(text, None) for text in _made_up_head(shown, hunk.section, spoken)]
    every = [*head, *shown, *((text, None) for text in _made_up_tail(shown, spoken))]
    return _parted("\n".join(text for text, _ in every), tuple(number for _, number in every))


def _made_up_head(shown: list[tuple[str, int | None]], section: str, spoken: str) -> list[str]:
    """Lines that make a piece from the middle of a file parse: the enclosing headers."""
    if spoken == "python":
        return list(_python_headers([text for text, _ in shown], section.strip()))
    indented = shown[0][0][:1].isspace()
    return [section.strip()] if indented and section.rstrip().endswith(("{", "do", ")")) else []


def _made_up_tail(shown: list[tuple[str, int | None]], spoken: str) -> list[str]:
    last = next((text for text, _ in reversed(shown) if text.strip()), "")
    if spoken == "python" and last.rstrip().endswith(":") and not last.lstrip().startswith("#"):
        return [" " * (_indent(last) + 4) + "pass"]
    return []


def _python_headers(lines: list[str], section: str) -> Iterator[str]:
    """One header for each outer indentation that the lines fall back to (and for 0 if they start deeper)."""
    code = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not code or not _indent(code[0]):
        return
    outer: dict[int, str] = {0: ""}
    lowest = _indent(code[0])
    for line in code:
        if _indent(line) < lowest:
            lowest = _indent(line)
            outer[lowest] = line.strip()
    last = max(level for level in outer if level < _indent(code[0]))
    for level in sorted(level for level in outer if level < _indent(code[0])):
        header = _header_before(outer[level])
        if level == last and header == "if 1:" and section.endswith(":") and not section.startswith("class"):
            header = section
        yield " " * level + header


def _header_before(line: str) -> str:
    return "try:" if line.startswith(("except", "finally")) else "if 1:"


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
