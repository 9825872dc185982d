"""The repositories that the server may review: a configured list of names, never a path or URL by request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from review_data.errors import ChangeError, ErrorKind, SettingsError
from service.changes.git import open_repository
from service.changes.revisions import sides_of
from service.changes.target_settings import ends_of

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
        raise ChangeError("range: begins with `-`; write it as A..B", kind=ErrorKind.BAD_RANGE)
    sides = sides_of(text)
    if len(sides) != 2 or not all(sides):
        raise ChangeError(
            "range: has not two sides; is a variable not set? Write it as A..B or A...B",
            kind=ErrorKind.BAD_RANGE,
        )
    ends_of(folder, text)
