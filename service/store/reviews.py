"""The reviews' life in the database: accepted, claimed by a worker, finished, deleted.

A worker holds a review by a lease that it renews. When a server dies, the lease runs out and another worker
(or the restarted server) claims the review again, so nothing that was accepted is lost. A review on which
`MAX_ATTEMPTS` workers died is marked `interrupted` instead.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Final

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Engine, and_, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session, undefer

from review_data.domain import Finding, Outcome, Review
from review_data.errors import ErrorKind, StoreError
from review_data.severity import Severity
from service.store.engine import reading, writing
from service.store.feedback import feedback_of
from service.store.listing import counts_of, summary_of
from service.store.records import Claimed, Excerpt, Status, Stored, Summary
from service.store.tables import FeedbackRow, FindingRow, ReviewRow
from service.store.values import clean, now_ms, packed, unpacked

MAX_ATTEMPTS: Final = 3
_EXCERPTS = TypeAdapter(dict[str, Excerpt])


class QueueFull(StoreError):
    """No more reviews are accepted until some are done; `waiting` is how many wait."""

    kind = ErrorKind.QUEUE_FULL

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting
        super().__init__(f"{waiting} reviews are waiting, which is the limit; try again later")


def accept(
    engine: Engine,
    request: str,
    *,
    diff: bytes | None,
    title: str = "",
    repository: str = "",
    author: str = "",
    limit: int,
) -> Summary:
    """Stores a review as queued; it is committed when this returns. `QueueFull` beyond `limit` waiting."""
    row = ReviewRow(
        id=secrets.token_hex(16),
        status=Status.QUEUED,
        created_at=now_ms(),
        request=request,
        diff=packed(diff),
        title=clean(title),
        repository=clean(repository),
        author=author,
        done=0,
        total=0,
        attempts=0,
    )
    with writing(engine) as session:
        waiting = _count(session, ReviewRow.status == Status.QUEUED)
        if waiting >= limit:
            raise QueueFull(waiting)
        session.add(row)
        session.flush()
        return summary_of(row, {})


def claim(engine: Engine, *, lease_ms: int) -> Claimed | None:
    """The oldest review that waits or whose worker is gone, now held by the caller; None when none is."""
    now = now_ms()
    free = or_(
        ReviewRow.status == Status.QUEUED,
        and_(ReviewRow.status == Status.RUNNING, ReviewRow.lease_until < now),
    )
    if not _any(engine, free):
        return None
    with writing(engine) as session:
        query = select(ReviewRow).where(free).order_by(ReviewRow.created_at, ReviewRow.id).limit(1)
        row = session.scalar(query.options(undefer(ReviewRow.diff)).with_for_update(skip_locked=True))
        if row is None:
            return None
        if row.attempts >= MAX_ATTEMPTS:
            _interrupt(row, now)
            return None  # the next call gets the next one
        row.status, row.claim, row.lease_until = Status.RUNNING, secrets.token_hex(16), now + lease_ms
        row.attempts += 1
        row.started_at = now
        return Claimed(
            id=row.id, claim=row.claim, request=row.request, diff=unpacked(row.diff), attempts=row.attempts
        )


def renew(engine: Engine, claims: Iterable[str], *, lease_ms: int) -> None:
    """Keeps held reviews from being claimed by others."""
    with writing(engine) as session:
        held = ReviewRow.claim.in_(list(claims))
        session.execute(update(ReviewRow).where(held).values(lease_until=now_ms() + lease_ms))


def progress(engine: Engine, held: Claimed, done: int, total: int) -> None:
    """Notes how many of the chunks are reviewed."""
    with writing(engine) as session:
        session.execute(update(ReviewRow).where(ReviewRow.claim == held.claim).values(done=done, total=total))


def release(engine: Engine, held: Claimed) -> None:
    """Puts a held review back into the queue, as if it had not been begun."""
    with writing(engine) as session:
        values = {"status": Status.QUEUED, "claim": None, "lease_until": None, "attempts": held.attempts - 1}
        session.execute(update(ReviewRow).where(ReviewRow.claim == held.claim).values(values))


def finish(
    engine: Engine, held: Claimed, review: Review, excerpts: dict[str, Excerpt], diff: bytes | None = None
) -> bool:
    """Stores the result; False when another worker has taken over. `diff` replaces the stored one."""
    with writing(engine) as session:
        row = session.scalar(select(ReviewRow).where(ReviewRow.claim == held.claim).with_for_update())
        if row is None:
            return False
        every = [*review.findings, *review.below]
        row.status, row.outcome = Status.DONE, review.outcome
        row.worst = max((finding.severity.rank for finding in review.findings), default=None)
        row.result = review.model_dump_json()
        row.excerpts = _EXCERPTS.dump_json(excerpts).decode()
        row.title = row.title or clean(review.title)
        row.done = row.total
        if diff is not None:
            row.diff = packed(diff)
        _end(row)
        session.add_all(_finding_row(row.id, finding, review.threshold) for finding in every)
        return True


def fail(engine: Engine, held: Claimed, message: str) -> bool:
    """Marks a review that could not be begun, with the reason; False when another worker has it."""
    with writing(engine) as session:
        row = session.scalar(select(ReviewRow).where(ReviewRow.claim == held.claim).with_for_update())
        if row is None:
            return False
        row.status, row.outcome, row.error = Status.FAILED, Outcome.FAILED, clean(message)
        _end(row)
        return True


def get(engine: Engine, review_id: str) -> Stored | None:
    """The review with its findings and verdicts, None when there is none of that id."""
    with reading(engine) as session:
        options = (undefer(ReviewRow.result), undefer(ReviewRow.excerpts))
        row = session.scalar(select(ReviewRow).where(ReviewRow.id == review_id).options(*options))
        if row is None:
            return None
        review = Review.model_validate_json(row.result) if row.result else None
        return Stored(
            summary=summary_of(row, counts_of(session, [row.id])),
            request=row.request,
            review=review,
            excerpts=_EXCERPTS.validate_json(row.excerpts) if row.excerpts else {},
            feedback=feedback_of(session, row.id),
        )


def summary(engine: Engine, review_id: str) -> Summary | None:
    """How far the review is, None when there is none of that id."""
    with reading(engine) as session:
        row = session.get(ReviewRow, review_id)
        return None if row is None else summary_of(row, counts_of(session, [review_id]))


def diff_of(engine: Engine, review_id: str) -> bytes | None:
    """The unified diff that was reviewed."""
    with reading(engine) as session:
        return unpacked(session.scalar(select(ReviewRow.diff).where(ReviewRow.id == review_id)))


def waiting(engine: Engine) -> tuple[int, int]:
    """How many reviews wait and how many run."""
    with reading(engine) as session:
        return (
            _count(session, ReviewRow.status == Status.QUEUED),
            _count(session, ReviewRow.status == Status.RUNNING),
        )


def prune(engine: Engine, *, before: int, judged_before: int | None) -> int:
    """Deletes finished reviews older than `before` (ms), those with verdicts when older than `judged_before`.

    Returns how many were deleted; None for `judged_before` keeps every review that has a verdict.
    """
    judged = exists().where(FeedbackRow.review_id == ReviewRow.id)
    final = ReviewRow.status.in_([status for status in Status if status.is_final])
    old = and_(ReviewRow.created_at < before, ~judged)
    if judged_before is not None:
        old = or_(old, and_(ReviewRow.created_at < judged_before, judged))
    with writing(engine) as session:
        ids = session.scalars(select(ReviewRow.id).where(final, old)).all()
        for start in range(0, len(ids), 500):
            session.execute(delete(ReviewRow).where(ReviewRow.id.in_(ids[start : start + 500])))
        return len(ids)


def _finding_row(review_id: str, finding: Finding, threshold: Severity) -> FindingRow:
    return FindingRow(
        review_id=review_id,
        fingerprint=finding.fingerprint,
        severity=finding.severity.rank,
        category=finding.category,
        path=clean(finding.path),
        line=finding.line,
        title=clean(finding.title),
        shown=finding.severity >= threshold,
    )


def _interrupt(row: ReviewRow, now: int) -> None:
    row.status, row.outcome, row.finished_at = Status.INTERRUPTED, Outcome.FAILED, now
    row.claim, row.lease_until = None, None
    row.error = (
        f"the server stopped {row.attempts} times while it worked on this review; nothing was reviewed"
    )


def _end(row: ReviewRow) -> None:
    row.finished_at = now_ms()
    row.claim, row.lease_until = None, None


def _count(session: Session, where: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).select_from(ReviewRow).where(where)) or 0


def _any(engine: Engine, where: ColumnElement[bool]) -> bool:
    with reading(engine) as session:
        return session.scalar(select(ReviewRow.id).where(where).limit(1)) is not None
