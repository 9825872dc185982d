"""Files that git leaves out of a diff: untracked ones, and those too large for it to read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from review_data.diff import Blobs, ParsedDiff
from review_data.diff_header import SUBMODULE, SYMLINK
from review_data.domain import DiffLine, FileChange, FileStatus, Hunk, LineKind, Skip, SkipKind
from review_data.language import language_of
from service.changes.git import Repository
from service.changes.known_files import VENDORED
from service.changes.size import LARGEST_DIFF, LARGEST_FILE, too_large
from service.changes.text import decode_file, is_binary

_LOOK: int = 8000


def untracked_files(root: Path, names: Iterable[bytes]) -> tuple[list[FileChange], dict[str, Skip]]:
    """Files that git does not know yet, as git would show them were they added; names are relative to `root`.

    Third-party folders are not read, nor what comes after `LARGEST_DIFF` bytes: those have their skip.
    """
    files, skips, budget = [], {}, LARGEST_DIFF
    for name in names:
        path, place = name.decode("utf-8", "backslashreplace"), root / os.fsdecode(name)
        if VENDORED.search(path):
            files.append(FileChange(path=path, status=FileStatus.ADDED))
            skips[path] = Skip(path=path, kind=SkipKind.VENDORED, reason="is third-party code by its path")
        elif budget <= 0:
            files.append(FileChange(path=path, status=FileStatus.ADDED))
            skips[path] = Skip(path=path, kind=SkipKind.TOO_LARGE, reason=too_large(_size(place))[1])
        else:
            budget -= min(_size(place), LARGEST_FILE)
            files.append(_untracked_file(path, place))
    return files, skips


def _untracked_file(path: str, place: Path) -> FileChange:
    """What can't be read, or is too large, comes back as binary: `left_out` tells them apart."""
    if path.endswith("/"):
        return FileChange(path=path.rstrip("/"), status=FileStatus.ADDED, new_mode=SUBMODULE)
    data = read_regular(place, LARGEST_FILE)
    text = None if data is None else decode_file(data)
    return FileChange(
        path=path,
        status=FileStatus.ADDED,
        hunks=_whole_file(text) if text else (),
        binary=text is None,
        new_mode=_mode(place),
        language=language_of(path),
    )


def _size(place: Path) -> int:
    try:
        return place.lstat().st_size
    except OSError:
        return 0


def left_out(repository: Repository, parsed: ParsedDiff, *, on_disk: bool = False) -> dict[str, Skip]:
    """Skips for files that the diff calls binary though they are text too large, or can't be read."""
    found: dict[str, Skip] = {}
    for file, blobs in zip(parsed.files, parsed.blobs, strict=True):
        reason = _why_left_out(repository, file, blobs, on_disk) if file.binary else None
        if reason:
            found[file.path] = Skip(path=file.path, kind=reason[0], reason=reason[1])
    return found


def _why_left_out(
    repository: Repository, file: FileChange, blobs: Blobs, on_disk: bool
) -> tuple[SkipKind, str] | None:
    objects = [repository.find(name, limit=_LOOK) for name in (blobs.old, blobs.new) if name.strip("0")]
    looks = [(found.size, found.data) for found in objects if found is not None]
    if on_disk and repository.root and file.status is not FileStatus.DELETED:
        look = _look(repository.root / file.path)
        if look is None:
            return SkipKind.UNDECODABLE, "can't be read; check its permissions"
        looks.append(look)
    size = max((size for size, _ in looks), default=0)
    is_text = not any(is_binary(data) for _, data in looks)
    return too_large(size) if size > LARGEST_FILE and is_text else None


def _look(path: Path) -> tuple[int, bytes] | None:
    """Size and first bytes; None when they can't be read. What is gone, or has no name in UTF-8, is empty."""
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_size, file.read(_LOOK)
    except FileNotFoundError:
        return 0, b""
    except OSError:
        return None


def read_regular(path: Path, limit: int) -> bytes | None:
    """A regular file's bytes; None for anything else, a symlink, or more than `limit` bytes."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return None
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError:
        return None
    return data if len(data) <= limit else None


def _mode(path: Path) -> str:
    try:
        mode = path.lstat().st_mode
    except OSError:
        return "100644"
    return SYMLINK if stat.S_ISLNK(mode) else "100755" if mode & stat.S_IXUSR else "100644"


def _whole_file(text: str) -> tuple[Hunk, ...]:
    lines = text.removesuffix("\n").split("\n")
    added = tuple(
        DiffLine(kind=LineKind.ADDED, text=line, new_line=number) for number, line in enumerate(lines, 1)
    )
    return (Hunk(old_start=0, old_count=0, new_start=1, new_count=len(added), lines=added),)
