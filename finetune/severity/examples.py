"""The rows that the severity model learns from and is scored on, as fields with a label.

Reads the packaged teacher rows and the project-written ones: comments in other wording (`wording/`), remarks
of the kinds that stand in real threads (`threads/`) and findings with diff lines (`findings/`), all described
in docs/dataset.md. Decides nothing about training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from finetune.severity.config import TrainConfig
from review_data.dataset import (
    LabelledComment,
    LabelledMergeRequest,
    Split,
    comments,
    content_hash,
    load_rows,
    merge_requests,
    packaged_hash,
)
from review_data.diff import parse_diff
from review_data.domain import Category, Record
from review_data.jsonl import read_jsonl
from review_data.rater_input import RaterFields, comment_fields, finding_fields, window
from review_data.severity import Severity

Source = Literal["merge_requests", "comments", "wording", "threads", "findings", "rules"]
HeldSplit = Literal["train", "validation"]
WORDING_FOLDER: Final = Path(__file__).parent / "wording"
THREADS_FOLDER: Final = Path(__file__).parent / "threads"
FINDINGS_FOLDER: Final = Path(__file__).parent / "findings"


class Example(Record):
    """One issue with its label; `record` groups the issues of one merge request.

    `second` is the label of another, blind opinion, where there is one.
    """

    record: str
    source: Source
    fields: RaterFields
    severity: Severity
    second: Severity | None = None


class WrittenComment(LabelledComment):
    """A row of `wording/` or `threads/`: `second` is another, blind opinion."""

    second: Severity | None = None


class WrittenFinding(Record):
    """A row of `findings/`: an issue with the diff lines around it (the flagged one starts with ">").

    `second` is another, blind opinion.
    """

    id: str
    text: str = Field(min_length=1)
    category: Category
    path: str
    project: str
    section: str = ""
    lines: tuple[str, ...] = ()
    explanation: str
    severity: Severity
    second: Severity | None = None


def training_examples(config: TrainConfig) -> list[Example]:
    """The training split of the configured sources, and the project-written rows; a share of all."""
    rows = packaged_examples("train", config.sources)
    rows += wording_examples("train") + thread_examples("train") if config.wording else []
    rows += finding_examples("train") + rule_examples() if config.findings else []
    return [row for row in rows if _place(row.record) < config.share]


def _place(record: str) -> float:
    """Where a record stands in [0, 1), by its id alone."""
    return int.from_bytes(hashlib.sha256(record.encode()).digest()[:4]) / 2**32


def packaged_examples(split: Split, sources: Iterable[str] = ("merge_requests", "comments")) -> list[Example]:
    """One packaged split: a row per finding, then a row per comment."""
    found: list[Example] = []
    if "merge_requests" in sources:
        found += merge_request_examples(merge_requests(split))
    if "comments" in sources:
        found += comment_examples(comments(split), "comments")
    return found


def wording_examples(split: HeldSplit) -> list[Example]:
    """Project-written comments in many voices; the two splits share no comment."""
    return _written_comments(WORDING_FOLDER / f"{split}.jsonl", "wording")


def thread_examples(split: HeldSplit) -> list[Example]:
    """Project-written remarks of the kinds, and in about the proportions, of real review threads."""
    return _written_comments(THREADS_FOLDER / f"{split}.jsonl", "threads")


def _written_comments(file: Path, source: Source) -> list[Example]:
    rows = load_rows(file, WrittenComment)
    examples = comment_examples(rows, source)
    return [
        example.model_copy(update={"second": row.second}) for example, row in zip(examples, rows, strict=True)
    ]


def finding_examples(split: HeldSplit) -> list[Example]:
    """Project-written findings; a pair that differs in its project line alone is in one split."""
    return _written(FINDINGS_FOLDER / f"{split}.jsonl", "findings")


def rule_examples() -> list[Example]:
    """What the embedded rules say, each in code that it matches, where nothing is known of the project."""
    return _written(FINDINGS_FOLDER / "rules.jsonl", "rules")


def _written(file: Path, source: Source) -> list[Example]:
    return [
        Example(
            record=row.id,
            source=source,
            fields=_written_fields(row),
            severity=row.severity,
            second=row.second,
        )
        for row in read_jsonl(file, WrittenFinding)
    ]


def _written_fields(row: WrittenFinding) -> RaterFields:
    flagged = next((number for number, line in enumerate(row.lines) if line.startswith(">")), 0)
    given = row.model_dump(include=set(RaterFields.model_fields))
    return RaterFields.model_validate({**given, "lines": window(row.lines, flagged)})


def data_hash() -> str:
    """SHA-256 (hex) over everything that training and validation read."""
    folders = (WORDING_FOLDER, THREADS_FOLDER, FINDINGS_FOLDER)
    written = [content_hash(folder.glob("*.jsonl")) for folder in folders]
    return hashlib.sha256(" ".join([packaged_hash(("train", "validation")), *written]).encode()).hexdigest()


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
