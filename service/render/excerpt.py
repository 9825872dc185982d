"""The diff lines around a finding, masked, and where a removed line would stand in the new file.

Owns no drawing: formats decide how lines look.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from review_data.domain import DiffLine, FileChange, Finding, Hunk, LineKind, Side
from service.render.redact import mask_lines

CONTEXT: Final = 3
SIGNS: Final = {LineKind.ADDED: "+", LineKind.REMOVED: "-", LineKind.CONTEXT: " "}


class ExcerptLine(NamedTuple):
    """One line of an excerpt; `number` counts on the finding's side where the line has one there."""

    number: int | None
    sign: str
    text: str
    flagged: bool


class _Places(NamedTuple):
    """Where a file's lines stand: (hunk, index in it) by line number, per side."""

    new: dict[int, tuple[Hunk, int]]
    old: dict[int, tuple[Hunk, int]]


class Excerpts:
    """The files of a change (`change.request.files`), asked for what stands around a finding.

    Each file is indexed and each hunk masked once, so that many findings in one large hunk stay cheap.
    """

    def __init__(self, files: Iterable[FileChange] = ()) -> None:
        self._files = {file.path: file for file in files}
        self._places: dict[str, _Places] = {}
        self._masked: dict[tuple[str, int], list[str]] = {}

    def around(self, finding: Finding, context: int = CONTEXT) -> list[ExcerptLine]:
        """At most `context` lines on both sides of the finding; its quote alone when no hunk has the line."""
        place = self._place(finding)
        if place is None:
            quote = mask_lines([finding.quote])[0]
            return [ExcerptLine(finding.line, " ", quote, True)] if quote.strip() else []
        hunk, index = place
        start, end = max(0, index - context), index + context + 1
        texts = self._texts(finding.path, hunk)
        return [
            _excerpt_line(line, texts[position], finding.side, position == index)
            for position, line in enumerate(hunk.lines[start:end], start)
        ]

    def new_line(self, finding: Finding) -> int | None:
        """The finding's line in the new file; for a removed line the one that took its place, if any."""
        if finding.side is Side.NEW:
            return finding.line
        place = self._place(finding)
        if place is None:
            return None
        hunk, index = place
        after = (line.new_line for line in hunk.lines[index:] if line.new_line is not None)
        before = (line.new_line for line in hunk.lines[index::-1] if line.new_line is not None)
        return next(after, None) or next(before, None)

    def _place(self, finding: Finding) -> tuple[Hunk, int] | None:
        file = self._files.get(finding.path)
        if file is None:
            return None
        if finding.path not in self._places:
            self._places[finding.path] = _places_of(file)
        places = self._places[finding.path]
        return (places.new if finding.side is Side.NEW else places.old).get(finding.line)

    def _texts(self, path: str, hunk: Hunk) -> list[str]:
        key = (path, id(hunk))
        if key not in self._masked:
            # The whole hunk at once: only a key block's first line tells that the next ones are secret.
            self._masked[key] = mask_lines([line.text.rstrip("\r\n") for line in hunk.lines])
        return self._masked[key]


def _places_of(file: FileChange) -> _Places:
    places = _Places({}, {})
    for hunk in file.hunks:
        for index, line in enumerate(hunk.lines):
            if line.new_line is not None:
                places.new[line.new_line] = (hunk, index)
            if line.old_line is not None:
                places.old[line.old_line] = (hunk, index)
    return places


def _excerpt_line(line: DiffLine, text: str, side: Side, flagged: bool) -> ExcerptLine:
    number = line.new_line if side is Side.NEW else line.old_line
    return ExcerptLine(number, SIGNS[line.kind], text, flagged)
