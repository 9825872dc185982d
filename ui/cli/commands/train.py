"""`terazi train`: one sub-command per model; each is a file of its own."""

from __future__ import annotations

import typer

from ui.cli.commands import train_codegen, train_review, train_severity

app = typer.Typer(no_args_is_help=True)
app.command("severity")(train_severity.command)
app.command("review")(train_review.command)
app.command("codegen")(train_codegen.command)


@app.callback()
def group() -> None:
    """Train a model of this project."""
