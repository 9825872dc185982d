"""Lists of reviews: filters, pages, counts per severity, and the trend by day. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, Engine, Select, and_, exists, func, or_, select
from sqlalchemy.orm import Session

from review_data.domain import Outcome
from review_data.severity import SEVERITIES, Severity
from service.store.engine import reading
from service.store.records import Day, Filters, Page, Status, Summary
from service.store.tables import FindingRow, ReviewRow
from service.store.values import clean, now_ms

DAY_MS: Final = 86_400_000


def page(engine: Engine, filters: Filters, *, limit: int, cursor: str | None = None) -> Page:
    """`limit` reviews after `cursor`, newest first; `ValueError` for a cursor that no page gave."""
    query = _filtered(filters).order_by(ReviewRow.created_at.desc(), ReviewRow.id.desc()).limit(limit + 1)
    if cursor:
        created, _, identifier = cursor.partition("-")
        at = int(created)
        if not 0 <= at < 2**62:
            raise ValueError("out of range")
        older = and_(ReviewRow.created_at == at, ReviewRow.id < identifier)
        query = query.where(or_(ReviewRow.created_at < at, older))
    with reading(engine) as session:
        rows = session.scalars(query).all()
        tallies = counts_of(session, [row.id for row in rows[:limit]])
        items = tuple(summary_of(row, tallies) for row in rows[:limit])
    last = items[-1] if len(rows) > limit else None
    return Page(items=items, next=f"{last.created_at}-{last.id}" if last else None)


def trend(engine: Engine, filters: Filters, *, days: int) -> tuple[Day, ...]:
    """Shown findings per severity of each of the last `days` days that has a review, oldest first."""
    first = now_ms() // DAY_MS - days + 1
    since = max(filters.since or 0, first * DAY_MS)
    chosen = _filtered(filters.model_copy(update={"since": since})).subquery()
    day = (chosen.c.created_at // DAY_MS).label("day")
    reviews = select(day, func.count()).group_by(day).order_by(day)
    findings = (
        select(day, FindingRow.severity, func.count())
        .join(FindingRow, FindingRow.review_id == chosen.c.id)
        .where(FindingRow.shown)
        .group_by(day, FindingRow.severity)
    )
    with reading(engine) as session:
        totals = {int(number): count for number, count in session.execute(reviews)}
        tallies = {number: dict.fromkeys(SEVERITIES, 0) for number in totals}
        for number, rank, count in session.execute(findings):
            tallies[int(number)][Severity.from_rank(rank)] = count
    return tuple(Day(day=number, reviews=totals[number], counts=tallies[number]) for number in totals)


def summary_of(row: ReviewRow, tallies: dict[str, dict[Severity, int]]) -> Summary:
    """The row as a record; `tallies` is what `counts_of` gave."""
    return Summary(
        id=row.id,
        status=Status(row.status),
        title=row.title,
        repository=row.repository,
        author=row.author,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        outcome=Outcome(row.outcome) if row.outcome else None,
        worst=None if row.worst is None else Severity.from_rank(row.worst),
        counts=dict.fromkeys(SEVERITIES, 0) | tallies.get(row.id, {}),
        done=row.done,
        total=row.total,
        attempts=row.attempts,
        error=row.error,
    )


def counts_of(session: Session, ids: Sequence[str]) -> dict[str, dict[Severity, int]]:
    """Shown findings per severity of each review that has any."""
    query = (
        select(FindingRow.review_id, FindingRow.severity, func.count())
        .where(FindingRow.review_id.in_(ids), FindingRow.shown)
        .group_by(FindingRow.review_id, FindingRow.severity)
    )
    tallies: dict[str, dict[Severity, int]] = {}
    for review_id, rank, count in session.execute(query):
        tallies.setdefault(review_id, {})[Severity.from_rank(rank)] = count
    return tallies


def _filtered(filters: Filters) -> Select[ReviewRow]:
    query = select(ReviewRow)
    if filters.status:
        query = query.where(ReviewRow.status == filters.status)
    if filters.outcome:
        query = query.where(ReviewRow.outcome == filters.outcome)
    if filters.severity:
        query = query.where(ReviewRow.worst >= filters.severity.rank)
    if filters.repository:
        query = query.where(ReviewRow.repository == clean(filters.repository))
    if filters.since is not None:
        query = query.where(ReviewRow.created_at >= filters.since)
    return query.where(_mentions(clean(filters.text))) if filters.text else query


def _mentions(text: str) -> ColumnElement[bool]:
    """The text stands in the title, the repository, or a finding's title or path."""
    found = or_(
        FindingRow.title.icontains(text, autoescape=True), FindingRow.path.icontains(text, autoescape=True)
    )
    return or_(
        ReviewRow.title.icontains(text, autoescape=True),
        ReviewRow.repository.icontains(text, autoescape=True),
        ReviewRow.id == text,
        exists().where(FindingRow.review_id == ReviewRow.id, found),
    )
