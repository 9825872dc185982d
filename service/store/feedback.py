"""Verdicts in the database. One person has one verdict per finding: a new one replaces the old.

A missed fault has no fingerprint; what is said of it stands for one.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator

from sqlalchemy import Engine, exists, select
from sqlalchemy.orm import Session

from review_data.domain import Review
from review_data.feedback import Feedback, JudgedReview
from service.store.engine import reading, writing
from service.store.tables import FeedbackRow, ReviewRow
from service.store.values import unpacked


def add(engine: Engine, review_id: str, feedback: Feedback) -> Feedback:
    """Stores a verdict on an existing review; it is committed when this returns, with its time set."""
    stamped = feedback.model_copy(update={"at": round(time.time(), 3)})
    subject = feedback.fingerprint or f"missed-{_digest(feedback)}"
    with writing(engine) as session:
        mine = select(FeedbackRow).where(
            FeedbackRow.review_id == review_id,
            FeedbackRow.subject == subject,
            FeedbackRow.author == feedback.author,
        )
        row = session.scalar(mine.with_for_update())
        if row is None:
            row = FeedbackRow(review_id=review_id, subject=subject, author=feedback.author)
            session.add(row)
        row.created_at = int(stamped.at * 1000)
        row.record = stamped.model_dump_json()
    return stamped


def _digest(feedback: Feedback) -> str:
    """Names a missed fault by what is said of it, so that one sent twice is stored once."""
    said = feedback.missed.model_dump_json() if feedback.missed else ""
    return hashlib.sha256(said.encode()).hexdigest()[:24]


def feedback_of(session: Session, review_id: str) -> tuple[Feedback, ...]:
    """The verdicts on one review in the order first given; one that was replaced keeps its place."""
    query = select(FeedbackRow.record).where(FeedbackRow.review_id == review_id)
    rows = session.scalars(query.order_by(FeedbackRow.id))
    return tuple(Feedback.model_validate_json(record) for record in rows)


def judged(engine: Engine) -> Iterator[JudgedReview]:
    """Every finished review that has a verdict, oldest first, one at a time."""
    with reading(engine) as session:
        ids = session.scalars(
            select(ReviewRow.id)
            .where(ReviewRow.result.is_not(None), exists().where(FeedbackRow.review_id == ReviewRow.id))
            .order_by(ReviewRow.created_at, ReviewRow.id)
        ).all()
    for review_id in ids:
        with reading(engine) as session:
            row = session.get(ReviewRow, review_id)
            if row is None or row.result is None:
                continue
            review = Review.model_validate_json(row.result)
            yield JudgedReview(
                id=row.id,
                title=row.title,
                project=row.repository,
                diff=(unpacked(row.diff) or b"").decode("utf-8", "replace"),
                shown=review.findings,
                hidden=review.below,
                feedback=feedback_of(session, review_id),
            )
