"""rdjson, GitLab Code Quality and comments in; each becomes items to be rated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from review_data.dataset import Row
from review_data.domain import Category, Issue
from review_data.errors import DataError
from review_data.jsonl import read_jsonl
from review_data.rater_input import RaterFields
from service.foreign.items import Item, get, guess_category, item, load_json, need, read_text


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


def load_rdjson(path: Path) -> list[Item]:
    """reviewdog's diagnostics: one JSON object with `diagnostics`, or a diagnostic per line (rdjsonl)."""
    found = list(_diagnostics(path))
    return [item(_diagnostic(value, name, path, place), place) for place, value, name in found]


def load_gitlab(path: Path) -> list[Item]:
    """A GitLab Code Quality report: an array of issues with `description` and `location`."""
    report = load_json(path)
    if not isinstance(report, list):
        raise DataError("is not a Code Quality report (a JSON array)", file=path)
    places = ((f"[{number}]", value) for number, value in enumerate(report))
    return [item(_quality_issue(value, path, place), place) for place, value in places]


def load_comments(path: Path) -> list[Item]:
    """A comment per line, `{"comment": ...}`; a comment without a path stands on its own row of this file."""
    rows = list(read_jsonl(path, Comment))
    if not rows:
        raise DataError("holds no comments; expected JSON Lines with `comment`", file=path)
    return [_comment(row, number, path) for number, row in enumerate(rows, start=1)]


def _comment(row: Comment, number: int, path: Path) -> Item:
    issue = Issue(
        path=row.path or path.name,
        line=row.line if row.path else number,
        category=row.category or guess_category(row.comment),
        title=row.comment,
        quote="",
        source="comments",
    )
    fields = RaterFields(
        text=row.comment,
        category=row.category or "",
        path=row.path,
        language=row.language,
        project=row.project,
    )
    return Item(issue, fields, f"line {number}")


def _diagnostics(path: Path) -> Iterator[tuple[str, Any, str]]:
    text = read_text(path)
    try:
        document = json.loads(text)
    except json.JSONDecodeError:
        yield from _lines(text, path)
        return
    if isinstance(document, dict) and "diagnostics" not in document and "message" in document:
        yield "", document, "rdjson"
        return
    source = get(document, "source", dict, path, "") or {}
    name = str(source.get("name") or "rdjson")
    for number, value in enumerate(need(document, "diagnostics", list, path, "")):
        yield f"diagnostics[{number}]", value, name


def _lines(text: str, path: Path) -> Iterator[tuple[str, Any, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"is not valid JSON: {error.msg} at column {error.colno}; export the report again",
                file=path,
                line=number,
            ) from None
        source = get(value, "source", dict, path, f"line {number}") or {}
        yield f"line {number}", value, str(source.get("name") or "rdjson")


def _diagnostic(value: Any, source: str, path: Path, place: str) -> Issue:
    message = str(need(value, "message", str, path, place)).strip()
    location = need(value, "location", dict, path, place)
    file = need(location, "path", str, path, f"{place}.location")
    spread = get(location, "range", dict, path, f"{place}.location") or {}
    start = get(spread, "start", dict, path, f"{place}.location.range") or {}
    line = get(start, "line", int, path, f"{place}.location.range.start") or 1
    code = get(value, "code", dict, path, place) or {}
    rule = str(code.get("value") or "")
    return _issue(file, line, rule, message, source, path, f"{place}.message")


def _quality_issue(value: Any, path: Path, place: str) -> Issue:
    description = str(need(value, "description", str, path, place)).strip()
    location = need(value, "location", dict, path, place)
    file = need(location, "path", str, path, f"{place}.location")
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
        raise DataError("is empty", file=path, field=place)
    return Issue(
        path=file,
        line=max(1, line),
        category=guess_category(rule, message),
        title=message,
        quote="",
        source=source,
        rule=rule or None,
    )
