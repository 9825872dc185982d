"""People's verdicts on findings, and the dataset rows that the next training reads from them.

Owns the row types and the pure conversion. Where verdicts are kept is `service.store`'s business.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple, Self

from pydantic import Field, model_validator

from review_data.dataset import LabelledComment, LabelledFinding, LabelledMergeRequest
from review_data.domain import Category, Finding, Record, Side
from review_data.language import language_of
from review_data.severity import Severity


class Verdict(StrEnum):
    """What a person says of a finding, or of a fault that the review missed."""

    RIGHT = "right"
    WRONG_SEVERITY = "wrong-severity"
    NOT_AN_ISSUE = "not-an-issue"
    MISSED = "missed"


class MissedIssue(Record):
    """A fault that the review did not report; `line` counts on `side` of the diff."""

    path: str = Field(min_length=1, max_length=1000, pattern=r"\S")
    line: int = Field(ge=1, le=10_000_000)
    side: Side = Side.NEW
    category: Category
    severity: Severity
    title: str = Field(min_length=1, max_length=300, pattern=r"\S")
    explanation: str = Field(default="", max_length=4000)


class Feedback(Record):
    """One person's verdict. `fingerprint` names the finding, `missed` describes a fault nobody found.

    `severity` is the right one when the verdict is `wrong-severity`. `at` is seconds since the epoch.
    """

    verdict: Verdict
    fingerprint: str = ""
    severity: Severity | None = None
    missed: MissedIssue | None = None
    note: str = ""
    author: str = ""
    at: float = 0.0

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.verdict is Verdict.MISSED) != (self.missed is not None):
            raise ValueError("`missed` goes with the verdict `missed`, and only with it")
        if (self.verdict is Verdict.WRONG_SEVERITY) != (self.severity is not None):
            raise ValueError("`severity` goes with the verdict `wrong-severity`, and only with it")
        if (self.verdict is Verdict.MISSED) == bool(self.fingerprint):
            raise ValueError("`fingerprint` names the finding, except for the verdict `missed`")
        return self


class JudgedReview(NamedTuple):
    """A finished review with what people said of it; `diff` is the unified diff that was reviewed."""

    id: str
    title: str
    project: str
    diff: str
    shown: Sequence[Finding]
    hidden: Sequence[Finding]
    feedback: Sequence[Feedback]


def latest(feedback: Iterable[Feedback]) -> dict[str, Feedback]:
    """Per fingerprint the verdict that counts: the latest, whoever gave it."""
    ordered = sorted((row for row in feedback if row.fingerprint), key=lambda row: row.at)
    return {row.fingerprint: row for row in ordered}


def true_severity(finding: Finding, verdict: Feedback) -> Severity | None:
    """The severity that the person stands by, None when the finding is no issue."""
    if verdict.verdict is Verdict.NOT_AN_ISSUE:
        return None
    return verdict.severity or finding.severity


def comment_rows(judged: JudgedReview) -> tuple[LabelledComment, ...]:
    """One row per finding or missed fault whose severity a person has set."""
    verdicts = latest(judged.feedback)
    rows = []
    for finding in (*judged.shown, *judged.hidden):
        verdict = verdicts.get(finding.fingerprint)
        severity = true_severity(finding, verdict) if verdict else None
        if verdict and severity:
            rows.append(_comment(judged, finding, severity, verdict.note))
    return (*rows, *(_missed_comment(judged, number, row) for number, row in enumerate(_missed(judged), 1)))


def merge_request_row(judged: JudgedReview) -> LabelledMergeRequest | None:
    """The whole merge request with the faults that people confirmed or added.

    None unless a person has judged every finding that was shown: an unjudged one is neither a fault nor its
    absence. A review that showed nothing needs a missed fault.
    """
    verdicts = latest(judged.feedback)
    if not judged.feedback or any(finding.fingerprint not in verdicts for finding in judged.shown):
        return None
    findings = [
        _labelled(finding, severity)
        for finding in (*judged.shown, *judged.hidden)
        if (verdict := verdicts.get(finding.fingerprint)) and (severity := true_severity(finding, verdict))
    ]
    findings.extend(_labelled_missed(row) for row in _missed(judged))
    return LabelledMergeRequest(
        id=f"feedback-{judged.id}",
        language=_main_language([finding.path for finding in findings]),
        project=judged.project,
        title=judged.title,
        diff=judged.diff,
        findings=tuple(findings),
    )


def _missed(judged: JudgedReview) -> list[MissedIssue]:
    return [row.missed for row in judged.feedback if row.missed is not None]


def _comment(judged: JudgedReview, finding: Finding, severity: Severity, note: str) -> LabelledComment:
    return LabelledComment(
        id=f"feedback-{judged.id}-{finding.fingerprint[:16]}",
        language=language_of(finding.path),
        project=judged.project,
        title=judged.title,
        comment=_joined(finding.title, finding.explanation),
        category=finding.category,
        severity=severity,
        explanation=note,
    )


def _missed_comment(judged: JudgedReview, number: int, row: MissedIssue) -> LabelledComment:
    return LabelledComment(
        id=f"feedback-{judged.id}-missed-{number}",
        language=language_of(row.path),
        project=judged.project,
        title=judged.title,
        comment=_joined(row.title, row.explanation),
        category=row.category,
        severity=row.severity,
    )


def _labelled(finding: Finding, severity: Severity) -> LabelledFinding:
    return LabelledFinding(
        path=finding.path,
        line=finding.line,
        side=finding.side,
        category=finding.category,
        severity=severity,
        title=finding.title,
        explanation=finding.explanation,
        suggestion=finding.suggestion,
    )


def _labelled_missed(row: MissedIssue) -> LabelledFinding:
    return LabelledFinding(**row.model_dump())


def _joined(title: str, explanation: str) -> str:
    """Title and explanation as one comment, the title once."""
    if not explanation or explanation.startswith(title):
        return explanation or title
    return f"{title.rstrip('.')}. {explanation}"


def _main_language(paths: Iterable[str]) -> str:
    names = [name for path in paths if (name := language_of(path))]
    return max(sorted(set(names)), key=names.count, default="")
