"""How well a rater rates: predictions on labelled rows, scores with intervals, comparison of two raters.

Owns the loop from a data file to a `SeverityReport`. Metrics are in `finetune.severity_metrics`, statistics
in `finetune.statistics`, the printed forms in `finetune.evaluate.severity_report`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from finetune.llm.review_examples import finding_issue
from finetune.severity_metrics import (
    SeverityScores,
    severity_differences,
    severity_intervals,
    severity_scores,
)
from finetune.statistics import Difference, Flips, Interval, flips
from review_data.dataset import LabelledComment, LabelledMergeRequest, rows_of
from review_data.diff import parse_diff
from review_data.domain import Category, Issue, MergeRequest, Probabilities, Rating, Record
from review_data.errors import BackendError, ChangeError, DataError, UserError
from review_data.jsonl import read_data
from review_data.rater_input import RaterFields, comment_fields, finding_fields
from review_data.severity import SEVERITIES, Severity
from service.ports import Change, Rater
from service.rating import NOTHING_AT_HAND, NoFiles, rate_fields

Progress = Callable[[int, int], None]

BATCH: Final = 64
RESAMPLES: Final = 1000
# The names that reports print, and those of `SeverityScores`.
KEYS: Final = {
    "accuracy": "accuracy",
    "macro_f1": "macro_f1",
    "qwk": "quadratic_kappa",
    "mae": "mean_absolute_error",
    "recall_high": "severe_recall",
    "precision_high": "severe_precision",
    "over_rated": "over_rated",
    "under_rated": "under_rated",
    "ece": "calibration_error",
    "brier": "brier",
}


class LabelledIssue(NamedTuple):
    """One row to rate: how it is shown to either kind of rater, and its label. `record` groups rows."""

    record: str
    change: Change
    issue: Issue
    fields: RaterFields
    severity: Severity
    strata: dict[str, str]


class Prediction(Record):
    """One row's label and rating; no `predicted` when the rater gave none, with the reason."""

    record: str
    severity: Severity
    predicted: Severity | None
    probabilities: Probabilities | None = None
    reason: str = ""


class Stratum(Record):
    """The scores of the rows that share a language, category or severity."""

    name: str
    scores: SeverityScores


class ThresholdEffect(Record):
    """What showing only `threshold` and above does: shares of rows hidden, and of severe rows hidden."""

    threshold: Severity
    hidden: float
    severe_hidden: float | None
    right: float


class Comparison(Record):
    """First rater minus second on the same rows; `flips` counts rows that only one rated right.

    `failures` are the rows that the second gave no rating; they count as wrong.
    """

    against: str
    accuracy: float | None
    differences: dict[str, Difference]
    flips: Flips
    failures: tuple[str, ...] = ()


class CurvePoint(Record):
    """A model trained on a `share` of the records: its training rows, and its scores on the file."""

    share: float
    examples: int
    scores: SeverityScores
    intervals: dict[str, Interval]


class SeverityReport(Record):
    """One rater on one file: scores, 95% intervals grouped by record, strata, threshold effects."""

    rater: str
    data: str
    data_sha256: str
    scores: SeverityScores
    intervals: dict[str, Interval]
    strata: dict[str, tuple[Stratum, ...]]
    thresholds: tuple[ThresholdEffect, ...]
    comparison: Comparison | None = None
    learning_curve: tuple[CurvePoint, ...] = ()
    failures: tuple[str, ...] = ()


def evaluate_severity(
    path: Path,
    rater: Rater,
    *,
    against: Rater | None = None,
    names: tuple[str, str] = ("", ""),
    seed: int = 0,
    on_progress: Progress | None = None,
) -> tuple[SeverityReport, list[Prediction]]:
    """Rates the rows of `path`, which is read once, and scores them.

    `DataError` for wrong rows, `BackendError` when a rater fails on all of them.
    """
    data = read_data(path)
    rows = labelled_issues(path, data)
    name = names[0] or rater.name
    predictions = _some_rated(predict(rows, rater, on_progress), name)
    comparison = None
    if against is not None:
        other = names[1] or against.name
        comparison = compare(
            predictions, _some_rated(predict(rows, against, on_progress), other), other, seed
        )
    digest = hashlib.sha256(data).hexdigest()
    return report(path, digest, rows, predictions, name, comparison, seed), predictions


def _some_rated(predictions: list[Prediction], name: str) -> list[Prediction]:
    if all(prediction.predicted is None for prediction in predictions):
        raise BackendError(f"no row could be rated by {name}: {predictions[0].reason}")
    return predictions


def failures_of(predictions: Iterable[Prediction]) -> tuple[str, ...]:
    """Each row without a rating, with the reason."""
    return tuple(f"{row.record}: {row.reason}" for row in predictions if row.predicted is None)


def report(
    path: Path,
    digest: str,
    rows: Sequence[LabelledIssue],
    predictions: Sequence[Prediction],
    name: str,
    comparison: Comparison | None,
    seed: int,
) -> SeverityReport:
    """The scores of predictions that are already there."""
    truth = [row.severity for row in predictions]
    guesses = [row.predicted for row in predictions]
    given = [row.probabilities for row in predictions]
    records = [row.record for row in predictions]
    return SeverityReport(
        rater=name,
        data=str(path),
        data_sha256=digest,
        scores=severity_scores(truth, guesses, given),
        intervals=severity_intervals(truth, guesses, given, records, resamples=RESAMPLES, seed=seed),
        strata=strata_of(rows, predictions),
        thresholds=tuple(threshold_effect(level, predictions) for level in SEVERITIES),
        comparison=comparison,
        failures=failures_of(predictions),
    )


def labelled_issues(path: Path, data: bytes | None = None) -> list[LabelledIssue]:
    """The rows of a file of either shape: one per finding, or one per comment.

    `data` are the file's bytes where they are read already.
    """
    rows: list[LabelledIssue] = []
    for number, row in rows_of(read_data(path) if data is None else data, path):
        if isinstance(row, LabelledComment):
            rows.append(_of_comment(row, number, path))
            continue
        try:
            rows.extend(_of_merge_request(row))
        except ChangeError as error:
            raise DataError(str(error), file=path, line=number, field="diff") from None
    if not rows:
        raise DataError("holds no labelled issue: every merge request is clean", file=path)
    return rows


def predict(
    rows: Sequence[LabelledIssue], rater: Rater, on_progress: Progress | None = None
) -> list[Prediction]:
    """A prediction per row, in order; rows of one merge request are rated together."""
    predictions: list[Prediction] = []
    for batch in _batches(rows):
        predictions += _predict_batch(batch, rater)
        if on_progress is not None:
            on_progress(len(predictions), len(rows))
    return predictions


def compare(
    first: Sequence[Prediction], second: Sequence[Prediction], against: str, seed: int = 0
) -> Comparison:
    """Paired bootstrap over records, and McNemar's test on the rows that only one rated right."""
    truth = [row.severity for row in first]
    right = (
        [row.predicted is row.severity for row in first],
        [row.predicted is row.severity for row in second],
    )
    return Comparison(
        against=against,
        accuracy=sum(right[1]) / len(right[1]),
        differences=severity_differences(
            truth,
            [row.predicted for row in first],
            [row.predicted for row in second],
            [row.record for row in first],
            resamples=RESAMPLES,
            seed=seed,
        ),
        flips=flips(*right),
        failures=failures_of(second),
    )


def strata_of(
    rows: Sequence[LabelledIssue], predictions: Sequence[Prediction]
) -> dict[str, tuple[Stratum, ...]]:
    """Scores per language, category and labelled severity, the largest stratum first."""
    found: dict[str, tuple[Stratum, ...]] = {}
    for kind in ("language", "category", "severity"):
        members: dict[str, list[Prediction]] = {}
        for row, prediction in zip(rows, predictions, strict=True):
            members.setdefault(row.strata[kind] or "(not given)", []).append(prediction)
        ordered = sorted(members.items(), key=lambda pair: (-len(pair[1]), pair[0]))
        found[kind] = tuple(Stratum(name=name, scores=_scores(part)) for name, part in ordered)
    return found


def threshold_effect(threshold: Severity, predictions: Sequence[Prediction]) -> ThresholdEffect:
    """Unrated rows are shown: what could not be rated is never hidden. `right` decides as the label would."""
    hidden = [row.predicted is not None and row.predicted < threshold for row in predictions]
    severe = [was for was, row in zip(hidden, predictions, strict=True) if row.severity >= Severity.HIGH]
    agreed = [was == (row.severity < threshold) for was, row in zip(hidden, predictions, strict=True)]
    return ThresholdEffect(
        threshold=threshold,
        hidden=sum(hidden) / len(hidden),
        severe_hidden=sum(severe) / len(severe) if severe else None,
        right=sum(agreed) / len(agreed),
    )


def open_rater_named(name: str) -> Rater:
    """`embedded`, another backend of the settings, or a run folder (its `model/`) as a rater."""
    from service.backends.catalog import BACKENDS, open_rater
    from service.settings import resolve

    if name in BACKENDS:
        return open_rater(resolve({"rater": name, "explain": "none"}).settings)
    folder = Path(name)
    for place in (folder / "model", folder):
        if (place / "manifest.json").is_file():
            from service.backends.embedded.rater import EmbeddedRater

            return EmbeddedRater(place)
    raise UserError(
        f"--rater: `{name}` is neither a backend ({', '.join(BACKENDS)}) nor a run folder with a model; "
        "make one with `terazi train severity --out FOLDER`"
    )


def _scores(predictions: Sequence[Prediction]) -> SeverityScores:
    return severity_scores(
        [row.severity for row in predictions],
        [row.predicted for row in predictions],
        [row.probabilities for row in predictions],
    )


def _predict_batch(batch: Sequence[LabelledIssue], rater: Rater) -> list[Prediction]:
    try:
        answers = rate_fields(rater, batch[0].change, [(row.issue, row.fields) for row in batch])
    except BackendError as error:
        return [
            Prediction(record=row.record, severity=row.severity, predicted=None, reason=str(error))
            for row in batch
        ]
    return [_prediction(row, answer) for row, answer in zip(batch, answers, strict=True)]


def _prediction(row: LabelledIssue, answer: object) -> Prediction:
    if isinstance(answer, Rating):
        return Prediction(
            record=row.record,
            severity=row.severity,
            predicted=answer.severity,
            probabilities=answer.probabilities,
        )
    reason = getattr(answer, "reason", "no rating")
    return Prediction(record=row.record, severity=row.severity, predicted=None, reason=reason)


def _batches(rows: Sequence[LabelledIssue]) -> Iterable[Sequence[LabelledIssue]]:
    """Runs of rows of one change, at most `BATCH` each."""
    start = 0
    for at in range(1, len(rows) + 1):
        if at == len(rows) or rows[at].change is not rows[start].change or at - start == BATCH:
            yield rows[start:at]
            start = at


def _of_comment(row: LabelledComment, number: int, path: Path) -> LabelledIssue:
    issue = Issue(
        path=path.name,
        line=number,
        category=row.category or Category.CORRECTNESS,
        title=row.comment,
        quote="",
        source="comments",
    )
    strata = {"language": row.language, "category": row.category or "", "severity": row.severity}
    record = row.id or f"line {number}"
    return LabelledIssue(record, NOTHING_AT_HAND, issue, comment_fields(row), row.severity, strata)


def _of_merge_request(row: LabelledMergeRequest) -> list[LabelledIssue]:
    files = parse_diff(row.diff).files
    request = MergeRequest(title=row.title, description=row.description, project=row.project, files=files)
    change = Change(request, NoFiles())
    found = []
    for finding in row.findings:
        file = next((file for file in files if file.path == finding.path), None)
        issue = finding_issue(finding, file)
        strata = {"language": row.language, "category": finding.category, "severity": finding.severity}
        fields = finding_fields(finding, files, row.project)
        found.append(LabelledIssue(row.id, change, issue, fields, finding.severity, strata))
    return found
