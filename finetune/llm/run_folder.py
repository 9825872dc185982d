"""A training's folder: its lock, its facts (`run.json`), its log, and which checkpoints are whole.

    run.json            recipe, versions, data hash, base, plan, stages, status
    log.jsonl           one line per step and per validation reading
    stage-1/checkpoint-N/   weights, optimiser, `complete.json` (written last: sizes and hashes of all files)
    adapter/            the chosen adapter in PEFT format
    loss.png report.md  for people

Owns no training. A checkpoint without a fitting `complete.json` does not exist for a resumed run.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from finetune.adapters.manifest import WEIGHTS
from finetune.llm.base import BaseId
from finetune.llm.hardware import Machine, Plan
from finetune.recipes import Recipe
from review_data.domain import Record
from review_data.errors import UserError, first_line
from review_data.jsonl import write_atomically

_LOCK: Final = ".lock"
MARKER: Final = "complete.json"
_CHECKPOINT: Final = re.compile(r"checkpoint-(\d+)")


class RunFacts(Record):
    """What a run is: enough to repeat it, and to refuse going on with something else."""

    recipe: Recipe
    base: BaseId
    prompt_version: str
    data_hashes: tuple[str, ...]
    machine: Machine
    plan: Plan
    versions: dict[str, str]
    status: str = "started"

    @property
    def hash(self) -> str:
        """What a checkpoint must carry to belong to this run."""
        parts = self.model_dump_json(include={"recipe", "base", "prompt_version", "data_hashes", "plan"})
        return hashlib.sha256(parts.encode()).hexdigest()


class Marker(Record):
    """Written last into a checkpoint: it is whole, and belongs to the run with this hash."""

    run: str
    step: int
    files: dict[str, str]


def contents(folder: Path) -> list[str]:
    """The names of what lies in a run folder, its lock left out; none where there is no folder."""
    return [path.name for path in folder.iterdir() if path.name != _LOCK] if folder.is_dir() else []


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the folder for this process; `UserError` when it can't be written or another run holds it.

    The lock goes with the process, so that a killed run leaves none behind.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise UserError(
            f"run folder {folder}: can't be written ({error.strerror}); choose another with --out"
        ) from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise UserError(
            f"run folder {folder}: another training is using it; wait for it or choose another --out"
        ) from None
    try:
        yield
    finally:
        os.close(handle)


def read_facts(folder: Path) -> RunFacts | None:
    """The facts of the run in this folder; None when there is none yet."""
    path = folder / "run.json"
    if not path.exists():
        return None
    try:
        return RunFacts.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise UserError(
            f"{path}: can't be read as a run ({first_line(error)}); choose another folder with --out"
        ) from None


def write_facts(folder: Path, facts: RunFacts) -> None:
    """Replaces `run.json` in one step."""
    write_atomically(folder / "run.json", facts.model_dump_json(indent=2) + "\n")


def seal(checkpoint: Path, run: str, step: int) -> None:
    """Marks a checkpoint as whole: call it after everything else was written."""
    files = {path.name: file_hash(path) for path in sorted(checkpoint.iterdir()) if path.name != MARKER}
    marker = Marker(run=run, step=step, files=files)
    write_atomically(checkpoint / MARKER, marker.model_dump_json(indent=2) + "\n")


def checkpoints(folder: Path) -> tuple[Path, ...]:
    """Every checkpoint folder of a stage, by step, whole or not."""
    found = {
        int(match[1]): path
        for path in folder.glob("checkpoint-*")
        if (match := _CHECKPOINT.fullmatch(path.name))
    }
    return tuple(found[step] for step in sorted(found))


def step_of(checkpoint: Path) -> int:
    """The step in a checkpoint's name."""
    return int(checkpoint.name.rpartition("-")[2])


def is_whole(checkpoint: Path, run: str, needed: tuple[str, ...] | None = None) -> bool:
    """Whether the checkpoint belongs to the run, and what is there of its files is as it was sealed.

    `needed` must be there; without it, all that was sealed.
    """
    try:
        marker = Marker.model_validate_json((checkpoint / MARKER).read_bytes())
    except (OSError, ValidationError):
        return False
    if marker.run != run or marker.step != step_of(checkpoint):
        return False
    present = {name: digest for name, digest in marker.files.items() if (checkpoint / name).is_file()}
    return present.keys() >= set(marker.files if needed is None else needed) and all(
        file_hash(checkpoint / name) == digest for name, digest in present.items()
    )


def last_whole(folder: Path, run: str) -> Path | None:
    """The newest checkpoint to go on from, or None."""
    return next((path for path in reversed(checkpoints(folder)) if is_whole(path, run)), None)


def usable(folder: Path, run: str) -> tuple[Path, ...]:
    """The checkpoints whose weights are whole, by step (their optimiser may have been removed)."""
    return tuple(path for path in checkpoints(folder) if is_whole(path, run, WEIGHTS))


def remove_after(folder: Path, step: int) -> None:
    """Deletes checkpoints after `step`: a resumed run writes them again."""
    for path in checkpoints(folder):
        if step_of(path) > step:
            shutil.rmtree(path)


def thin(folder: Path, keep: int = 2) -> None:
    """Deletes the optimiser of all but the newest `keep` checkpoints; it is twice the weights' size."""
    for path in checkpoints(folder)[:-keep]:
        (path / "optimizer.pt").unlink(missing_ok=True)


def append_log(folder: Path, row: Mapping[str, object]) -> None:
    """One more line of `log.jsonl`."""
    with (folder / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(row) + "\n")


def read_log(folder: Path) -> list[dict[str, Any]]:
    """All whole lines of `log.jsonl`; a line cut short by a kill is left out."""
    path = folder / "log.jsonl"
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def rewind_log(folder: Path, stage: int, step: int) -> None:
    """Removes what was logged after `step` of `stage`: a resumed run logs it again."""
    kept = [row for row in read_log(folder) if (row["stage"], row["step"]) <= (stage, step)]
    write_atomically(folder / "log.jsonl", "".join(json.dumps(row) + "\n" for row in kept))


def file_hash(path: Path) -> str:
    """SHA-256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
