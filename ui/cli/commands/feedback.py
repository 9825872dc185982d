"""`terazi feedback`: people's verdicts as rows for the next training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ui.cli.commands.token import Store, opened

app = typer.Typer(no_args_is_help=True)


@app.callback()
def about() -> None:
    """People's verdicts on findings."""


@app.command()
def export(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the two files.")] = Path(
        "feedback"
    ),
    store: Store = None,
) -> None:
    """Write comments.jsonl and merge_requests.jsonl, in the training data's shapes."""
    with opened(store, make=False) as engine:
        from service.store.export import export_to

        count = export_to(engine, output)
    print(f"{count.comments} comments and {count.merge_requests} merge requests in {output}")
