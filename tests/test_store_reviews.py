"""The store behaves alike on SQLite and on PostgreSQL."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect

from review_data.domain import (
    Category,
    Finding,
    Outcome,
    Probabilities,
    Review,
    Side,
    Skip,
    SkipKind,
    fingerprint,
)
from review_data.errors import SettingsError, StoreError
from review_data.feedback import Feedback, MissedIssue, Verdict
from review_data.severity import Severity
from service.store import engine as engines
from service.store import feedback as verdicts
from service.store import listing, reviews, tokens
from service.store.records import Excerpt, Filters, Status
from service.store.values import now_ms
from tests.support.postgres import shared_cluster

DIFF = b"--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n-a\0\n+b\n"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "deep" / "terazi.db")
    cluster = shared_cluster()
    if cluster is None:
        pytest.skip("PostgreSQL's server programs are not installed (apt-get install postgresql)")
    return cluster.new_database()


@pytest.fixture
def store(url: str) -> Iterator[Engine]:
    engine = engines.open_engine(engines.store_url(url))
    engines.migrate(engine)
    yield engine
    engine.dispose()


def finding(severity: Severity, title: str = "a title", path: str = "src/x.py") -> Finding:
    return Finding(
        path=path,
        line=3,
        side=Side.NEW,
        category=Category.SECURITY,
        severity=severity,
        title=title,
        explanation="why",
        suggestion="what",
        probabilities=Probabilities.of([0.1, 0.2, 0.3, 0.4]),
        source="rules",
        fingerprint=fingerprint(Category.SECURITY, path, title, severity),
    )


def a_review(*findings: Finding) -> Review:
    whole = Review(outcome=Outcome.FINDINGS, threshold=Severity.LOW, findings=findings)
    return whole.at(Severity.MEDIUM)


def accept(store: Engine, title: str = "", **more: object) -> str:
    values: dict[str, object] = {"diff": DIFF, "title": title, "limit": 100} | more
    return reviews.accept(store, '{"threshold": "medium"}', **values).id  # type: ignore[arg-type]


def done(store: Engine, *findings: Finding, title: str = "") -> str:
    review_id = accept(store, title)
    held = reviews.claim(store, lease_ms=60_000)
    assert held is not None
    assert held.id == review_id
    assert reviews.finish(store, held, a_review(*findings), {})
    return review_id


def test_a_review_comes_back_as_it_was_stored(store: Engine) -> None:
    """Findings, excerpts, diff bytes with NUL, counts and status survive the round trip."""
    review_id = accept(store, "Pay \0 twice")
    held = reviews.claim(store, lease_ms=60_000)
    assert held is not None
    assert held.diff == DIFF
    review = a_review(finding(Severity.HIGH), finding(Severity.LOW, "tiny\0"))
    excerpt = Excerpt(marked=None, section="def f():")
    assert reviews.finish(store, held, review, {"abc": excerpt})
    stored = reviews.get(store, review_id)
    assert stored is not None
    assert stored.review == review
    assert stored.excerpts == {"abc": excerpt}
    assert stored.summary.status is Status.DONE
    assert stored.summary.worst is Severity.HIGH
    assert stored.summary.title == "Pay \N{REPLACEMENT CHARACTER} twice"
    assert stored.summary.counts == {"low": 0, "medium": 0, "high": 1, "critical": 0}
    assert reviews.diff_of(store, review_id) == DIFF


def test_an_unknown_review_is_none(store: Engine) -> None:
    """Asking for an id that was never given is not an error of the store."""
    assert reviews.get(store, "0" * 32) is None
    assert reviews.summary(store, "0" * 32) is None
    assert reviews.diff_of(store, "0" * 32) is None


def test_the_queue_is_bounded(store: Engine) -> None:
    """Beyond the limit a review is refused, and nothing of it is stored."""
    accept(store, limit=1)
    with pytest.raises(reviews.QueueFull, match="1 reviews are waiting"):
        accept(store, limit=1)
    assert reviews.waiting(store) == (1, 0)


def test_reviews_are_claimed_once_and_in_order(store: Engine) -> None:
    """Eight workers at once get eight different reviews, and the oldest goes first."""
    ids = [accept(store, str(number)) for number in range(8)]
    first = reviews.claim(store, lease_ms=60_000)
    assert first is not None
    assert first.id == ids[0]
    got: list[str] = []

    def work() -> None:
        held = reviews.claim(store, lease_ms=60_000)
        got.append(held.id if held else "nothing")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    claimed = [name for name in got if name != "nothing"]
    while (held := reviews.claim(store, lease_ms=60_000)) is not None:
        claimed.append(held.id)
    assert sorted(claimed) == sorted(ids[1:])


def test_a_dead_workers_review_is_claimed_again_and_its_late_result_refused(store: Engine) -> None:
    """After the lease ran out another worker gets the review; the first one can't overwrite it."""
    review_id = accept(store)
    late = reviews.claim(store, lease_ms=-1)
    again = reviews.claim(store, lease_ms=60_000)
    assert late is not None
    assert again is not None
    assert again.attempts == 2
    assert not reviews.finish(store, late, a_review(), {})
    assert not reviews.fail(store, late, "too late")
    assert reviews.finish(store, again, a_review(finding(Severity.CRITICAL)), {})
    stored = reviews.get(store, review_id)
    assert stored is not None
    assert stored.summary.worst is Severity.CRITICAL


def test_a_renewed_lease_holds_and_a_released_review_waits_again(store: Engine) -> None:
    """Renewing keeps others out; releasing gives the attempt back."""
    accept(store)
    held = reviews.claim(store, lease_ms=-1)
    assert held is not None
    reviews.renew(store, [held.claim], lease_ms=60_000)
    assert reviews.claim(store, lease_ms=60_000) is None
    reviews.release(store, held)
    again = reviews.claim(store, lease_ms=60_000)
    assert again is not None
    assert again.attempts == 1


def test_a_review_that_kills_its_workers_is_marked_interrupted(store: Engine) -> None:
    """After three dead workers the review is final and says so, instead of killing a fourth."""
    review_id = accept(store)
    for _ in range(reviews.MAX_ATTEMPTS):
        assert reviews.claim(store, lease_ms=-1) is not None
    assert reviews.claim(store, lease_ms=-1) is None
    summary = reviews.summary(store, review_id)
    assert summary is not None
    assert summary.status is Status.INTERRUPTED
    assert summary.outcome is Outcome.FAILED
    assert "stopped 3 times" in (summary.error or "")


def test_a_failed_review_keeps_its_reason(store: Engine) -> None:
    """What could not be begun is `failed` with the message, never clean."""
    review_id = accept(store)
    held = reviews.claim(store, lease_ms=60_000)
    assert held is not None
    reviews.progress(store, held, 2, 5)
    assert reviews.fail(store, held, "no such revision")
    summary = reviews.summary(store, review_id)
    assert summary is not None
    assert (summary.status, summary.outcome, summary.error) == (
        Status.FAILED,
        Outcome.FAILED,
        "no such revision",
    )
    assert (summary.done, summary.total) == (2, 5)


def test_pages_give_every_review_once_newest_first(store: Engine) -> None:
    """Following the cursors visits all reviews in order, even those of one millisecond."""
    ids = [accept(store, str(number)) for number in range(7)]
    seen: list[str] = []
    cursor = None
    while True:
        page = listing.page(store, Filters(), limit=3, cursor=cursor)
        seen.extend(item.id for item in page.items)
        cursor = page.next
        if cursor is None:
            break
    assert sorted(seen) == sorted(ids)
    times = [(s.created_at, s.id) for name in seen if (s := reviews.summary(store, name))]
    assert times == sorted(times, reverse=True)
    with pytest.raises(ValueError):
        listing.page(store, Filters(), limit=3, cursor="nonsense")


def test_filters_narrow_the_list(store: Engine) -> None:
    """Text finds titles, paths and finding titles literally; severity means at least this one."""
    high = done(store, finding(Severity.HIGH, "SQL by hand", "db/100%_sure.py"), title="Search")
    low = done(store, finding(Severity.LOW, "a name"), title="Rename")
    waiting = accept(store, "Later", repository="shop")

    def found(**filters: object) -> set[str]:
        page = listing.page(store, Filters.model_validate(filters), limit=10)
        return {item.id for item in page.items}

    assert found(text="sql BY") == {high}
    assert found(text="100%_") == {high}
    assert found(text="%") == {high}
    assert found(text="renam") == {low}
    assert found(severity="medium") == {high}
    assert found(status="queued") == {waiting}
    assert found(repository="shop") == {waiting}
    assert found(outcome="clean") == {low}
    assert found(since=now_ms() + 60_000) == set()


def test_the_trend_counts_shown_findings_by_day(store: Engine) -> None:
    """Hidden findings don't count, and a day with clean reviews alone is there with zeros."""
    done(store, finding(Severity.HIGH), finding(Severity.LOW, "hidden"))
    done(store)
    (today,) = listing.trend(store, Filters(), days=7)
    assert today.reviews == 2
    assert today.counts == {"low": 0, "medium": 0, "high": 1, "critical": 0}


def test_one_person_has_one_verdict_per_finding(store: Engine) -> None:
    """A person's new verdict replaces the old one; another person's and missed faults stand beside it, each
    missed fault once."""
    review_id = done(store, finding(Severity.HIGH))
    verdicts.add(store, review_id, Feedback(verdict=Verdict.RIGHT, fingerprint="f", author="ada"))
    verdicts.add(store, review_id, Feedback(verdict=Verdict.NOT_AN_ISSUE, fingerprint="f", author="ada"))
    verdicts.add(store, review_id, Feedback(verdict=Verdict.RIGHT, fingerprint="f", author="bob"))
    for title in ("a lock is missing", "a lock is missing", "a check is missing"):
        missed = MissedIssue(path="x.py", line=1, category=Category.DATA, severity=Severity.LOW, title=title)
        verdicts.add(store, review_id, Feedback(verdict=Verdict.MISSED, missed=missed, author="ada"))
    stored = reviews.get(store, review_id)
    assert stored is not None
    kinds = sorted((row.author, row.verdict.value) for row in stored.feedback)
    assert kinds == [("ada", "missed"), ("ada", "missed"), ("ada", "not-an-issue"), ("bob", "right")]
    (judged,) = verdicts.judged(store)
    assert judged.diff == DIFF.decode()
    assert len(judged.feedback) == 4


def test_retention_deletes_old_reviews_but_keeps_judged_ones(store: Engine) -> None:
    """What waits or has a verdict stays, until verdicts have an age limit of their own."""
    plain, judged = done(store, finding(Severity.HIGH)), done(store, finding(Severity.HIGH))
    waiting = accept(store)
    verdicts.add(store, judged, Feedback(verdict=Verdict.RIGHT, fingerprint="f"))
    later = now_ms() + 1000
    assert reviews.prune(store, before=0, judged_before=0) == 0
    assert reviews.prune(store, before=later, judged_before=None) == 1
    assert reviews.get(store, plain) is None
    assert reviews.get(store, judged) is not None
    assert reviews.prune(store, before=later, judged_before=later) == 1
    assert reviews.get(store, judged) is None
    assert reviews.summary(store, waiting) is not None
    assert list(verdicts.judged(store)) == []


def test_a_token_opens_until_it_is_revoked_or_expires(store: Engine) -> None:
    """Only the exact text of a live token gives a name, and the database never holds the text."""
    text = tokens.create(store, "ci", lifetime_ms=None)
    stale = tokens.create(store, "old", lifetime_ms=-1)
    assert tokens.verify(store, text) == "ci"
    assert tokens.verify(store, text + "x") is None
    assert tokens.verify(store, "\udcff\0") is None
    assert tokens.verify(store, stale) is None
    with store.connect() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM tokens").all()
    assert text not in str(rows)
    with pytest.raises(SettingsError, match="already"):
        tokens.create(store, "ci", lifetime_ms=None)
    with pytest.raises(SettingsError, match="not allowed"):
        tokens.create(store, "a b", lifetime_ms=None)
    tokens.revoke(store, "ci")
    assert tokens.verify(store, text) is None
    assert [row.name for row in tokens.every(store)] == ["ci", "old"]
    with pytest.raises(SettingsError, match="no token"):
        tokens.revoke(store, "nobody")


def test_the_migrations_make_the_tables_that_the_code_expects(store: Engine) -> None:
    """Alembic's own comparison finds no difference, and migrating again changes nothing."""
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    from service.store.tables import Table

    engines.migrate(store)
    assert engines.schema_version(store) == "0001"
    with store.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Table.metadata) == []


def test_a_newer_schema_is_refused(store: Engine) -> None:
    """An old program leaves a database alone that a newer one has migrated."""
    with store.execution_options(writes=True).begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="schema version 9999"):
        engines.migrate(store)


def _migrate(url: str) -> None:
    engine = engines.open_engine(engines.store_url(url))
    engines.migrate(engine)
    engine.dispose()


def test_two_servers_may_start_on_a_new_database_at_once(url: str) -> None:
    """Both processes migrate without an error, and the tables are there."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_migrate, args=(url,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    engine = engines.open_engine(engines.store_url(url))
    assert inspect(engine).has_table("reviews")
    engine.dispose()


def test_a_skipped_review_outcome_is_kept(store: Engine) -> None:
    """A partial review stays partial in the list."""
    review_id = accept(store)
    held = reviews.claim(store, lease_ms=60_000)
    assert held is not None
    skip = Skip(path="x", reason="too large", kind=SkipKind.TOO_LARGE)
    review = Review(outcome=Outcome.PARTIAL, threshold=Severity.LOW, skips=(skip,))
    assert reviews.finish(store, held, review, {})
    summary = reviews.summary(store, review_id)
    assert summary is not None
    assert summary.outcome is Outcome.PARTIAL


@pytest.mark.parametrize("text", ["mysql://x/y", "sqlite://", "http:///"])
def test_an_unusable_store_url_is_explained(text: str) -> None:
    """Only SQLite files and PostgreSQL are taken."""
    with pytest.raises(SettingsError, match="store: "):
        engines.open_engine(engines.store_url(text))


def test_a_database_that_is_away_is_a_store_error(tmp_path: Path) -> None:
    """The message says what to do and holds nothing of the statement."""
    engine = engines.open_engine(engines.store_url("postgresql://nobody@127.0.0.1:1/none"))
    with pytest.raises(StoreError, match="did not answer") as caught:
        reviews.waiting(engine)
    assert "SELECT" not in str(caught.value)
