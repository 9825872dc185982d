"""What a language model's reply must look like, and reading it: schemas, a compact pattern, parsers.

Owns the shape of replies to `review_data.prompts`, and the texts a training example must have. A reply that
does not fit raises `ReplyError` with the raw text; nothing is guessed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from pydantic import Field, ValidationError

from review_data.domain import Category, Record
from review_data.errors import ReplyError
from review_data.prompts import MAX_ISSUES, MAX_QUOTE, MAX_TEXT, MAX_TITLE
from review_data.severity import SEVERITIES, Severity
from review_data.untrusted import one_line

RecordT = TypeVar("RecordT", bound=Record)


class FoundIssue(Record):
    """One entry of a find reply."""

    line: int = Field(ge=0, le=9_999_999)
    quote: str = Field(max_length=MAX_QUOTE)
    category: Category
    title: str = Field(min_length=1, max_length=MAX_TITLE)


class FindReply(Record):
    """A find reply: no issues means the model sees none."""

    issues: tuple[FoundIssue, ...] = Field(max_length=MAX_ISSUES)


class ExplainReply(Record):
    """An explain reply."""

    explanation: str = Field(min_length=1, max_length=MAX_TEXT)
    suggestion: str = Field(max_length=MAX_TEXT)


# Patterns leave no room for blanks between JSON tokens, nor for runs of them in a sentence: under a plain
# schema a server may let a model print white space until the token limit. Lengths are bounded by the token
# limit and cut when read: a bound within the pattern made xgrammar 1000 times slower (docs/log.md).
_ESCAPE: Final = r'\\["\\/bfnrt]|\\u[0-9a-fA-F]{4}'
_COPIED: Final = rf'"([^"\\\x00-\x1f\x7f]|{_ESCAPE})*"'
_WORD: Final = rf'([^ "\\\x00-\x1f\x7f]|{_ESCAPE})+'
_WORDS: Final = f"{_WORD}( {_WORD})*"
_ISSUE: Final = (
    r'\{"line": (0|[1-9][0-9]{0,6}), "quote": '
    + _COPIED
    + r', "category": "('
    + "|".join(Category)
    + rf')", "title": "{_WORDS}"'
    + r"\}"
)
FIND_PATTERN: Final = r'\{"issues": \[(' + _ISSUE + "(, " + _ISSUE + "){0," + str(MAX_ISSUES - 1) + r"})?\]\}"
EXPLAIN_PATTERN: Final = rf'\{{"explanation": "{_WORDS}", "suggestion": "({_WORDS})?"\}}'
LABELS: Final = tuple(severity.label for severity in SEVERITIES)


def find_schema() -> dict[str, Any]:
    """The find reply as JSON Schema, for servers that take no pattern."""
    issue = _object(
        {
            "line": {"type": "integer"},
            "quote": {"type": "string"},
            "category": {"type": "string", "enum": list(Category)},
            "title": {"type": "string"},
        }
    )
    return _object({"issues": {"type": "array", "items": issue}})


def rate_schema() -> dict[str, Any]:
    """The severity as JSON Schema, for servers that give no token probabilities."""
    return _object({"severity": {"type": "string", "enum": list(LABELS)}})


def explain_schema() -> dict[str, Any]:
    """The explain reply as JSON Schema."""
    return _object({"explanation": {"type": "string"}, "suggestion": {"type": "string"}})


def find_completion(issues: Sequence[FoundIssue]) -> str:
    """The reply that a perfect model gives to a find prompt."""
    rows = [issue.model_dump(mode="json") for issue in issues[:MAX_ISSUES]]
    return json.dumps({"issues": rows}, ensure_ascii=False)


def explain_completion(explanation: str, suggestion: str) -> str:
    """The reply that a perfect model gives to an explain prompt."""
    texts = {
        "explanation": one_line(explanation, MAX_TEXT),
        "suggestion": one_line(suggestion, MAX_TEXT),
    }
    return json.dumps(texts, ensure_ascii=False)


def parse_find(text: str) -> FindReply:
    """`ReplyError` unless `text` is a find reply; over-long strings of unconstrained servers are cut."""
    found = _parsed(text, "issues")
    rows = found["issues"]
    if not isinstance(rows, list):
        raise ReplyError(f"the model's reply has no list `issues`: {excerpt(text)}", reply=text)
    return FindReply(issues=tuple(_issue(row, text) for row in rows[:MAX_ISSUES]))


def issues_before_cut(text: str) -> tuple[FoundIssue, ...]:
    """The whole entries of a find reply that was cut off; `ReplyError` when it does not begin like one."""
    head, bracket, rest = text.partition("[")
    if not bracket or '"issues"' not in head:
        raise ReplyError(f"the model's reply was cut off and holds no issue: {excerpt(text)}", reply=text)
    found: list[FoundIssue] = []
    decoder = json.JSONDecoder()
    while len(found) < MAX_ISSUES:
        try:
            row, end = decoder.raw_decode(rest := rest.lstrip(", \n\t"))
        except (ValueError, RecursionError):
            break
        found.append(_issue(row, text))
        rest = rest[end:]
    return tuple(found)


def parse_rate(text: str) -> Severity:
    """The severity of a bare label ("3") or of a reply by `rate_schema`."""
    label = text.strip()
    if label.startswith("{"):
        label = str(_parsed(text, "severity")["severity"])
    if label not in LABELS:
        raise ReplyError(f"the model's reply is not a severity from 1 to 4: {excerpt(text)}", reply=text)
    return Severity.from_rank(LABELS.index(label))


def parse_explain(text: str) -> ExplainReply:
    """`ReplyError` unless `text` is an explain reply."""
    found = _parsed(text, "explanation", "suggestion")
    return _validated(
        ExplainReply,
        {name: one_line(str(found[name]), MAX_TEXT) for name in ("explanation", "suggestion")},
        text,
    )


def excerpt(text: str, limit: int = 120) -> str:
    """The beginning of a reply, fit for a message."""
    return f"“{one_line(text, limit)}”"


def _issue(row: object, text: str) -> FoundIssue:
    if not isinstance(row, dict):
        raise ReplyError(f"an issue of the model's reply is no object: {excerpt(text)}", reply=text)
    cut = {
        **row,
        "quote": one_line(str(row.get("quote", "")), MAX_QUOTE),
        "title": one_line(str(row.get("title", "")), MAX_TITLE),
    }
    return _validated(FoundIssue, cut, text)


def _parsed(text: str, *keys: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise ReplyError(f"the model's reply is not JSON: {excerpt(text)}", reply=text) from None
    if not isinstance(value, dict) or any(key not in value for key in keys):
        raise ReplyError(f"the model's reply lacks {', '.join(keys)}: {excerpt(text)}", reply=text)
    return value


def _validated(kind: type[RecordT], values: dict[str, Any], text: str) -> RecordT:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ReplyError(
            f"the model's reply does not fit: `{where}`: {first['msg']}: {excerpt(text)}", reply=text
        ) from None


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
