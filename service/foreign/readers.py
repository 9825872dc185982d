"""rdjson, GitLab Code Quality and comments in; each becomes items to be rated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from review_data.dataset import Row
from review_data.domain import Category, Issue
from review_data.errors import DataError
from review_data.jsonl import numbered_rows, read_data
from review_data.rater_input import RaterFields
from service.foreign.items import (
    AGAIN,
    Item,
    get,
    guess_category,
    item,
    load_json,
    need,
    parse_json,
    read_text,
    relative,
)


class Comment(Row):
    """One review comment to be rated; only `comment` must be given."""

    id: str = ""
    language: str = ""
    project: str = ""
    title: str = ""
    comment: str
    category: Category | None = None
    path: str = ""
    line: int = 1


def load_rdjson(path: Path, root: Path | None = None) -> list[Item]:
    """reviewdog's diagnostics: one JSON object with `diagnostics`, or a diagnostic per line (rdjsonl)."""
    found = list(_diagnostics(path))
    return [item(_diagnostic(value, name, path, place, root), place) for place, value, name in found]


def load_gitlab(path: Path, root: Path | None = None) -> list[Item]:
    """A GitLab Code Quality report: an array of issues with `description` and `location`."""
    report = load_json(path)
    if not isinstance(report, list):
        raise DataError(
            "is not a Code Quality report (a JSON array); name another tool's report with --sarif, --rdjson",
            file=path,
        )
    places = ((f"[{number}]", value) for number, value in enumerate(report))
    return [item(_quality_issue(value, path, place, root), place) for place, value in places]


def load_comments(path: Path, root: Path | None = None) -> list[Item]:
    """A comment per line, `{"comment": ...}`; a comment without a path stands on its own row of this file."""
    rows = list(numbered_rows(read_data(path), Comment, path))
    if not rows:
        raise DataError("holds no comments; expected JSON Lines with `comment`", file=path)
    return [_comment(row, number, path, root) for number, row in rows]


def _comment(row: Comment, number: int, path: Path, root: Path | None) -> Item:
    if not row.comment.strip():
        raise DataError("is empty; say what the comment says", file=path, line=number, field="comment")
    file = relative(row.path, root)
    issue = Issue(
        path=file or path.name,
        line=max(1, row.line) if file else number,
        category=row.category or guess_category(row.comment),
        title=row.comment,
        quote="",
        source="comments",
    )
    fields = RaterFields(
        text=row.comment,
        category=row.category or "",
        path=file,
        language=row.language,
        project=row.project,
    )
    return Item(issue, fields, f"line {number}")


def _diagnostics(path: Path) -> Iterator[tuple[str, Any, str]]:
    """Each diagnostic with its place and its tool's name."""
    text = read_text(path)
    if not text.strip():
        raise DataError(
            'is empty; check that the tool ran (a report without findings is `{"diagnostics": []}`)',
            file=path,
        )
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if len(lines) > 1 and _is_json(lines[0][1]):
        for number, line in lines:
            value = parse_json(line, path, number)
            yield f"line {number}", value, _source(value, path, f"line {number}")
        return
    document = parse_json(text, path)
    name = _source(document, path, "")
    if "diagnostics" not in document and "message" in document:
        yield "", document, name
        return
    for number, value in enumerate(need(document, "diagnostics", list, path, "")):
        yield f"diagnostics[{number}]", value, name


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _source(value: Any, path: Path, place: str) -> str:
    source = get(value, "source", dict, path, place) or {}
    return str(source.get("name") or "rdjson")


def _diagnostic(value: Any, source: str, path: Path, place: str, root: Path | None) -> Issue:
    message = str(need(value, "message", str, path, place)).strip()
    location = need(value, "location", dict, path, place)
    file = relative(need(location, "path", str, path, f"{place}.location"), root)
    spread = get(location, "range", dict, path, f"{place}.location") or {}
    start = get(spread, "start", dict, path, f"{place}.location.range") or {}
    line = get(start, "line", int, path, f"{place}.location.range.start") or 1
    code = get(value, "code", dict, path, place) or {}
    rule = str(code.get("value") or "")
    return _issue(file, line, rule, message, source, path, f"{place}.message")


def _quality_issue(value: Any, path: Path, place: str, root: Path | None) -> Issue:
    description = str(need(value, "description", str, path, place)).strip()
    location = need(value, "location", dict, path, place)
    file = relative(need(location, "path", str, path, f"{place}.location"), root)
    lines = get(location, "lines", dict, path, f"{place}.location")
    if lines is not None:
        line = need(lines, "begin", int, path, f"{place}.location.lines")
    else:
        positions = get(location, "positions", dict, path, f"{place}.location") or {}
        begin = get(positions, "begin", dict, path, f"{place}.location.positions") or {}
        line = get(begin, "line", int, path, f"{place}.location.positions.begin") or 1
    rule = get(value, "check_name", str, path, place) or ""
    return _issue(file, line, rule, description, "code-quality", path, f"{place}.description")


def _issue(file: str, line: int, rule: str, message: str, source: str, path: Path, place: str) -> Issue:
    if not message:
        raise DataError(f"is empty{AGAIN}", file=path, field=place)
    return Issue(
        path=file,
        line=max(1, line),
        category=guess_category(rule, message),
        title=message,
        quote="",
        source=source,
        rule=rule or None,
    )
