"""The tree of errors that Terazi raises on purpose.

TeraziError
├── UserError            the caller's mistake                               exit 2
│   ├── SettingsError    a setting or configuration file
│   ├── ChangeError      a repository, revision or patch that can't be read
│   ├── DataError        a data file: names file, line and field
│   └── MissingExtra     an optional part that is not installed
└── ToolError            Terazi's or a server's failure                     exit 3
    ├── StoreError       the database of reviews and verdicts failed
    └── BackendError     a finder or rater failed
        └── ReplyError   a model's reply could not be parsed

They are caught only at the edges (command line, API, page) and per chunk in the review pipeline, where a
`BackendError` becomes a recorded skip. Every message says what was wrong, where, and what to do next, in
English; `kind` is for who says it in another language too.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path


def first_line(error: Exception, most: int | None = None) -> str:
    """The first line of what a library says, or the error's name; at most `most` characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:most]


class ErrorKind(StrEnum):
    """The mistakes that people make most when they ask for a review."""

    EMPTY_PATCH = "empty-patch"
    NOT_A_DIFF = "not-a-diff"
    COMBINED_DIFF = "combined-diff"
    PATCH_SERIES = "patch-series"
    BAD_RANGE = "bad-range"
    UNKNOWN_REVISION = "unknown-revision"
    NO_COMMON_ANCESTOR = "no-common-ancestor"
    ADAPTER_NOT_TAKEN = "adapter-not-taken"
    QUEUE_FULL = "queue-full"


class TeraziError(Exception):
    """Base of every error raised on purpose; `exit_code` is the process's exit status."""

    exit_code = 3
    kind: ErrorKind | None = None

    def __init__(self, message: str, *, kind: ErrorKind | None = None) -> None:
        super().__init__(message)
        self.kind = kind or self.kind


class UserError(TeraziError):
    """Something the caller can put right."""

    exit_code = 2


class SettingsError(UserError):
    """A setting has a value, or a configuration file a content, that can't be used."""


class ChangeError(UserError):
    """A repository, a revision or a patch can't be read."""


class DataError(UserError):
    """A row of a data file is not what it must be."""

    def __init__(
        self, message: str, *, file: Path | str, line: int | None = None, field: str | None = None
    ) -> None:
        self.file, self.line, self.field = str(file), line, field
        where = self.file + (f":{line}" if line is not None else "") + (f", field `{field}`" if field else "")
        super().__init__(f"{where}: {message}")


class MissingExtra(UserError):
    """An optional part is not installed."""

    def __init__(self, extra: str, needed_for: str, package: str) -> None:
        self.extra = extra
        super().__init__(
            f"{needed_for} needs the package `{package}`, which is not installed: run "
            f"`pip install 'terazi[{extra}]'` and try again"
        )


class ToolError(TeraziError):
    """Terazi itself, or a server it depends on, failed."""


class StoreError(ToolError):
    """The database can't be reached, can't write, or holds what this version can't read."""


class BackendError(ToolError):
    """A finder or a rater failed on a chunk or an issue."""


class ReplyError(BackendError):
    """A model's reply could not be parsed; `reply` is the raw text."""

    def __init__(self, message: str, *, reply: str) -> None:
        self.reply = reply
        super().__init__(message)
