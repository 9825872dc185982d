"""Judges whether a guard that a change removes is really gone: neither moved, replaced, nor deleted together
with the code that it guarded. Which lines are guards is said by the rules with `scope: removed`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Final

from review_data.domain import DiffLine, FileChange, FileStatus, Hunk, LineKind
from service.backends.embedded.issues import added_after, likest, likest_replacement
from service.backends.embedded.matching import Match, filled
from service.ports import Change

_HEADER: Final = re.compile(
    r"^\s*(?:(?:export|default|public|private|protected|internal|static|final|async|override|suspend|open"
    r"|virtual|abstract|pub(?:\(\w+\))?)\s+)*(?:def|func|function\*?|fn|fun|class|interface|trait|impl)\b"
    r"|^\s*(?:public|private|protected|internal)\b[^=;]*\([^;]*$"
    r"|^\s*(?:async\s+)?(?!if|for|while|switch|catch|return)\w+\([^;]*\)[^;]*\{\s*$"
    r"|\b(?:\w*(?:app|routes?r?|api|server|group)|r|e|g|mux|fastify)\.(?:get|post|put|patch|delete|all|handle\w*)\("
    r"|\bRoute::|^\s*(?:resources?|get|post|patch|put|delete) [:'\"]|\bpath\(",
    re.IGNORECASE,
)
# What takes over from a check in the body of a handler: declared once for many, in another place.
_TAKES_OVER: Final = re.compile(
    r"(?i:middleware|dependencies\s*=|permission|authori[sz]e|authenticat|\bauth\w*\(|before_action|guard|helmet"
    r"|filterchain|interceptor|policy|policies)|\brequire_\w+|\brequire[A-Z]\w+"
    r"|before_request|@\w*(?:required|role)|\.use\("
)
# Other ways to keep two from doing something at once.
_SYNCHRONISES: Final = re.compile(
    r"(?i:atomic|mutex|lock|synchroni|semaphore|singleflight|transaction|begin_?tx|\.begin\(|compareandset"
    r"|on conflict|returning|merge into)|\bsync\.|\bchan\b|<-|\bSET\s+(\w+)\s*=\s*\1\s*[-+]|\bF\("
)
# A check and its consequence; more lines that go together are a rewrite.
_LONGEST_GUARD: Final = 5
_COMMENT: Final = re.compile(r"^\s*(?:#(?!\[)|//|--|/?\*)")
_MARKER: Final = re.compile(r"^\s*(?:@|\[\w|#\[)")


def is_gone(match: Match, change: Change, file: FileChange) -> bool:
    """Whether the code is still there and the guard is not, as far as the change shows."""
    if file.status is FileStatus.DELETED or _went_with_its_code(match, file):
        return False
    if match.rule.replaced_by is not None:
        return _became(match, file, match.rule.replaced_by)
    if match.rule.replaced and likest_replacement(file, match.line) is None:
        return False
    if match.rule.replaced is False and _has_others_in_its_place(match, file):
        return False
    if not match.rule.replaced and _is_rewritten(match, file):
        return False
    return not _is_put_elsewhere(match, change)


def _became(match: Match, file: FileChange, pattern: str) -> bool:
    """Whether the line that takes the place of the removed one is known to be worse."""
    target = likest_replacement(file, match.line)
    return target is not None and bool(re.search(filled(pattern, match.captures, True), target.text))


def _is_rewritten(match: Match, file: FileChange) -> bool:
    """Whether the line goes with many others: code that is written anew has its checks in other words."""
    return any(len(run) > _LONGEST_GUARD for _, run in _removed_together(match, file))


def _has_others_in_its_place(match: Match, file: FileChange) -> bool:
    """Whether lines are added where the guard was: they may refuse in other words."""
    return any(
        added_after(hunk.lines, hunk.lines.index(run[0])) for hunk, run in _removed_together(match, file)
    )


def _went_with_its_code(match: Match, file: FileChange) -> bool:
    """Whether the head of what the guard guarded is removed next to it, and not added again."""
    return any(
        _HEADER.search(line.text)
        and likest(line.text, [other for other in hunk.lines if other.kind is LineKind.ADDED]) is None
        for hunk, run in _removed_together(match, file)
        for line in run
    )


def _removed_together(match: Match, file: FileChange) -> Iterator[tuple[Hunk, list[DiffLine]]]:
    """The hunk of the removed line, and the unbroken run of removed lines that it is part of."""
    for hunk in file.hunks:
        lines = hunk.lines
        at = next((index for index, line in enumerate(lines) if line.old_line == match.line), None)
        if at is not None:
            before, after = (list(_run(lines, at, step, LineKind.REMOVED)) for step in (-1, 1))
            yield hunk, [*before, lines[at], *after]
            return


def _run(lines: Sequence[DiffLine], at: int, step: int, kind: LineKind) -> Iterator[DiffLine]:
    """The lines of one kind next to `lines[at]`, in one direction."""
    rest = lines[at + 1 :] if step > 0 else lines[:at][::-1]
    return takewhile(lambda line: line.kind is kind, rest)


def _is_put_elsewhere(match: Match, change: Change) -> bool:
    """Whether an added line has the guard again, or another one of its kind. A decorator on new code guards
    that code alone."""
    guard = match.captures.get("GUARD") or match.text
    kind = re.compile(match.rule.regex or re.escape(guard))
    marker = bool(_MARKER.match(guard) or _MARKER.match(match.text))
    for file in change.request.files:
        for hunk in file.hunks:
            for at, line in enumerate(hunk.lines):
                if line.kind is not LineKind.ADDED or _COMMENT.match(line.text):
                    continue
                alike = guard in _squeezed(line.text) or kind.search(line.text)
                if alike and not (marker and _is_of_new_code(hunk.lines, at)):
                    return True
                if match.rule.category == "security" and _takes_over(hunk.lines, at):
                    return True
                if match.rule.category == "concurrency" and _SYNCHRONISES.search(line.text):
                    return True
    return False


def _takes_over(lines: Sequence[DiffLine], at: int) -> bool:
    return bool(_TAKES_OVER.search(lines[at].text)) and not _is_of_new_code(lines, at)


def _is_of_new_code(lines: Sequence[DiffLine], at: int) -> bool:
    """Whether the added line stands on or in a definition that is added with it."""
    around = [*_run(lines, at, -1, LineKind.ADDED), *_run(lines, at, 1, LineKind.ADDED)]
    return any(_HEADER.search(line.text) for line in around)


def _squeezed(text: str) -> str:
    return " ".join(text.split())
