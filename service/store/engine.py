"""Opening the database: URL, connections, transactions and migration.

SQLite runs in WAL mode with `synchronous=FULL`, and a writing transaction takes the lock when it begins
(`BEGIN IMMEDIATE`), so that two writers wait for each other instead of failing half-way.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from review_data.errors import SettingsError, StoreError

BUSY_TIMEOUT_S = 15.0
_MIGRATIONS = Path(__file__).parent / "migrations"


def store_location(configured: str) -> str:
    """The configured database, or the file in the user's data folder."""
    if configured:
        return configured
    from platformdirs import user_data_path

    return str(user_data_path("terazi") / "terazi.db")


def store_url(text: str) -> URL:
    """The database's URL; a plain path means SQLite. `SettingsError` for anything else."""
    if "://" not in text:
        text = f"sqlite:///{Path(text).expanduser().absolute()}"
    try:
        url = make_url(text)
    except ArgumentError:
        raise SettingsError("store: is not a database URL; write a path or postgresql://...") from None
    drivers = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
    name = drivers.get(url.get_backend_name())
    if name is None:
        raise SettingsError(
            f"store: `{url.get_backend_name()}` is not supported; use sqlite:///... or postgresql://..."
        )
    return url.set(drivername=name)


def open_engine(url: URL, pool_size: int = 10) -> Engine:
    """An engine on `url` that hides parameters (they hold code) from messages and logs."""
    if url.get_backend_name() != "sqlite":
        return create_engine(
            url, pool_pre_ping=True, pool_size=pool_size, pool_timeout=10, hide_parameters=True,
            connect_args={"connect_timeout": 5, "options": "-c statement_timeout=30000"},
        )  # fmt: skip
    if not url.database or url.database == ":memory:":
        raise SettingsError("store: SQLite needs a file, so that an accepted review survives a restart")
    _make_folder(Path(url.database).parent)
    engine = create_engine(
        url,
        pool_size=pool_size,
        pool_timeout=BUSY_TIMEOUT_S,
        hide_parameters=True,
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
    )
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """A session that commits at the end; `StoreError` when the database can't."""
    with stored_errors(), Session(engine.execution_options(writes=True)) as session, session.begin():
        yield session


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """A session for reading; `StoreError` when the database can't."""
    with stored_errors(), Session(engine) as session:
        yield session


@contextmanager
def stored_errors() -> Iterator[None]:
    """Turns the database's errors into a `StoreError` that says what to do and holds no data."""
    try:
        yield
    except DBAPIError as error:
        raise StoreError(_explain(error)) from error
    except SQLAlchemyError as error:
        raise StoreError(f"the database did not answer ({type(error).__name__}); try again") from error


def migrate(engine: Engine) -> None:
    """Brings the schema to the newest version; `StoreError` when it is newer than this program."""
    with stored_errors(), engine.execution_options(writes=True).begin() as connection:
        if connection.dialect.name == "postgresql":
            # Two servers that start together must not both create the tables.
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7283651)")
        _refuse_newer(connection)
        command.upgrade(alembic_config(connection), "head")


def schema_version(engine: Engine) -> str | None:
    """The schema's version, None before the first migration."""
    with stored_errors(), engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def alembic_config(connection: Connection) -> Config:
    """Alembic's configuration for the packaged migrations."""
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config


def _refuse_newer(connection: Connection) -> None:
    current = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in _scripts(connection).walk_revisions()}
    if current is not None and current not in known:
        raise StoreError(
            f"the database has schema version {current}, which this Terazi does not know; "
            "run the newer Terazi that made it, or name another store"
        )


def _scripts(connection: Connection) -> ScriptDirectory:
    return ScriptDirectory.from_config(alembic_config(connection))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"store: the folder {folder} can't be made ({error.strerror})") from None


def _explain(error: DBAPIError) -> str:
    text = str(error.orig).lower()
    if "full" in text or "no space" in text or "disk i/o" in text:
        return "the database can't write: the disk is full; free some space, nothing stored is lost"
    if "readonly" in text or "read-only" in text:
        return "the database can't write: the file or its folder is read-only"
    if "locked" in text:
        return "the database is busy; try again"
    return f"the database did not answer ({type(error.orig).__name__}); check that it runs, then try again"


def _configure_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # this module begins transactions itself
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    options: dict[str, Any] = dict(connection.get_execution_options())
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("writes") else "BEGIN")
