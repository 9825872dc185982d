"""What `/metrics` tells Prometheus. One registry per server; names begin with `terazi_`."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from review_data.domain import Review, SkipKind
from review_data.severity import SEVERITIES

_BACKEND_FAILURES = (SkipKind.BACKEND_ERROR, SkipKind.UNPARSABLE_REPLY, SkipKind.DEADLINE)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reviews = Counter(
            "terazi_reviews_total", "Finished reviews.", ["outcome"], registry=self.registry
        )
        self.findings = Counter(
            "terazi_findings_total", "Findings, hidden ones too.", ["severity"], registry=self.registry
        )
        self.seconds = Histogram(
            "terazi_review_seconds",
            "Seconds from a review's start to its result.",
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
            registry=self.registry,
        )
        self.backend_errors = Counter(
            "terazi_backend_errors_total",
            "Parts left unreviewed.",
            ["kind"],
            registry=self.registry,
        )
        self.feedback = Counter(
            "terazi_feedback_total", "Verdicts given.", ["verdict"], registry=self.registry
        )
        self.requests = Counter(
            "terazi_http_requests_total", "HTTP requests.", ["status"], registry=self.registry
        )
        self.waiting = Gauge("terazi_queue_depth", "Reviews that wait.", registry=self.registry)
        self.running = Gauge("terazi_reviews_running", "Reviews that run.", registry=self.registry)
        for severity in SEVERITIES:
            self.findings.labels(severity.value)

    def count(self, review: Review) -> None:
        """Adds a finished review."""
        self.reviews.labels(review.outcome.value).inc()
        self.seconds.observe(review.elapsed_s)
        for finding in (*review.findings, *review.below):
            self.findings.labels(finding.severity.value).inc()
        for skip in review.skips:
            if skip.kind in _BACKEND_FAILURES:
                self.backend_errors.labels(skip.kind.value).inc()

    def text(self, waiting: int, running: int) -> bytes:
        """The exposition in Prometheus' text format."""
        self.waiting.set(waiting)
        self.running.set(running)
        return generate_latest(self.registry)
