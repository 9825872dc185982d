"""The review as Markdown for a merge request's comment or a file.

CommonMark with nothing live in it: what comes from outside is escaped prose, a code span or a fenced block
whose lines never begin a line of the document (GitLab runs `/commands` found there).
"""

from __future__ import annotations

from collections.abc import Iterable

from review_data.domain import Finding, Review, Side, Skip
from service.render import summary
from service.render.escape import code_span, fenced, prose, prose_line
from service.render.view import View


def to_markdown(review: Review, view: View) -> str:
    """The review as Markdown."""
    blocks = [f"## {summary.TOOL}: {summary.headline(review)}"]
    if summary.incomplete(review):
        blocks.append("**This review is not complete.** Not reviewed:")
        blocks.append(_skips(summary.failures(review)))
    blocks.extend(_finding(number, finding, view) for number, finding in enumerate(review.findings, 1))
    if view.verbose:
        blocks.extend(_more("Hidden by the threshold", review.below, view))
        blocks.extend(_more("Suppressed", review.suppressed, view))
    blocks.extend(summary.notes(review))
    if view.verbose and summary.passed_over(review):
        blocks.append(_skips(summary.passed_over(review)))
    blocks.append(f"Reviewed {code_span(summary.about(review))}.")
    return "\n\n".join(blocks) + "\n"


def finding_message(finding: Finding) -> str:
    """One finding as Markdown without its place, for a comment that stands on the line."""
    removed = f" (removed line {finding.line})" if finding.side is Side.OLD else ""
    parts = [
        f"**{finding.severity.capitalize()} · {finding.category}:** {prose_line(finding.title)}{removed}"
    ]
    if finding.explanation.strip():
        parts.append(prose(finding.explanation))
    if finding.suggestion.strip():
        parts.append(_fix(finding.suggestion))
    return "\n\n".join(parts)


def failure_message(skip: Skip) -> str:
    """One unreviewed part as Markdown without its place."""
    return f"**Not reviewed** ({skip.kind}): {prose_line(skip.reason)}"


def _fix(suggestion: str) -> str:
    block = prose(suggestion)
    return f"**Fix:**{chr(10) * 2 if block.startswith('```') else ' '}{block}"


def _finding(number: int, finding: Finding, view: View) -> str:
    removed = " (removed line)" if finding.side is Side.OLD else ""
    by = ", ".join(code_span(source) for source in finding.sources or (finding.source,))
    rule = f" {code_span(finding.rule)}" if finding.rule else ""
    where = f"{code_span(summary.place(finding.path, finding.line))}{removed}"
    blocks = [
        f"### {number}. {finding.severity.capitalize()} · {finding.category}: {prose_line(finding.title)}",
        f"{where}, by {by}{rule}",
    ]
    lines = [f"{line.sign} {line.text}" for line in view.excerpts.around(finding)]
    if lines:
        blocks.append("\n".join(fenced(lines, "diff")))
    if finding.explanation.strip():
        blocks.append(prose(finding.explanation))
    if finding.suggestion.strip():
        blocks.append(_fix(finding.suggestion))
    return "\n\n".join(blocks)


def _more(heading: str, findings: tuple[Finding, ...], view: View) -> list[str]:
    if not findings:
        return []
    return [f"## {heading}", *(_finding(number, finding, view) for number, finding in enumerate(findings, 1))]


def _skips(skips: Iterable[Skip]) -> str:
    return "\n".join(
        f"- {code_span(summary.place(skip.path, skip.line))}: {skip.kind}: {prose_line(skip.reason)}"
        for skip in skips
    )
