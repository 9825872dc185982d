"""`terazi evaluate review`: what a reviewer finds, misses and makes up on labelled merge requests."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from finetune.evaluate.reviews.matching import CategoryRule, Judge, Tolerance
from finetune.evaluate.reviews.report import to_json, to_markdown
from finetune.evaluate.reviews.run import evaluate_reviews, resolve_settings
from finetune.evaluate.reviews.score import ReviewReport
from review_data.errors import UserError
from ui.cli import options as option
from ui.cli.progress import progress


class Format(StrEnum):
    """How to print the scores; text is Markdown, which reads well on a terminal."""

    TEXT = "text"
    JSON = "json"


PRINTED: dict[Format, Callable[[ReviewReport], str]] = {Format.TEXT: to_markdown, Format.JSON: to_json}


def command(
    ctx: typer.Context,
    data: Annotated[Path, typer.Option(help="Labelled merge requests, JSON Lines.")],
    backend: option.Backend = None,
    finders: option.Finders = None,
    rater: option.Rater = None,
    threshold: Annotated[
        str | None, typer.Option(help="Scored before and after hiding what is below.")
    ] = None,
    against: Annotated[str, typer.Option(help="A second backend to compare with.")] = "",
    line_tolerance: Annotated[int, typer.Option(min=0, help="Lines a finding may be off.")] = 3,
    category: Annotated[
        CategoryRule, typer.Option(help="How alike categories must be.")
    ] = CategoryRule.FAMILY,
    judge_endpoint: Annotated[str, typer.Option(help="Server that decides on distant pairs.")] = "",
    judge_model: Annotated[str, typer.Option(help="Its model.")] = "",
    format: Annotated[Format, typer.Option("--format", "-f", help="How to print.")] = Format.TEXT,
) -> None:
    """Score a reviewer on labelled merge requests: found, missed, false, before and after the threshold."""
    found = run(ctx.params)
    print(PRINTED[format](found), end="")


def run(params: dict[str, Any]) -> ReviewReport:
    """Reviews with a progress bar on a terminal."""
    settings = resolve_settings(option.given_settings(params))
    tolerance = Tolerance(lines=params["line_tolerance"], category=params["category"])
    judge = open_judge(params["judge_endpoint"], params["judge_model"])
    with progress("Reviewing") as on_progress:
        return evaluate_reviews(
            params["data"],
            settings,
            against=params["against"],
            tolerance=tolerance,
            judge=judge,
            on_progress=on_progress,
        )


def open_judge(endpoint: str, model: str) -> Judge | None:
    """The judge that the flags name; both or neither."""
    if bool(endpoint) != bool(model):
        raise UserError("--judge-endpoint and --judge-model go together; give both or neither")
    if not endpoint:
        return None
    from finetune.evaluate.client import Client
    from finetune.evaluate.reviews.run import endpoint_judge

    return endpoint_judge(Client(endpoint), model)
