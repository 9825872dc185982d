"""Options that several commands share: what reviews, what is hidden, what is left out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from service.settings import Settings

_LEVELS: Final = "low, medium, high or critical"

Repo = Annotated[Path, typer.Option(help="The repository.", show_default="here")]
Threshold = Annotated[str | None, typer.Option(help=f"Hide what is below {_LEVELS}.")]
Gate = Annotated[str | None, typer.Option(help=f"Exit with 1 at {_LEVELS} or above; none.")]
Backend = Annotated[str | None, typer.Option(help="embedded, endpoint or local.")]
Finders = Annotated[str | None, typer.Option(help="Backends that find, with commas.")]
Rater = Annotated[str | None, typer.Option(help="Backend that rates.")]
Endpoint = Annotated[str | None, typer.Option(metavar="URL", help="The endpoint backend's server.")]
Model = Annotated[str | None, typer.Option(help="The endpoint's name for the model.")]
Adapter = Annotated[str | None, typer.Option(help="The endpoint's name for the LoRA adapter.")]
LocalModel = Annotated[str | None, typer.Option(help="The local backend's folder or hub id.")]
LocalAdapter = Annotated[str | None, typer.Option(help="The local backend's LoRA folder.")]
Ignore = Annotated[str | None, typer.Option(help="Paths to leave out, .gitignore patterns.")]
Project = Annotated[str | None, typer.Option(help="One line about the project.")]
Deadline = Annotated[str | None, typer.Option("--deadline", help="Seconds a review may take.")]


def given_settings(params: Mapping[str, Any]) -> dict[str, Any]:
    """The settings among a command's options, those alone that were given."""
    return {key: params[key] for key in Settings.model_fields if params.get(key) is not None}
