"""`terazi rate`: rates findings that other tools made, and gives them back in any format."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from review_data.domain import Rating, Skip
from review_data.errors import UserError
from review_data.secrets import mask
from service.foreign.items import Item, Report
from service.ports import Change
from service.rating import NOTHING_AT_HAND, Rated, rate_items
from service.settings import Settings, resolve
from ui.cli import options as option
from ui.cli.commands.review import Format, Output, Verbose, check_output, emit
from ui.cli.progress import progress
from ui.cli.sources import named_sources, open_source

REPORTS = ("sarif", "rdjson", "gitlab", "comments")


def command(
    ctx: typer.Context,
    range: Annotated[str | None, typer.Argument(metavar="RANGE", help="The change, for context.")] = None,
    sarif: Annotated[Path | None, typer.Option(help="A SARIF log: semgrep, CodeQL, ruff ...")] = None,
    rdjson: Annotated[Path | None, typer.Option(help="reviewdog's rdjson or rdjsonl.")] = None,
    gitlab: Annotated[Path | None, typer.Option(help="A GitLab Code Quality report.")] = None,
    comments: Annotated[Path | None, typer.Option(help='JSON Lines of {"comment": ...}.')] = None,
    repo: option.Repo = Path(),
    patch: Annotated[str | None, typer.Option(metavar="FILE", help="A patch, for context.")] = None,
    threshold: Annotated[str | None, typer.Option(help="Hide what is rated below.")] = None,
    gate: Annotated[str | None, typer.Option(help="Exit with 1 at this severity or above.")] = None,
    backend: Annotated[str | None, typer.Option(help="Backend that rates.")] = None,
    rater: Annotated[str | None, typer.Option(help="Backend that rates.", hidden=True)] = None,
    project: option.Project = None,
    format: Format = "text",
    output: Output = None,
    verbose: Verbose = False,
) -> int:
    """Rate findings of other tools by severity, with the same threshold, gate and formats as a review."""
    from service.review import exit_code

    settings = resolve(option.given_settings(ctx.params), folder=repo).settings
    check_output(format, output)
    kind, path = one_report(ctx.params)
    report = load(kind, path, root_of(repo))
    change = NOTHING_AT_HAND
    if named_sources(ctx.params):
        change = open_source(ctx.params, settings)
        say_outside(report.items, change)
    rated = run(report, change, settings)
    emit(rated.review, change, ctx.params, whole=whole_document(ctx.params, report, path, rated))
    return exit_code(rated.review, settings.gate)


def one_report(options: Mapping[str, Any]) -> tuple[str, Path]:
    """The one report that the options name; `UserError` for none or two."""
    named = [(kind, options[kind]) for kind in REPORTS if options.get(kind) is not None]
    if len(named) != 1:
        raise UserError("give one report to rate: --sarif, --rdjson, --gitlab or --comments FILE")
    return named[0]


def root_of(repo: Path) -> Path:
    """The work tree's folder that holds `repo`, which reports may put before their paths; else `repo`."""
    start = repo.resolve()
    return next((folder for folder in (start, *start.parents) if (folder / ".git").exists()), start)


def load(kind: str, path: Path, root: Path) -> Report:
    """A report's findings, with paths as they are below `root`."""
    from service.foreign import readers
    from service.foreign.sarif import failed_runs, load_sarif

    if kind == "sarif":
        log, items = load_sarif(path, root)
        return Report(items, failed_runs(log, path), log)
    loaders = {
        "rdjson": readers.load_rdjson,
        "gitlab": readers.load_gitlab,
        "comments": readers.load_comments,
    }
    return Report(loaders[kind](path, root))


def say_outside(items: Sequence[Item], change: Change) -> None:
    """Says on standard error how many findings name a file that the change doesn't touch."""
    touched = {path for file in change.request.files for path in (file.path, file.old_path)}
    placed = [item.issue.path for item in items if item.fields.path]
    outside = sum(path not in touched for path in placed)
    if outside:
        words = f"{outside} of {len(placed)} findings lie in files that the change does not touch"
        print(f"terazi: {words}; they are rated by their words alone", file=sys.stderr)


def run(report: Report, change: Change, settings: Settings) -> Rated:
    """Rates with the settings' rater, with a progress bar on a terminal."""
    from service.backends.catalog import open_rater

    with progress("Rating") as on_progress:
        return rate_items(
            report.items,
            open_rater(settings),
            change,
            threshold=settings.threshold,
            project=settings.project,
            skips=report.skips,
            on_progress=on_progress,
        )


def whole_document(options: Mapping[str, Any], report: Report, path: Path, rated: Rated) -> str | None:
    """SARIF in, SARIF out is the same log with ratings; JSON adds a rating per row; else None."""
    from service.foreign.rated_sarif import rated_sarif
    from service.render.json_format import as_dict
    from service.render.redact import masked

    if options["format"] == "sarif" and report.log is not None:
        log = rated_sarif(report.log, path, report.items, rated.answers, rated.review.threshold)
        return json.dumps(log, indent=2) + "\n"
    if options["format"] == "json":
        rows = [rating_row(item, answer) for item, answer in zip(report.items, rated.answers, strict=True)]
        return json.dumps({**as_dict(masked(rated.review)), "ratings": rows}, indent=2) + "\n"
    return None


def rating_row(item: Item, answer: Rating | Skip) -> dict[str, Any]:
    """One row of `ratings`, in the report's order."""
    row: dict[str, Any] = {"place": item.place, "path": item.issue.path, "line": item.issue.line}
    if isinstance(answer, Skip):
        return {**row, "severity": None, "probabilities": None, "reason": mask(answer.reason)}
    probabilities = answer.probabilities.model_dump() if answer.probabilities else None
    return {**row, "severity": answer.severity, "probabilities": probabilities}
