"""The sentences that every readable format says of a review, and the entries every report needs.

Owns wording and counting only. A review that is not complete says so in its first sentence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from review_data.domain import Finding, Outcome, Review, Side, Skip, SkipKind, counts
from review_data.severity import SEVERITIES, Severity

TOOL: Final = "Terazi"
NOT_REVIEWED: Final = "terazi/not-reviewed"


@cache
def tool_version() -> str:
    """The installed version, "0" when Terazi runs from a source tree that is not installed."""
    try:
        return version("terazi")
    except PackageNotFoundError:
        return "0"


def failures(review: Review) -> tuple[Skip, ...]:
    """What should have been reviewed and was not; a failed outcome always has at least one entry."""
    found = tuple(skip for skip in review.skips if skip.is_failure)
    if found or not incomplete(review):
        return found
    return (Skip(path="", reason="the review did not finish", kind=SkipKind.BACKEND_ERROR),)


def passed_over(review: Review) -> tuple[Skip, ...]:
    """What was left out on purpose."""
    return tuple(skip for skip in review.skips if not skip.is_failure)


def incomplete(review: Review) -> bool:
    """Whether something that should have been reviewed was not."""
    return review.outcome in (Outcome.PARTIAL, Outcome.FAILED)


def headline(review: Review) -> str:
    """The review in one sentence."""
    total = len(review.findings)
    shown = f"{plural(total, 'finding')}: {tally(counts(review.findings))}" if total else ""
    if review.outcome is Outcome.FAILED:
        return "REVIEW FAILED: nothing was reviewed" + (f"; {shown}." if shown else ".")
    if review.outcome is Outcome.PARTIAL:
        parts = plural(len(failures(review)), "part")
        return f"INCOMPLETE REVIEW: {parts} of the change not reviewed; " + (
            f"{shown}." if shown else f"no findings at {review.threshold} or above in the rest."
        )
    if review.files == 0:
        return "Nothing to review: " + (
            "every file of the change is left out." if review.skips else "the change is empty."
        )
    return f"{shown}." if shown else f"No findings at {review.threshold} or above."


def hidden_sentence(review: Review) -> str:
    """How many findings the threshold hides, "" when none."""
    if not review.below:
        return ""
    return f"{plural(len(review.below), 'finding')} below {review.threshold} hidden: {tally(review.hidden)}."


def suppressed_sentence(review: Review) -> str:
    """How many findings ignore comments, or the rated report itself, hide, "" when none."""
    if not review.suppressed:
        return ""
    found = counts(review.suppressed)
    return f"{plural(len(review.suppressed), 'finding')} suppressed: {tally(found)}."


def passed_over_sentence(review: Review) -> str:
    """How many files or answers were left out on purpose, by kind, "" when none."""
    skips = passed_over(review)
    if not skips:
        return ""
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(s.kind for s in skips).items()))
    return f"Skipped: {kinds}."


def notes(review: Review) -> list[str]:
    """What is not shown, in sentences: hidden, suppressed, passed over."""
    said = (hidden_sentence(review), suppressed_sentence(review), passed_over_sentence(review))
    return [sentence for sentence in said if sentence]


def one_line(review: Review) -> str:
    """Headline and notes on one line, for the error stream beside a report that has no place for them."""
    return " ".join((headline(review), *notes(review)))


def about(review: Review) -> str:
    """Who reviewed what in how long: `main..HEAD, embedded, 0.4 s`."""
    span = f"{review.base}..{review.head}" if review.base and review.head else review.head or review.base
    return ", ".join(part for part in (span, review.backend, f"{review.elapsed_s:.1f} s") if part)


def tally(found: Mapping[Severity, int]) -> str:
    """`1 critical, 2 low`: the levels that occur, most severe first."""
    return ", ".join(f"{found[level]} {level}" for level in reversed(SEVERITIES) if found[level])


def plural(count: int, noun: str) -> str:
    """`1 finding`, `2 findings`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def place(path: str, line: int | None) -> str:
    """`path:line`, or what there is of it."""
    shown = path or "(whole change)"
    return f"{shown}:{line}" if line else shown


def paragraphs(finding: Finding) -> str:
    """Title, explanation and fix as plain text of several lines, for reports with one message per finding."""
    removed = f" (removed line {finding.line})" if finding.side is Side.OLD else ""
    parts = [f"{finding.title}{removed}"]
    if finding.explanation.strip():
        parts.append(finding.explanation)
    if finding.suggestion.strip():
        parts.append(f"Fix: {finding.suggestion}")
    return "\n\n".join(parts)


def failure_message(skip: Skip) -> str:
    """What a report's entry for an unreviewed part says."""
    return f"Not reviewed ({skip.kind}): {skip.reason}"
