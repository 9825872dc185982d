"""Unified diffs as text -> files, hunks, numbered lines.

The walk over the diff (file headers, what lies between files, where a hunk ends) is done here, because
unidiff refuses some of git's quoted names, has no copies, and names no line in its errors; the hunks
themselves are read by unidiff. Lines end at "\\n" alone: form feeds, U+2028 and lone carriage returns are
text. Fetching and decoding diffs is `service.changes`; file headers are read by `review_data.diff_header`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from unidiff import PatchSet, UnidiffParseError

from review_data.diff_header import SUBMODULE, SYMLINK, FileHeader, binary_names, read_line, read_names
from review_data.domain import DiffLine, FileChange, FileStatus, Hunk, LineKind, Record
from review_data.errors import ChangeError, ErrorKind
from review_data.language import language_of

_HUNK: Final = re.compile(
    r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@(?: ?(.*))?$", re.DOTALL
)
_COMBINED: Final = re.compile(r"diff --(?:cc|combined) |@@@+ -")
_SUBMODULE: Final = re.compile(r"Submodule (.+) (?:[0-9a-f]{4,}\.{2,3}[0-9a-f]{4,}|contains|0{4,})")
_KINDS: Final = {"+": LineKind.ADDED, "-": LineKind.REMOVED, " ": LineKind.CONTEXT}


class Blobs(Record):
    """Object names of a file before and after as the diff gives them (maybe shortened, all zeros when git
    did not know), "" where it gives none."""

    old: str = ""
    new: str = ""


class ParsedDiff(Record):
    """Files in the diff's order, each path once, and for each its `blobs` at the same place."""

    files: tuple[FileChange, ...] = ()
    blobs: tuple[Blobs, ...] = ()


def parse_diff(text: str) -> ParsedDiff:
    """Reads `git diff`, `git show`, `git format-patch` or `diff -u` output; text around the files is ignored.

    Raises `ChangeError` naming the line when a hunk is not as long as it says, a header can't be read, a file
    is changed twice (a series of patches), or the diff is a merge's combined one; also when there is text but
    no file in it. Empty text is a diff of no files.
    """
    walk = _Walk(text)
    try:
        patches = PatchSet(walk.hunk_lines())
    except UnidiffParseError as error:
        raise _damaged(walk.number, str(error).strip()) from None
    hunks = {int(patch.path): tuple(_hunk(hunk) for hunk in patch) for patch in patches}
    files = _join_type_changes(
        [_file(header, hunks.get(number, ())) for number, header in enumerate(walk.headers)]
    )
    if not files and text.strip():
        raise ChangeError(
            "this is not a diff: it holds no line such as `diff --git a/… b/…` or `--- …` and `+++ …`; "
            "make one with `git diff` or `git format-patch --stdout`",
            kind=ErrorKind.NOT_A_DIFF,
        )
    _refuse_repeats(files, walk.headers)
    return ParsedDiff(files=tuple(file for file, _ in files), blobs=tuple(blobs for _, blobs in files))


@dataclass(slots=True)
class _Left:
    """Lines of each side that the running hunk still lacks."""

    old: int
    new: int
    opened_at: int


class _Walk:
    """One pass over a diff: collects file headers and gives unidiff the hunks under plain numbered names."""

    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")
        if self.lines[-1] == "":
            self.lines.pop()
        self.number = 0
        self.headers: list[FileHeader] = []
        self.named = 0

    def hunk_lines(self) -> Iterator[str]:
        """The lines for unidiff; `number` is the 1-based line of the diff that was read last."""
        in_header = False
        while (line := self._next()) is not None:
            if line.startswith("diff --git "):
                self.headers.append(FileHeader(at=self.number, git_names=line[11:]))
                in_header = True
            elif self._at_names(line):
                if not in_header:
                    self.headers.append(FileHeader(at=self.number))
                read_names(self.headers[-1], line[4:], (self._next() or "")[4:])
                in_header = False
            elif line.startswith("@@"):
                yield from self._hunk(line)
                in_header = False
            elif not (in_header and read_line(self.headers[-1], line)):
                self._between(line)

    def _next(self) -> str | None:
        if self.number >= len(self.lines):
            return None
        self.number += 1
        return self.lines[self.number - 1].removesuffix("\r")

    def _at_names(self, line: str) -> bool:
        following = self.lines[self.number : self.number + 1]
        return line.startswith("--- ") and bool(following) and following[0].startswith("+++ ")

    def _between(self, line: str) -> None:
        """What lies outside headers and hunks: mail, commit messages, other tools' notes."""
        if _COMBINED.match(line):
            raise ChangeError(
                f"line {self.number}: this is the combined diff of a merge, which has no single old side; "
                "review the merge with `--commit REV`, or make the diff with `git diff BASE HEAD`",
                kind=ErrorKind.COMBINED_DIFF,
            )
        if names := binary_names(line):
            header = FileHeader(at=self.number, binary=True)
            read_names(header, *names)
            self.headers.append(header)
        elif match := _SUBMODULE.match(line):
            header = FileHeader(at=self.number, new_mode=SUBMODULE, old_name=match[1], new_name=match[1])
            self.headers.append(header)

    def _hunk(self, line: str) -> Iterator[str]:
        match = _HUNK.match(line)
        if match is None:
            if _COMBINED.match(line):
                self._between(line)
            raise _damaged(self.number, "the hunk header can't be read")
        if not self.headers:
            raise _damaged(self.number, "a hunk stands before any file name")
        old, new = int(match[2] or 1), int(match[4] or 1)
        if self.named < len(self.headers):
            self.named = len(self.headers)
            yield from (f"--- a/{self.named - 1}\n", f"+++ b/{self.named - 1}\n")
        yield line + "\n"
        yield from self._body(_Left(old, new, self.number))
        self._check_end()

    def _body(self, left: _Left) -> Iterator[str]:
        while left.old > 0 or left.new > 0:
            line = self._next()
            mark = (line or " ")[0]
            left.old -= mark in " -"
            left.new -= mark in " +"
            if line is None or mark not in " +-\\" or left.old < 0 or left.new < 0:
                raise _damaged(
                    self.number, f"the hunk that begins on line {left.opened_at} is not as long as it says"
                )
            if mark != "\\":
                yield (line or " ") + "\n"

    def _check_end(self) -> None:
        """A hunk longer than it says would lose lines silently; a mail's signature may follow it."""
        following = self.lines[self.number : self.number + 1]
        if following and following[0].startswith("\\"):
            self.number += 1
            following = self.lines[self.number : self.number + 1]
        if not following or following[0][:1] not in tuple("+- ") or following[0].rstrip() == "--":
            return
        self.number += 1
        if not self._at_names(following[0]):
            raise _damaged(self.number, "the hunk above goes on after its end")
        self.number -= 1


def _damaged(line: int, what: str) -> ChangeError:
    return ChangeError(
        f"line {line}: {what}; the patch is damaged or was edited by hand: make it again with `git diff`"
    )


def _hunk(hunk: Any) -> Hunk:
    """unidiff's hunk as ours."""
    lines = [
        DiffLine(
            kind=_KINDS[line.line_type],
            text=_text(line.value, 1 in (line.source_line_no, line.target_line_no)),
            old_line=line.source_line_no,
            new_line=line.target_line_no,
        )
        for line in hunk
    ]
    return Hunk(
        old_start=hunk.source_start,
        old_count=hunk.source_length,
        new_start=hunk.target_start,
        new_count=hunk.target_length,
        section=hunk.section_header,
        lines=tuple(_pair_equal(lines)),
    )


def _text(value: str, first: bool) -> str:
    text = value.removesuffix("\n")
    return text.removeprefix("\ufeff") if first else text


def _pair_equal(lines: Sequence[DiffLine]) -> Iterable[DiffLine]:
    """Turns a removed and an added line of one text into context: only their line ends differ.

    Looks at both ends of each block of changes, so a file whose line ends were converted shows what else
    changed, and a line that merely got its final newline is no added line.
    """
    for is_context, group in groupby(lines, key=lambda line: line.kind is LineKind.CONTEXT):
        block = list(group)
        removed = [line for line in block if line.kind is LineKind.REMOVED]
        added = [line for line in block if line.kind is LineKind.ADDED]
        if is_context or not removed or not added:
            yield from block
            continue
        head = _equal_length(removed, added)
        tail = _equal_length(removed[head:][::-1], added[head:][::-1])
        if not head and not tail:
            yield from block
            continue
        yield from map(_context, removed[:head], added[:head])
        yield from removed[head : len(removed) - tail]
        yield from added[head : len(added) - tail]
        yield from map(_context, removed[len(removed) - tail :], added[len(added) - tail :])


def _equal_length(left: Sequence[DiffLine], right: Sequence[DiffLine]) -> int:
    pairs = enumerate(zip(left, right, strict=False))
    return next((at for at, (a, b) in pairs if a.text != b.text), min(len(left), len(right)))


def _context(removed: DiffLine, added: DiffLine) -> DiffLine:
    return DiffLine(
        kind=LineKind.CONTEXT, text=added.text, old_line=removed.old_line, new_line=added.new_line
    )


def _file(header: FileHeader, hunks: tuple[Hunk, ...]) -> tuple[FileChange, Blobs]:
    old, new = header.paths()
    if not old and not new:
        raise _damaged(header.at, "the file's name can't be read")
    status = header.status or (FileStatus.MODIFIED if header.git_names else _status_of(hunks))
    return FileChange(
        path=new or old,
        old_path=old if old and new and old != new else None,
        status=status,
        hunks=hunks,
        binary=header.binary,
        old_mode=header.old_mode if status is not FileStatus.ADDED else None,
        new_mode=header.new_mode if status is not FileStatus.DELETED else None,
        language=language_of(new or old),
    ), Blobs(old=header.old_blob, new=header.new_blob)


def _status_of(hunks: Sequence[Hunk]) -> FileStatus:
    """`diff -uN` names both sides of an added or a deleted file; only its hunk tells."""
    if len(hunks) == 1 and hunks[0].old_start == 0 and hunks[0].old_count == 0:
        return FileStatus.ADDED
    if len(hunks) == 1 and hunks[0].new_start == 0 and hunks[0].new_count == 0:
        return FileStatus.DELETED
    return FileStatus.MODIFIED


def _join_type_changes(files: Sequence[tuple[FileChange, Blobs]]) -> list[tuple[FileChange, Blobs]]:
    """git shows a file that became a symlink (or back) as deleted and added again, one after the other.

    The side that is a regular file gives the hunks: a link's target is no text of the project.
    """
    joined: list[tuple[FileChange, Blobs]] = []
    for file, blobs in files:
        before = joined[-1][0] if joined else None
        if (
            before is not None
            and before.path == file.path
            and (before.status, file.status) == (FileStatus.DELETED, FileStatus.ADDED)
        ):
            both = FileChange(
                path=file.path,
                status=FileStatus.TYPE_CHANGED,
                hunks=file.hunks if before.old_mode in (SYMLINK, SUBMODULE) else before.hunks,
                binary=file.binary,
                old_mode=before.old_mode,
                new_mode=file.new_mode,
                language=file.language,
            )
            joined[-1] = both, Blobs(new=blobs.new)
        else:
            joined.append((file, blobs))
    return joined


def _refuse_repeats(files: Iterable[tuple[FileChange, Blobs]], headers: Iterable[FileHeader]) -> None:
    seen: set[str] = set()
    for file, _ in files:
        if file.path in seen:
            lines = [str(header.at) for header in headers if file.path in header.paths()]
            raise ChangeError(
                f"`{file.path}` is changed more than once (lines {', '.join(lines)}), as in a series of "
                "patches; review each patch by itself, or their sum made with `git diff BASE HEAD`",
                kind=ErrorKind.PATCH_SERIES,
            )
        seen.add(file.path)
