"""`terazi config`: every setting, its value and where the value came from."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from service.settings import Resolved, meanings, resolve


class Format(StrEnum):
    """How to print the settings."""

    TEXT = "text"
    JSON = "json"


def command(
    repo: Annotated[Path, typer.Option(help="Folder whose repository's file counts.")] = Path(),
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.TEXT,
) -> None:
    """Show the effective settings and where each came from."""
    resolved = resolve(folder=repo)
    print(as_json(resolved) if format is Format.JSON else as_text(resolved))


def as_json(resolved: Resolved) -> str:
    """`{setting: {value, origin}}`."""
    values = resolved.settings.model_dump(mode="json")
    rows = {key: {"value": values[key], "origin": origin} for key, origin in resolved.origins.items()}
    return json.dumps(rows, indent=2)


def as_text(resolved: Resolved) -> str:
    """A line per setting, with its meaning below."""
    values = resolved.settings.model_dump(mode="json")
    told, lines = meanings(), []
    for key, origin in resolved.origins.items():
        lines.append(f"{key} = {json.dumps(values[key])}  ({origin})")
        lines.append(f"    {told[key]}")
    return "\n".join(lines)
