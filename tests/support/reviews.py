"""Finished reviews put straight into a store, for tests of what comes after reviewing."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Engine

from review_data.diff import parse_diff
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
from review_data.severity import SEVERITIES, Severity
from service.api.opening import excerpts_of
from service.store import reviews
from service.store.engine import migrate, open_engine, store_url, writing
from service.store.records import Claimed, Status
from service.store.tables import ReviewRow
from service.store.values import now_ms, packed

PATCH = """diff --git a/shop/search.py b/shop/search.py
--- a/shop/search.py
+++ b/shop/search.py
@@ -1,4 +1,11 @@
 import sqlite3
+import subprocess
 
 def search(cursor, term):
+    cursor.execute(f"SELECT * FROM product WHERE name = '{term}'")
+    subprocess.run("notify " + term, shell=True)
+    try:
+        index(term)
+    except Exception:
+        pass
     return cursor.fetchall()
"""
LEVELS = dict(zip(("critical", "high", "medium", "low"), (5, 6, 8, 2), strict=True))


def four_findings() -> tuple[Finding, ...]:
    """One finding per severity on the lines of `PATCH`."""
    found = []
    for name, line in LEVELS.items():
        severity = Severity(name)
        chances = [0.7 if level is severity else 0.1 for level in SEVERITIES]
        text = f"{name} fault"
        found.append(
            Finding(
                path="shop/search.py",
                line=line,
                side=Side.NEW,
                category=Category.SECURITY,
                severity=severity,
                title=f"A {text} stands here",
                explanation=f"This is the {text}; `term` comes from the request.",
                suggestion=f"Mend the {text}.",
                probabilities=Probabilities.of(chances),
                source="rules",
                sources=("rules",),
                rule=f"python/{name}",
                quote="x",
                fingerprint=fingerprint(Category.SECURITY, "shop/search.py", text, name),
            )
        )
    return tuple(found)


def put_review(
    store: Path | str,
    findings: Sequence[Finding] | None = None,
    *,
    patch: str = PATCH,
    title: str = "Search by name",
    threshold: Severity = Severity.MEDIUM,
    skips: Sequence[Skip] = (),
) -> str:
    """Stores a finished review and returns its id."""
    engine = open_engine(store_url(str(store)))
    held = hold(engine, title, patch)
    every = tuple(four_findings() if findings is None else findings)
    outcome = Outcome.PARTIAL if any(skip.is_failure for skip in skips) else Outcome.FINDINGS
    review = Review(
        outcome=outcome, threshold=Severity.LOW, findings=every, skips=tuple(skips), backend="embedded",
        title=title, head="patch", elapsed_s=0.4,
    ).at(threshold)  # fmt: skip
    files = parse_diff(patch).files
    assert reviews.finish(engine, held, review, excerpts_of(review, files), patch.encode())
    engine.dispose()
    return held.id


def put_failed(store: Path | str, message: str) -> str:
    """Stores a review that could not be begun and returns its id."""
    engine = open_engine(store_url(str(store)))
    held = hold(engine, "Broken", "x")
    assert reviews.fail(engine, held, message)
    engine.dispose()
    return held.id


def hold(engine: Engine, title: str, diff: str) -> Claimed:
    """A review that the test itself holds, so that no server's worker takes it."""
    migrate(engine)
    held = Claimed(
        id=secrets.token_hex(16), claim=secrets.token_hex(16), request="{}", diff=diff.encode(), attempts=1
    )
    now = now_ms()
    with writing(engine) as session:
        session.add(
            ReviewRow(
                id=held.id, status=Status.RUNNING, created_at=now, started_at=now, request=held.request,
                diff=packed(held.diff), title=title, repository="", author="local", done=0, total=0,
                attempts=1, claim=held.claim, lease_until=now + 600_000,
            )
        )  # fmt: skip
    return held


def marker_patch(added: Sequence[str], path: str = "a.py") -> str:
    """A new file with these lines, as a patch."""
    body = "".join(f"+{line}\n" for line in added)
    return (
        f"diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n"
        f"@@ -0,0 +1,{len(added)} @@\n{body}"
    )


LOCK_SKIP = Skip(path="package-lock.json", reason="a lock file", kind=SkipKind.LOCK_FILE)
