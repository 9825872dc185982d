"""What a severity rater is shown of an issue: one text and its context, the same in training and serving.

Owns the choice and layout of the fields. The teacher's `explanation` is never among them (it justifies the
label and so gives it away), nor are the merge request's title and description (framing a change as harmless
blinds models). Token limits are the encoder's affair (`service.backends.embedded.encoding`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from review_data import untrusted
from review_data.domain import DiffLine, FileChange, Hunk, Issue, LineKind, Record, Side, number_on

if TYPE_CHECKING:
    from review_data.dataset import LabelledComment, LabelledFinding

LINES_AROUND: Final = 2
LONGEST_TEXT: Final = 20_000
_COMMENTS: Final = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_DETAILS: Final = re.compile(r"<details\b.*?(?:</details>|\Z)", re.DOTALL | re.IGNORECASE)
_LINKS: Final = re.compile(r"!?\[([^\[\]\n]{0,300})\]\([^()\s]{0,500}\)")
_TAGS: Final = re.compile(
    r"</?(?:a|b|br|code|em|h[1-6]|hr|i|img|kbd|li|ol|p|picture|pre|source|strong|sub|summary"
    r"|sup|ul)(?:\s[^<>]{0,500})?/?>",
    re.IGNORECASE,
)
# Half of a character beyond the basic plane, as a log that was cut holds it: no tokeniser takes one.
_HALVES: Final = re.compile("[\ud800-\udfff]")
LineT = TypeVar("LineT")
_MARKS: Final = {LineKind.ADDED: "+", LineKind.REMOVED: "-", LineKind.CONTEXT: ""}


class RaterFields(Record):
    """The fields of one issue; all but `text` may be empty, and the rater is trained to do without them.

    `lines` are the diff's lines around the flagged one (which starts with ">"), `section` the hunk's heading.
    """

    text: str
    category: str = ""
    path: str = ""
    language: str = ""
    project: str = ""
    section: str = ""
    lines: tuple[str, ...] = ()


class RaterInput(Record):
    """Two segments for the encoder: the issue's own words, and what is known around it (may be empty)."""

    text: str
    context: str = ""

    @property
    def in_code(self) -> bool:
        """Whether the flagged line of a diff is shown."""
        return "\n>" in f"\n{self.context}"


def render(fields: RaterFields) -> RaterInput:
    """The two segments: the text; category, place, project and section in one line, then the diff's lines."""
    place = fields.path or fields.language
    heading = " | ".join(part for part in (fields.category, place, fields.project, fields.section) if part)
    context = "\n".join(part for part in (heading, *fields.lines) if part)
    return RaterInput(text=_whole(plain(fields.text)), context=_whole(context))


def _whole(text: str) -> str:
    return _HALVES.sub("\ufffd", text)


def plain(text: str) -> str:
    """The text without what bots put around their words: HTML comments and tags, folded sections, and the
    targets of links and images. The text itself when nothing else would be left."""
    cleaned = _TAGS.sub(" ", _LINKS.sub(r"\1", _DETAILS.sub(" ", _COMMENTS.sub(" ", text[:LONGEST_TEXT]))))
    return cleaned.strip() or text


def issue_fields(issue: Issue, files: Iterable[FileChange], project: str = "") -> RaterFields:
    """The fields of a found issue; its diff lines come from the file of that path, if the change has it.

    The change's author may address the rater: such words and hidden characters are taken out of title and
    flagged line; a path, project line or neighbouring line that holds any is not shown at all.
    """
    section, lines = _around(files, issue.path, issue.line, issue.side)
    return RaterFields(
        text=untrusted.shown(issue.title),
        category=issue.category,
        path=_clean(issue.path),
        project=_clean(project),
        section=_clean(section),
        lines=tuple(untrusted.shown(line) if line.startswith(">") else _clean(line) for line in lines),
    )


def _clean(text: str) -> str:
    """The text, or nothing where it addresses the rater; `render` passes over empty fields and lines."""
    return text if untrusted.shown(text) == text else ""


def finding_fields(finding: LabelledFinding, files: Iterable[FileChange], project: str = "") -> RaterFields:
    """The fields of a labelled finding: title, category, place, project and diff, not its explanation."""
    section, lines = _around(files, finding.path, finding.line, finding.side)
    return RaterFields(
        text=finding.title,
        category=finding.category,
        path=finding.path,
        project=project,
        section=section,
        lines=lines,
    )


def comment_fields(comment: LabelledComment) -> RaterFields:
    """The fields of a labelled comment: its words, and category, language and project where given."""
    return RaterFields(
        text=comment.comment,
        category=comment.category or "",
        language=comment.language,
        project=comment.project,
    )


def window(lines: Sequence[LineT], position: int) -> Sequence[LineT]:
    """The line at `position` (from 0) with `LINES_AROUND` lines on each side, as far as there are any."""
    return lines[max(0, position - LINES_AROUND) : position + LINES_AROUND + 1]


def _around(files: Iterable[FileChange], path: str, line: int, side: Side) -> tuple[str, tuple[str, ...]]:
    for file in files:
        if path not in (file.path, file.old_path):
            continue
        for hunk in file.hunks:
            position = _position(hunk, line, side)
            if position is not None:
                flagged = hunk.lines[position]
                return hunk.section.strip(), tuple(
                    _show(line, flagged=line is flagged) for line in window(hunk.lines, position)
                )
    return "", ()


def _position(hunk: Hunk, line: int, side: Side) -> int | None:
    return next((i for i, shown in enumerate(hunk.lines) if number_on(shown, side) == line), None)


def _show(line: DiffLine, *, flagged: bool) -> str:
    text = " ".join(line.text.split())
    return f"{'>' if flagged else ''}{_MARKS[line.kind]} {text}".strip()
