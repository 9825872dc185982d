"""`terazi serve`: the HTTP service and the review page on one port."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from service.settings import resolve
from ui.cli import options as option


def command(
    ctx: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address; other than loopback needs tokens.")] = None,
    port: Annotated[str | None, typer.Option(help="Port; 0 takes a free one.")] = None,
    store: Annotated[str | None, typer.Option(help="SQLite file or postgresql://...")] = None,
    repositories: Annotated[str | None, typer.Option(help="name=path, with commas.")] = None,
    public_hosts: Annotated[str | None, typer.Option(help="Names browsers use, with commas.")] = None,
    workers: Annotated[str | None, typer.Option(help="Reviews at once.")] = None,
    threshold: Annotated[str | None, typer.Option(help="Hide what is below.")] = None,
    backend: option.Backend = None,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Serve the review page too.")] = True,
) -> int:
    """Serve the review page and the HTTP API."""
    from ui.serving import serve

    flags = option.given_settings(ctx.params)
    serve(resolve(flags).settings, flags, page=page, announce=lambda line: print(line, flush=True))
    print("terazi: stopped", file=sys.stderr)
    return 0
