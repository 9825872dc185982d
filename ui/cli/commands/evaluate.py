"""`terazi evaluate`: one sub-command per task; each is a file of its own."""

from __future__ import annotations

import typer

from ui.cli.commands import (
    evaluate_codegen,
    evaluate_explanations,
    evaluate_review,
    evaluate_severity,
)

app = typer.Typer(no_args_is_help=True)
app.command("codegen")(evaluate_codegen.command)
app.command("explanations")(evaluate_explanations.command)
app.command("review")(evaluate_review.command)
app.command("severity")(evaluate_severity.command)


@app.callback()
def group() -> None:
    """Score models and reviewers on labelled data."""
