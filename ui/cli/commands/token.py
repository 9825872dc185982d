"""`terazi token`: who may use the server. Tokens are shown once and kept as hashes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from review_data.errors import MissingExtra, SettingsError

if TYPE_CHECKING:
    from sqlalchemy import Engine

app = typer.Typer(no_args_is_help=True)
_DAY_MS = 86_400_000
Store = Annotated[str | None, typer.Option(help="Database, when it is not the configured one.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose token it is; verdicts carry this name.")],
    days: Annotated[int, typer.Option(min=0, max=36_500, help="Days until it expires; 0 is never.")] = 90,
    store: Store = None,
) -> None:
    """Make a token and print it, this once."""
    with opened(store) as engine:
        from service.store import tokens

        print(tokens.create(engine, name, lifetime_ms=days * _DAY_MS if days else None))


@app.command("list")
def every(store: Store = None) -> None:
    """List the tokens and how long they are valid."""
    with opened(store, make=False) as engine:
        from service.store import tokens
        from service.store.values import now_ms

        for token in tokens.every(engine):
            state = "valid" if token.is_valid(now_ms()) else "revoked" if token.revoked_at else "expired"
            print(f"{token.name}\t{state}\tmade {_day(token.created_at)}\tuntil {_day(token.expires_at)}")


@app.command()
def revoke(name: Annotated[str, typer.Argument(help="The token's name.")], store: Store = None) -> None:
    """End a token at once."""
    with opened(store, make=False) as engine:
        from service.store import tokens

        tokens.revoke(engine, name)
        print(f"{name} is revoked")


@contextmanager
def opened(store: str | None, *, make: bool = True) -> Iterator[Engine]:
    """The configured database, migrated; without `make` a `SettingsError` when there is none yet."""
    from service.settings import resolve

    try:
        from service.store.engine import migrate, open_engine, store_location, store_url
    except ModuleNotFoundError as error:
        raise MissingExtra("serve", "the server's database", error.name or "sqlalchemy") from error

    settings = resolve({"store": store}).settings
    url = store_url(store_location(settings.store))
    if not make and url.get_backend_name() == "sqlite" and url.database and not Path(url.database).exists():
        raise SettingsError(f"store: there is no database {url.database}; name the server's with --store")
    engine = open_engine(url)
    try:
        migrate(engine)
        yield engine
    finally:
        engine.dispose()


def _day(milliseconds: int | None) -> str:
    if milliseconds is None:
        return "forever"
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d")
