"""The review pipeline: find, anchor, rate, deduplicate, suppress, and filter once at the end.

Works chunk by chunk on a bounded pool; a failure of one chunk becomes a recorded skip and makes the review
`partial`. Owns no finder and no rater (`service.backends`) and prints nothing (`service.render`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from review_data.domain import (
    Finding,
    Issue,
    Outcome,
    Rating,
    Record,
    Review,
    Side,
    Skip,
    SkipKind,
    fingerprint,
    sort_key,
)
from review_data.errors import ReplyError, TeraziError
from review_data.severity import Severity
from service.anchor import anchor
from service.ports import Change, Chunk, Finder, Rater, Reviewer
from service.suppress import is_suppressed
from service.workers import run_all

Progress = Callable[[int, int], None]
# Added lines. In a smaller change mostly nothing is found, and loading a rater beside the search for issues
# would delay the search for nothing.
_OFTEN_FAULTY: Final = 100


class ReviewOptions(Record):
    """What the caller decides about one review; `deadline_s` counts from the call."""

    threshold: Severity = Severity.MEDIUM
    deadline_s: float | None = None


class Task(NamedTuple):
    """One chunk for one finder."""

    finder: Finder
    chunk: Chunk


class Gathered(NamedTuple):
    """What chunks gave so far."""

    findings: list[Finding]
    skips: list[Skip]


def review(
    change: Change, reviewer: Reviewer, options: ReviewOptions, on_progress: Progress | None = None
) -> Review:
    """Reviews `change`. `on_progress(done, total)` is called after each chunk, from this thread.

    Never raises for a failing finder or rater: that is a skip, and the outcome says so.
    """
    started = time.monotonic()
    deadline = None if options.deadline_s is None else started + options.deadline_s
    tasks, plan_skips = plan_all(change, reviewer.finders)
    if tasks and sum(file.added for file in change.request.files) >= _OFTEN_FAULTY:
        reviewer.rater.prepare()
    gathered = Gathered([], [*change.request.skips, *plan_skips])
    succeeded = run_tasks(tasks, change, reviewer.rater, deadline, gathered, on_progress)
    findings = with_unique_fingerprints(merge(gathered.findings))
    suppressed, rest = split_suppressed(findings, change)
    shown = Review(
        outcome=outcome_of(rest, gathered.skips, succeeded),
        threshold=options.threshold,
        findings=rest,
        suppressed=suppressed,
        skips=tuple(sorted(set(gathered.skips), key=_skip_key)),
        files=len(change.request.files),
        backend=reviewer.name,
        provenance=reviewer.provenance,
        title=change.request.title,
        base=change.request.base,
        head=change.request.head,
        elapsed_s=round(time.monotonic() - started, 3),
    )
    return shown.at(options.threshold)


def plan_all(change: Change, finders: Iterable[Finder]) -> tuple[list[Task], list[Skip]]:
    """Every finder's chunks; a finder that can't plan is a skip for each file of the change."""
    tasks: list[Task] = []
    skips: list[Skip] = []
    if not change.request.files:
        return tasks, skips
    for finder in finders:
        try:
            plan = finder.plan(change)
        except Exception as error:
            skips.extend(failure(finder.name, file.path, error) for file in change.request.files)
            continue
        tasks.extend(Task(finder, chunk) for chunk in plan.chunks)
        skips.extend(plan.skips)
    return tasks, skips


def run_tasks(
    tasks: Sequence[Task],
    change: Change,
    rater: Rater,
    deadline: float | None,
    gathered: Gathered,
    on_progress: Progress | None,
) -> int:
    """Works through `tasks`, adds to `gathered`, and returns how many chunks were reviewed."""
    unfinished = set(range(len(tasks)))
    succeeded = 0
    concurrency = max((task.finder.concurrency for task in tasks), default=1)
    for done in run_all(
        range(len(tasks)),
        lambda number: review_chunk(tasks[number], change, rater),
        concurrency=concurrency,
        deadline=deadline,
    ):
        unfinished.remove(done.task)
        if done.result is None:
            gathered.skips.extend(chunk_failures(tasks[done.task], done.error or RuntimeError("no result")))
        else:
            succeeded += 1
            gathered.findings.extend(done.result.findings)
            gathered.skips.extend(done.result.skips)
        if on_progress is not None:
            on_progress(len(tasks) - len(unfinished), len(tasks))
    gathered.skips.extend(skip for number in sorted(unfinished) for skip in deadline_skips(tasks[number]))
    return succeeded


def review_chunk(task: Task, change: Change, rater: Rater) -> Gathered:
    """Finds, anchors and rates the issues of one chunk."""
    found = task.finder.find(task.chunk)
    files = {file.path: file for file in task.chunk.files}
    issues: list[Issue] = []
    result = Gathered([], list(found.skips))
    for issue in found.issues:
        anchored = anchor(issue, files)
        if anchored is None:
            result.skips.append(unanchored(issue))
        else:
            issues.append(anchored)
    if issues:
        rate_issues(issues, change, rater, result)
    return result


def rate_issues(issues: Sequence[Issue], change: Change, rater: Rater, result: Gathered) -> None:
    """Rates anchored issues; one that gets no rating becomes a skip that still names it."""
    try:
        answers = rater.rate(change, issues)
    except Exception as error:
        result.skips.extend(unrated(rater.name, issue, error) for issue in issues)
        return
    for issue, answer in zip(issues, answers, strict=True):
        if isinstance(answer, Skip):
            result.skips.append(answer)
        else:
            result.findings.append(to_finding(issue, answer))


def to_finding(issue: Issue, rating: Rating) -> Finding:
    """The rated issue; the finder's words stay where the rater has none."""
    return Finding(
        path=issue.path,
        line=issue.line,
        side=issue.side,
        category=issue.category,
        severity=rating.severity,
        title=issue.title,
        explanation=rating.explanation or issue.explanation,
        suggestion=rating.suggestion or issue.suggestion,
        probabilities=rating.probabilities,
        source=issue.source,
        sources=(issue.source,),
        rule=issue.rule,
        quote=issue.quote,
        fingerprint=fingerprint(issue.category, issue.path, issue.quote, issue.rule),
    )


def merge(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """One finding per line and category: the most severe one speaks, all sources are named."""
    ordered = sorted(findings, key=lambda f: (*_place(f), -f.severity.rank, f.source, f.fingerprint))
    merged: list[Finding] = []
    for _, group in groupby(ordered, key=_place):
        first, *rest = group
        sources = tuple(dict.fromkeys((first.source, *(finding.source for finding in rest))))
        merged.append(first.model_copy(update={"sources": sources}))
    return tuple(sorted(merged, key=sort_key))


def with_unique_fingerprints(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The n-th repeat of one faulty text in a file gets a fingerprint of its own, in the order of lines."""
    seen: dict[str, int] = {}
    unique: list[Finding] = []
    for finding in sorted(findings, key=_place):
        count = seen[finding.fingerprint] = seen.get(finding.fingerprint, 0) + 1
        if count > 1:
            again = fingerprint(
                finding.category, finding.path, finding.quote, f"{finding.rule or ''}#{count}"
            )
            finding = finding.model_copy(update={"fingerprint": again})
        unique.append(finding)
    return tuple(sorted(unique, key=sort_key))


def split_suppressed(
    findings: Iterable[Finding], change: Change
) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """Findings that an ignore comment covers, and the others."""
    files = {file.path: file for file in change.request.files}
    marked = [(is_suppressed(finding, change, files[finding.path]), finding) for finding in findings]
    return (
        tuple(finding for covered, finding in marked if covered),
        tuple(finding for covered, finding in marked if not covered),
    )


def outcome_of(findings: Sequence[Finding], skips: Iterable[Skip], succeeded: int) -> Outcome:
    """`failed`/`partial` when something that should have been reviewed was not; else by the findings."""
    if any(skip.is_failure for skip in skips):
        return Outcome.PARTIAL if succeeded or findings else Outcome.FAILED
    return Outcome.FINDINGS if findings else Outcome.CLEAN


def exit_code(review: Review, gate: Severity | None) -> int:
    """1 when a finding reaches the gate (hidden or not), else 3 when the tool failed somewhere, else 0.

    A file that is too large or not text makes the outcome `partial`, but is no failure of the tool; where
    nothing else was reviewed, the review failed.
    """
    if gate is not None and any(f.severity >= gate for f in (*review.findings, *review.below)):
        return 1
    failed = review.outcome is Outcome.FAILED or any(skip.kind in _TOOL_FAILURES for skip in review.skips)
    return 3 if failed else 0


_TOOL_FAILURES = frozenset({SkipKind.BACKEND_ERROR, SkipKind.UNPARSABLE_REPLY, SkipKind.DEADLINE})


def failure(who: str, path: str, error: Exception) -> Skip:
    """A chunk's or finder's failure as a skip; a bug names its exception's type."""
    kind = SkipKind.UNPARSABLE_REPLY if isinstance(error, ReplyError) else SkipKind.BACKEND_ERROR
    text = str(error) if isinstance(error, TeraziError) else f"{type(error).__name__}: {error}"
    return Skip(path=path, reason=f"{who} failed: {text}", kind=kind)


def chunk_failures(task: Task, error: Exception) -> list[Skip]:
    """One skip per file of the chunk."""
    paths = dict.fromkeys(file.path for file in task.chunk.files)
    return [failure(task.finder.name, path, error) for path in paths]


def deadline_skips(task: Task) -> list[Skip]:
    """One skip per file of a chunk that the deadline left unreviewed."""
    reason = f"{task.finder.name} had not finished by the deadline"
    paths = dict.fromkeys(file.path for file in task.chunk.files)
    return [Skip(path=path, reason=reason, kind=SkipKind.DEADLINE) for path in paths]


def unanchored(issue: Issue) -> Skip:
    """An issue whose quote stands nowhere in the diff."""
    reason = f"{issue.source} reported “{issue.title}” on a line that the diff does not hold"
    return Skip(path=issue.path, reason=reason, kind=SkipKind.UNANCHORED, line=max(issue.line, 0) or None)


def unrated(who: str, issue: Issue, error: Exception) -> Skip:
    """An issue that was found but got no rating."""
    skip = failure(who, issue.path, error)
    return skip.model_copy(
        update={"reason": f"“{issue.title}” has no rating: {skip.reason}", "line": issue.line}
    )


def _skip_key(skip: Skip) -> tuple[str, int, str, str]:
    return skip.path, skip.line or 0, skip.kind, skip.reason


def _place(finding: Finding) -> tuple[str, int, Side, str]:
    return finding.path, finding.line, finding.side, finding.category
