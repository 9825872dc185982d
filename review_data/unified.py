"""Files of a change as a unified diff again, the inverse of `review_data.diff.parse_diff`.

Owns the writing alone. Binary files and mode changes keep their headers; blobs' names are not kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from review_data.domain import FileChange, FileStatus, Hunk, LineKind

_SIGNS: Final = {LineKind.ADDED: "+", LineKind.REMOVED: "-", LineKind.CONTEXT: " "}
_QUOTED: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def to_diff(files: Iterable[FileChange]) -> str:
    """The files as `git diff` writes them; "" for none."""
    return "".join(line + "\n" for file in files for line in _file(file))


def _file(file: FileChange) -> Iterator[str]:
    old, new = _name(f"a/{file.old_path or file.path}"), _name(f"b/{file.path}")
    yield f"diff --git {old} {new}"
    yield from _modes(file)
    if file.status is FileStatus.RENAMED or file.status is FileStatus.COPIED:
        verb = "rename" if file.status is FileStatus.RENAMED else "copy"
        yield from (f"{verb} from {_name(file.old_path or file.path)}", f"{verb} to {_name(file.path)}")
    if file.binary:
        yield f"Binary files {old} and {new} differ"
    elif file.hunks:
        yield "--- /dev/null" if file.status is FileStatus.ADDED else f"--- {old}"
        yield "+++ /dev/null" if file.status is FileStatus.DELETED else f"+++ {new}"
        for hunk in file.hunks:
            yield from _hunk(hunk)


def _modes(file: FileChange) -> Iterator[str]:
    if file.status is FileStatus.ADDED:
        yield f"new file mode {file.new_mode or '100644'}"
    elif file.status is FileStatus.DELETED:
        yield f"deleted file mode {file.old_mode or '100644'}"
    elif file.old_mode and file.new_mode and file.old_mode != file.new_mode:
        yield from (f"old mode {file.old_mode}", f"new mode {file.new_mode}")


def _hunk(hunk: Hunk) -> Iterator[str]:
    old, new = f"{hunk.old_start},{hunk.old_count}", f"{hunk.new_start},{hunk.new_count}"
    yield f"@@ -{old} +{new} @@" + (f" {hunk.section}" if hunk.section else "")
    for line in hunk.lines:
        yield _SIGNS[line.kind] + line.text


def _name(path: str) -> str:
    """The path as git writes it: in quotes with escapes when it holds signs that a header can't."""
    if not any(sign in path for sign in _QUOTED):
        return path
    return '"' + "".join(_QUOTED.get(sign, sign) for sign in path) + '"'
