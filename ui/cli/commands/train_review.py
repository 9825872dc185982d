"""`terazi train review`: the language-model reviewer's adapter."""

from __future__ import annotations

from pathlib import Path

from ui.cli.commands.train_codegen import Base, DryRun, Out, Recipe, Resume, Set, adapter_text


def command(
    out: Out = Path("runs/review"),
    recipe: Recipe = "review",
    base: Base = None,
    set_: Set = None,
    resume: Resume = False,
    dry_run: DryRun = False,
) -> None:
    """Train the reviewer's adapter: finding issues, rating their severity, explaining it."""
    print(adapter_text("review", out, recipe, base, (), (), set_ or [], resume, dry_run))
