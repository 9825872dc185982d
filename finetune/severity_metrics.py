"""How predicted severities agree with the labels, and how honest their probabilities are.

Pure functions of labels, predictions and probabilities, row by row; intervals and tests around them are in
`finetune.statistics`. Everything but calibration is read off the confusion matrix: a bootstrap asks thousands
of times, and scikit-learn's functions (which the tests compare with) take milliseconds each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from finetune.statistics import Difference, Interval, Scores, bootstrap, mean, paired_bootstrap
from review_data.domain import Probabilities, Record
from review_data.errors import UserError
from review_data.severity import SEVERITIES, Severity

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEVERE = Severity.HIGH
LEVELS = len(SEVERITIES)
UNPARSED = LEVELS
BINS = 15


class SeverityScores(Record):
    """Rates from 0 to 1 (kappa from -1), None where nothing defines them.

    An unparsed prediction is wrong in `accuracy`, `macro_f1` and `severe_recall`, counts as the level
    farthest from the label in `quadratic_kappa` and `mean_absolute_error` (in levels), and is neither over-
    nor under-rated. Severe means high or critical. `macro_f1` averages over the levels that occur in labels
    or predictions. `calibration_error` (equal bins on the top probability) and `brier` (squared error summed
    over the four levels, 0 to 2) cover the `with_probabilities` rows. `confusion` has a row per label and a
    column per prediction, low to critical, then unparsed.
    """

    n: int
    unparsed: int
    with_probabilities: int
    accuracy: float | None
    macro_f1: float | None
    quadratic_kappa: float | None
    mean_absolute_error: float | None
    severe_recall: float | None
    severe_precision: float | None
    over_rated: float | None
    under_rated: float | None
    calibration_error: float | None
    brier: float | None
    confusion: tuple[tuple[int, ...], ...]


class Bin(Record):
    """One bar of a reliability plot: the rows whose top probability lies in (low, high]."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


class _Columns(NamedTuple):
    """Rows as arrays, so that a bootstrap's resample is an index and not a loop over rows.

    `label` and `guess` are ranks (`UNPARSED` for none); the other three are NaN or False without
    probabilities: `confidence` the top probability, `right` whether it is the label's, `squared` Brier's sum.
    """

    label: NDArray[Any]
    guess: NDArray[Any]
    confidence: NDArray[Any]
    right: NDArray[Any]
    squared: NDArray[Any]


def severity_scores(
    truth: Sequence[Severity],
    predicted: Sequence[Severity | None],
    probabilities: Sequence[Probabilities | None] | None = None,
) -> SeverityScores:
    """Every score of one set of predictions; the sequences go row by row, None is an unparsed prediction."""
    columns = _columns(truth, predicted, probabilities)
    matrix = _confusion(columns)
    return SeverityScores(
        n=len(truth),
        unparsed=int(matrix[:, UNPARSED].sum()),
        with_probabilities=sum(given is not None for given in probabilities or ()),
        confusion=tuple(tuple(int(cell) for cell in row) for row in matrix),
        **_rates(columns),
    )


def severity_statistic(
    truth: Sequence[Severity],
    predicted: Sequence[Severity | None],
    probabilities: Sequence[Probabilities | None] | None = None,
) -> Callable[[NDArray[Any]], Scores]:
    """The rates as a function of row indices, for `bootstrap` and `paired_bootstrap`."""
    columns = _columns(truth, predicted, probabilities)
    return lambda rows: _rates(_Columns(*(column[rows] for column in columns)))


def severity_intervals(
    truth: Sequence[Severity],
    predicted: Sequence[Severity | None],
    probabilities: Sequence[Probabilities | None] | None,
    groups: Sequence[Hashable],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Bootstrap intervals, grouped by record, of every rate in `SeverityScores`."""
    return bootstrap(
        severity_statistic(truth, predicted, probabilities), groups, resamples=resamples, seed=seed
    )


def severity_differences(
    truth: Sequence[Severity],
    first: Sequence[Severity | None],
    second: Sequence[Severity | None],
    groups: Sequence[Hashable],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Difference]:
    """First minus second for every rate, on the same resampled records (calibration has no part in it)."""
    return paired_bootstrap(
        severity_statistic(truth, first),
        severity_statistic(truth, second),
        groups,
        resamples=resamples,
        seed=seed,
    )


def reliability(
    truth: Sequence[Severity], probabilities: Sequence[Probabilities], bins: int = BINS
) -> tuple[Bin, ...]:
    """The non-empty bins of a reliability plot over the top probability."""
    filled: dict[int, list[tuple[float, bool]]] = {}
    for label, given in zip(truth, probabilities, strict=True):
        confidence = max(given.values())
        index = max(0, math.ceil(confidence * bins) - 1)
        filled.setdefault(index, []).append((confidence, given.most_likely() is label))
    return tuple(
        Bin(
            low=index / bins,
            high=(index + 1) / bins,
            n=len(rows),
            confidence=sum(confidence for confidence, _ in rows) / len(rows),
            accuracy=sum(right for _, right in rows) / len(rows),
        )
        for index, rows in sorted(filled.items())
    )


def calibration_error(truth: Sequence[Severity], probabilities: Sequence[Probabilities]) -> float | None:
    """ECE of Guo et al. 2017: the mean gap between confidence and accuracy over 15 equal bins."""
    return _honesty(_columns(truth, [None] * len(truth), probabilities))["calibration_error"]


def brier(truth: Sequence[Severity], probabilities: Sequence[Probabilities]) -> float | None:
    """Brier's original score: the squared error summed over the four levels, 0 (best) to 2."""
    return mean(_squared_error(label, given) for label, given in zip(truth, probabilities, strict=True))


def _rates(columns: _Columns) -> dict[str, float | None]:
    import numpy as np

    matrix = _confusion(columns)
    count, parsed, farthest = len(columns.label), matrix[:, :LEVELS], _farthest(matrix)
    severe, alarms = matrix[SEVERE.rank :].sum(), parsed[:, SEVERE.rank :].sum()
    hits = parsed[SEVERE.rank :, SEVERE.rank :].sum()
    return {
        "accuracy": _ratio(np.trace(matrix), count),
        "macro_f1": _macro_f1(matrix),
        "quadratic_kappa": _quadratic_kappa(farthest),
        "mean_absolute_error": _ratio((farthest * _distances()).sum(), count),
        "severe_recall": _ratio(hits, severe),
        "severe_precision": _ratio(hits, alarms),
        "over_rated": _ratio(np.triu(parsed, 1).sum(), count),
        "under_rated": _ratio(np.tril(parsed, -1).sum(), count),
        **_honesty(columns),
    }


def _honesty(columns: _Columns) -> dict[str, float | None]:
    """Calibration error and Brier score of the rows with probabilities."""
    import numpy as np

    known = ~np.isnan(columns.confidence)
    count = int(known.sum())
    confidence, right = columns.confidence[known], columns.right[known]
    bins = np.maximum(0, np.ceil(confidence * BINS).astype(int) - 1)
    gaps = np.bincount(bins, weights=confidence - right, minlength=BINS)
    return {
        "calibration_error": _ratio(np.abs(gaps).sum(), count),
        "brier": _ratio(columns.squared[known].sum(), count),
    }


def _columns(
    truth: Sequence[Severity],
    predicted: Sequence[Severity | None],
    probabilities: Sequence[Probabilities | None] | None,
) -> _Columns:
    import numpy as np

    if len(truth) != len(predicted):
        raise UserError(f"{len(truth)} labels but {len(predicted)} predictions; give one prediction per row")
    rows = probabilities or [None] * len(truth)
    pairs = list(zip(truth, rows, strict=True))
    return _Columns(
        label=np.array([label.rank for label in truth], dtype=int),
        guess=np.array([UNPARSED if guess is None else guess.rank for guess in predicted], dtype=int),
        confidence=np.array([max(given.values()) if given else math.nan for given in rows]),
        right=np.array([given is not None and given.most_likely() is label for label, given in pairs]),
        squared=np.array([_squared_error(label, given) if given else math.nan for label, given in pairs]),
    )


def _squared_error(label: Severity, given: Probabilities) -> float:
    return sum((value - (rank == label.rank)) ** 2 for rank, value in enumerate(given.values()))


def _confusion(columns: _Columns) -> NDArray[Any]:
    import numpy as np

    cells = columns.label * (LEVELS + 1) + columns.guess
    matrix: NDArray[Any] = np.bincount(cells, minlength=LEVELS * (LEVELS + 1)).reshape(LEVELS, LEVELS + 1)
    return matrix


def _farthest(matrix: NDArray[Any]) -> NDArray[Any]:
    """The confusion with each unparsed prediction moved to the level farthest from its label."""
    moved: NDArray[Any] = matrix[:, :LEVELS].copy()
    for rank in range(LEVELS):
        moved[rank, 0 if rank >= LEVELS / 2 else LEVELS - 1] += matrix[rank, UNPARSED]
    return moved


def _distances() -> NDArray[Any]:
    import numpy as np

    ranks = np.arange(LEVELS)
    distances: NDArray[Any] = np.abs(ranks[:, None] - ranks[None, :])
    return distances


def _macro_f1(matrix: NDArray[Any]) -> float | None:
    parsed = matrix[:, :LEVELS]
    labelled, guessed = matrix.sum(axis=1), parsed.sum(axis=0)
    return mean(
        float(2 * parsed[rank, rank] / (labelled[rank] + guessed[rank]))
        for rank in range(LEVELS)
        if labelled[rank] + guessed[rank]
    )


def _quadratic_kappa(matrix: NDArray[Any]) -> float | None:
    """Cohen's kappa with weights (i - j)²; None when every label and prediction is one level."""
    import numpy as np

    weights = _distances() ** 2
    chance = np.outer(matrix.sum(axis=1), matrix.sum(axis=0)) / max(1, matrix.sum())
    expected = (weights * chance).sum()
    return float(1 - (weights * matrix).sum() / expected) if expected else None


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
