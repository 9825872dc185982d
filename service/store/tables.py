"""The tables. Columns and constraints only; who reads and writes them is in the files beside this one.

Times are integers, milliseconds since the epoch in UTC, because SQLite keeps no time zones. Records are JSON
text and diffs are compressed bytes, so that both databases hold the same and a NUL byte harms neither.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Table(DeclarativeBase):
    """Base of the tables."""


class ReviewRow(Table):
    """A review from its acceptance on. `claim` names the worker that holds it until `lease_until`."""

    __tablename__ = "reviews"
    __table_args__ = (
        Index("ix_reviews_status", "status", "created_at"),
        Index("ix_reviews_created", "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    status: Mapped[str] = mapped_column(String(12))
    created_at: Mapped[int] = mapped_column(BigInteger)
    started_at: Mapped[int | None] = mapped_column(BigInteger)
    finished_at: Mapped[int | None] = mapped_column(BigInteger)
    request: Mapped[str] = mapped_column(Text)
    diff: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    title: Mapped[str] = mapped_column(Text, default="")
    repository: Mapped[str] = mapped_column(Text, default="")
    author: Mapped[str] = mapped_column(Text, default="")
    outcome: Mapped[str | None] = mapped_column(String(12))
    worst: Mapped[int | None]
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    claim: Mapped[str | None] = mapped_column(String(32))
    lease_until: Mapped[int | None] = mapped_column(BigInteger)
    result: Mapped[str | None] = mapped_column(Text, deferred=True)
    excerpts: Mapped[str | None] = mapped_column(Text, deferred=True)
    error: Mapped[str | None] = mapped_column(Text)


class FindingRow(Table):
    """One finding of a finished review, for search, filters and the trend; `shown` is by the threshold."""

    __tablename__ = "findings"

    review_id: Mapped[str] = mapped_column(
        String(32), ForeignKey("reviews.id", ondelete="CASCADE"), primary_key=True
    )
    fingerprint: Mapped[str] = mapped_column(String(64), primary_key=True)
    severity: Mapped[int]
    category: Mapped[str] = mapped_column(String(32))
    path: Mapped[str] = mapped_column(Text)
    line: Mapped[int]
    title: Mapped[str] = mapped_column(Text)
    shown: Mapped[bool]


class FeedbackRow(Table):
    """One person's verdict. `subject` is the fingerprint, or an id of its own for a missed fault."""

    __tablename__ = "feedback"
    __table_args__ = (UniqueConstraint("review_id", "subject", "author", name="uq_feedback_person"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    review_id: Mapped[str] = mapped_column(
        String(32), ForeignKey("reviews.id", ondelete="CASCADE"), index=True
    )
    subject: Mapped[str] = mapped_column(String(64))
    author: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[int] = mapped_column(BigInteger)
    record: Mapped[str] = mapped_column(Text)


class TokenRow(Table):
    """An access token: its SHA-256, never the token."""

    __tablename__ = "tokens"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int | None] = mapped_column(BigInteger)
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)
