"""The rows that the severity model learns from and is scored on, as fields with a label.

Reads the packaged teacher rows and the project-written wording rows (`wording/`, described in
docs/dataset.md); decides nothing about training.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

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
from review_data.domain import Record
from review_data.rater_input import RaterFields, comment_fields, finding_fields
from review_data.severity import Severity

Source = Literal["merge_requests", "comments", "wording"]
WORDING_FOLDER: Final = Path(__file__).parent / "wording"


class Example(Record):
    """One issue with its label; `record` groups the issues of one merge request."""

    record: str
    source: Source
    fields: RaterFields
    severity: Severity


def training_examples(config: TrainConfig) -> list[Example]:
    """The training split of the configured sources, and the wording rows."""
    return packaged_examples("train", config.sources) + (wording_examples("train") if config.wording else [])


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
