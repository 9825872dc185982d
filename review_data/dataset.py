"""The teacher-labelled dataset: rows, loading with validation, splits, and a content hash.

Owns the packaged rows (`review_data/teacher/`, described in docs/dataset.md) and the reading of files of the
same two shapes. What a model may see of a row is decided in `review_data.rater_input` and
`review_data.prompts`: `explanation` gives the label away and is a target, never an input.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, TypeVar, cast, get_args

from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic_core import from_json

from review_data.domain import Category, Record, Side
from review_data.errors import DataError
from review_data.jsonl import numbered_lines, numbered_rows, parse_row, read_data
from review_data.severity import Severity

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
TEACHER_FOLDER = Path(__file__).parent / "teacher"


class Row(Record):
    """A row of a data file: other tools' extra fields are ignored, wrong values are not.

    Where a required field is missing, a field that is spelt like it is named.
    """

    model_config = ConfigDict(extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _tidy(cls, row: object) -> object:
        if not isinstance(row, dict):
            return row
        found = {key: value for key, value in row.items() if value is not None}
        extra = found.keys() - cls.model_fields.keys()
        missing = (
            name for name, field in cls.model_fields.items() if field.is_required() and name not in found
        )
        for name in missing:
            near = difflib.get_close_matches(name, extra, n=1, cutoff=0.8)
            if near:
                raise ValueError(f"there is no field `{near[0]}`; did you mean `{name}`?")
        return found

    @field_validator("severity", mode="before", check_fields=False)
    @classmethod
    def _any_case(cls, severity: object) -> object:
        return severity.lower() if isinstance(severity, str) else severity


class LabelledFinding(Row):
    """One fault of a labelled merge request; `line` counts on `side`."""

    path: str = Field(min_length=1)
    line: int = Field(ge=1)
    side: Side = Side.NEW
    category: Category
    severity: Severity
    title: str = Field(min_length=1)
    explanation: str = ""
    suggestion: str = ""


class LabelledMergeRequest(Row):
    """One merge request with every fault the teacher sees in it; no findings means it is clean."""

    id: str = Field(min_length=1)
    language: str = ""
    project: str = ""
    title: str = ""
    description: str = ""
    diff: str = Field(min_length=1)
    findings: tuple[LabelledFinding, ...] = ()

    @field_validator("diff")
    @classmethod
    def _is_a_diff(cls, diff: str) -> str:
        if "@@" not in diff and "diff --git" not in diff:
            raise ValueError("is not a unified diff (no `@@` and no `diff --git` line)")
        return diff


class LabelledComment(Row):
    """One review comment with its severity; all but `comment` and `severity` may be missing."""

    id: str = ""
    language: str = ""
    project: str = ""
    title: str = ""
    comment: str = Field(min_length=1)
    category: Category | None = None
    severity: Severity
    explanation: str = ""


LabelledT = TypeVar("LabelledT", bound=LabelledMergeRequest | LabelledComment)


def merge_requests(split: Split) -> tuple[LabelledMergeRequest, ...]:
    """The packaged merge requests of one split."""
    return load_merge_requests(TEACHER_FOLDER / f"merge_requests.{split}.jsonl")


def comments(split: Split) -> tuple[LabelledComment, ...]:
    """The packaged review comments of one split."""
    return load_comments(TEACHER_FOLDER / f"comments.{split}.jsonl")


def load_merge_requests(path: Path) -> tuple[LabelledMergeRequest, ...]:
    """Merge requests from a file; `DataError` names file, line and field of the first wrong row."""
    return load_rows(path, LabelledMergeRequest)


def load_comments(path: Path) -> tuple[LabelledComment, ...]:
    """Comments from a file; `DataError` names file, line and field of the first wrong row."""
    return load_rows(path, LabelledComment)


def load_rows(path: Path, kind: type[LabelledT]) -> tuple[LabelledT, ...]:
    """Rows of one shape, or of one derived from it, from a file; `DataError` also when an id repeats."""
    return tuple(row for _, row in _unique_rows(read_data(path), kind, path))


def load_any(path: Path) -> tuple[LabelledMergeRequest | LabelledComment, ...]:
    """Rows of either shape; see `rows_of`."""
    return tuple(row for _, row in rows_of(read_data(path), path))


def rows_of(data: bytes, path: Path) -> list[tuple[int, LabelledMergeRequest | LabelledComment]]:
    """The rows of a file's bytes with their line numbers. Their shape is told by the first row, which has a
    `comment` or a `diff`."""
    line, keys = _first_keys(data, path)
    if "comment" in keys:
        return [*_unique_rows(data, LabelledComment, path)]
    if "diff" in keys:
        return [*_unique_rows(data, LabelledMergeRequest, path)]
    raise DataError(
        "has neither `comment` nor `diff`; docs/dataset.md says what a row holds", file=path, line=line
    )


def content_hash(paths: Iterable[Path]) -> str:
    """SHA-256 (hex) over the files' names and bytes, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda path: path.name):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def packaged_hash(splits: Iterable[Split] = SPLITS) -> str:
    """The content hash of the packaged files of these splits, both kinds."""
    return content_hash(
        TEACHER_FOLDER / f"{kind}.{split}.jsonl"
        for kind in ("merge_requests", "comments")
        for split in splits
    )


def check_splits_apart() -> None:
    """`DataError` if a record's id stands in two packaged splits: rows are grouped by record."""
    seen: dict[str, str] = {}
    for split in SPLITS:
        rows: list[LabelledMergeRequest | LabelledComment] = [*merge_requests(split), *comments(split)]
        for row in rows:
            if row.id in seen:
                raise DataError(
                    f"`{row.id}` also stands in {seen[row.id]}; keep a record in one split",
                    file=f"split {split}",
                    field="id",
                )
            seen[row.id] = split


def _first_keys(data: bytes, path: Path) -> tuple[int, frozenset[str]]:
    """The first row's line number and keys."""
    number, first = next(numbered_lines(data, path), (0, ""))
    if not first:
        raise DataError("is empty; expected JSON Lines", file=path)
    try:
        row = from_json(first)
    except ValueError:
        parse_row(first, LabelledComment, path, number)  # says what is wrong with it
        raise
    return number, frozenset(cast(dict[str, object], row)) if isinstance(row, dict) else frozenset()


def _unique_rows(data: bytes, kind: type[LabelledT], path: Path) -> Iterator[tuple[int, LabelledT]]:
    seen: dict[str, int] = {}
    for number, row in numbered_rows(data, kind, path):
        if row.id and row.id in seen:
            raise DataError(
                f"`{row.id}` also stands in line {seen[row.id]}; give each row an id of its own",
                file=path,
                line=number,
                field="id",
            )
        seen[row.id] = number
        yield number, row
