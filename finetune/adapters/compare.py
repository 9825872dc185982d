"""Comparing adapters on the same rows, and promoting the better one by a recorded comparison.

Answers are the validation split's, as `finetune.llm` wrote them. The rule: a candidate is promoted when its
score is higher and the paired bootstrap (grouped by record) leaves at most 5% for chance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from finetune.adapters.registry import Promotion, find, promotions, write_promotion
from finetune.llm.score import ANSWERS, BASE_ANSWERS, Answer, score, score_name, statistic
from finetune.statistics import Difference, paired_bootstrap
from review_data.domain import Record
from review_data.errors import UserError
from review_data.jsonl import read_jsonl, write_atomically

BASE: Final = "base"
LIMIT: Final = 0.05
RESAMPLES: Final = 1000


class Comparison(Record):
    """Candidate minus incumbent on the same rows of the validation split."""

    id: str
    task: str
    candidate: str
    incumbent: str
    rows: int
    rows_sha256: str
    score: str
    candidate_score: float
    incumbent_score: float
    difference: Difference
    compared: str

    @property
    def better(self) -> bool:
        """Whether the candidate may be promoted over the incumbent."""
        p = self.difference.p_value
        return self.candidate_score > self.incumbent_score and p is not None and p <= LIMIT


def compare(registry: Path, candidate: str, incumbent: str) -> Comparison:
    """Compares two adapters, or an adapter with `base`, and records it under `comparisons/`.

    `UserError` when they are of different tasks, or were not measured on the same rows.
    """
    folder, manifest = find(registry, candidate)
    mine = read_answers(folder / ANSWERS)
    other, name = _incumbent(registry, folder, incumbent, manifest.task)
    rows, theirs = _paired(mine, other, manifest.id, name)
    difference = paired_bootstrap(
        statistic(rows), statistic(theirs), [row.record for row in rows], resamples=RESAMPLES
    )["score"]
    comparison = Comparison(
        id=_identity(manifest.id, name, rows),
        task=manifest.task,
        candidate=manifest.id,
        incumbent=name,
        rows=len(rows),
        rows_sha256=rows_hash(rows),
        score=score_name(rows),
        candidate_score=score(rows),
        incumbent_score=score(theirs),
        difference=difference,
        compared=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    path = registry / "comparisons" / f"{comparison.id}.json"
    write_atomically(path, comparison.model_dump_json(indent=2) + "\n")
    return comparison


def promote(registry: Path, name: str, comparison_id: str) -> Promotion:
    """Makes an adapter its task's own, if the recorded comparison was with what it replaces and was won.

    `UserError` otherwise: nothing is promoted by hand.
    """
    _, manifest = find(registry, name)
    comparison = read_comparison(registry, comparison_id)
    known = promotions(registry).get(manifest.task)
    replaced = known.adapter if known else BASE
    if comparison.candidate != manifest.id or comparison.incumbent != replaced:
        raise UserError(
            f"comparison {comparison_id} is of {comparison.candidate} with {comparison.incumbent}; promoting "
            f"{manifest.id} needs one with {replaced}: run `terazi adapters compare {manifest.id} {replaced}`"
        )
    if not comparison.better:
        raise UserError(
            f"{manifest.id} is not shown to be better than {replaced} ({describe(comparison)}); it is not "
            "promoted"
        )
    now = datetime.now(UTC).isoformat(timespec="seconds")
    promotion = Promotion(adapter=manifest.id, comparison=comparison.id, promoted=now)
    write_promotion(registry, manifest.task, promotion)
    return promotion


def read_comparison(registry: Path, comparison_id: str) -> Comparison:
    """A recorded comparison; `UserError` when there is none of that id."""
    path = registry / "comparisons" / f"{comparison_id}.json"
    try:
        return Comparison.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"there is no comparison `{comparison_id}` ({reason}); make one with `terazi adapters compare`"
        ) from None


def read_answers(path: Path) -> list[Answer]:
    """The answers of one adapter or base; `UserError` when none were recorded."""
    if not path.exists():
        raise UserError(
            f"{path}: no answers on the validation split were recorded, so there is nothing to compare; "
            "train "
            "with a task that can be scored, or evaluate the adapter first"
        )
    return list(read_jsonl(path, Answer))


def rows_hash(answers: Sequence[Answer]) -> str:
    """SHA-256 over ids and labels: what was asked, whoever answered."""
    digest = hashlib.sha256()
    for answer in answers:
        digest.update(f"{answer.id}\0{answer.label}\n".encode())
    return digest.hexdigest()


def describe(comparison: Comparison) -> str:
    """One line of figures."""
    difference = comparison.difference
    limits = "" if difference.low is None else f" [{difference.low:+.3f}, {difference.high:+.3f}]"
    p = "n/a" if difference.p_value is None else f"{difference.p_value:.3f}"
    return (
        f"{comparison.score} {comparison.candidate_score:.3f} against {comparison.incumbent_score:.3f} on "
        f"{comparison.rows} rows, difference {difference.value or 0:+.3f}{limits}, p = {p}"
    )


def _incumbent(registry: Path, folder: Path, incumbent: str, task: str) -> tuple[list[Answer], str]:
    if incumbent == BASE:
        return read_answers(folder / BASE_ANSWERS), BASE
    other, manifest = find(registry, incumbent)
    if manifest.task != task:
        raise UserError(f"{manifest.id} is for {manifest.task}, not for {task}; compare adapters of one task")
    return read_answers(other / ANSWERS), manifest.id


def _paired(
    mine: Sequence[Answer], theirs: Sequence[Answer], first: str, second: str
) -> tuple[list[Answer], list[Answer]]:
    own, other = {row.id: row for row in mine}, {row.id: row for row in theirs}
    if own.keys() != other.keys() or any(own[key].label != other[key].label for key in own):
        raise UserError(
            f"{first} and {second} were not measured on the same rows ({len(own)} and {len(other)}); "
            "evaluate "
            "both on the same data"
        )
    order = sorted(own)
    return [own[key] for key in order], [other[key] for key in order]


def _identity(candidate: str, incumbent: str, rows: Sequence[Answer]) -> str:
    return hashlib.sha256(f"{candidate}\0{incumbent}\0{rows_hash(rows)}".encode()).hexdigest()[:12]
