"""Found, missed and false findings, precision, recall and F1 per severity, before and after the threshold.

Pure functions of labelled merge requests and the reviews of them; intervals resample merge requests. A review
that failed found nothing and is counted as failed, never as clean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from finetune.evaluate.reviews.matching import Judge, Tolerance, match
from finetune.severity_metrics import SeverityScores, severity_scores
from finetune.statistics import Difference, Flips, Interval, Scores, bootstrap, flips, paired_bootstrap
from review_data.dataset import LabelledMergeRequest
from review_data.domain import Outcome, Record, Review
from review_data.severity import SEVERITIES, Severity

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESAMPLES = 1000


class Tally(Record):
    """One merge request's counts: per severity of the label (found, missed), of the finding (false)."""

    record: str
    found: dict[Severity, int]
    missed: dict[Severity, int]
    false: dict[Severity, int]
    matched: tuple[tuple[Severity, Severity], ...] = ()
    labels: tuple[bool, ...] = ()
    clean: bool = False


class Rates(Record):
    """Counts and what follows from them; `noise_per_mr` is false findings per merge request."""

    found: int
    missed: int
    false: int
    precision: float | None
    recall: float | None
    f1: float | None
    noise_per_mr: float
    noisy_clean: float | None


class BySeverity(Record):
    """Found and missed of the labels of one severity, false of the findings of it."""

    severity: Severity
    found: int
    missed: int
    false: int
    precision: float | None
    recall: float | None
    f1: float | None


class View(Record):
    """The scores of what is shown at one threshold, against the labels at or above it."""

    threshold: Severity
    rates: Rates
    intervals: dict[str, Interval]
    by_severity: tuple[BySeverity, ...]


class ReviewReport(Record):
    """One reviewer on one file. `severity` compares the severities of matched findings with the labels'."""

    reviewer: str
    data: str
    n: int
    outcomes: dict[Outcome, int]
    before: View
    after: View
    severity: SeverityScores
    skips: int
    comparison: Comparison | None = None


class Comparison(Record):
    """First reviewer minus second after the threshold; `flips` counts faults that only one of them found."""

    against: str
    differences: dict[str, Difference]
    flips: Flips


def report(
    name: str,
    data: str,
    rows: Sequence[LabelledMergeRequest],
    reviews: Sequence[Review],
    *,
    threshold: Severity = Severity.MEDIUM,
    tolerance: Tolerance | None = None,
    judge: Judge | None = None,
    against: tuple[str, Sequence[Review]] | None = None,
) -> ReviewReport:
    """The scores of reviews that are already there; `against` is another reviewer's name and reviews."""
    bounds = tolerance or Tolerance()

    def tallies(given: Sequence[Review], level: Severity) -> list[Tally]:
        return [tally(row, one, level, bounds, judge) for row, one in zip(rows, given, strict=True)]

    before, after = tallies(reviews, Severity.LOW), tallies(reviews, threshold)
    matched = [pair for one in before for pair in one.matched]
    return ReviewReport(
        reviewer=name,
        data=data,
        n=len(rows),
        outcomes={outcome: sum(one.outcome is outcome for one in reviews) for outcome in Outcome},
        before=view(before, Severity.LOW),
        after=view(after, threshold),
        severity=severity_scores([label for label, _ in matched], [said for _, said in matched]),
        skips=sum(len(one.skips) for one in reviews),
        comparison=compare(after, tallies(against[1], threshold), against[0]) if against else None,
    )


def tally(
    row: LabelledMergeRequest,
    review: Review,
    threshold: Severity,
    tolerance: Tolerance,
    judge: Judge | None = None,
) -> Tally:
    """Counts at a threshold. A finding shown for a label below the threshold is neither found nor false."""
    findings = review.at(threshold).findings
    pairs = dict(match(row.findings, findings, tolerance, judge))
    wanted = [number for number, label in enumerate(row.findings) if label.severity >= threshold]
    taken = set(pairs.values())
    return Tally(
        record=row.id,
        found=_count(row.findings[number].severity for number in wanted if number in pairs),
        missed=_count(row.findings[number].severity for number in wanted if number not in pairs),
        false=_count(f.severity for number, f in enumerate(findings) if number not in taken),
        matched=tuple(
            (row.findings[label].severity, findings[number].severity) for label, number in pairs.items()
        ),
        labels=tuple(number in pairs for number in wanted),
        clean=not row.findings,
    )


def view(tallies: Sequence[Tally], threshold: Severity) -> View:
    """Rates, intervals and severities of one set of counts."""
    return View(
        threshold=threshold,
        rates=rates(tallies),
        intervals=bootstrap(statistic(tallies), [one.record for one in tallies], resamples=RESAMPLES),
        by_severity=tuple(
            _by_severity(tallies, severity) for severity in SEVERITIES if severity >= threshold
        ),
    )


def rates(tallies: Sequence[Tally]) -> Rates:
    """The counts of all merge requests together."""
    found, missed, false = (
        sum(sum(getattr(one, name).values()) for one in tallies) for name in ("found", "missed", "false")
    )
    clean = [sum(one.false.values()) > 0 for one in tallies if one.clean]
    return Rates(
        found=found,
        missed=missed,
        false=false,
        precision=_ratio(found, found + false),
        recall=_ratio(found, found + missed),
        f1=_ratio(2 * found, 2 * found + missed + false),
        noise_per_mr=false / len(tallies) if tallies else 0.0,
        noisy_clean=_ratio(sum(clean), len(clean)),
    )


def statistic(tallies: Sequence[Tally]) -> Callable[[NDArray[Any]], Scores]:
    """The rates as a function of row indices."""

    def of_rows(rows: NDArray[Any]) -> Scores:
        return rates([tallies[row] for row in rows]).model_dump(exclude={"found", "missed", "false"})

    return of_rows


def compare(first: Sequence[Tally], second: Sequence[Tally], against: str) -> Comparison:
    """Paired bootstrap over merge requests, and McNemar's test over the labelled faults."""
    records = [one.record for one in first]
    hits = [[hit for one in tallies for hit in one.labels] for tallies in (first, second)]
    return Comparison(
        against=against,
        differences=paired_bootstrap(statistic(first), statistic(second), records, resamples=RESAMPLES),
        flips=flips(*hits),
    )


def _by_severity(tallies: Sequence[Tally], severity: Severity) -> BySeverity:
    found, missed, false = (
        sum(getattr(one, name)[severity] for one in tallies) for name in ("found", "missed", "false")
    )
    return BySeverity(
        severity=severity,
        found=found,
        missed=missed,
        false=false,
        precision=_ratio(found, found + false),
        recall=_ratio(found, found + missed),
        f1=_ratio(2 * found, 2 * found + missed + false),
    )


def _count(severities: Any) -> dict[Severity, int]:
    counts = dict.fromkeys(SEVERITIES, 0)
    for severity in severities:
        counts[severity] += 1
    return counts


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
