"""What every reader of a foreign report gives: one item per finding, and helpers to read untrusted JSON.

Owns no format. A malformed report is a `DataError` that names the file and the place in it.
"""

from __future__ import annotations

import json
import math
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from review_data.domain import Category, Issue, Skip
from review_data.errors import DataError
from review_data.jsonl import decoded, read_data
from review_data.rater_input import RaterFields

NO_PATH: Final = "(no file)"
AGAIN: Final = "; correct the report or export it again"
_TOO_DEEP: Final = f"is nested too deeply to be a report{AGAIN}"
_DEEPEST: Final = 200
_MOST_DIGITS: Final = 4300  # as many as Python converts
_NAMES: Final = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "an object",
    list: "an array",
    type(None): "null",
}

_HINTS: Final[tuple[tuple[Category, str], ...]] = (
    (
        Category.SECURITY,
        r"secur|cwe|inject|xss|csrf|ssrf|crypt|secret|credential|password|travers|vulnerab|taint",
    ),
    (Category.CONCURRENCY, r"concurren|thread|race|deadlock|async|await|goroutine|mutex"),
    (Category.PERFORMANCE, r"perf|slow|n\+1|complexity of o\("),
    (Category.RESOURCE, r"leak|unclosed|not closed|resource"),
    (Category.ERROR_HANDLING, r"except|catch|error.?handl|swallow|unhandled|errcheck"),
    (Category.TESTING, r"\btests?\b|assert"),
    (Category.DOCUMENTATION, r"docstring|\bdocs?\b|comment|typo|spelling|pydocstyle"),
    (Category.STYLE, r"style|format|indent|whitespace|quote|naming|pycodestyle|isort|line.?length|semicolon"),
    (
        Category.MAINTAINABILITY,
        r"unused|dead.?code|duplicat|complex|maintainab|refactor|smell|deprecat|import",
    ),
)


@dataclass(frozen=True, slots=True)
class Item:
    """One foreign finding: the issue, what a text rater is shown, and where it stands in its report.

    `live` is False for what the report itself calls suppressed, passed or gone.
    """

    issue: Issue
    fields: RaterFields
    place: str
    live: bool = True


class Report(NamedTuple):
    """What a file holds: its findings, what its tool could not do, and the log itself where it is SARIF."""

    items: list[Item]
    skips: tuple[Skip, ...] = ()
    log: Any = None


def item(issue: Issue, place: str, *, live: bool = True) -> Item:
    """An item whose text fields come from the issue; the category is only a guess and is not shown."""
    fields = RaterFields(text=issue.title, path="" if issue.path == NO_PATH else issue.path)
    return Item(issue, fields, place, live)


def relative(file: str, root: Path | None) -> str:
    """The path as a change has it: below the repository's `root`, without `.` and `..`; "" stays."""
    path = posixpath.normpath(file) if file else ""
    return path if root is None else path.removeprefix(f"{root.as_posix().rstrip('/')}/")


def guess_category(*texts: str) -> Category:
    """A category from a rule's name, tags and message; correctness when nothing speaks for another."""
    joined = " ".join(texts).lower()
    return next((category for category, hint in _HINTS if re.search(hint, joined)), Category.CORRECTNESS)


def load_json(path: Path) -> Any:
    """The file's JSON; see `parse_json`."""
    return parse_json(read_text(path), path)


def parse_json(text: str, path: Path, line: int = 1) -> Any:
    """The text, which begins on that line of its file, as JSON that can be written again.

    `DataError` with the line when it is none, or holds numbers that are none or nesting beyond all reports.
    """
    try:
        value = json.loads(text, parse_float=_number, parse_constant=_number, parse_int=_whole_number)
    except json.JSONDecodeError as error:
        raise DataError(
            f"is not valid JSON: {error.msg} at column {error.colno}; export the report again",
            file=path,
            line=line + error.lineno - 1,
        ) from None
    except RecursionError:
        raise DataError(_TOO_DEEP, file=path, line=line) from None
    except ValueError as error:
        number = str(error)
        raise DataError(
            f"holds a number that is none or too large ({number[:20]}){AGAIN}",
            file=path,
            line=line + text.count("\n", 0, text.find(number)),
        ) from None
    if _is_deep(value):
        raise DataError(_TOO_DEEP, file=path, line=line)
    return value


def read_text(path: Path) -> str:
    """The file's text, a byte order mark removed; `DataError` when it can't be read."""
    return decoded(read_data(path), path)


def get(value: Any, key: str, kind: type | tuple[type, ...], path: Path, place: str) -> Any:
    """`value[key]`, which must be a `kind`; None when absent or null; `DataError` names the place."""
    if not isinstance(value, Mapping):
        raise DataError(f"is {_name(type(value))}, not an object{AGAIN}", file=path, field=place)
    found = value.get(key)
    if found is not None and (not isinstance(found, kind) or isinstance(found, bool)):
        names = _name(kind) if isinstance(kind, type) else " or ".join(map(_name, kind))
        raise DataError(
            f"is {_name(type(found))}, not {names}{AGAIN}", file=path, field=f"{place}.{key}".lstrip(".")
        )
    return found


def need(value: Any, key: str, kind: type | tuple[type, ...], path: Path, place: str) -> Any:
    """Like `get`, but absent is a `DataError` too."""
    found = get(value, key, kind, path, place)
    if found is None:
        raise DataError(f"is missing{AGAIN}", file=path, field=f"{place}.{key}".lstrip("."))
    return found


def _name(kind: type) -> str:
    return _NAMES.get(kind, kind.__name__)


def _number(literal: str) -> float:
    value = float(literal)
    if not math.isfinite(value):
        raise ValueError(literal)
    return value


def _whole_number(literal: str) -> int:
    if len(literal) > _MOST_DIGITS:
        raise ValueError(literal)
    return int(literal)


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return False
    return True
