"""One merge request of a batch, from task to result, in whatever process or thread it runs.

Owns what becomes of a failure: a task never raises, its result says what went wrong. Repositories and
reviewers are opened once per process.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, field_validator

from review_data.domain import Category, Outcome, Record
from review_data.errors import TeraziError
from review_data.secrets import mask
from review_data.severity import Severity
from service.backends.catalog import Reviewers
from service.batch.tasks import Task
from service.changes.git import Repository, open_repository
from service.changes.revisions import Comparison, commit_ends, range_ends
from service.changes.sources import compare, open_patch, read_patch
from service.changes.target_settings import settings_at
from service.ports import Change
from service.render.json_format import as_dict
from service.render.redact import masked
from service.render.summary import tool_version
from service.review import ReviewOptions, exit_code, review
from service.settings import Settings, resolve


class CountedFinding(BaseModel):
    """What is counted of a finding."""

    category: Category
    severity: Severity


class CountedSkip(BaseModel):
    """What is told of a part that was not reviewed."""

    path: str
    reason: str
    failure: bool


class Counted(BaseModel):
    """What is counted of a review's JSON."""

    outcome: Outcome
    title: str
    findings: tuple[CountedFinding, ...]
    hidden: dict[Severity, int]
    skips: tuple[CountedSkip, ...]


class Result(Record):
    """A line of the output: `review` as `terazi review --format json` prints it, or None and an `error`.

    `exit_code` is what that command would have ended with. `key` changes with what was reviewed, with the
    settings and with the version.
    """

    id: str
    exit_code: int
    error: str | None = None
    review: dict[str, Any] | None = None
    key: str = ""

    @field_validator("review")
    @classmethod
    def _can_be_counted(cls, review: dict[str, Any] | None) -> dict[str, Any] | None:
        if review is not None:
            Counted.model_validate(review)
        return review

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing, so that there is no need to review again."""
        outcome = self.review["outcome"] if self.review else None
        return self.exit_code in (0, 1) and outcome in (Outcome.CLEAN, Outcome.FINDINGS)

    def line(self) -> str:
        """The result's line, all ASCII: JSON in any encoding, and a terminal shows it as it is."""
        return json.dumps(self.model_dump(mode="json"), separators=(",", ":")) + "\n"


class Opened(NamedTuple):
    """What a task names: its settings, a hash of what is compared, and the call that reads it."""

    settings: Settings
    content: str
    read: Callable[[], Change]


class Worker:
    """Reviews tasks, also several at once in threads. `flags` are the settings of the command line."""

    def __init__(self, flags: Mapping[str, object]) -> None:
        self._flags = dict(flags)
        self._reviewers = Reviewers()
        self._settings = cache(lambda folder: resolve(self._flags, folder=folder).settings)

    def work(self, task: Task, kept: str = "") -> Result | None:
        """The task's result; None when its key is `kept`, of a result that is there already."""
        try:
            opened = self._open(task)
            key = _key(task, opened)
            return None if key == kept else self._review(task, opened, key)
        except TeraziError as error:
            return failed(task.id, str(error).removeprefix("standard input: "), error.exit_code)
        except Exception as error:
            words = (
                f"internal error: {type(error).__name__}: {error}; this is a bug in Terazi: review it alone"
            )
            return failed(task.id, f"{words} with TERAZI_DEBUG=1 and report the traceback")

    def _open(self, task: Task) -> Opened:
        """A patch has the settings of its repository's folder, anything else those of the commit that it is
        compared with, so that a change can't mute its own review."""
        folder = task.repository or Path()
        if task.range is None and task.commit is None:
            return _open_patch(task, folder, self._settings(folder))
        repository = _repository(folder)
        ends = _ends(repository, task)
        settings = resolve(self._flags, repository=settings_at(repository, ends)).settings
        content = f"{ends.base}..{ends.head}"
        return Opened(settings, content, lambda: compare(repository, ends, settings.ignore))

    def _review(self, task: Task, opened: Opened, key: str) -> Result:
        settings, change = opened.settings, opened.read()
        given = {"title": task.title, "project": task.project or settings.project}
        update = {name: text for name, text in given.items() if text}
        change = Change(change.request.model_copy(update=update), change.snapshot)
        options = ReviewOptions(threshold=settings.threshold, deadline_s=settings.deadline_s)
        result = review(change, self._reviewers.get(settings), options)
        code = exit_code(result, settings.gate)
        return Result(id=task.id, exit_code=code, review=as_dict(masked(result)), key=key)


def failed(name: str, error: str, code: int = 3) -> Result:
    """The result of a task that could not be reviewed."""
    return Result(id=name, exit_code=code, error=mask(error))


def _open_patch(task: Task, folder: Path, settings: Settings) -> Opened:
    data = (task.patch or task.diff or "").encode("utf-8", "replace")
    if task.patch_file is not None:
        data, _ = read_patch(task.patch_file)
    head = task.patch_file.name if task.patch_file else "patch"

    def read() -> Change:
        change = open_patch(data, repo_path=folder, ignore=settings.ignore)
        return Change(change.request.model_copy(update={"title": "", "head": head}), change.snapshot)

    return Opened(settings, hashlib.sha256(data).hexdigest(), read)


@lru_cache(maxsize=8)
def _repository(folder: Path) -> Repository:
    return open_repository(folder)


def _ends(repository: Repository, task: Task) -> Comparison:
    if task.commit is None:
        return range_ends(repository, task.range or "")
    return commit_ends(repository, task.commit)


def _key(task: Task, opened: Opened) -> str:
    parts = (tool_version(), opened.content, task.title, task.project, opened.settings.model_dump_json())
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:32]
