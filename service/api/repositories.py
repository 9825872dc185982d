"""The repositories that the server may review: a configured list of names, never a path or URL by request.

Also reads a repository's own `terazi.toml` from the target branch, so that a change can't mute its reviewer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from review_data.errors import ChangeError, SettingsError
from service.changes.git import Repository, open_repository
from service.changes.revisions import Comparison, commit_name, range_ends
from service.settings import REPOSITORY_TABLES, Layer, parse_toml

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def allow_list(entries: Iterable[str]) -> dict[str, Path]:
    """`name=path` entries as a table; `SettingsError` for a bad name or a folder that is no repository."""
    table: dict[str, Path] = {}
    for entry in entries:
        name, sign, path = entry.partition("=")
        if not sign or not _NAME.fullmatch(name):
            raise SettingsError(f"repositories: `{entry}` is not `name=path`, with letters, digits and `._-`")
        folder = Path(path).expanduser().absolute()
        try:
            open_repository(folder)
        except ChangeError as error:
            raise SettingsError(f"repositories: {error}") from None
        table[name] = folder
    return table


def look_up(table: Mapping[str, Path], name: str) -> Path:
    """The folder of a configured repository; `ChangeError` names the choices."""
    if name not in table:
        known = ", ".join(table) or "none is; set `repositories` on the server"
        raise ChangeError(f"repository: there is no such repository; configured: {known}")
    return table[name]


def check_range(folder: Path, text: str) -> None:
    """`ChangeError` when the range does not name two commits of the repository.

    Both sides are needed: an empty one means HEAD, on a server no change of the one who asks.
    """
    if text.startswith("-"):
        raise ChangeError("range: begins with `-`; write it as A..B")
    sides = [side.strip() for side in re.split(r"\.{2,3}", text)]
    if len(sides) != 2 or not all(sides):
        raise ChangeError("range: has not two sides; is a variable not set? Write it as A..B or A...B")
    _ends(folder, text)


def _ends(folder: Path, text: str) -> tuple[Repository, Comparison]:
    """The range's two commits; the server's path stays out of what is wrong with it."""
    try:
        repository = open_repository(folder)
        return repository, range_ends(repository, text)
    except ChangeError as error:
        raise ChangeError(f"range: {str(error).removeprefix(f'{folder}: ')}") from None


def target_layer(folder: Path, text: str) -> Layer:
    """The settings in the target branch's `terazi.toml` or `pyproject.toml`, empty when it has neither."""
    repository, ends = _ends(folder, text)
    base = commit_name(repository, ends.base_name)
    for name, table in REPOSITORY_TABLES.items():
        content = _file(repository, base, name)
        if content is not None:
            layer = parse_toml(content, f"{name} of the target branch", table)
            if layer.values or not table:
                return layer
    return Layer("target branch", {}, trusted=False)


def _file(repository: Repository, commit: str, name: str) -> str | None:
    found = repository.find(f"{commit}:{name}")
    if found is None or found.kind != "blob":
        return None
    return found.data.decode("utf-8", "replace")
