"""What every reader of a foreign report gives: one item per finding, and helpers to read untrusted JSON.

Owns no format. A malformed report is a `DataError` that names the file and the place in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from review_data.domain import Category, Issue
from review_data.errors import DataError
from review_data.rater_input import RaterFields

NO_PATH: Final = "(no file)"

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
    """One foreign finding: the issue, what a text rater is shown, and where it stands in its report."""

    issue: Issue
    fields: RaterFields
    place: str


def item(issue: Issue, place: str) -> Item:
    """An item whose text fields come from the issue; the category is only a guess and is not shown."""
    return Item(issue, RaterFields(text=issue.title, path="" if issue.path == NO_PATH else issue.path), place)


def guess_category(*texts: str) -> Category:
    """A category from a rule's name, tags and message; correctness when nothing speaks for another."""
    joined = " ".join(texts).lower()
    return next((category for category, hint in _HINTS if re.search(hint, joined)), Category.CORRECTNESS)


def load_json(path: Path) -> Any:
    """The file's JSON; `DataError` with line and column when it is none."""
    text = read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"is not valid JSON: {error.msg} at column {error.colno}; export the report again",
            file=path,
            line=error.lineno,
        ) from None
    except RecursionError:
        raise DataError("is nested too deeply to be a report", file=path) from None


def read_text(path: Path) -> str:
    """The file's text, a byte order mark removed; `DataError` when it can't be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"can't be read ({error.strerror}); check the path", file=path) from error
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 ({error.reason}); save it as UTF-8", file=path) from error


def get(value: Any, key: str, kind: type | tuple[type, ...], path: Path, place: str) -> Any:
    """`value[key]`, which must be a `kind`; None when absent or null; `DataError` names the place."""
    if not isinstance(value, Mapping):
        raise DataError("is not an object", file=path, field=place)
    found = value.get(key)
    if found is not None and (not isinstance(found, kind) or isinstance(found, bool)):
        names = kind.__name__ if isinstance(kind, type) else " or ".join(each.__name__ for each in kind)
        raise DataError(
            f"is {type(found).__name__}, not {names}", file=path, field=f"{place}.{key}".lstrip(".")
        )
    return found


def need(value: Any, key: str, kind: type | tuple[type, ...], path: Path, place: str) -> Any:
    """Like `get`, but absent is a `DataError` too."""
    found = get(value, key, kind, path, place)
    if found is None:
        raise DataError("is missing", file=path, field=f"{place}.{key}".lstrip("."))
    return found
