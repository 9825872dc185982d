"""What the store gives back: frozen records, free of SQLAlchemy."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from review_data.domain import DiffLine, Outcome, Record, Review
from review_data.feedback import Feedback
from review_data.severity import Severity


class Status(StrEnum):
    """Where a review stands. `failed`: it couldn't begin; `interrupted`: servers died on it."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen to the review."""
        return self in (Status.DONE, Status.FAILED, Status.INTERRUPTED)


class Excerpt(Record):
    """The diff around a finding; `marked` is the index of its line in `lines`, None when it isn't there."""

    lines: tuple[DiffLine, ...] = ()
    marked: int | None = None
    section: str = ""


class Summary(Record):
    """A review without its findings. Times are milliseconds since the epoch; `counts` has every severity."""

    id: str
    status: Status
    title: str = ""
    repository: str = ""
    author: str = ""
    created_at: int
    started_at: int | None = None
    finished_at: int | None = None
    outcome: Outcome | None = None
    worst: Severity | None = None
    counts: dict[Severity, int] = Field(default_factory=dict)
    done: int = 0
    total: int = 0
    attempts: int = 0
    error: str | None = None


class Stored(Record):
    """A review with all that belongs to it; `request` is the JSON text it was accepted with."""

    summary: Summary
    request: str
    review: Review | None = None
    excerpts: dict[str, Excerpt] = Field(default_factory=dict)
    feedback: tuple[Feedback, ...] = ()


class Claimed(Record):
    """A review that this worker holds: `claim` proves it when the result is written."""

    id: str
    claim: str
    request: str
    diff: bytes | None
    attempts: int


class Filters(Record):
    """Which reviews a list shows; empty fields don't filter. `since` is milliseconds since the epoch."""

    status: Status | None = None
    outcome: Outcome | None = None
    severity: Severity | None = None
    repository: str = ""
    text: str = ""
    since: int | None = None


class Page(Record):
    """One page of a list, newest first; `next` is the cursor of the following one."""

    items: tuple[Summary, ...] = ()
    next: str | None = None


class Day(Record):
    """Findings per severity in the reviews of one day; `day` counts from 1970-01-01 (UTC)."""

    day: int
    reviews: int
    counts: dict[Severity, int]
