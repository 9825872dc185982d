"""Rates issues that other tools found: the pipeline without its finders.

Same rater, threshold and outcome as a review; nothing is merged or dropped, so that ratings
line up with the report they came from.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from review_data.domain import FileChange, Finding, Issue, MergeRequest, Rating, Review, Side, Skip, sort_key
from review_data.rater_input import RaterFields, RaterInput, issue_fields
from review_data.rater_input import render as rater_input
from review_data.secrets import mask
from review_data.severity import Severity
from service.foreign.items import Item
from service.ports import Change, Rater
from service.review import outcome_of, to_finding, unrated, with_unique_fingerprints

BATCH = 64


class NoFiles:
    """The snapshot of a change, or a report, that came without its repository."""

    def read(self, path: str, side: Side) -> str | None:
        """Nothing is at hand."""
        return None


NOTHING_AT_HAND = Change(MergeRequest(), NoFiles())


class Rated(NamedTuple):
    """A rating per item, in order (a skip where there is none), and the review that shows them."""

    answers: list[Rating | Skip]
    review: Review


def rate_items(
    items: Sequence[Item],
    rater: Rater,
    change: Change = NOTHING_AT_HAND,
    *,
    threshold: Severity = Severity.MEDIUM,
    project: str = "",
    on_progress: Callable[[int, int], None] | None = None,
) -> Rated:
    """Rates every item, with the diff of `change` around those that stand in it."""
    started = time.monotonic()
    answers: list[Rating | Skip] = []
    for at in range(0, len(items), BATCH):
        answers += _rate_batch(items[at : at + BATCH], rater, change, project)
        if on_progress is not None:
            on_progress(len(answers), len(items))
    findings = [
        _finding(item.issue, answer, change)
        for item, answer in zip(items, answers, strict=True)
        if isinstance(answer, Rating)
    ]
    skips = tuple(answer for answer in answers if isinstance(answer, Skip))
    shown = with_unique_fingerprints(sorted(findings, key=sort_key))
    review = Review(
        outcome=outcome_of(shown, skips, len(findings)),
        threshold=threshold,
        findings=shown,
        skips=skips,
        backend=rater.name,
        elapsed_s=round(time.monotonic() - started, 3),
    )
    return Rated(answers, review.at(threshold))


def rate_fields(
    rater: Rater, change: Change, pairs: Sequence[tuple[Issue, RaterFields]]
) -> list[Rating | Skip]:
    """Ratings of issues; a text rater is shown `RaterFields`, any other the issue and the change."""
    rate_inputs: Callable[[Sequence[RaterInput]], list[Rating]] | None = getattr(rater, "rate_inputs", None)
    if rate_inputs is not None:
        return [*rate_inputs([rater_input(fields) for _, fields in pairs])]
    return [*rater.rate(change, [issue for issue, _ in pairs])]


def _rate_batch(items: Sequence[Item], rater: Rater, change: Change, project: str) -> list[Rating | Skip]:
    pairs = [(item.issue, _with_context(item, change.request.files, project)) for item in items]
    try:
        return rate_fields(rater, change, pairs)
    except Exception as error:
        return [unrated(rater.name, item.issue, error) for item in items]


def _with_context(item: Item, files: Sequence[FileChange], project: str) -> RaterFields:
    around = issue_fields(item.issue, files, project)
    update: dict[str, object] = {"section": around.section, "lines": around.lines}
    if project and not item.fields.project:
        update["project"] = project
    return item.fields.model_copy(update=update)


def _finding(issue: Issue, rating: Rating, change: Change) -> Finding:
    line = next((f.line(issue.line) for f in change.request.files if f.path == issue.path), None)
    quote = mask(line.text).strip() if line is not None else mask(issue.title)
    return to_finding(issue.model_copy(update={"quote": quote}), rating)
