"""The diff lines around a finding, masked, and where a removed line would stand in the new file.

Owns no drawing: formats decide how lines look.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from review_data.domain import DiffLine, FileChange, Finding, Hunk, LineKind, Side, number_on
from service.render.redact import mask_lines

CONTEXT: Final = 3
SIGNS: Final = {LineKind.ADDED: "+", LineKind.REMOVED: "-", LineKind.CONTEXT: " "}


class ExcerptLine(NamedTuple):
    """One line of an excerpt; `number` counts on the finding's side where the line has one there."""

    number: int | None
    sign: str
    text: str
    flagged: bool


@dataclass(frozen=True)
class Excerpts:
    """The change's files by path, asked for what stands around a finding."""

    files: dict[str, FileChange] = field(default_factory=dict)

    @classmethod
    def of(cls, files: Iterable[FileChange]) -> Excerpts:
        """From the files of a change (`change.request.files`)."""
        return cls({file.path: file for file in files})

    def around(self, finding: Finding, context: int = CONTEXT) -> list[ExcerptLine]:
        """At most `context` lines on both sides of the finding; its quote alone when no hunk has the line."""
        hunk, index = self._locate(finding)
        if hunk is None:
            quote = mask_lines([finding.quote])[0]
            return [ExcerptLine(finding.line, " ", quote, True)] if quote.strip() else []
        start, end = max(0, index - context), index + context + 1
        # The whole hunk is masked: a key block's middle is no secret to look at, only its first line says so.
        texts = mask_lines([line.text.rstrip("\r\n") for line in hunk.lines])
        return [
            _excerpt_line(line, texts[position], finding.side, position == index)
            for position, line in enumerate(hunk.lines[start:end], start)
        ]

    def new_line(self, finding: Finding) -> int | None:
        """The finding's line in the new file; for a removed line the one that took its place, if any."""
        if finding.side is Side.NEW:
            return finding.line
        hunk, index = self._locate(finding)
        if hunk is None:
            return None
        nearest = [*hunk.lines[index:], *reversed(hunk.lines[:index])]
        return next((line.new_line for line in nearest if line.new_line is not None), None)

    def _locate(self, finding: Finding) -> tuple[Hunk | None, int]:
        file = self.files.get(finding.path)
        for hunk in file.hunks if file else ():
            for index, line in enumerate(hunk.lines):
                if number_on(line, finding.side) == finding.line:
                    return hunk, index
        return None, 0


def _excerpt_line(line: DiffLine, text: str, side: Side, flagged: bool) -> ExcerptLine:
    return ExcerptLine(number_on(line, side), SIGNS[line.kind], text, flagged)
