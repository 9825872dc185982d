"""From an accepted request to what the pipeline needs: settings, the change, and what is kept of it.

Patches are reviewed with the server's settings alone; a repository's range with those of its target branch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from review_data.diff import parse_diff
from review_data.domain import DiffLine, FileChange, Finding, Hunk, Review, number_on
from review_data.errors import ChangeError, ErrorKind, SettingsError
from review_data.unified import to_diff
from service.api.repositories import check_range, look_up
from service.api.schema import NewReview
from service.changes import open_patch, open_range
from service.changes.target_settings import target_layer
from service.changes.text import decode_diff
from service.ports import Change
from service.render.redact import mask_lines
from service.settings import Layer, Settings, resolve
from service.store.records import Excerpt

CONTEXT: Final = 5
_NO_FILE: Final = Layer("no repository", {}, trusted=False)


class Opened(NamedTuple):
    """A change ready to be reviewed."""

    change: Change
    settings: Settings


def check(request: NewReview, repositories: Mapping[str, Path], flags: Mapping[str, object]) -> None:
    """Refuses what can't be reviewed before it is accepted; `ChangeError` or `SettingsError` says why."""
    from service.backends.catalog import BACKENDS

    if request.backend and request.backend not in BACKENDS:
        raise SettingsError(f"backend: there is no such backend; choose one of {', '.join(BACKENDS)}")
    settings = resolve(_flags(request, flags), repository=_NO_FILE).settings
    if request.adapter and settings.backend != "endpoint":
        raise SettingsError(
            "adapter: only the endpoint backend takes an adapter by name; leave it out",
            kind=ErrorKind.ADAPTER_NOT_TAKEN,
        )
    if request.repository is not None:
        check_range(look_up(repositories, request.repository), request.range or "")
        return
    patch = decode_diff((request.patch or "").encode("utf-8", "replace"))
    if not patch.strip():
        raise ChangeError("patch: is empty; make one with `git diff BASE HEAD`", kind=ErrorKind.EMPTY_PATCH)
    parse_diff(patch)


def open_request(
    request: NewReview, diff: bytes | None, repositories: Mapping[str, Path], flags: Mapping[str, object]
) -> Opened:
    """The change of an accepted request, with the settings it is reviewed by."""
    if request.repository is None:
        settings = resolve(_flags(request, flags), repository=_NO_FILE).settings
        change = open_patch(diff or b"", ignore=settings.ignore)
        titled = change.request.model_copy(update={"title": request.title, "head": "patch"})
        return Opened(Change(titled, change.snapshot), settings)
    folder = look_up(repositories, request.repository)
    layer = target_layer(folder, request.range or "")
    settings = resolve(_flags(request, flags), repository=layer).settings
    change = open_range(folder, request.range or "", ignore=settings.ignore)
    update = {"project": settings.project, "title": request.title or change.request.title}
    return Opened(Change(change.request.model_copy(update=update), change.snapshot), settings)


def _flags(request: NewReview, flags: Mapping[str, object]) -> dict[str, object]:
    wanted = {"threshold": request.threshold, "backend": request.backend, "adapter": request.adapter}
    return dict(flags) | {key: value for key, value in wanted.items() if value}


def kept_diff(files: tuple[FileChange, ...]) -> bytes:
    """The diff that stays in the store: secrets masked."""
    text = to_diff(files)
    return "\n".join(mask_lines(text.split("\n"))).encode("utf-8", "replace")


def excerpts_of(review: Review, files: tuple[FileChange, ...]) -> dict[str, Excerpt]:
    """The diff around every finding, hidden ones too, with secrets masked; by fingerprint."""
    by_path = {file.path: file for file in files}
    found = {}
    for finding in (*review.findings, *review.below):
        file = by_path.get(finding.path)
        if file is not None:
            found[finding.fingerprint] = _excerpt(finding, file)
    return found


def _excerpt(finding: Finding, file: FileChange) -> Excerpt:
    for hunk in file.hunks:
        for index, line in enumerate(hunk.lines):
            if number_on(line, finding.side) == finding.line:
                start = max(0, index - CONTEXT)
                lines = _masked(hunk)[start : index + CONTEXT + 1]
                return Excerpt(lines=lines, marked=index - start, section=hunk.section)
    return Excerpt()


def _masked(hunk: Hunk) -> tuple[DiffLine, ...]:
    texts = mask_lines([line.text.rstrip("\r\n") for line in hunk.lines])
    return tuple(line.model_copy(update={"text": text}) for line, text in zip(hunk.lines, texts, strict=True))
