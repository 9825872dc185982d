"""The domain types that every layer speaks: changes, issues, ratings, findings, reviews.

Frozen records with no behaviour beyond derivation from their own fields. Reading diffs is in
`review_data.diff`, the pipeline that makes a `Review` in `service.review`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from review_data.severity import SEVERITIES, Severity


class Record(BaseModel):
    """A frozen pydantic type that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Category(StrEnum):
    """What kind of fault an issue is."""

    SECURITY = "security"
    CORRECTNESS = "correctness"
    CONCURRENCY = "concurrency"
    RESOURCE = "resource"
    ERROR_HANDLING = "error-handling"
    PERFORMANCE = "performance"
    DATA = "data"
    API = "api"
    CONFIGURATION = "configuration"
    TESTING = "testing"
    MAINTAINABILITY = "maintainability"
    DOCUMENTATION = "documentation"
    STYLE = "style"


class Side(StrEnum):
    """Which side of the diff a line number counts on."""

    NEW = "new"
    OLD = "old"


class LineKind(StrEnum):
    """What the change did to a line."""

    ADDED = "added"
    REMOVED = "removed"
    CONTEXT = "context"


class DiffLine(Record):
    """One line of a hunk: `old_line`/`new_line` are 1-based numbers, None on the side that lacks the line."""

    kind: LineKind
    text: str
    old_line: int | None = None
    new_line: int | None = None


class Hunk(Record):
    """One hunk; `section` is the text after the second `@@` (git puts the enclosing function there)."""

    old_start: int
    old_count: int
    new_start: int
    new_count: int
    section: str = ""
    lines: tuple[DiffLine, ...] = ()


class FileStatus(StrEnum):
    """What the change did to a file."""

    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"
    RENAMED = "renamed"
    COPIED = "copied"
    TYPE_CHANGED = "type-changed"


class FileChange(Record):
    """One file of a change. `path` is the new path (a deleted file's old one), `/`-separated and unquoted."""

    path: str
    old_path: str | None = None
    status: FileStatus = FileStatus.MODIFIED
    hunks: tuple[Hunk, ...] = ()
    binary: bool = False
    old_mode: str | None = None
    new_mode: str | None = None
    language: str = ""

    @property
    def added(self) -> int:
        """How many lines the change adds."""
        return sum(line.kind is LineKind.ADDED for hunk in self.hunks for line in hunk.lines)

    @property
    def removed(self) -> int:
        """How many lines the change removes."""
        return sum(line.kind is LineKind.REMOVED for hunk in self.hunks for line in hunk.lines)

    def line(self, number: int, side: Side = Side.NEW) -> DiffLine | None:
        """The diff's line with that number on that side, or None when no hunk shows it."""
        for hunk in self.hunks:
            start, count = (
                (hunk.new_start, hunk.new_count) if side is Side.NEW else (hunk.old_start, hunk.old_count)
            )
            if start <= number < start + count:
                return next((line for line in hunk.lines if number_on(line, side) == number), None)
        return None


def number_on(line: DiffLine, side: Side) -> int | None:
    """The line's 1-based number on `side`."""
    return line.new_line if side is Side.NEW else line.old_line


class SkipKind(StrEnum):
    """Why something was not reviewed."""

    BINARY = "binary"
    GENERATED = "generated"
    VENDORED = "vendored"
    LOCK_FILE = "lock-file"
    MINIFIED = "minified"
    SUBMODULE = "submodule"
    SYMLINK = "symlink"
    IGNORED = "ignored"
    NO_TEXT_CHANGE = "no-text-change"
    TOO_LARGE = "too-large"
    UNDECODABLE = "undecodable"
    BACKEND_ERROR = "backend-error"
    UNPARSABLE_REPLY = "unparsable-reply"
    UNANCHORED = "unanchored"
    DEADLINE = "deadline"


_FAILURES = frozenset(
    {
        SkipKind.TOO_LARGE,
        SkipKind.UNDECODABLE,
        SkipKind.BACKEND_ERROR,
        SkipKind.UNPARSABLE_REPLY,
        SkipKind.DEADLINE,
    }
)


class Skip(Record):
    """Something that was not reviewed, and why. `kind` decides whether the review is still complete."""

    path: str
    reason: str
    kind: SkipKind
    line: int | None = None

    @property
    def is_failure(self) -> bool:
        """Whether it should have been reviewed and was not; then the review can't be clean."""
        return self.kind in _FAILURES


class MergeRequest(Record):
    """A change to be reviewed: what people say of it and the files it touches."""

    title: str = ""
    description: str = ""
    project: str = ""
    base: str = ""
    head: str = ""
    files: tuple[FileChange, ...] = ()
    skips: tuple[Skip, ...] = ()


class Issue(Record):
    """What a finder reports, not yet rated. `quote` is the text of the line it stands on (any indentation).

    `rule` is the finder's stable rule id, None for a language model's free finding. `line` is a hint until
    the pipeline has anchored the issue by its quote.
    """

    path: str
    line: int
    category: Category
    title: str
    quote: str
    side: Side = Side.NEW
    explanation: str = ""
    suggestion: str = ""
    source: str
    rule: str | None = None


class Probabilities(Record):
    """Probability per severity; sums to 1 (within 1e-3)."""

    low: float = Field(ge=0, le=1)
    medium: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)
    critical: float = Field(ge=0, le=1)

    @model_validator(mode="after")
    def _sums_to_one(self) -> Self:
        if abs(sum(self.values()) - 1) > 1e-3:
            raise ValueError(f"probabilities sum to {sum(self.values()):.4f}, not to 1")
        return self

    @classmethod
    def of(cls, values: Iterable[float]) -> Probabilities:
        """From four numbers in the order low to critical, normalised to sum to 1."""
        low, medium, high, critical = (max(0.0, float(value)) for value in values)
        total = (low + medium + high + critical) or 1.0
        return cls(low=low / total, medium=medium / total, high=high / total, critical=critical / total)

    def values(self) -> tuple[float, float, float, float]:
        """The four numbers in the order low to critical."""
        return self.low, self.medium, self.high, self.critical

    def most_likely(self) -> Severity:
        """The severity with the highest probability; the lower one on a tie."""
        return SEVERITIES[max(range(4), key=lambda rank: (self.values()[rank], -rank))]


class Rating(Record):
    """What a rater says of one issue; empty texts leave the finder's words in place."""

    severity: Severity
    probabilities: Probabilities | None = None
    explanation: str = ""
    suggestion: str = ""


class Finding(Record):
    """A rated issue, anchored to a line of the diff."""

    path: str
    line: int
    side: Side
    category: Category
    severity: Severity
    title: str
    explanation: str
    suggestion: str
    probabilities: Probabilities | None
    source: str
    sources: tuple[str, ...] = ()
    rule: str | None = None
    quote: str = ""
    fingerprint: str


def fingerprint(category: Category, path: str, line_text: str, rule: str | None) -> str:
    """32 hex digits that survive a rebase: no line number goes in."""
    parts = "\0".join((category, path, line_text.strip(), rule or ""))
    return hashlib.sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()[:32]


class Outcome(StrEnum):
    """How a review ended. `partial`: something was not reviewed; `failed`: nothing was."""

    CLEAN = "clean"
    FINDINGS = "findings"
    PARTIAL = "partial"
    FAILED = "failed"


class Provenance(Record):
    """Which backend made a review, in enough detail to repeat it."""

    finders: tuple[str, ...] = ()
    rater: str = ""
    model: str = ""
    adapter: str = ""
    prompt_version: str = ""


class Review(Record):
    """What a review says: `findings` are shown, the threshold hides `below`, comments hide `suppressed`."""

    outcome: Outcome
    threshold: Severity
    findings: tuple[Finding, ...] = ()
    below: tuple[Finding, ...] = ()
    suppressed: tuple[Finding, ...] = ()
    skips: tuple[Skip, ...] = ()
    files: int | None = None  # how many were to be reviewed; None where nobody counted
    backend: str = ""
    provenance: Provenance = Provenance()
    title: str = ""
    base: str = ""
    head: str = ""
    elapsed_s: float = 0.0

    @property
    def hidden(self) -> dict[Severity, int]:
        """How many findings the threshold hides, per severity (every level is a key)."""
        return counts(self.below)

    def at(self, threshold: Severity) -> Review:
        """The same review filtered by another threshold, without reviewing again."""
        every = sorted((*self.findings, *self.below), key=sort_key)
        shown = tuple(finding for finding in every if finding.severity >= threshold)
        below = tuple(finding for finding in every if finding.severity < threshold)
        outcome = self.outcome
        if outcome in (Outcome.CLEAN, Outcome.FINDINGS):
            outcome = Outcome.FINDINGS if shown else Outcome.CLEAN
        return self.model_copy(
            update={"threshold": threshold, "findings": shown, "below": below, "outcome": outcome}
        )


def counts(findings: Iterable[Finding]) -> dict[Severity, int]:
    """Findings per severity; every level is a key."""
    tally = dict.fromkeys(SEVERITIES, 0)
    for finding in findings:
        tally[finding.severity] += 1
    return tally


def sort_key(finding: Finding) -> tuple[int, str, int, str, str]:
    """Most severe first, then path and line; the rest makes the order total."""
    return (-finding.severity.rank, finding.path, finding.line, finding.category, finding.fingerprint)
