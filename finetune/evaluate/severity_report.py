"""A severity report as JSON, as Markdown (which is also the terminal's form), and as pictures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.evaluate.severity import (
    KEYS,
    Comparison,
    CurvePoint,
    Prediction,
    SeverityReport,
    Stratum,
)
from finetune.severity_metrics import reliability
from finetune.statistics import Interval
from review_data.errors import MissingExtra
from review_data.jsonl import write_atomically, write_jsonl
from review_data.severity import SEVERITIES
from service.render.escape import visible
from service.render.summary import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WORDS = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "qwk": "quadratic kappa",
    "mae": "mean absolute error (levels)",
    "recall_high": "recall of high+critical",
    "precision_high": "precision of high+critical",
    "over_rated": "over-rated",
    "under_rated": "under-rated",
    "ece": "expected calibration error",
    "brier": "Brier score (0 to 2)",
}

_CURVE = ("accuracy", "quadratic_kappa", "severe_recall")


def as_dict(report: SeverityReport) -> dict[str, Any]:
    """The report for programs; `confusion` has a row per label and a column per rating, low to critical."""
    scores = report.scores.model_dump()
    return {
        "rater": report.rater,
        "data": report.data,
        "data_sha256": report.data_sha256,
        "n": scores["n"],
        **{key: scores[field] for key, field in KEYS.items()},
        "unrated": scores["unparsed"],
        "intervals": {key: _limits(report.intervals[field]) for key, field in KEYS.items()},
        "confusion": [list(row[: len(SEVERITIES)]) for row in report.scores.confusion],
        "by": {kind: {s.name: _stratum(s) for s in found} for kind, found in report.strata.items()},
        "thresholds": [effect.model_dump(mode="json") for effect in report.thresholds],
        "against": _comparison(report.comparison),
        "learning_curve": [_point(point) for point in report.learning_curve],
        "failures": list(report.failures),
    }


def to_json(report: SeverityReport) -> str:
    """`as_dict` as text."""
    return json.dumps(as_dict(report), indent=2) + "\n"


def to_markdown(report: SeverityReport) -> str:
    """Tables of everything; reads well on a terminal."""
    parts = [
        f"# Severity of {report.scores.n} rows of {visible(report.data)}, rated by {visible(report.rater)}",
        table(("score", "value", "95% interval"), _score_rows(report)),
        "## Labels (rows) against ratings (columns)",
        table(("label", *SEVERITIES, "unrated"), _confusion_rows(report)),
        "## Threshold: what showing this severity and above would hide",
        table(("threshold", "rows hidden", "of high+critical, hidden", "decided rightly"), _effects(report)),
    ]
    for kind, found in report.strata.items():
        parts += [f"## By {kind}", table((kind, "rows", "accuracy", "kappa", "recall"), _stratum_rows(found))]
    if report.comparison is not None:
        parts += _comparison_parts(report.comparison)
    if report.learning_curve:
        head = ("share of the training records", "training rows", "accuracy", "kappa", "recall")
        parts += ["## Learning curve", table(head, _curve_rows(report.learning_curve))]
    for name, failures in _unrated(report):
        parts += _failure_parts(name, failures)
    return "\n\n".join(parts) + "\n"


def unrated_lines(report: SeverityReport) -> list[str]:
    """A sentence per rater that left rows without a rating; none when all are rated."""
    return [
        visible(
            f"{name} gave {len(failures)} of {report.scores.n} rows no rating; they count as wrong "
            f"(the first: {failures[0]})"
        )
        for name, failures in _unrated(report)
    ]


def _unrated(report: SeverityReport) -> list[tuple[str, tuple[str, ...]]]:
    """The raters that left rows without a rating, each with its failures."""
    raters = [(report.rater, report.failures)]
    if report.comparison is not None:
        raters.append((report.comparison.against, report.comparison.failures))
    return [(name, failures) for name, failures in raters if failures]


def write_report(folder: Path, report: SeverityReport, predictions: Sequence[Prediction]) -> None:
    """`report.md`, `report.json`, `predictions.jsonl` and the pictures; one more with a learning curve."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        raise MissingExtra("train", "a report with pictures", "matplotlib") from None
    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    _picture(folder / "confusion.png", lambda axes: _draw_confusion(axes, report))
    _picture(folder / "reliability.png", lambda axes: _draw_reliability(axes, predictions))
    pictures = "\n\n![Confusion](confusion.png)\n\n![Reliability](reliability.png)\n"
    if report.learning_curve:
        _picture(folder / "learning_curve.png", lambda axes: _draw_curve(axes, report.learning_curve))
        pictures += "\n![Learning curve](learning_curve.png)\n"
    write_atomically(folder / "report.md", to_markdown(report) + pictures)
    write_atomically(folder / "report.json", to_json(report))
    write_jsonl(folder / "predictions.jsonl", predictions)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose columns line up; what stands in a cell can't end it or act on a terminal."""
    lines = [tuple(visible(cell).replace("|", "\\|") for cell in row) for row in (head, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    printed = ["| " + " | ".join(_pad(line, widths)) + " |" for line in lines]
    rule = "| " + " | ".join("-" * width for width in widths) + " |"
    return "\n".join([printed[0], rule, *printed[1:]])


def _pad(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]


def _score_rows(report: SeverityReport) -> list[tuple[str, str, str]]:
    rows = []
    for key, field in KEYS.items():
        interval = report.intervals[field]
        limits = "" if interval.low is None else f"{interval.low:.3f} to {interval.high:.3f}"
        rows.append((_WORDS[key], _number(interval.value), limits))
    return rows


def _confusion_rows(report: SeverityReport) -> list[tuple[str, ...]]:
    return [
        (severity, *(str(count) for count in row))
        for severity, row in zip(SEVERITIES, report.scores.confusion, strict=True)
    ]


def _effects(report: SeverityReport) -> list[tuple[str, ...]]:
    return [
        (effect.threshold, _share(effect.hidden), _share(effect.severe_hidden), _share(effect.right))
        for effect in report.thresholds
    ]


def _stratum_rows(found: Iterable[Stratum]) -> list[tuple[str, ...]]:
    return [
        (
            stratum.name,
            str(stratum.scores.n),
            _number(stratum.scores.accuracy),
            _number(stratum.scores.quadratic_kappa),
            _number(stratum.scores.severe_recall),
        )
        for stratum in found
    ]


def _curve_rows(points: Iterable[CurvePoint]) -> list[tuple[str, ...]]:
    return [
        (f"{point.share:.0%}", str(point.examples), *(_with_interval(point, name) for name in _CURVE))
        for point in points
    ]


def _with_interval(point: CurvePoint, name: str) -> str:
    found = point.intervals[name]
    limits = "" if found.low is None else f" [{found.low:.3f}, {found.high:.3f}]"
    return _number(found.value) + limits


def _comparison_parts(comparison: Comparison) -> list[str]:
    rows = [
        (
            _WORDS[key],
            _number(found.value, sign=True),
            "" if found.low is None else f"{found.low:+.3f} to {found.high:+.3f}",
            _number(found.p_value),
        )
        for key, field in KEYS.items()
        if (found := comparison.differences.get(field)) is not None and found.value is not None
    ]
    flips = comparison.flips
    return [
        f"## Against {visible(comparison.against)} (accuracy {_number(comparison.accuracy)}): "
        "first minus second",
        table(("score", "difference", "95% interval", "p"), rows),
        f"Only the first is right on {flips.first_only} rows, only the second on {flips.second_only}: "
        f"McNemar's exact p = {flips.p_value:.3g}.",
    ]


def _failure_parts(rater: str, failures: Sequence[str]) -> list[str]:
    shown = "\n".join(f"- {visible(text)}" for text in failures[:20])
    return [f"## {plural(len(failures), 'row')} without a rating by {visible(rater)}", shown]


def _stratum(stratum: Stratum) -> dict[str, Any]:
    scores = stratum.scores.model_dump()
    return {"n": scores["n"], **{key: scores[field] for key, field in KEYS.items()}}


def _point(point: CurvePoint) -> dict[str, Any]:
    return {
        "share": point.share,
        "examples": point.examples,
        **{key: getattr(point.scores, field) for key, field in KEYS.items()},
        "intervals": {key: _limits(point.intervals[field]) for key, field in KEYS.items()},
    }


def _limits(interval: Interval) -> list[float] | None:
    return None if interval.low is None or interval.high is None else [interval.low, interval.high]


def _comparison(comparison: Comparison | None) -> dict[str, Any] | None:
    if comparison is None:
        return None
    return {
        "rater": comparison.against,
        "accuracy": comparison.accuracy,
        "differences": {
            key: comparison.differences[field].model_dump()
            for key, field in KEYS.items()
            if field in comparison.differences
        },
        "mcnemar": comparison.flips.model_dump(),
        "unrated": len(comparison.failures),
        "failures": list(comparison.failures),
    }


def _number(value: float | None, *, sign: bool = False) -> str:
    return "n/a" if value is None else f"{value:+.3f}" if sign else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f}%"


def _picture(path: Path, draw: Any) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8, 4.4), dpi=120, layout="constrained")
    draw(figure.subplots())
    figure.savefig(path)


def _draw_confusion(axes: Axes, report: SeverityReport) -> None:
    counts = [list(row[: len(SEVERITIES)]) for row in report.scores.confusion]
    axes.imshow(counts, cmap="Blues")
    largest = max(max(row) for row in counts)
    for label, row in enumerate(counts):
        for rated, count in enumerate(row):
            color = "white" if count > largest / 2 else "black"
            axes.text(rated, label, str(count), ha="center", va="center", color=color)
    axes.set_xticks(range(len(SEVERITIES)), SEVERITIES)
    axes.set_yticks(range(len(SEVERITIES)), SEVERITIES)
    axes.set(xlabel="rating", ylabel="label", title="Labels against ratings")


def _draw_reliability(axes: Axes, predictions: Sequence[Prediction]) -> None:
    known = [(row.severity, row.probabilities) for row in predictions if row.probabilities is not None]
    bars = reliability([label for label, _ in known], [given for _, given in known], bins=10)
    axes.plot([0, 1], [0, 1], linestyle="--", color="grey", label="perfect")
    axes.bar(
        [bar.confidence for bar in bars],
        [bar.accuracy for bar in bars],
        width=0.06,
        label="accuracy (rows above the bar)",
    )
    for bar in bars:
        axes.text(bar.confidence, bar.accuracy + 0.02, str(bar.n), ha="center", fontsize=8)
    axes.set(xlim=(0, 1), ylim=(0, 1.1), xlabel="top probability", ylabel="share right", title="Reliability")
    axes.legend(loc="upper left", fontsize=8)


def _draw_curve(axes: Axes, points: Sequence[CurvePoint]) -> None:
    shares = [point.share for point in points]
    for name, words in (("accuracy", "accuracy"), ("quadratic_kappa", "quadratic kappa")):
        found = [point.intervals[name] for point in points]
        axes.plot(shares, [interval.value or 0 for interval in found], marker="o", label=words)
        limits = [limit for interval in found if (limit := _limits(interval)) is not None]
        if len(limits) == len(shares):
            low, high = zip(*limits, strict=True)
            axes.fill_between(shares, low, high, alpha=0.15)
    axes.set_xticks(shares, [f"{share:.0%}" for share in shares])
    axes.set(xlabel="share of the training records", ylabel="score", ylim=(0, 1), title="Learning curve")
    axes.legend(loc="lower right")
