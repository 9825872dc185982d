"""The first tables: reviews, findings, feedback, tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates the tables."""
    _reviews()
    _findings()
    _feedback()
    op.create_table(
        "tokens",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("revoked_at", sa.BigInteger),
    )


def downgrade() -> None:
    """Drops the tables with all they hold."""
    for table in ("tokens", "feedback", "findings", "reviews"):
        op.drop_table(table)


def _reviews() -> None:
    op.create_table(
        "reviews",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("status", sa.String(12), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("diff", sa.LargeBinary),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("repository", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("outcome", sa.String(12)),
        sa.Column("worst", sa.Integer),
        sa.Column("done", sa.Integer, nullable=False),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("claim", sa.String(32)),
        sa.Column("lease_until", sa.BigInteger),
        sa.Column("result", sa.Text),
        sa.Column("excerpts", sa.Text),
        sa.Column("error", sa.Text),
    )
    op.create_index("ix_reviews_status", "reviews", ["status", "created_at"])
    op.create_index("ix_reviews_created", "reviews", ["created_at", "id"])


def _findings() -> None:
    op.create_table(
        "findings",
        sa.Column(
            "review_id",
            sa.String(32),
            sa.ForeignKey("reviews.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("fingerprint", sa.String(64), primary_key=True),
        sa.Column("severity", sa.Integer, nullable=False),
        sa.Column("category", sa.String(32), nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("line", sa.Integer, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("shown", sa.Boolean, nullable=False),
    )


def _feedback() -> None:
    op.create_table(
        "feedback",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column(
            "review_id", sa.String(32), sa.ForeignKey("reviews.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("record", sa.Text, nullable=False),
        sa.UniqueConstraint("review_id", "subject", "author", name="uq_feedback_person"),
    )
    op.create_index("ix_feedback_review_id", "feedback", ["review_id"])
