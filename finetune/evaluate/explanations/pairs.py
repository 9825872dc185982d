"""What the judge compares: two explanations of the same finding, with the subject and a reference.

Owns reading and joining the files by id. Labelled rows give subject and reference (the label's explanation).
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from pydantic import ConfigDict, Field

from review_data.dataset import LabelledComment, load_any
from review_data.domain import Record
from review_data.errors import DataError
from review_data.jsonl import numbered_rows, read_data

ExplanationT = TypeVar("ExplanationT", bound="Identified")


class Verdict(StrEnum):
    """Whose explanation is better."""

    FIRST = "first"
    SECOND = "second"
    TIE = "tie"


class Identified(Record):
    """A row that belongs to a subject; other fields are left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(min_length=1)


class Explanation(Identified):
    """One system's words on one subject."""

    explanation: str


class HumanVerdict(Identified):
    """What a person said of a pair."""

    verdict: Verdict


class Subject(Record):
    """What is explained, and the teacher's own explanation if there is one."""

    id: str
    text: str
    reference: str = ""


class Pair(Record):
    """Two explanations of one subject, and a person's verdict if there is one."""

    subject: Subject
    first: str
    second: str
    human: Verdict | None = None


def read_pairs(data: Path, first: Path, second: Path, human: Path | None = None) -> list[Pair]:
    """Pairs of the subjects that both systems explained; `DataError` for an unknown id or no pair at all."""
    subjects = {subject.id: subject for subject in subjects_of(data)}
    said = [_by_id(path, Explanation, subjects) for path in (first, second)]
    verdicts = _by_id(human, HumanVerdict, subjects) if human else {}
    common = [name for name in subjects if name in said[0] and name in said[1]]
    if not common:
        raise DataError(f"explains nothing that {second.name} explains too; check the ids", file=first)
    return [
        Pair(
            subject=subjects[name],
            first=said[0][name].explanation,
            second=said[1][name].explanation,
            human=verdicts[name].verdict if name in verdicts else None,
        )
        for name in common
    ]


def subjects_of(data: Path) -> list[Subject]:
    """One subject per comment, or per finding of a merge request (its id is `<merge request>#<number>`)."""
    found: list[Subject] = []
    for row in load_any(data):
        if isinstance(row, LabelledComment):
            text = f"Project: {row.project}\nChange: {row.title}\nReview comment: {row.comment}"
            text += f"\nSeverity: {row.severity}"
            found.append(Subject(id=row.id, text=text, reference=row.explanation))
            continue
        for number, finding in enumerate(row.findings, start=1):
            text = (
                f"Project: {row.project}\nChange: {row.title}\n{row.diff}\n"
                f"Finding at {finding.path}:{finding.line}: {finding.title} ({finding.severity})"
            )
            found.append(Subject(id=f"{row.id}#{number}", text=text, reference=finding.explanation))
    return found


def _by_id(path: Path, kind: type[ExplanationT], known: dict[str, Subject]) -> dict[str, ExplanationT]:
    found: dict[str, ExplanationT] = {}
    for number, row in numbered_rows(read_data(path), kind, path):
        if row.id not in known or row.id in found:
            what = "occurs twice" if row.id in found else "is in no labelled row"
            raise DataError(f"`{row.id}` {what}; correct the id", file=path, line=number, field="id")
        found[row.id] = row
    return found
