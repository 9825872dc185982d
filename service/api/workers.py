"""The threads that review what was accepted: claim, review, store.

A result that the database can't take yet is kept and offered again until it can. What is held when the server
stops is finished, or given back to the queue when it takes too long.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from review_data.domain import Review
from review_data.errors import StoreError, TeraziError
from service.api import opening
from service.api.logs import LOGGER
from service.api.metrics import Metrics
from service.api.schema import NewReview
from service.backends.catalog import Reviewers
from service.render.redact import masked
from service.review import ReviewOptions, review
from service.store import reviews
from service.store.records import Claimed

LEASE_S: Final = 6.0
_IDLE_S: Final = 0.5
_PROGRESS_S: Final = 0.5
_RETRY_S: Final = 2.0


class Workers:
    """A fixed number of threads over the store's queue, and one that keeps their leases alive."""

    def __init__(
        self,
        engine: Engine,
        repositories: Mapping[str, Path],
        flags: Mapping[str, object],
        metrics: Metrics,
        *,
        count: int,
        limit_s: float,
    ) -> None:
        self._engine, self._repositories, self._flags, self._metrics = engine, repositories, flags, metrics
        self._limit_s = limit_s
        self._reviewers = Reviewers()
        self._stop = threading.Event()
        self._abandon = threading.Event()
        self._wake = threading.Semaphore(0)
        self._held: dict[str, Claimed] = {}
        names = [f"review-{number}" for number in range(count)]
        self._threads = [threading.Thread(target=self._work, name=name, daemon=True) for name in names]
        self._keeper = threading.Thread(target=self._keep_leases, name="leases", daemon=True)

    def start(self) -> None:
        """Begins to work on what waits."""
        for thread in (*self._threads, self._keeper):
            thread.start()

    def wake(self) -> None:
        """Says that something was accepted."""
        self._wake.release()

    @property
    def alive(self) -> bool:
        """Whether every worker works."""
        return all(thread.is_alive() for thread in self._threads)

    def stop(self, grace_s: float) -> None:
        """Lets running reviews finish for `grace_s` seconds, then gives the rest back to the queue."""
        self._stop.set()
        for _ in self._threads:
            self._wake.release()
        until = time.monotonic() + grace_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        self._abandon.set()
        for held in list(self._held.values()):
            self._quietly(lambda held=held: reviews.release(self._engine, held))  # type: ignore[misc]

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                held = reviews.claim(self._engine, lease_ms=int(LEASE_S * 1000))
            except TeraziError as error:
                LOGGER.error("claim failed", extra={"detail": str(error)})
                self._stop.wait(_RETRY_S)
                continue
            if held is None:
                self._wake.acquire(timeout=_IDLE_S)
                continue
            self._held[held.claim] = held
            try:
                self._store(held, self._review(held))
            finally:
                self._held.pop(held.claim, None)

    def _review(self, held: Claimed) -> Callable[[], bool]:
        """Reviews, and returns the call that stores the result: the review, or why there is none."""
        try:
            request = NewReview.model_validate_json(held.request)
            opened = opening.open_request(request, held.diff, self._repositories, self._flags)
            settings, files = opened.settings, opened.change.request.files
            limit = min(settings.deadline_s or self._limit_s, self._limit_s)
            options = ReviewOptions(threshold=settings.threshold, deadline_s=limit)
            reviewer = self._reviewers.get(settings)
            result = masked(review(opened.change, reviewer, options, self._progress(held)))
            excerpts, diff = opening.excerpts_of(result, files), opening.kept_diff(files)
        except TeraziError as error:
            message = str(error).removeprefix("standard input: ")
            return lambda: self._failed(held, message)
        except Exception as error:
            LOGGER.exception("review failed", extra={"review": held.id})
            message = f"internal error ({type(error).__name__}); the server's log has the place"
            return lambda: self._failed(held, message)
        return lambda: self._done(held, result, reviews.finish(self._engine, held, result, excerpts, diff))

    def _done(self, held: Claimed, result: Review, stored: bool) -> bool:
        if stored:
            self._metrics.count(result)
            ms = int(result.elapsed_s * 1000)
            LOGGER.info("reviewed", extra={"review": held.id, "outcome": result.outcome.value, "ms": ms})
        return stored

    def _failed(self, held: Claimed, message: str) -> bool:
        if reviews.fail(self._engine, held, message):
            self._metrics.reviews.labels("failed").inc()
            LOGGER.warning("review could not begin", extra={"review": held.id, "outcome": "failed"})
        return True

    def _store(self, held: Claimed, write: Callable[[], bool]) -> None:
        while not self._abandon.is_set():
            try:
                write()
                return
            except StoreError as error:
                LOGGER.error("result waits", extra={"review": held.id, "detail": str(error)})
                self._abandon.wait(_RETRY_S)
            except Exception:
                LOGGER.exception("result can't be stored", extra={"review": held.id})
                self._quietly(lambda: reviews.fail(self._engine, held, "the result can't be stored"))
                return

    def _progress(self, held: Claimed) -> Callable[[int, int], None]:
        last = 0.0

        def note(done: int, total: int) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= _PROGRESS_S:
                last = now
                self._quietly(lambda: reviews.progress(self._engine, held, done, total))

        return note

    def _keep_leases(self) -> None:
        while not self._abandon.wait(LEASE_S / 3):
            self._quietly(self._renew)

    def _renew(self) -> None:
        claims = list(self._held)
        if claims:
            reviews.renew(self._engine, claims, lease_ms=int(LEASE_S * 1000))

    def _quietly(self, act: Callable[[], object]) -> None:
        """A write that may fail while the database is away; the next one makes up for it."""
        try:
            act()
        except StoreError as error:
            LOGGER.warning("database away", extra={"detail": str(error)})
