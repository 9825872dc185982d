"""Suppression by comments: `terazi: ignore[category]` on the flagged line or on the line above it.

The brackets hold categories or rule ids, separated by commas. What is suppressed stays counted in the review.
"""

from __future__ import annotations

import re

from review_data.domain import FileChange, Finding, Side
from service.ports import Change

_COMMENT = re.compile(r"terazi:\s*ignore\[([^\]\n]*)\]", re.IGNORECASE)


def is_suppressed(finding: Finding, change: Change, file: FileChange) -> bool:
    """Whether a comment on the finding's line, or the one above, names its category or rule."""
    lines = (_text(change, file, number, finding.side) for number in (finding.line, finding.line - 1))
    wanted = {finding.category.lower(), (finding.rule or "").lower()} - {""}
    return any(wanted & named(line) for line in lines)


def named(text: str) -> set[str]:
    """The categories and rule ids that ignore comments in `text` name, in lower case."""
    return {
        part.strip().lower() for found in _COMMENT.findall(text) for part in found.split(",") if part.strip()
    }


def _text(change: Change, file: FileChange, number: int, side: Side) -> str:
    if number < 1:
        return ""
    line = file.line(number, side)
    if line is not None:
        return line.text
    path = file.old_path if side is Side.OLD and file.old_path else file.path
    lines = (change.snapshot.read(path, side) or "").split("\n")
    return lines[number - 1] if number <= len(lines) else ""
