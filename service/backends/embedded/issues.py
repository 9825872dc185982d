"""Turns a match or a plain observation into an `Issue`, with every secret masked. Owns nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import dropwhile, takewhile
from typing import Final

from review_data.domain import Category, DiffLine, FileChange, Issue, LineKind, Side
from review_data.secrets import mask
from service.backends.embedded.matching import Match, filled
from service.backends.embedded.sources import Source

# How alike (0 to 1) a removed line and its replacement are at least.
_ALIKE: Final = 0.6


def issue_of(match: Match, source: Source, finder: str) -> Issue:
    """The issue for a rule's match; `quote` is the touched line with secrets masked."""
    rule = match.rule
    return Issue(
        path=source.path,
        line=match.line,
        side=source.side,
        category=rule.category,
        title=mask(filled(rule.title, match.captures)),
        quote=mask(source.touched[match.line]),
        explanation=rule.why,
        suggestion=rule.fix,
        source=finder,
        rule=rule.id,
    )


def plain_issue(
    source: Source, line: int, finder: str, rule: str, category: Category, title: str, why: str, fix: str
) -> Issue:
    """An issue on a touched line of `source` that no rule file describes."""
    return Issue(
        path=source.path,
        line=line,
        side=source.side,
        category=category,
        title=mask(title),
        quote=mask(source.touched[line]),
        explanation=mask(why),
        suggestion=mask(fix),
        source=finder,
        rule=rule,
    )


def at_replacement(issue: Issue, file: FileChange) -> Issue:
    """An issue on a removed line, moved to the added line that takes its place if one like it does."""
    target = likest_replacement(file, issue.line)
    if target is None:
        return issue
    return issue.model_copy(update={"line": target.new_line, "side": Side.NEW, "quote": mask(target.text)})


def likest_replacement(file: FileChange, old_line: int) -> DiffLine | None:
    """The added line that takes the place of a removed one, if one like it does."""
    for hunk in file.hunks:
        index = next((at for at, line in enumerate(hunk.lines) if line.old_line == old_line), None)
        if index is None or hunk.lines[index].kind is not LineKind.REMOVED:
            continue
        target = likest(hunk.lines[index].text, added_after(hunk.lines, index))
        if target is not None:
            return target
    return None


def added_after(lines: Sequence[DiffLine], index: int) -> list[DiffLine]:
    """The added lines that directly follow the block of removed lines around `index`."""
    after = (line for line in lines[index:])
    rest = dropwhile(lambda line: line.kind is LineKind.REMOVED, after)
    return list(takewhile(lambda line: line.kind is LineKind.ADDED, rest))


def likest(text: str, lines: Sequence[DiffLine]) -> DiffLine | None:
    """The line most like a text, of the first twenty; None when none is alike."""
    ratios = [(SequenceMatcher(None, text.strip(), line.text.strip()).ratio(), line) for line in lines[:20]]
    best = max(ratios, key=lambda pair: pair[0], default=(0.0, None))
    return best[1] if best[0] >= _ALIKE else None
