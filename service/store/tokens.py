"""Access tokens: 256 random bits each, of which the database keeps the SHA-256 alone.

A plain hash is enough because nobody can guess or enumerate the token itself; a slow password hash would only
slow down every request.
"""

from __future__ import annotations

import hashlib
import re
import secrets

from sqlalchemy import Engine, select

from review_data.domain import Record
from review_data.errors import SettingsError
from service.store.engine import reading, writing
from service.store.tables import TokenRow
from service.store.values import now_ms

PREFIX = "terazi_"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


class Token(Record):
    """A token as it is listed; times are milliseconds since the epoch."""

    name: str
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None

    def is_valid(self, now: int) -> bool:
        """Whether it opens the door at `now` (ms)."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def create(engine: Engine, name: str, *, lifetime_ms: int | None) -> str:
    """A new token's text, shown this once; it takes the place of a revoked or expired one of that name.

    `SettingsError` for a name that has a valid token, or is not allowed.
    """
    if not _NAME.fullmatch(name):
        raise SettingsError(f"name: `{name}` is not allowed; use up to 64 letters, digits, `. _ @ -`")
    text = PREFIX + secrets.token_urlsafe(32)
    now = now_ms()
    with writing(engine) as session:
        known = session.get(TokenRow, name)
        if known is not None and _record(known).is_valid(now):
            raise SettingsError(
                f"name: there is a valid token `{name}` already; `terazi token revoke {name}` ends it, or "
                "choose another name"
            )
        expires = None if lifetime_ms is None else now + lifetime_ms
        row = TokenRow(name=name, digest=digest(text), created_at=now, expires_at=expires, revoked_at=None)
        session.merge(row)
    return text


def verify(engine: Engine, text: str) -> str | None:
    """The name of the valid token with that text, else None."""
    with reading(engine) as session:
        row = session.scalar(select(TokenRow).where(TokenRow.digest == digest(text)))
        return row.name if row is not None and _record(row).is_valid(now_ms()) else None


def every(engine: Engine) -> tuple[Token, ...]:
    """All tokens by name, the revoked and expired ones too."""
    with reading(engine) as session:
        return tuple(_record(row) for row in session.scalars(select(TokenRow).order_by(TokenRow.name)))


def revoke(engine: Engine, name: str) -> None:
    """Ends a token at once; `SettingsError` when there is none of that name."""
    with writing(engine) as session:
        row = session.get(TokenRow, name)
        if row is None:
            raise SettingsError(f"name: there is no token `{name}`; `terazi token list` shows them")
        row.revoked_at = row.revoked_at or now_ms()


def digest(text: str) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _record(row: TokenRow) -> Token:
    return Token(
        name=row.name, created_at=row.created_at, expires_at=row.expires_at, revoked_at=row.revoked_at
    )
