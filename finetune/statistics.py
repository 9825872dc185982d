"""Rates, intervals and tests that every evaluation reports.

Pure functions of counts and flags; deterministic for a given seed. Severity scores are in
`finetune.severity_metrics`. scipy (the `evaluate` extra) does what it has; the grouped bootstrap, Holm's
steps, pass@k, kappa and the expected maximum are here because it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from review_data.domain import Record
from review_data.errors import MissingExtra, UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Scores = Mapping[str, float | None]


class Interval(Record):
    """A value with its confidence limits; no limits when the data can't give any (one group)."""

    value: float | None
    low: float | None
    high: float | None
    level: float = 0.95
    method: str

    def percent(self) -> str:
        """As "17.1% [8.5, 31.3]", or "n/a"."""
        if self.value is None:
            return "n/a"
        limits = (
            "" if self.low is None or self.high is None else f" [{100 * self.low:.1f}, {100 * self.high:.1f}]"
        )
        return f"{100 * self.value:.1f}%{limits}"


class Difference(Record):
    """First minus second on the same rows, its confidence limits, and a two-sided p."""

    value: float | None
    low: float | None
    high: float | None
    p_value: float | None
    level: float = 0.95


class Flips(Record):
    """A paired comparison of pass/fail: items only the first or only the second got right, McNemar's p."""

    first_only: int
    second_only: int
    both: int
    neither: int
    p_value: float


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """The unbiased estimate 1 - C(n-c, k) / C(n, k) of Chen et al. 2021, in its product form."""
    if not 0 <= correct <= samples or not 1 <= k <= samples:
        raise UserError(
            f"pass@{k} needs 0 <= correct ({correct}) <= samples ({samples}) and 1 <= k <= samples"
        )
    failing = 1.0
    for drawn in range(samples - correct + 1, samples + 1):
        failing *= max(0.0, 1 - k / drawn)
    return 1 - failing


def wilson(successes: int, total: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a rate; no value and no limits for no trials."""
    if total == 0:
        return Interval(value=None, low=None, high=None, level=level, method="wilson")
    limits = scipy_stats().binomtest(successes, total).proportion_ci(level, method="wilson")
    return Interval(
        value=successes / total, low=float(limits.low), high=float(limits.high), level=level, method="wilson"
    )


def mcnemar(first_only: int, second_only: int) -> float:
    """The exact two-sided p of McNemar's test on the two discordant counts; 1 when there are none."""
    if first_only + second_only == 0:
        return 1.0
    return float(scipy_stats().binomtest(first_only, first_only + second_only).pvalue)


def flips(first: Sequence[bool], second: Sequence[bool]) -> Flips:
    """McNemar's comparison of two systems on the same items, in the same order."""
    pairs = [(bool(left), bool(right)) for left, right in zip(first, second, strict=True)]
    first_only, second_only = pairs.count((True, False)), pairs.count((False, True))
    return Flips(
        first_only=first_only,
        second_only=second_only,
        both=pairs.count((True, True)),
        neither=pairs.count((False, False)),
        p_value=mcnemar(first_only, second_only),
    )


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's step-down adjusted p-values, in the order given."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, floor = [0.0] * len(p_values), 0.0
    for step, index in enumerate(order):
        floor = max(floor, min(1.0, (len(order) - step) * p_values[index]))
        adjusted[index] = floor
    return tuple(adjusted)


def expected_maximum(rate: float, items: int, tries: int) -> float:
    """The mean best score of `tries` equal, independent systems that pass each of `items` at `rate`.

    What "the best checkpoint" reaches by noise alone: E[max] = Σ over j of 1 - F(j)^tries, F binomial.
    """
    if items < 1 or tries < 1 or not 0 <= rate <= 1:
        raise UserError(
            f"the expected maximum needs a rate in 0..1, items and tries; got {rate}, {items}, {tries}"
        )
    below = scipy_stats().binom.cdf(range(items), items, rate)
    return float(sum(1 - below**tries) / items)


def bootstrap(
    statistic: Callable[[NDArray[Any]], Scores],
    groups: Sequence[Hashable],
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Percentile intervals of every score, resampling whole groups (rows of one record stay together).

    `statistic` maps an array of row indices to named scores; `groups` names each row's record. A resample
    that leaves a score undefined (None) is left out of that score's distribution.
    """
    values, draws = _resampled(statistic, groups, resamples, seed)
    found = {}
    for name, value in values.items():
        low, high = _limits(draws[name], level) if value is not None else (None, None)
        found[name] = Interval(value=value, low=low, high=high, level=level, method="bootstrap")
    return found


def paired_bootstrap(
    first: Callable[[NDArray[Any]], Scores],
    second: Callable[[NDArray[Any]], Scores],
    groups: Sequence[Hashable],
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Difference]:
    """First minus second per score on the same resampled groups, with a two-sided p."""

    def difference(rows: NDArray[Any]) -> Scores:
        left, right = first(rows), second(rows)
        return {name: _minus(left[name], right[name]) for name in left}

    values, draws = _resampled(difference, groups, resamples, seed)
    found = {}
    for name, value in values.items():
        low, high = _limits(draws[name], level) if value is not None else (None, None)
        p_value = _two_sided(draws[name])
        found[name] = Difference(value=value, low=low, high=high, p_value=p_value, level=level)
    return found


def mean(values: Iterable[float | bool]) -> float | None:
    """The mean, None of nothing."""
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else None


def kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float | None:
    """Cohen's kappa of two raters' verdicts on the same items; None when only one verdict ever occurs."""
    pairs = list(zip(first, second, strict=True))
    labels = set(first) | set(second)
    if len(labels) < 2:
        return None
    observed = sum(left == right for left, right in pairs) / len(pairs)
    chance = sum(first.count(label) * second.count(label) for label in labels) / len(pairs) ** 2
    return (observed - chance) / (1 - chance)


def require_extra() -> None:
    """`MissingExtra` when a package that evaluation needs at its end is missing: better before the work."""
    for package in ("scipy", "sklearn", "matplotlib"):
        if find_spec(package) is None:
            raise MissingExtra("evaluate", "evaluation", package)


def scipy_stats() -> ModuleType:
    """`scipy.stats`, or `MissingExtra`."""
    try:
        import scipy.stats
    except ImportError:
        raise MissingExtra("evaluate", "evaluation", "scikit-learn") from None
    return scipy.stats  # type: ignore[no-any-return]


def _resampled(
    statistic: Callable[[NDArray[Any]], Scores], groups: Sequence[Hashable], resamples: int, seed: int
) -> tuple[Scores, dict[str, list[float]]]:
    """The scores of all rows, and each score's values over the resamples (none for under two groups)."""
    import numpy as np

    members: dict[Hashable, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    rows_of = [np.array(rows) for rows in members.values()]
    values = statistic(np.arange(len(groups)))
    draws: dict[str, list[float]] = {name: [] for name in values}
    random = np.random.default_rng(seed)
    for _ in range(resamples if len(rows_of) > 1 else 0):
        rows = np.concatenate([rows_of[pick] for pick in random.integers(0, len(rows_of), len(rows_of))])
        for name, value in statistic(rows).items():
            if value is not None:
                draws[name].append(value)
    return values, draws


def _limits(draws: Sequence[float], level: float) -> tuple[float, float] | tuple[None, None]:
    import numpy as np

    if not draws:
        return None, None
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _two_sided(draws: Sequence[float]) -> float | None:
    """Twice the smaller tail at zero, with one added to each count so that p is never 0."""
    if not draws:
        return None
    tail = min(sum(draw <= 0 for draw in draws), sum(draw >= 0 for draw in draws))
    return min(1.0, 2 * (tail + 1) / (len(draws) + 1))


def _minus(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second
