"""`terazi review`: opens the change, reviews it, prints the result, and turns it into an exit code."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from review_data.domain import Review
from review_data.errors import UserError
from service.ports import Change, Reviewer
from service.render import FORMATS, render, summary
from service.render.view import Screen
from service.settings import Settings, resolve
from ui.cli import options as option
from ui.cli.outputs import check_file
from ui.cli.progress import progress
from ui.cli.sources import open_source

# Reports that can't say how many findings are hidden; whoever runs the command still shall know.
_WITHOUT_COUNTS = ("gitlab", "rdjson")

Format = Annotated[str, typer.Option("--format", "-f", help=f"{', '.join(FORMATS)}.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Write to a file.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show hidden findings too.")]


def command(
    ctx: typer.Context,
    range: Annotated[
        str | None, typer.Argument(metavar="RANGE", help="BASE..HEAD, BASE...HEAD, or a branch.")
    ] = None,
    repo: option.Repo = Path(),
    staged: Annotated[bool, typer.Option("--staged", help="Review what `git commit` would record.")] = False,
    worktree: Annotated[bool, typer.Option("--worktree", help="Review everything not committed.")] = False,
    commit: Annotated[str | None, typer.Option(metavar="REV", help="Review one commit.")] = None,
    patch: Annotated[str | None, typer.Option(metavar="FILE", help="Review a patch; - reads it in.")] = None,
    threshold: option.Threshold = None,
    gate: option.Gate = None,
    backend: option.Backend = None,
    finders: option.Finders = None,
    rater: option.Rater = None,
    endpoint: option.Endpoint = None,
    model: option.Model = None,
    adapter: option.Adapter = None,
    local_model: option.LocalModel = None,
    local_adapter: option.LocalAdapter = None,
    ignore: option.Ignore = None,
    project: option.Project = None,
    deadline_s: option.Deadline = None,
    format: Format = "text",
    output: Output = None,
    verbose: Verbose = False,
) -> int:
    """Review a change and rate what is found by severity.

    Exit codes: 0 nothing reaches the gate, 1 something does, 2 a wrong call, 3 a part of the review failed.
    """
    from service.backends.catalog import open_reviewer, start_rater
    from service.review import exit_code

    settings = resolve(option.given_settings(ctx.params), folder=repo).settings
    check_output(format, output)
    start_rater(settings)
    reviewer = open_reviewer(settings)
    change = open_source(ctx.params, settings)
    result = run(change, reviewer, settings)
    emit(result, change, ctx.params)
    return exit_code(result, settings.gate)


def check_output(format: str, output: Path | None) -> None:
    """Refuses an unknown format or an unwritable place before any work is done."""
    if format not in FORMATS:
        raise UserError(f"--format: there is no format `{format}`; choose one of {', '.join(FORMATS)}")
    if output is not None:
        check_file("--output", output)


def run(change: Change, reviewer: Reviewer, settings: Settings) -> Review:
    """Reviews with a progress bar on a terminal."""
    from service.review import ReviewOptions, review

    if settings.project:
        request = change.request.model_copy(update={"project": settings.project})
        change = Change(request, change.snapshot)
    options = ReviewOptions(threshold=settings.threshold, deadline_s=settings.deadline_s)
    with progress("Reviewing") as on_progress:
        return review(change, reviewer, options, on_progress)


def emit(result: Review, change: Change, options: Mapping[str, Any], *, whole: str | None = None) -> None:
    """Writes the review (or `whole`, already rendered) to --output, or prints it."""
    from review_data.jsonl import write_atomically

    output, format = options["output"], options["format"]
    screen = Screen.of(sys.stdout) if output is None else None
    text = whole or render(
        result, format, excerpts=change.request.files, verbose=options["verbose"], screen=screen
    )
    silent = whole is not None and summary.incomplete(result)  # another tool's log, which people don't read
    if output is not None or format in _WITHOUT_COUNTS or silent:
        print(f"terazi: {summary.one_line(result)}", file=sys.stderr)
    if output is None:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    try:
        write_atomically(output, text)
    except OSError as error:
        raise UserError(
            f"--output: {output} can't be written ({error.strerror}); choose another place"
        ) from error
