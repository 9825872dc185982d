"""Whole files before and after a change: `Snapshot`s over git objects, the work tree, and the diff itself.

Text has "\\n" line ends and no byte order mark, as in the diff's lines. Files above `LARGEST_TEXT` are not
at hand: no finder parses them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

from review_data.diff import ParsedDiff
from review_data.domain import FileChange, FileStatus, Hunk, LineKind, Side, number_on
from service.changes.disk import read_regular
from service.changes.git import Repository
from service.changes.text import decode_file

LARGEST_TEXT: Final = 2 * 1024 * 1024
_CACHED: Final = 128
Reader = Callable[[], str | None]


class LazySnapshot:
    """Texts by path and side, read when asked for and kept while they are among the latest ones."""

    def __init__(self, readers: Mapping[tuple[str, Side], Reader]) -> None:
        self._read = lru_cache(maxsize=_CACHED)(partial(_read_now, readers))

    def read(self, path: str, side: Side) -> str | None:
        """The text of `path` on that side; an old side is found by the new path too. None: not at hand."""
        return self._read(path, side)


def _read_now(readers: Mapping[tuple[str, Side], Reader], path: str, side: Side) -> str | None:
    reader = readers.get((path, side))
    return reader() if reader else None


def of_repository(repository: Repository, parsed: ParsedDiff, *, on_disk: bool = False) -> LazySnapshot:
    """By blob name; with `on_disk` the new side is the work tree's."""
    readers: dict[tuple[str, Side], Reader] = {}
    for file, blobs in zip(parsed.files, parsed.blobs, strict=True):
        readers.setdefault((file.path, Side.OLD), _blob_reader(repository, blobs.old))
        if file.old_path:
            readers[file.old_path, Side.OLD] = _blob_reader(repository, blobs.old)
        if on_disk and repository.root and file.status is not FileStatus.DELETED:
            readers[file.path, Side.NEW] = _disk_reader(repository.root / file.path)
        else:
            readers[file.path, Side.NEW] = _blob_reader(repository, blobs.new)
    return LazySnapshot(readers)


def of_patch(parsed: ParsedDiff, repository: Repository | None) -> LazySnapshot:
    """Added and deleted files are in the patch itself; others are built from the old blob, if any.

    A blob counts only when the patch's old lines stand in it, because patches shorten blob names.
    """
    readers: dict[tuple[str, Side], Reader] = {}
    for file, blobs in zip(parsed.files, parsed.blobs, strict=True):
        before = _old_reader(file, repository, blobs.old)
        readers.setdefault((file.path, Side.OLD), before)
        if file.old_path:
            readers[file.old_path, Side.OLD] = before
        readers[file.path, Side.NEW] = _new_reader(file, before)
    return LazySnapshot(readers)


def _blob_reader(repository: Repository, blob: str) -> Reader:
    def read() -> str | None:
        found = repository.find(blob, limit=LARGEST_TEXT + 1) if blob.strip("0") else None
        if found is None or found.kind != "blob" or found.size > LARGEST_TEXT:
            return None
        return decode_file(found.data)

    return read


def _disk_reader(path: Path) -> Reader:
    def read() -> str | None:
        data = read_regular(path, LARGEST_TEXT)
        return None if data is None else decode_file(data)

    return read


def _old_reader(file: FileChange, repository: Repository | None, blob: str) -> Reader:
    def read() -> str | None:
        if file.status is FileStatus.DELETED and file.hunks:
            return side_text(file.hunks, Side.OLD)
        text = _blob_reader(repository, blob)() if repository else None
        return text if text is not None and apply_hunks(text, file.hunks) is not None else None

    return read


def _new_reader(file: FileChange, before: Reader) -> Reader:
    def read() -> str | None:
        if file.status is FileStatus.ADDED and file.hunks:
            return side_text(file.hunks, Side.NEW)
        old = before() if file.status is not FileStatus.DELETED else None
        return None if old is None else apply_hunks(old, file.hunks)

    return read


def side_text(hunks: Sequence[Hunk], side: Side) -> str:
    """One side's lines of all hunks."""
    lines = (line.text for hunk in hunks for line in hunk.lines if number_on(line, side) is not None)
    return "".join(f"{line}\n" for line in lines)


def apply_hunks(old: str, hunks: Sequence[Hunk]) -> str | None:
    """The new text made from the old one; None when the hunks' old lines don't stand in it where they say."""
    lines = old.split("\n")
    made: list[str] = []
    at = 0
    for hunk in hunks:
        start = hunk.old_start - 1 if hunk.old_count else hunk.old_start
        expected = [line.text for line in hunk.lines if line.kind is not LineKind.ADDED]
        if start < at or lines[start : start + hunk.old_count] != expected:
            return None
        made += lines[at:start]
        made += [line.text for line in hunk.lines if line.kind is not LineKind.REMOVED]
        at = start + hunk.old_count
    return "\n".join(made + lines[at:])
