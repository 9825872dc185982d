"""Anchoring: puts an issue on the line of the diff that it quotes, or says that it can't be.

Finders that quote (language models) give a line number that is only a hint: a repeated snippet is matched at
the occurrence nearest to the hint, a quote of a removed line moves the issue to the old side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from review_data.domain import DiffLine, FileChange, Issue, LineKind, Side, number_on
from review_data.secrets import mask

MIN_PARTIAL_QUOTE = 8


def anchor(issue: Issue, files: dict[str, FileChange]) -> Issue | None:
    """The issue with its true line, side and quote; None when nothing in the diff fits."""
    file = files.get(issue.path)
    if file is None:
        return None
    quote = _first_line(issue.quote)
    for side in (issue.side, Side.OLD if issue.side is Side.NEW else Side.NEW):
        line = _best_line(file, side, quote, issue.line)
        if line is not None:
            number = number_on(line, side)
            return issue.model_copy(update={"line": number, "side": side, "quote": mask(line.text).strip()})
    return None


def _best_line(file: FileChange, side: Side, quote: str, hint: int) -> DiffLine | None:
    here = file.line(hint, side)
    if not quote:
        return here
    if here is not None and _same(here.text, quote):
        return here
    lines = [line for hunk in file.hunks for line in hunk.lines if number_on(line, side) is not None]
    for fits in (_same, _same_but_for_blanks, _holds):
        found = _nearest(lines, side, hint, quote, fits)
        if found is not None:
            return found
    return None


def _nearest(
    lines: Iterable[DiffLine], side: Side, hint: int, quote: str, fits: Callable[[str, str], bool]
) -> DiffLine | None:
    changed = LineKind.ADDED if side is Side.NEW else LineKind.REMOVED
    matching = [line for line in lines if fits(line.text, quote)]
    own = [line for line in matching if line.kind is changed] or (matching if side is Side.NEW else [])
    return min(own, key=lambda line: abs((number_on(line, side) or 0) - hint), default=None)


def _same(text: str, quote: str) -> bool:
    stripped = text.strip()
    return stripped == quote or mask(stripped) == quote


def _same_but_for_blanks(text: str, quote: str) -> bool:
    return "".join(text.split()) == "".join(quote.split())


def _holds(text: str, quote: str) -> bool:
    return len(quote) >= MIN_PARTIAL_QUOTE and " ".join(quote.split()) in " ".join(text.split())


def _first_line(quote: str) -> str:
    return next((line.strip() for line in quote.split("\n") if line.strip()), "")
