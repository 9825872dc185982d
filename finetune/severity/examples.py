"""The rows that the severity model learns from and is scored on, as fields with a label.

Reads the packaged teacher rows and the project-written wording rows (`wording/`, described in
docs/dataset.md); decides nothing about training.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Literal

from pydantic import field_validator

from finetune.severity.config import TrainConfig
from review_data.dataset import (
    LabelledComment,
    LabelledMergeRequest,
    Split,
    comments,
    content_hash,
    load_comments,
    merge_requests,
    packaged_hash,
)
from review_data.diff import parse_diff
from review_data.domain import Category, Record
from review_data.jsonl import read_jsonl
from review_data.rater_input import LINES_AROUND, RaterFields, comment_fields, finding_fields
from review_data.severity import Severity

Source = Literal["merge_requests", "comments", "wording", "written"]
WORDING_FOLDER: Final = Path(__file__).parent / "wording"


class WrittenFinding(Record):
    """A project-written finding with the diff lines around it; one of `lines` starts with ">"."""

    id: str
    text: str
    category: Category
    path: str
    project: str
    section: str = ""
    lines: tuple[str, ...]
    severity: Severity
    explanation: str = ""

    @field_validator("lines")
    @classmethod
    def _flags_one(cls, lines: tuple[str, ...]) -> tuple[str, ...]:
        if sum(line.startswith(">") for line in lines) != 1:
            raise ValueError("must flag exactly one line with `>`")
        return lines


class Example(Record):
    """One issue with its label; `record` groups the issues of one merge request."""

    record: str
    source: Source
    fields: RaterFields
    severity: Severity


def training_examples(config: TrainConfig) -> list[Example]:
    """The training split of the configured sources, and the project-written rows."""
    written = [*wording_examples("train"), *written_findings()] if config.wording else []
    return packaged_examples("train", config.sources) + written


def packaged_examples(split: Split, sources: Iterable[str] = ("merge_requests", "comments")) -> list[Example]:
    """One packaged split: a row per finding, then a row per comment."""
    found: list[Example] = []
    if "merge_requests" in sources:
        found += merge_request_examples(merge_requests(split))
    if "comments" in sources:
        found += comment_examples(comments(split), "comments")
    return found


def wording_examples(split: Literal["train", "validation"]) -> list[Example]:
    """Project-written comments in many voices; the two splits share no comment."""
    return comment_examples(load_comments(WORDING_FOLDER / f"{split}.jsonl"), "wording")


def written_findings() -> list[Example]:
    """Project-written findings with their diff lines, for training only."""
    return [
        Example(
            record=row.id,
            source="written",
            fields=RaterFields(
                text=row.text,
                category=row.category,
                path=row.path,
                project=row.project,
                section=row.section,
                lines=window(row.lines),
            ),
            severity=row.severity,
        )
        for row in read_jsonl(WORDING_FOLDER / "findings.jsonl", WrittenFinding)
    ]


def window(lines: Sequence[str]) -> tuple[str, ...]:
    """The lines that a rater is shown: as many around the flagged one as serving gives."""
    at = next(number for number, line in enumerate(lines) if line.startswith(">"))
    return tuple(lines[max(0, at - LINES_AROUND) : at + LINES_AROUND + 1])


def data_hash() -> str:
    """SHA-256 (hex) over everything that training and validation read."""
    wording = content_hash(WORDING_FOLDER.glob("*.jsonl"))
    return f"{packaged_hash(('train', 'validation'))[:32]}{wording[:32]}"


def merge_request_examples(rows: Iterable[LabelledMergeRequest]) -> list[Example]:
    """A row per finding of each merge request."""
    found = []
    for row in rows:
        files = parse_diff(row.diff).files
        found += [
            Example(
                record=row.id,
                source="merge_requests",
                fields=finding_fields(finding, files, row.project),
                severity=finding.severity,
            )
            for finding in row.findings
        ]
    return found


def comment_examples(rows: Iterable[LabelledComment], source: Source) -> list[Example]:
    """A row per comment."""
    return [
        Example(
            record=row.id or f"{source}-{number}",
            source=source,
            fields=comment_fields(row),
            severity=row.severity,
        )
        for number, row in enumerate(rows, start=1)
    ]
