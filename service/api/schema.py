"""What goes over the wire: request and response types with their examples. No logic beyond derivation."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from review_data.domain import Finding, Outcome, Provenance, Record, Review, Skip, counts
from review_data.feedback import Feedback, MissedIssue, Verdict
from review_data.severity import SEVERITIES, Severity
from service.store.records import Excerpt, Status, Stored, Summary

EXAMPLE_PATCH: Final = (
    "diff --git a/shop/search.py b/shop/search.py\n--- a/shop/search.py\n+++ b/shop/search.py\n"
    "@@ -1,3 +1,4 @@\n def search(cursor, term):\n"
    "+    cursor.execute(f\"SELECT * FROM product WHERE name = '{term}'\")\n"
    "     rows = cursor.fetchall()\n     return rows\n"
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def _no_control(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("holds control characters")
    return text


Line = Annotated[str, AfterValidator(_no_control)]
ReviewId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Fingerprint = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


class NewReview(BaseModel):
    """What to review: `patch`, or `repository` (a configured name) and `range`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"patch": EXAMPLE_PATCH, "title": "Search by name"},
                {"repository": "shop", "range": "main..search", "threshold": "high"},
            ]
        },
    )

    patch: str | None = Field(None, min_length=1, description="A unified diff, as `git diff` prints it.")
    repository: Line | None = Field(None, max_length=100, description="A repository's configured name.")
    range: Line | None = Field(None, max_length=300, description="What to compare, as `A..B` or `A...B`.")
    title: Line = Field("", max_length=300, description="The merge request's title; not shown to the rater.")
    threshold: Severity | None = Field(None, description="Findings below it are hidden and counted.")
    backend: Line | None = Field(None, max_length=50, description="The backend; the server's by default.")
    adapter: Line | None = Field(None, max_length=200, description="The LoRA adapter of that backend.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.patch is None) == (self.repository is None):
            raise ValueError("give either `patch`, or `repository` and `range`")
        if (self.repository is None) != (self.range is None):
            raise ValueError("`repository` and `range` go together")
        return self


class Progress(Record):
    """Chunks reviewed, of how many; both 0 before the change is divided."""

    done: int
    total: int


class ReviewState(Record):
    """A review without its findings; `counts` are the shown findings per severity."""

    id: str
    status: Status
    title: str
    repository: str
    author: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    outcome: Outcome | None
    worst: Severity | None
    counts: dict[Severity, int]
    progress: Progress
    error: str | None


class FindingOut(Finding):
    """A finding with the diff around it and the verdicts on it."""

    excerpt: Excerpt | None
    feedback: tuple[Feedback, ...]


class ReviewOut(ReviewState):
    """A review with what it found. `hidden` and `suppressed` count findings that are not listed."""

    threshold: Severity | None
    findings: tuple[FindingOut, ...]
    hidden: dict[Severity, int]
    suppressed: dict[Severity, int]
    skips: tuple[Skip, ...]
    missed: tuple[Feedback, ...]
    backend: str
    provenance: Provenance
    elapsed_s: float


class ReviewList(Record):
    """One page of reviews, newest first; `next` is the `cursor` of the following page."""

    items: tuple[ReviewState, ...]
    next: str | None


class NewFeedback(BaseModel):
    """A verdict on a finding; `severity` is the right one, with the verdict `wrong-severity` only."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"verdict": "right"},
                {"verdict": "wrong-severity", "severity": "high", "note": "any visitor can reach it"},
                {"verdict": "not-an-issue"},
            ]
        },
    )

    verdict: Literal["right", "wrong-severity", "not-an-issue"]
    severity: Severity | None = None
    note: str = Field("", max_length=4000)

    @model_validator(mode="after")
    def _severity_when_wrong(self) -> Self:
        if (self.verdict == "wrong-severity") != (self.severity is not None):
            raise ValueError("`severity` goes with the verdict `wrong-severity`, and only with it")
        return self

    def on(self, fingerprint: str, author: str) -> Feedback:
        """The verdict as it is stored."""
        return Feedback(
            verdict=Verdict(self.verdict),
            fingerprint=fingerprint,
            severity=self.severity,
            note=self.note,
            author=author,
        )


class NewMissed(MissedIssue):
    """A fault that the review did not report."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "path": "shop/search.py",
                    "line": 2,
                    "category": "security",
                    "severity": "critical",
                    "title": "SQL is put together from the search term",
                }
            ]
        }
    )


class SeverityOut(Record):
    """One level of the scale and what it means."""

    name: Severity
    rank: int
    meaning: str
    action: str
    examples: str


class Health(Record):
    """Whether the part that was asked about is well."""

    status: Literal["ok"]


class Problem(Record):
    """What went wrong (RFC 9457); `errors` names the fields of a request that can't be used."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: tuple[dict[str, str], ...] = ()


class ReportFormat(StrEnum):
    """The formats a review can be downloaded in."""

    MARKDOWN = "markdown"
    SARIF = "sarif"
    JSON = "json"
    GITLAB = "gitlab"
    RDJSON = "rdjson"
    TEXT = "text"


def state_out(summary: Summary) -> ReviewState:
    """The wire form of a summary."""
    values = summary.model_dump(exclude={"done", "total", "attempts"})
    for name in ("created_at", "started_at", "finished_at"):
        values[name] = moment(values[name])
    return ReviewState(**values, progress=Progress(done=summary.done, total=summary.total))


def review_out(stored: Stored, threshold: Severity | None = None) -> ReviewOut:
    """The wire form of a review, filtered by another threshold when one is given."""
    review = stored.review
    if review is not None and threshold is not None:
        review = review.at(threshold)
    state = state_out(stored.summary)
    return ReviewOut(
        **(state.model_dump(exclude={"counts", "worst"}) | _found(review, stored)),
        counts=counts(review.findings if review else ()),
        worst=max((finding.severity for finding in review.findings), default=None) if review else None,
        threshold=review.threshold if review else threshold,
        missed=tuple(row for row in stored.feedback if row.missed is not None),
    )


def _found(review: Review | None, stored: Stored) -> dict[str, object]:
    if review is None:
        nothing = dict.fromkeys(SEVERITIES, 0)
        empty: dict[str, object] = {"hidden": nothing, "suppressed": nothing, "provenance": Provenance()}
        return empty | {"findings": (), "skips": (), "backend": "", "elapsed_s": 0.0}
    return {
        "findings": tuple(finding_out(finding, stored) for finding in review.findings),
        "outcome": review.outcome,
        "hidden": review.hidden,
        "suppressed": counts(review.suppressed),
        "skips": review.skips,
        "backend": review.backend,
        "provenance": review.provenance,
        "elapsed_s": review.elapsed_s,
    }


def finding_out(finding: Finding, stored: Stored) -> FindingOut:
    """A finding with what the store knows of it."""
    mine = tuple(row for row in stored.feedback if row.fingerprint == finding.fingerprint)
    excerpt = stored.excerpts.get(finding.fingerprint)
    return FindingOut(**finding.model_dump(), excerpt=excerpt, feedback=mine)


def moment(milliseconds: int | None) -> datetime | None:
    """A time of the store as a date and time in UTC."""
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)


def milliseconds(moment: datetime) -> int:
    """A date and time as the store keeps it; UTC where it names no zone."""
    known = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(known.timestamp() * 1000)
