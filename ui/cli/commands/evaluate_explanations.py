"""`terazi evaluate explanations`: two systems' explanations compared in pairs by a teacher."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from finetune.evaluate.client import Client
from finetune.evaluate.explanations.analysis import ExplanationReport, report
from finetune.evaluate.explanations.judge import judge_pairs
from finetune.evaluate.explanations.pairs import read_pairs
from finetune.evaluate.explanations.report import to_json, to_markdown
from finetune.statistics import require_extra
from ui.cli.outputs import check_folder
from ui.cli.progress import progress


class Format(StrEnum):
    """How to print the figures; text is Markdown, which reads well on a terminal."""

    TEXT = "text"
    JSON = "json"


PRINTED: dict[Format, Callable[[ExplanationReport], str]] = {Format.TEXT: to_markdown, Format.JSON: to_json}


def command(
    ctx: typer.Context,
    data: Annotated[Path, typer.Option(help="Labelled rows: subjects and references.")],
    first: Annotated[Path, typer.Option(help="First system's explanations: id, explanation.")],
    second: Annotated[Path, typer.Option(help="Second system's explanations.")],
    judge_endpoint: Annotated[str, typer.Option(help="An OpenAI-compatible server, up to /v1.")],
    judge_model: Annotated[str, typer.Option(help="The teacher's name there.")],
    out: Annotated[Path, typer.Option(help="Folder for the raw judgements; a second run asks no more.")],
    human: Annotated[Path | None, typer.Option(help="People's verdicts: id, first/second/tie.")] = None,
    max_tokens: Annotated[int, typer.Option(help="Longest judgement.")] = 1024,
    at_once: Annotated[int, typer.Option(help="Requests in flight.")] = 8,
    price_in: Annotated[float | None, typer.Option(help="Per million prompt tokens.")] = None,
    price_out: Annotated[float | None, typer.Option(help="Per million completion tokens.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    format: Annotated[Format, typer.Option("--format", "-f", help="How to print.")] = Format.TEXT,
) -> None:
    """Compare two systems' explanations: win rate, at equal length, and the judge's own biases."""
    print(PRINTED[format](run(ctx.params)), end="")


def run(params: dict[str, Any]) -> ExplanationReport:
    """Judges with a progress bar on a terminal."""
    require_extra()
    check_folder("--out", params["out"])
    pairs = read_pairs(params["data"], params["first"], params["second"], params["human"])
    client = Client(params["judge_endpoint"])
    with progress("Judging") as on_progress:
        judgements = judge_pairs(
            pairs,
            client,
            params["judge_model"],
            params["out"],
            max_tokens=params["max_tokens"],
            at_once=params["at_once"],
            on_progress=on_progress,
        )
    given = params["price_in"] is not None and params["price_out"] is not None
    prices = (params["price_in"], params["price_out"]) if given else None
    names = (params["first"].stem, params["second"].stem)
    return report(names, params["judge_model"], pairs, judgements, prices=prices, seed=params["seed"])
