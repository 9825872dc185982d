"""What the hook does when git calls it: review each pushed ref in time, say so, decide about the push.

It warns by default. What could not be reviewed is said loudly, and the push goes on unless `hook_fail` is
`closed`. Owns the decision; reviewing is `service.review`'s, wording of findings `service.render`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from review_data.domain import Outcome, Review
from review_data.errors import TeraziError
from review_data.severity import Severity
from service.changes.git import Repository, open_repository
from service.changes.revisions import Comparison
from service.changes.sources import compare
from service.hook.pushes import Update
from service.hook.ranges import Span, commit_of, new_work
from service.ports import Change, Reviewer
from service.render import render, summary
from service.render.escape import visible
from service.render.view import Screen
from service.review import ReviewOptions, exit_code, review
from service.settings import Settings
from service.workers import run_all

GO_ON: Final = 0
STOP: Final = 1
FAILED: Final = 3
# What the pipeline's own deadline leaves to rendering and to a finder that is slow to let go.
_GRACE_S: Final = 1.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """One push: where, with which settings and backend, and until when (`time.monotonic`)."""

    repo: Path
    settings: Settings
    open_reviewer: Callable[[Settings], Reviewer]
    say: Say
    screen: Screen
    deadline: float

    @property
    def left_s(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()


def run_hook(
    repo: Path,
    updates: Sequence[Update],
    settings: Settings,
    open_reviewer: Callable[[Settings], Reviewer],
    say: Say,
    screen: Screen,
) -> int:
    """Reviews what `updates` push; 0 lets the push go on, 1 stops it.

    Ends soon after `hook_deadline_s` whatever hangs; never raises for what fails in it.
    """
    job = Job(repo, settings, open_reviewer, say, screen, time.monotonic() + settings.hook_deadline_s)
    overdue = job.deadline + _GRACE_S
    done = next(run_all([job], lambda job: review_push(updates, job), concurrency=1, deadline=overdue), None)
    if done is None:
        not_reviewed(say, f"not finished after {settings.hook_deadline_s:g} s")
    elif done.error is not None:
        not_reviewed(say, reason_of(done.error))
    codes = [FAILED] if done is None or done.result is None else done.result
    return decide(codes, settings, say)


def review_push(updates: Sequence[Update], job: Job) -> list[int]:
    """Reviews ref by ref; an exit code (0, 1, 3) for each."""
    repository = open_repository(job.repo)
    known = [update.remote for update in updates if not update.is_new]
    codes = []
    for update in updates:
        try:
            codes.append(review_update(update, repository, known, job))
        except Exception as error:  # one ref's failure must not hide the others' findings
            not_reviewed(job.say, f"{visible(update.name)}: {reason_of(error)}")
            codes.append(FAILED)
    return codes


def review_update(update: Update, repository: Repository, known: list[str], job: Job) -> int:
    """Reviews one ref; adds its head to `known`, so that a later ref is not reviewed for the same commits."""
    name = visible(update.name)
    if update.is_deletion:
        return GO_ON
    head = commit_of(repository, update.local)
    if head is None:
        job.say(f"terazi: {name}: is no commit, nothing to review")
        return GO_ON
    span = new_work(repository, head, known)
    known.append(head)
    if span is None:
        return GO_ON
    if job.left_s <= 0:
        not_reviewed(job.say, f"{name}: the {job.settings.hook_deadline_s:g} s of the hook were over")
        return FAILED
    return review_span(update, repository, span, job)


def review_span(update: Update, repository: Repository, span: Span, job: Job) -> int:
    """Reviews the new commits of one ref and says what was found."""
    block = job.settings.hook_block
    ends = Comparison(span.base, span.head, span.base[:12], update.name, span.head)
    change = compare(repository, ends, job.settings.ignore)
    threshold = min(job.settings.threshold, block or Severity.CRITICAL)
    options = ReviewOptions(threshold=threshold, deadline_s=max(0.1, job.left_s))
    result = review(change, job.open_reviewer(job.settings), options)
    commits = summary.plural(span.commits, "commit")
    job.say(f"terazi: {visible(update.name)}, {commits}: {report(result, change, job.screen)}")
    code = exit_code(result, block)
    if summary.incomplete(result):
        parts = summary.plural(len(summary.failures(result)), "part")
        not_reviewed(job.say, f"{visible(update.name)}: {parts} of the change, named above")
        return code or FAILED
    return code


def report(result: Review, change: Change, screen: Screen) -> str:
    """One line for a clean review, else the whole text."""
    if result.outcome is Outcome.CLEAN:
        return summary.one_line(result)
    return "\n" + render(result, "text", excerpts=change.request.files, screen=screen).rstrip("\n")


def decide(codes: Sequence[int], settings: Settings, say: Say) -> int:
    """What becomes of the push, said so that the way around it is known."""
    if STOP in codes:
        say(
            f"terazi: PUSH STOPPED: there are findings of {settings.hook_block} or above. Correct them, or "
            "push without review: git push --no-verify (skips every hook), TERAZI_SKIP=1 git push (ours only)"
        )
        return STOP
    if FAILED in codes and settings.hook_fail == "closed":
        say(
            "terazi: PUSH STOPPED: not everything was reviewed (hook_fail = closed); see git push --no-verify"
        )
        return STOP
    if FAILED in codes:
        say("terazi: the push goes on although not everything was reviewed (hook_fail = open)")
    return GO_ON


def skipped(updates: Sequence[Update], say: Say) -> int:
    """`TERAZI_SKIP`: the push goes on, and the terminal's log shows that it was not reviewed."""
    names = ", ".join(visible(update.name) for update in updates) or "nothing"
    not_reviewed(say, f"TERAZI_SKIP is set; pushed without review: {names}")
    return GO_ON


def not_reviewed(say: Say, reason: str) -> None:
    """A failure in one loud line."""
    say(f"terazi: NOT REVIEWED: {reason}")


def reason_of(error: Exception) -> str:
    """An error's words; a bug names its type."""
    return visible(str(error) if isinstance(error, TeraziError) else f"{type(error).__name__}: {error}")
