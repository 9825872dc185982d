"""`terazi evaluate severity`: scores a rater on labelled rows, beside a second one if asked."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from finetune.evaluate.severity import (
    CurvePoint,
    Prediction,
    SeverityReport,
    evaluate_severity,
    open_rater_named,
)
from finetune.evaluate.severity_report import to_json, to_markdown, unrated_lines, write_report
from finetune.severity.config import BASE_HUB_ID, TrainConfig
from ui.cli.outputs import check_folder
from ui.cli.progress import progress


class Format(StrEnum):
    """How to print the scores; text is Markdown, which reads well on a terminal."""

    TEXT = "text"
    JSON = "json"


PRINTED: dict[Format, Callable[[SeverityReport], str]] = {Format.TEXT: to_markdown, Format.JSON: to_json}


def command(
    data: Annotated[Path, typer.Option(help="Labelled rows: merge requests or comments, JSON Lines.")],
    rater: Annotated[str, typer.Option(help="embedded, another backend, or a run folder.")] = "embedded",
    against: Annotated[str | None, typer.Option(help="A second rater to compare with.")] = None,
    report: Annotated[Path | None, typer.Option(help="Folder for the report with pictures.")] = None,
    curve: Annotated[
        Path | None,
        typer.Option(
            "--learning-curve", help="Train on 25 to 100% of the data into this folder, score each."
        ),
    ] = None,
    base: Annotated[str, typer.Option(help="The learning curve's encoder: hub id or folder.")] = BASE_HUB_ID,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    format: Annotated[Format, typer.Option("--format", "-f", help="How to print.")] = Format.TEXT,
) -> int:
    """Score a rater on labelled rows: accuracy, kappa, calibration, threshold effects, with intervals.

    Exit codes: 0 every row is rated, 2 a wrong call, 3 a row has no rating.
    """
    check_folder("--report", report)
    if curve is not None:
        check_curve(curve, base)
    found, predictions = run(data, rater, against, seed)
    if curve is not None:
        found = found.model_copy(update={"learning_curve": run_curve(data, curve, base, seed)})
    if report is not None:
        write_report(report, found, predictions)
    print(PRINTED[format](found), end="")
    return say_unrated(found)


def say_unrated(report: SeverityReport) -> int:
    """Says on standard error which rater left rows without a rating; the exit code."""
    lines = unrated_lines(report)
    for line in lines:
        print(f"terazi: {line}", file=sys.stderr)
    return 3 if lines else 0


def check_curve(folder: Path, base: str) -> None:
    """Refuses what the trainings would refuse after the rating: packages, base or folder that are missing."""
    from finetune.severity.network import resolve_base
    from ui.cli.commands.train_severity import require_extra

    require_extra()
    resolve_base(TrainConfig(base=base))
    check_folder("--learning-curve", folder)


def run(data: Path, rater: str, against: str | None, seed: int) -> tuple[SeverityReport, list[Prediction]]:
    """Evaluates with a progress bar on a terminal."""
    first, second = open_rater_named(rater), open_rater_named(against) if against else None
    with progress("Rating") as on_progress:
        return evaluate_severity(
            data, first, against=second, names=(rater, against or ""), seed=seed, on_progress=on_progress
        )


def run_curve(data: Path, folder: Path, base: str, seed: int) -> tuple[CurvePoint, ...]:
    """Trains and scores the learning curve with a progress bar on a terminal."""
    from finetune.evaluate.learning_curve import learning_curve

    with progress("Training") as on_progress:
        return learning_curve(data, folder, TrainConfig(base=base), seed=seed, on_progress=on_progress)
