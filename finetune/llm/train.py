"""Runs a prepared training to its end: stages, checkpoints, choice, adapter, plot and report.

The order of work and nothing else; each part is in its own file.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from finetune.llm.base import quietly
from finetune.llm.choose import Choice, choose
from finetune.llm.prepare import Prepared, StageRows
from finetune.llm.publish import publish
from finetune.llm.report import write_report
from finetune.llm.run_folder import (
    RunFacts,
    checkpoints,
    contents,
    last_whole,
    locked,
    read_facts,
    remove_after,
    step_of,
    write_facts,
)
from finetune.llm.trainer import build, open_model
from finetune.llm.watch import Watch, as_callback
from review_data.domain import Record
from review_data.errors import UserError, first_line
from review_data.jsonl import write_atomically


class Trained(Record):
    """What a finished run gives: its folder, its adapter, and how each stage's checkpoint was chosen."""

    folder: Path
    adapter: Path
    choices: tuple[Choice, ...]


def train(prepared: Prepared, folder: Path, resume: bool) -> Trained:
    """Trains all stages in `folder`, or goes on from the last whole checkpoint when `resume` is set.

    Raises `UserError` for a folder in use, unwritable, or of another run, and for a full disk;
    `KeyboardInterrupt` after an interrupt, with the work so far saved.
    """
    first = int(os.environ.get("RANK", "0")) == 0
    with quietly(), locked(folder) if first else nullcontext(), _full_disk(folder):
        prepared = prepared._replace(facts=_claim(prepared.facts, folder, resume, first))
        choices = []
        start: Path | None = None
        for number in range(1, len(prepared.stages) + 1):
            choice = _stage(prepared, folder, number, start, first)
            choices.append(choice)
            start = folder / f"stage-{number}" / f"checkpoint-{choice.step}"
        return _finish(prepared, folder, tuple(choices), first)


def _claim(facts: RunFacts, folder: Path, resume: bool, first: bool) -> RunFacts:
    """The facts to run under: new ones written down, or those of the run that goes on.

    Every process takes the plan that the first one wrote.
    """
    if not first:
        _wait_for(folder / "run.json")
    known = read_facts(folder)
    if known is None:
        _refuse_foreign(folder)
        write_facts(folder, facts)
        return facts
    if not resume and first:
        raise UserError(
            f"run folder {folder}: holds a run already ({known.recipe.name}, {known.status}); go on with "
            "--resume or choose another with --out"
        )
    same = facts.model_copy(update={"plan": known.plan})
    if same.hash != known.hash:
        changed = [
            name for name in ("recipe", "base", "prompt_version", "data_hashes") if _differ(same, known, name)
        ]
        raise UserError(
            f"run folder {folder}: can't go on, because {' and '.join(changed)} changed since it was "
            "started; start anew in another folder with --out"
        )
    return same


def _differ(first: RunFacts, second: RunFacts, name: str) -> bool:
    return bool(getattr(first, name) != getattr(second, name))


def _refuse_foreign(folder: Path) -> None:
    others = contents(folder)
    if others:
        raise UserError(
            f"run folder {folder}: is not empty (`{others[0]}`) and holds no run; choose another with --out"
        )


def _stage(prepared: Prepared, folder: Path, number: int, start: Path | None, first: bool) -> Choice:
    facts, rows = prepared.facts, prepared.stages[number - 1]
    place = folder / f"stage-{number}"
    written = place / "choice.json"
    if written.exists():
        return _read_choice(written)
    place.mkdir(parents=True, exist_ok=True)
    model = open_model(facts.recipe, facts.plan, start)
    _run_trainer(prepared, folder, number, model, rows, first)
    if first:
        choice = choose(prepared, rows, place, model)
        write_atomically(written, choice.model_dump_json(indent=2) + "\n")
    _wait_for(written)
    return _read_choice(written)


def _read_choice(path: Path) -> Choice:
    try:
        return Choice.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise UserError(
            f"{path}: can't be read ({first_line(error)}); remove it and go on with --resume, which chooses "
            "again among the checkpoints"
        ) from None


def _wait_for(path: Path) -> None:
    """Until another process has written it; a launcher ends this one when that fails."""
    while not path.exists():
        time.sleep(0.2)


def _run_trainer(
    prepared: Prepared, folder: Path, number: int, model: Any, rows: StageRows, first: bool
) -> None:
    facts = prepared.facts
    place = folder / f"stage-{number}"
    last = last_whole(place, facts.hash)
    if first:
        remove_after(place, step_of(last) if last else 0)
    lengths = rows.train.lengths
    title = f"{facts.recipe.name} {number}/{len(prepared.stages)}"
    share = lengths.supervised / lengths.tokens
    watch = Watch(folder, number, facts.hash, title, facts.recipe.watch.patience, share)
    trainer = build(facts, number, model, prepared, rows, place, [as_callback(watch)])
    try:
        trainer.train(resume_from_checkpoint=str(last) if last else None)
    finally:
        watch.close()
    if watch.interrupted:
        raise KeyboardInterrupt


def _finish(prepared: Prepared, folder: Path, choices: tuple[Choice, ...], first: bool) -> Trained:
    adapter = folder / "adapter"
    if first:
        publish(prepared, folder / f"stage-{len(choices)}", choices, adapter)
        write_facts(folder, prepared.facts.model_copy(update={"status": "finished"}))
        write_report(prepared, folder, choices)
    return Trained(folder=folder, adapter=adapter, choices=choices)


@contextmanager
def _full_disk(folder: Path) -> Iterator[None]:
    """Turns the several errors of a full disk into one message; checkpoints that are whole stay."""
    try:
        yield
    except Exception as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        words = (
            "No space left",
            "File too large",
            "PytorchStreamWriter failed",
            "file write failed",
            "inline_container",
        )
        if not full and not any(word in str(error) for word in words):
            raise
        whole = [path.name for place in folder.glob("stage-*") for path in checkpoints(place)]
        raise UserError(
            f"run folder {folder}: can't be written any more ({type(error).__name__}: "
            f"{first_line(error, 160)}); free space and go on with --resume"
            + (f" (checkpoints: {', '.join(whole)})" if whole else "")
        ) from error
