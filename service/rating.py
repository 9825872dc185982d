"""Rates issues that other tools found: the pipeline without its finders.

Same rater, threshold and outcome as a review; nothing is merged or dropped, so that ratings
line up with the report they came from.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from review_data.domain import FileChange, Finding, Issue, MergeRequest, Rating, Review, Side, Skip, sort_key
from review_data.errors import BackendError
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
    skips: Sequence[Skip] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> Rated:
    """Rates every item, with the diff of `change` around those that stand in it.

    `skips` are what the report itself says it lacks. What it suppresses is rated, and counts as suppressed.
    """
    started = time.monotonic()
    answers: list[Rating | Skip] = []
    for at in range(0, len(items), BATCH):
        answers += _rate_batch(items[at : at + BATCH], rater, change, project)
        if on_progress is not None:
            on_progress(len(answers), len(items))
    pairs = zip(items, answers, strict=True)
    rated = [(item, answer) for item, answer in pairs if isinstance(answer, Rating)]
    shown = _findings(((item.issue, rating) for item, rating in rated if item.live), change)
    suppressed = _findings(((item.issue, rating) for item, rating in rated if not item.live), change)
    every = (*skips, *(answer for answer in answers if isinstance(answer, Skip)))
    review = Review(
        outcome=outcome_of(shown, every, len(shown) + len(suppressed)),
        threshold=threshold,
        findings=shown,
        suppressed=suppressed,
        skips=every,
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
        # A BackendError means that the rater can rate nothing; any other may be the fault of a single item.
        if isinstance(error, BackendError) or len(items) == 1:
            return [unrated(rater.name, item.issue, error) for item in items]
    return [answer for item in items for answer in _rate_batch([item], rater, change, project)]


def _with_context(item: Item, files: Sequence[FileChange], project: str) -> RaterFields:
    around = issue_fields(item.issue, files, project)
    update: dict[str, object] = {"section": around.section, "lines": around.lines}
    if project and not item.fields.project:
        update["project"] = project
    return item.fields.model_copy(update=update)


def _findings(rated: Iterable[tuple[Issue, Rating]], change: Change) -> tuple[Finding, ...]:
    """Where the change doesn't show the line, the title stands for it in the fingerprint and nowhere else."""
    files = {file.path: file for file in change.request.files}
    found = []
    for issue, rating in rated:
        line = _line(issue, files)
        quote = mask(issue.title) if line is None else line
        found.append(to_finding(issue.model_copy(update={"quote": quote}), rating))
    return tuple(
        finding.model_copy(update={"quote": _line(finding, files) or ""})
        for finding in with_unique_fingerprints(sorted(found, key=sort_key))
    )


def _line(place: Issue | Finding, files: Mapping[str, FileChange]) -> str | None:
    file = files.get(place.path)
    line = file.line(place.line) if file else None
    return None if line is None else mask(line.text).strip()
