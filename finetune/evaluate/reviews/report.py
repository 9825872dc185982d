"""A review report as JSON and as Markdown (the terminal's form)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from finetune.evaluate.reviews.score import ReviewReport, View
from finetune.statistics import Interval

RATES = ("precision", "recall", "f1")


def as_dict(report: ReviewReport) -> dict[str, Any]:
    """For programs: the numbers after the threshold at the top, both views below."""
    after = _view(report.after)
    comparison = report.comparison.model_dump(mode="json") if report.comparison else None
    return {
        "reviewer": report.reviewer,
        "data": report.data,
        "n": report.n,
        "outcomes": report.outcomes,
        **after,
        "before": _view(report.before),
        "after": after,
        "severity_of_matched": report.severity.model_dump(mode="json"),
        "skips": report.skips,
        "against": comparison,
    }


def to_json(report: ReviewReport) -> str:
    """`as_dict` as text."""
    return json.dumps(as_dict(report), indent=2) + "\n"


def to_markdown(report: ReviewReport) -> str:
    """Both views, severities, and the comparison."""
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in report.outcomes.items() if count)
    parts = [
        f"# {report.reviewer} on {report.data}",
        f"{report.n} merge requests: {outcomes}; {report.skips} skips",
        _table(
            ["shown", "found", "missed", "false", "precision", "recall", "F1", "false per MR"],
            [_row("all", report.before), _row(f"{report.after.threshold} and above", report.after)],
        ),
        "## By severity, before the threshold\n\n" + _severities(report.before),
        _agreement(report),
    ]
    if report.comparison:
        parts.append(_comparison(report))
    return "\n\n".join(parts) + "\n"


def _view(view: View) -> dict[str, Any]:
    return {
        "threshold": view.threshold,
        **view.rates.model_dump(),
        "intervals": {name: _limits(interval) for name, interval in view.intervals.items()},
        "by_severity": {one.severity: one.model_dump(exclude={"severity"}) for one in view.by_severity},
    }


def _limits(interval: Interval) -> list[float] | None:
    return None if interval.low is None or interval.high is None else [interval.low, interval.high]


def _row(name: str, view: View) -> list[str]:
    counts = [str(view.rates.found), str(view.rates.missed), str(view.rates.false)]
    return [
        name,
        *counts,
        *(view.intervals[rate].percent() for rate in RATES),
        f"{view.rates.noise_per_mr:.2f}",
    ]


def _severities(view: View) -> str:
    rows = [
        [one.severity, str(one.found), str(one.missed), str(one.false)]
        + [_percent(getattr(one, rate)) for rate in RATES]
        for one in reversed(view.by_severity)
    ]
    return _table(["severity", "found", "missed", "false", "precision", "recall", "F1"], rows)


def _agreement(report: ReviewReport) -> str:
    scores = report.severity
    return (
        f"Severity of the {scores.n} matched findings: accuracy {_percent(scores.accuracy)}, quadratic kappa "
        + ("n/a" if scores.quadratic_kappa is None else f"{scores.quadratic_kappa:.2f}")
    )


def _comparison(report: ReviewReport) -> str:
    assert report.comparison
    rows = [
        [name, _points(one.value), f"{_points(one.low)} to {_points(one.high)}", _p(one.p_value)]
        for name, one in report.comparison.differences.items()
    ]
    counted = report.comparison.flips
    return (
        f"## {report.reviewer} minus {report.comparison.against}, after the threshold\n\n"
        + _table(["rate", "difference", "95%", "p"], rows)
        + f"\n\nFaults that only the first found: {counted.first_only}; only the second: "
        f"{counted.second_only}; McNemar p {counted.p_value:.3f}"
    )


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f}%"


def _points(value: float | None) -> str:
    return "n/a" if value is None else f"{value:+.3f}"


def _p(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
