"""What the API and the page ask of the service: accept, look up, list, judge, export, clean up.

Owns the order of checks; the database is `service.store`, reviewing is `service.api.workers`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Final

from sqlalchemy import Engine

from review_data.diff import parse_diff
from review_data.errors import StoreError, TeraziError, UserError
from review_data.feedback import Feedback
from review_data.secrets import mask
from review_data.severity import Severity
from service.api import opening
from service.api.logs import LOGGER
from service.api.metrics import Metrics
from service.api.repositories import allow_list
from service.api.schema import NewReview, ReportFormat
from service.api.workers import Workers
from service.render import render
from service.settings import Settings
from service.store import feedback as verdicts
from service.store import listing, reviews
from service.store import tokens as keys
from service.store.engine import schema_version
from service.store.records import Day, Filters, Page, Stored, Summary
from service.store.values import now_ms

_DAY_MS: Final = 86_400_000
_PRUNE_EVERY_S: Final = 3600.0


class NotFound(UserError):
    """There is no such review or finding."""


class NotReady(UserError):
    """The review is not finished."""


class Desk:
    """The service behind the API and the page. `flags` are the settings given on the command line."""

    def __init__(self, engine: Engine, settings: Settings, flags: Mapping[str, object]) -> None:
        self.engine, self.settings = engine, settings
        self.repositories = allow_list(settings.repositories)
        self.metrics = Metrics()
        self.stopping = threading.Event()
        self._flags = dict(flags)
        self._workers = Workers(
            engine,
            self.repositories,
            self._flags,
            self.metrics,
            count=settings.workers,
            limit_s=settings.review_limit_s,
        )
        self._janitor = threading.Thread(target=self._prune_hourly, name="retention", daemon=True)

    def start(self) -> None:
        """Begins to work on what is stored and waits."""
        self._workers.start()
        self._janitor.start()

    def stop(self, grace_s: float) -> None:
        """Finishes what runs; what does not finish in time waits for the next start."""
        self.stopping.set()
        self._workers.stop(grace_s)
        self.engine.dispose()

    def submit(self, request: NewReview, author: str) -> Summary:
        """Accepts a review: it is stored when this returns. Raises what is wrong with it, or `QueueFull`."""
        opening.check(request, self.repositories, self._flags)
        diff = None if request.patch is None else request.patch.encode("utf-8", "replace")
        title = mask(request.title)
        kept = {"patch": None if diff is None else "-", "title": title}
        summary = reviews.accept(
            self.engine,
            request.model_copy(update=kept).model_dump_json(),
            diff=diff,
            title=title,
            repository=request.repository or "",
            author=author,
            limit=self.settings.queue_limit,
        )
        self._workers.wake()
        return summary

    def find(self, review_id: str) -> Stored:
        """A review with all that belongs to it; `NotFound`."""
        stored = reviews.get(self.engine, review_id)
        if stored is None:
            raise NotFound("there is no review of that id")
        return stored

    def state(self, review_id: str) -> Summary:
        """How far a review is; `NotFound`."""
        summary = reviews.summary(self.engine, review_id)
        if summary is None:
            raise NotFound("there is no review of that id")
        return summary

    def page(self, filters: Filters, limit: int, cursor: str | None) -> Page:
        """A page of reviews; `UserError` for a cursor that no page gave."""
        try:
            return listing.page(self.engine, filters, limit=limit, cursor=cursor)
        except ValueError:
            raise UserError("cursor: is not one that a page gave as `next`") from None

    def trend(self, filters: Filters, days: int) -> tuple[Day, ...]:
        """Findings per severity and day."""
        return listing.trend(self.engine, filters, days=days)

    def judge(self, review_id: str, feedback: Feedback) -> Feedback:
        """Stores a verdict on a finding of a finished review, or a fault that it missed."""
        stored = self.find(review_id)
        if stored.review is None:
            raise NotReady("the review has no result yet; wait until it is done")
        every = (*stored.review.findings, *stored.review.below)
        if feedback.fingerprint and all(row.fingerprint != feedback.fingerprint for row in every):
            raise NotFound("the review has no finding of that fingerprint")
        stamped = verdicts.add(self.engine, review_id, feedback)
        self.metrics.feedback.labels(feedback.verdict.value).inc()
        return stamped

    def report(self, review_id: str, format: ReportFormat, threshold: Severity | None) -> str:
        """A finished review as a document; `NotReady` before it is one."""
        stored = self.find(review_id)
        if stored.review is None:
            raise NotReady("the review has no result; its state says why")
        review = stored.review if threshold is None else stored.review.at(threshold)
        diff = (reviews.diff_of(self.engine, review_id) or b"").decode("utf-8", "replace")
        try:
            files = parse_diff(diff).files
        except TeraziError:
            files = ()
        return render(review, format.value, excerpts=files, verbose=True)

    def actor(self, token: str) -> str | None:
        """The name of the valid token with that text."""
        return keys.verify(self.engine, token)

    def depth(self) -> tuple[int, int]:
        """How many reviews wait and how many run."""
        return reviews.waiting(self.engine)

    def check_ready(self) -> None:
        """`StoreError` unless the database answers with a migrated schema and the workers live."""
        if schema_version(self.engine) is None:
            raise StoreError("the database has no tables; start the server again")
        if not self._workers.alive:
            raise StoreError("a worker has ended; start the server again")

    def prune(self) -> int:
        """Deletes what the retention settings let go; returns how many reviews."""
        days, judged = self.settings.retention_days, self.settings.verdict_retention_days
        if not days:
            return 0
        now = now_ms()
        before = now - days * _DAY_MS
        judged_before = now - judged * _DAY_MS if judged else None
        return reviews.prune(self.engine, before=before, judged_before=judged_before)

    def _prune_hourly(self) -> None:
        while not self.stopping.is_set():
            try:
                count = self.prune()
                if count:
                    LOGGER.info("retention", extra={"detail": f"{count} reviews deleted"})
            except StoreError as error:
                LOGGER.warning("retention failed", extra={"detail": str(error)})
            self.stopping.wait(_PRUNE_EVERY_S)


def wait_until_final(desk: Desk, review_id: str, seconds: float) -> Summary:
    """The review's state once it is final, or as it is after `seconds`."""
    until = time.monotonic() + seconds
    while True:
        summary = desk.state(review_id)
        if summary.status.is_final or time.monotonic() >= until:
            return summary
        time.sleep(0.05)
