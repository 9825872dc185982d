"""Turns a match or a plain observation into an `Issue`, with every secret masked. Owns nothing else."""

from __future__ import annotations

from review_data.domain import Category, FileChange, Issue, LineKind, Side
from review_data.secrets import mask
from service.backends.embedded.matching import Match, filled
from service.backends.embedded.sources import Source


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
    """An issue on a removed line, moved to the added line that replaces it, if one does."""
    for hunk in file.hunks:
        for index, line in enumerate(hunk.lines):
            if line.kind is not LineKind.REMOVED or line.old_line != issue.line:
                continue
            after = index
            while after < len(hunk.lines) and hunk.lines[after].kind is LineKind.REMOVED:
                after += 1
            before = index
            while before > 0 and hunk.lines[before - 1].kind is LineKind.REMOVED:
                before -= 1
            added = [
                follower
                for follower in hunk.lines[after : after + after - before]
                if follower.kind is LineKind.ADDED
            ]
            if not added or hunk.lines[after].kind is not LineKind.ADDED:
                return issue
            target = added[min(index - before, len(added) - 1)]
            update = {"line": target.new_line, "side": Side.NEW, "quote": mask(target.text)}
            return issue.model_copy(update=update)
    return issue
