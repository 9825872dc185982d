"""The ports between the review pipeline and everything that fills it: changes, finders, raters.

Owns protocols and the values that cross them; no I/O and no implementation. Adapters: `service.changes`
makes a `Change`; `service.backends` fills `Finder` and `Rater`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from review_data.domain import FileChange, Issue, MergeRequest, Provenance, Rating, Side, Skip


class Snapshot(Protocol):
    """Whole files before and after the change, where they are at hand."""

    def read(self, path: str, side: Side) -> str | None:
        """The text of `path` on that side of the change; None when it is not at hand or not text."""
        ...


@dataclass(frozen=True, slots=True)
class Change:
    """A merge request with access to the whole files around it."""

    request: MergeRequest
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Chunk:
    """The part of a change that a finder looks at in one go: files, each with all or some of its hunks.

    `id` is unique within one plan. Paths of `files` may repeat over chunks when a file was split by hunks.
    """

    id: str
    files: tuple[FileChange, ...]
    change: Change


@dataclass(frozen=True, slots=True)
class Plan:
    """How a finder divides a change: chunks to review, and what it will not look at (with the reason)."""

    chunks: tuple[Chunk, ...]
    skips: tuple[Skip, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """A finder's answer for one chunk: issues, and parts of the answer that could not be used."""

    issues: tuple[Issue, ...]
    skips: tuple[Skip, ...] = ()


class Finder(Protocol):
    """Finds issues. `name` is the issues' source; `concurrency` is how many chunks may run at once."""

    @property
    def name(self) -> str: ...

    @property
    def concurrency(self) -> int: ...

    def plan(self, change: Change) -> Plan:
        """Divides the change. Files that the finder has nothing to say about (wrong language) are left out
        silently; files it should have read and can't are skips."""
        ...

    def find(self, chunk: Chunk) -> Found:
        """Issues of one chunk; raises `BackendError` when the chunk could not be reviewed. Thread-safe."""
        ...


class Rater(Protocol):
    """Rates issues, whoever found them."""

    @property
    def name(self) -> str: ...

    @property
    def concurrency(self) -> int: ...

    def prepare(self) -> None:
        """Begins to load what rating needs and returns at once; called where issues are to be expected.

        Never raises: what can't be loaded is said by `rate`.
        """
        ...

    def rate(self, change: Change, issues: Sequence[Issue]) -> Sequence[Rating | Skip]:
        """One answer per issue, in order: a rating, or the skip that says why there is none.

        Raises `BackendError` when no issue could be rated. Thread-safe. The issues are anchored.
        """
        ...


@dataclass(frozen=True, slots=True)
class Reviewer:
    """A backend, ready to work: finders, a rater, and what to call them in a review."""

    finders: tuple[Finder, ...]
    rater: Rater
    name: str
    provenance: Provenance
