"""Changes built from text, for tests of what comes after reading them."""

from __future__ import annotations

from review_data.domain import Category, DiffLine, FileChange, Hunk, Issue, LineKind, MergeRequest
from review_data.language import language_of
from service.ports import Change
from service.rating import NoFiles


def file_of(path: str, text: str, *, start: int = 1) -> FileChange:
    """A file with one hunk from lines that begin with `+`, `-` or a blank; both sides start at `start`."""
    lines, old, new = [], start, start
    for raw in text.splitlines():
        kind = {"+": LineKind.ADDED, "-": LineKind.REMOVED, " ": LineKind.CONTEXT}[raw[0]]
        old_line = None if kind is LineKind.ADDED else old
        new_line = None if kind is LineKind.REMOVED else new
        lines.append(DiffLine(kind=kind, text=raw[1:], old_line=old_line, new_line=new_line))
        old += old_line is not None
        new += new_line is not None
    hunk = Hunk(
        old_start=start, old_count=old - start, new_start=start, new_count=new - start, lines=tuple(lines)
    )
    return FileChange(path=path, hunks=(hunk,), language=language_of(path))


def change_of(*files: FileChange) -> Change:
    """A change of these files, with no whole files at hand."""
    return Change(MergeRequest(title="Test", files=files), NoFiles())


def issue_on(file: FileChange, line: int, title: str = "SQL injection") -> Issue:
    """An anchored security issue on a line of the new side."""
    found = file.line(line)
    assert found is not None
    quote = found.text.strip()
    return Issue(
        path=file.path, line=line, category=Category.SECURITY, title=title, quote=quote, source="test"
    )
