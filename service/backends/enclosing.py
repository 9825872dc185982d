"""Which definitions stand around a line: read from the indentation of the whole new file.

Works for every language that people indent, needs no parser, and says nothing where the file is not at hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from review_data.domain import FileChange, Side
from service.ports import Snapshot

_HEAD: Final = re.compile(
    r"\s*(?:@\w+\s+)*(?:(?:export|default|public|private|protected|internal|static|final|abstract|async|override|"
    r"virtual|sealed|open|data|suspend|unsafe|pub(?:\([\w ]+\))?|const|inline)\s+)*"
    r"(?:def|class|func|fun|fn|function|interface|struct|enum|trait|impl|module|namespace|object|record|type|"
    r"resource|job|describe|it|test|package)\b[^;=]*"
)
_METHOD: Final = re.compile(r"\s*[\w<>\[\],.*&:? ]+\([^;]*\)[^;=]*\{\s*$")
_NO_METHOD: Final = re.compile(
    r"\s*(?:\}\s*)?(?:if|for|while|switch|else|catch|return|with|foreach|when|try)\b"
)
MAX_HEADS: Final = 3


def enclosing(file: FileChange, snapshot: Snapshot) -> Mapping[int, str]:
    """A hunk's `new_start` -> heads of the definitions around its first line, outermost first."""
    text = snapshot.read(file.path, Side.NEW)
    if text is None:
        return {}
    rows = text.split("\n")
    found = {hunk.new_start: heads_above(rows, hunk.new_start) for hunk in file.hunks}
    return {start: " > ".join(heads) for start, heads in found.items() if heads}


def heads_above(rows: Sequence[str], line: int) -> list[str]:
    """Heads of the definitions that enclose `line` (1-based) of `rows`, outermost first, three at most."""
    at = min(line, len(rows)) - 1
    while at >= 0 and not rows[at].strip():
        at -= 1
    if at < 0:
        return []
    limit, heads = _indent(rows[at]), list[str]()
    for row in reversed(rows[:at]):
        if row.strip() and _indent(row) < limit:
            limit = _indent(row)
            if _is_head(row):
                heads.append(row.strip().rstrip("{: ").rstrip())
        if limit == 0:
            break
    return list(reversed(heads))[-MAX_HEADS:]


def _is_head(row: str) -> bool:
    return bool(_HEAD.match(row) or (_METHOD.match(row) and not _NO_METHOD.match(row)))


def _indent(row: str) -> int:
    plain = row.expandtabs(4)
    return len(plain) - len(plain.lstrip())
