"""Replies that were paid for once: a SQLite file in the user's cache folder, and a model that asks it first.

A reply's key is made of the question (prompt version, chunk, task), the model, its adapter and settings; so a
re-push asks only about files that changed, and an interrupted review goes on where it stopped. Failures and
cut-off replies are never kept. Safe under concurrent processes (WAL); whatever is wrong with the file costs a
message and the kept replies, never a review. The newest-used replies stay when the size limit is reached.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from review_data.errors import ReplyError, UserError
from review_data.prompts import PROMPT_VERSION
from review_data.replies import parse_explain, parse_find, parse_rate
from service.backends.asking import Form, Label, LanguageModel, Question, Text

log = logging.getLogger("terazi.cache")

FILE: Final = "replies.sqlite3"
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS replies "
    "(key TEXT PRIMARY KEY, reply TEXT NOT NULL, size INTEGER NOT NULL, used REAL NOT NULL) WITHOUT ROWID"
)
_CHECK_EVERY: Final = 64
_AFTER_SHRINKING: Final = 0.8


class CacheInfo(NamedTuple):
    """What the cache holds: `size` in bytes of replies, `oldest` use in seconds since the epoch."""

    path: Path
    replies: int
    size: int
    oldest: float | None


def default_path() -> Path:
    """The file in the user's cache folder."""
    from platformdirs import user_cache_path

    return Path(user_cache_path("terazi")) / FILE


class ReplyCache:
    """Keys to replies in one SQLite file; thread-safe. It never raises for a broken or locked file."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self.path, self.limit_bytes = path, limit_bytes
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._puts = 0
        self._off = False

    def get(self, key: str) -> str | None:
        """The reply kept under `key`, which is now the newest-used."""
        return self._do(lambda db: _get(db, key))

    def put(self, key: str, reply: str) -> None:
        """Keeps a reply; now and then drops the longest-unused ones above the limit."""

        def keep(db: sqlite3.Connection) -> None:
            size = len(reply.encode("utf-8", "surrogatepass")) + len(key)
            with db:
                db.execute("REPLACE INTO replies VALUES (?, ?, ?, ?)", (key, reply, size, time.time()))
            self._puts += 1
            if self._puts % _CHECK_EVERY == 1:
                _shrink(db, self.limit_bytes)

        self._do(keep)

    def _do(self, work: Callable[[sqlite3.Connection], str | None]) -> str | None:
        with self._lock:
            if self._off:
                return None
            try:
                return work(self._open())
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) and "busy" not in str(error):
                    self._give_up(error)
            except sqlite3.DatabaseError as error:
                self._rebuild(error)
            except OSError as error:
                self._give_up(error)
            return None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = connect(self.path)
        return self._connection

    def _rebuild(self, error: Exception) -> None:
        log.warning("the reply cache %s is damaged (%s); it is begun anew", self.path, error)
        self._close()
        try:
            remove(self.path)
        except OSError as again:
            self._give_up(again)

    def _give_up(self, error: Exception) -> None:
        log.warning("the reply cache %s can't be used (%s); going on without it", self.path, error)
        self._close()
        self._off = True

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None


class CachedModel:
    """A language model whose whole replies are kept and looked up first."""

    def __init__(self, model: LanguageModel, cache: ReplyCache) -> None:
        self.model, self.cache = model, cache

    @property
    def identity(self) -> str:
        """The model's own."""
        return self.model.identity

    @property
    def concurrency(self) -> int:
        """The model's own."""
        return self.model.concurrency

    @property
    def context(self) -> int:
        """The model's own."""
        return self.model.context

    @property
    def temperature(self) -> float:
        """The model's own; kept log-probabilities are those before it."""
        return self.model.temperature

    def count(self, text: str) -> int:
        """The model's own count."""
        return self.model.count(text)

    def write(self, question: Question) -> Text:
        """The kept reply if it can be read, or a new one, which is kept on the same condition."""
        key = key_of(question, self.model.identity)
        kept = self.cache.get(key)
        if kept is not None and _is_readable(question.form, kept):
            return Text(kept)
        reply = self.model.write(question)
        if not reply.cut and _is_readable(question.form, reply.text):
            self.cache.put(key, reply.text)
        return reply

    def label(self, question: Question) -> Label:
        """The kept label with its log-probabilities, or a new one."""
        key = key_of(question, self.model.identity)
        kept = self.cache.get(key)
        found = _kept_label(kept) if kept is not None else None
        if found is not None:
            return found
        reply = self.model.label(question)
        self.cache.put(key, json.dumps([reply.label, reply.logprobs]))
        return reply


def key_of(question: Question, identity: str) -> str:
    """SHA-256 over everything that a reply depends on; the nonce is not part of it."""
    asked = [PROMPT_VERSION, identity, question.form, *(message["content"] for message in question.messages)]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def _is_readable(form: Form, text: str) -> bool:
    try:
        parse_find(text) if form is Form.FIND else parse_explain(text)
    except ReplyError:
        return False
    return True


def _kept_label(text: str) -> Label | None:
    """The label of an entry; None when the entry is damaged."""
    try:
        label, logprobs = json.loads(text)
        parse_rate(label)
        if logprobs is None:
            return Label(label)
        low, medium, high, critical = (float(value) for value in logprobs)
        return Label(label, (low, medium, high, critical))
    except (ReplyError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def connect(path: Path) -> sqlite3.Connection:
    """Opens the file, made for the user alone if it is new."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        path.touch(mode=0o600)
    db = sqlite3.connect(path, timeout=5, check_same_thread=False, isolation_level="IMMEDIATE")
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute(_TABLE)
    except BaseException:
        db.close()
        raise
    return db


def info(path: Path) -> CacheInfo:
    """What the file holds; `UserError` when it is no cache."""
    if not path.exists():
        return CacheInfo(path, 0, 0, None)
    with _reading(path) as db:
        count, size, oldest = db.execute("SELECT count(*), total(size), min(used) FROM replies").fetchone()
    return CacheInfo(path, count, int(size), oldest)


def clear(path: Path) -> CacheInfo:
    """Removes the file; returns what it held. A damaged file is removed too."""
    try:
        held = info(path)
    except UserError:
        held = CacheInfo(path, 0, 0, None)
    try:
        remove(path)
    except OSError as error:
        raise UserError(f"{path}: can't be removed ({error.strerror}); check its permissions") from None
    return held


def remove(path: Path) -> None:
    """Deletes the file with what SQLite keeps beside it."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with contextlib.closing(connect(path)) as db:
            yield db
    except (sqlite3.Error, OSError) as error:
        raise UserError(f"{path}: is damaged ({error}); `terazi cache clear` removes it") from None


def _get(db: sqlite3.Connection, key: str) -> str | None:
    row = db.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone()
    if row is None:
        return None
    with db:
        db.execute("UPDATE replies SET used = ? WHERE key = ?", (time.time(), key))
    return str(row[0])


def _shrink(db: sqlite3.Connection, limit: int) -> None:
    (size,) = db.execute("SELECT total(size) FROM replies").fetchone()
    if size <= limit:
        return
    with db:
        db.execute(
            "DELETE FROM replies WHERE key IN (SELECT key FROM "
            "(SELECT key, sum(size) OVER (ORDER BY used DESC, key) AS upto FROM replies) WHERE upto > ?)",
            (limit * _AFTER_SHRINKING,),
        )
