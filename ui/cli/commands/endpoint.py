"""`terazi endpoint`: is the language model's server fit for reviews?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from service.render.escape import visible
from service.settings import resolve
from ui.cli import options as option

if TYPE_CHECKING:
    from service.backends.endpoint.check import Check

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _endpoint() -> None:
    """Ask the language model's server what it can do."""


@app.command()
def check(
    ctx: typer.Context,
    endpoint: Annotated[str | None, typer.Option(metavar="URL", help="The server's API.")] = None,
    model: Annotated[str | None, typer.Option(help="The server's name for the model.")] = None,
    adapter: Annotated[str | None, typer.Option(help="The server's name for the LoRA adapter.")] = None,
) -> int:
    """Say whether the server is up, what it serves and what it lacks. Exits with 3 if reviews would fail."""
    from service.backends.catalog import open_endpoint_model
    from service.backends.endpoint.check import check_endpoint

    settings = resolve(option.given_settings(ctx.params)).settings
    checks = check_endpoint(open_endpoint_model(settings))
    print(as_text(checks))
    return 3 if any(one.needed and one.ok is False for one in checks) else 0


def as_text(checks: Sequence[Check]) -> str:
    """A line per check: a mark, its name, what was seen, with nothing in it that acts on a terminal."""
    return "\n".join(f"{_mark(one):<8} {one.name:<18} {visible(one.detail)}" for one in checks)


def _mark(one: Check) -> str:
    if one.ok is None:
        return "unknown"
    return "ok" if one.ok else ("missing" if one.needed else "advice")
