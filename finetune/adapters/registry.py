"""The folder of adapters: adding, listing, finding, promoting, exporting, removing.

    NAME/VERSION/            PEFT files, manifest.json, README.md, ratings of the validation split
    comparisons/ID.json      recorded comparisons
    promoted.json            task -> adapter and the comparison it was promoted by

A version's folder is written once and never changed: servers cache by path. Owns no training and no scores.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import TypeAdapter, ValidationError

from finetune.adapters.manifest import CARD, MANIFEST, WEIGHTS, Manifest, read_manifest
from finetune.llm.score import ANSWERS, BASE_ANSWERS
from review_data.domain import Record
from review_data.errors import UserError
from review_data.jsonl import write_atomically

PROMOTED: Final = "promoted.json"
FILES: Final = (*WEIGHTS, MANIFEST, CARD, ANSWERS, BASE_ANSWERS)
"""All that is copied: what else lies in a folder (pickles, links, notes) stays there."""


class Promotion(Record):
    """Which adapter a task uses, and the comparison that allowed it."""

    adapter: str
    comparison: str
    promoted: str


def default_registry() -> Path:
    """The user's own registry."""
    from platformdirs import user_data_path

    return Path(user_data_path("terazi")) / "adapters"


def add(registry: Path, folder: Path) -> Path:
    """Copies an adapter with its manifest into the registry; an adapter that is there already stays.

    `UserError` when the weights are missing, or are not those that the manifest names.
    """
    manifest = read_manifest(folder)
    check_weights(folder, manifest)
    place = registry / manifest.name / manifest.version
    if not place.exists():
        _copy_whole(folder, place)
    return place


def check_weights(folder: Path, manifest: Manifest) -> None:
    """`UserError` unless the folder holds the weights that the manifest names, in PEFT's format."""
    from finetune.llm.run_folder import file_hash

    missing = [name for name in WEIGHTS if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{folder}: lacks {' and '.join(missing)}; train the adapter again")
    digest = file_hash(folder / WEIGHTS[0])
    if digest != manifest.weights_sha256 or not digest.startswith(manifest.version):
        raise UserError(f"{folder}: the weights are not those of its manifest; train the adapter again")


class Listing(NamedTuple):
    """What a registry holds: the manifests by name and date, and by folder what is wrong with the others."""

    manifests: tuple[Manifest, ...]
    unreadable: dict[Path, UserError]


def listing(registry: Path) -> Listing:
    """All manifests; one that can't be read, or lies in another's place, takes none of the others along."""
    found: list[Manifest] = []
    unreadable: dict[Path, UserError] = {}
    for path in sorted(registry.glob(f"*/*/{MANIFEST}")):
        try:
            found.append(_in_its_place(path.parent))
        except UserError as error:
            unreadable[path.parent] = error
    found.sort(key=lambda manifest: (manifest.name, manifest.created))
    return Listing(tuple(found), unreadable)


def _in_its_place(folder: Path) -> Manifest:
    manifest = read_manifest(folder)
    if (folder.parent.name, folder.name) != (manifest.name, manifest.version):
        raise UserError(f"{folder}: holds {manifest.id}; remove it, then add it with `terazi adapters add`")
    return manifest


def find(registry: Path, name: str) -> tuple[Path, Manifest]:
    """The folder and manifest of `name` (its newest version) or `name@version` (its start is enough).

    `UserError` when none fits, or when one of those that fit can't be read.
    """
    wanted, _, version = name.partition("@")
    found = listing(registry)
    for folder, error in found.unreadable.items():
        if folder.parent.name == wanted and folder.name.startswith(version):
            raise error
    fitting = [m for m in found.manifests if m.name == wanted and m.version.startswith(version)]
    if not fitting:
        known = ", ".join(sorted({manifest.name for manifest in found.manifests})) or "none yet"
        raise UserError(f"there is no adapter `{name}` in {registry}; there are: {known}")
    if version and len(fitting) > 1:
        raise UserError(f"`{name}` fits {len(fitting)} versions; give more of it")
    newest = fitting[-1]
    return registry / newest.name / newest.version, newest


def promotions(registry: Path) -> dict[str, Promotion]:
    """Task -> promotion."""
    path = registry / PROMOTED
    if not path.exists():
        return {}
    try:
        return TypeAdapter(dict[str, Promotion]).validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: can't be read ({reason}); correct or remove it") from None


def write_promotion(registry: Path, task: str, promotion: Promotion) -> None:
    """Replaces one task's promotion in one step."""
    known = {**promotions(registry), task: promotion}
    rows = {name: one.model_dump(mode="json") for name, one in known.items()}
    write_atomically(registry / PROMOTED, json.dumps(rows, indent=2) + "\n")


def export(registry: Path, name: str, target: Path) -> Path:
    """Copies an adapter's files to `target`, which must not exist."""
    folder, manifest = find(registry, name)
    check_weights(folder, manifest)
    if target.exists():
        raise UserError(f"{target}: exists already; name a folder that does not")
    _copy_whole(folder, target)
    return target


def remove(registry: Path, name: str) -> Manifest:
    """Deletes one version; `UserError` for a promoted one."""
    folder, manifest = find(registry, name)
    using = [task for task, one in promotions(registry).items() if one.adapter == manifest.id]
    if using:
        raise UserError(f"{manifest.id} is promoted for {', '.join(using)}; promote another adapter first")
    shutil.rmtree(folder)
    if not any(folder.parent.iterdir()):
        folder.parent.rmdir()
    return manifest


@contextmanager
def appearing(place: Path) -> Iterator[Path]:
    """A path to write a folder to, which takes the name of `place` in the end: it is there whole or not at
    all, whatever interrupts the writing."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".new-") as temporary:
        whole = Path(temporary) / "whole"
        yield whole
        whole.replace(place)


def _copy_whole(source: Path, place: Path) -> None:
    try:
        with appearing(place) as copy:
            copy.mkdir()
            for name in FILES:
                if (source / name).is_file():
                    shutil.copyfile(source / name, copy / name)
    except OSError as error:
        raise UserError(
            f"{place}: can't be written ({error.strerror or error}); free or choose another"
        ) from None
