"""A repository's own settings as its target branch has them, so that a change can't mute its reviewer.

Which settings there are, and which of them a repository may set, is `service.settings`' business.
"""

from __future__ import annotations

from pathlib import Path

from review_data.errors import ChangeError
from service.changes.git import Repository, open_repository
from service.changes.revisions import Comparison, range_ends
from service.settings import REPOSITORY_TABLES, Layer, parse_toml


def ends_of(folder: Path, text: str) -> tuple[Repository, Comparison]:
    """The repository and the range's two ends; the folder's path stays out of what is wrong with it."""
    try:
        repository = open_repository(folder)
        return repository, range_ends(repository, text)
    except ChangeError as error:
        said = str(error).removeprefix(f"{folder}: ")
        raise ChangeError(f"range: {said}", kind=error.kind) from None


def target_layer(folder: Path, text: str) -> Layer:
    """The settings that the target branch of the range `text` has for itself.

    Raises `ChangeError` for a range that names no commits, `SettingsError` for a file that is not TOML.
    """
    return settings_at(*ends_of(folder, text))


def settings_at(repository: Repository, ends: Comparison) -> Layer:
    """The settings in the `terazi.toml` or `pyproject.toml` of what is compared with, empty without both.

    Of `A...B` that is A, not the older commit that both have in common.
    """
    # A tree, such as the empty one before a first push, is no commit.
    target = repository.find(f"{ends.base_name}^{{commit}}")
    base = target.name if target else ends.base
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
