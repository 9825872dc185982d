"""Verdicts become training rows that say what people said, and nothing more."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from review_data.diff import parse_diff
from review_data.domain import Category
from review_data.feedback import (
    Feedback,
    JudgedReview,
    MissedIssue,
    Verdict,
    comment_rows,
    merge_request_row,
)
from review_data.severity import Severity
from review_data.unified import to_diff
from tests.support.reviews import PATCH, four_findings

CRITICAL, HIGH, MEDIUM, LOW = four_findings()
MISSED = MissedIssue(
    path="shop/search.py",
    line=10,
    category=Category.ERROR_HANDLING,
    severity=Severity.MEDIUM,
    title="swallowed",
)


def said(verdict: Verdict, fingerprint: str, at: float = 1, **more: object) -> Feedback:
    return Feedback.model_validate({"verdict": verdict, "fingerprint": fingerprint, "at": at} | more)


def judged(*feedback: Feedback) -> JudgedReview:
    return JudgedReview("r1", "Search", "shop", PATCH, (CRITICAL, HIGH), (MEDIUM, LOW), feedback)


def test_each_verdict_gives_the_severity_that_the_person_stands_by() -> None:
    """Right keeps it, wrong corrects it, not an issue gives no row, hidden findings count when judged."""
    rows = comment_rows(
        judged(
            said(Verdict.RIGHT, CRITICAL.fingerprint),
            said(Verdict.WRONG_SEVERITY, HIGH.fingerprint, severity="low", note="only in tests"),
            said(Verdict.NOT_AN_ISSUE, LOW.fingerprint),
            Feedback(verdict=Verdict.MISSED, missed=MISSED),
        )
    )
    assert [row.severity for row in rows] == ["critical", "low", "medium"]
    assert rows[1].explanation == "only in tests"
    assert rows[0].comment.startswith("A critical fault stands here. This is the critical fault")
    assert rows[2].comment == "swallowed"
    assert {row.language for row in rows} == {"python"}
    assert len({row.id for row in rows}) == 3


def test_the_latest_verdict_counts() -> None:
    """Of two people, the later one is believed."""
    early = said(Verdict.RIGHT, HIGH.fingerprint, at=1)
    late = said(Verdict.NOT_AN_ISSUE, HIGH.fingerprint, at=2)
    assert comment_rows(judged(late, early)) == ()


def test_a_merge_request_needs_every_shown_finding_judged() -> None:
    """An unjudged finding is neither a fault nor its absence, so there is no row."""
    half = said(Verdict.RIGHT, CRITICAL.fingerprint)
    assert merge_request_row(judged(half)) is None
    assert merge_request_row(judged()) is None
    whole = merge_request_row(
        judged(
            half,
            said(Verdict.NOT_AN_ISSUE, HIGH.fingerprint),
            Feedback(verdict=Verdict.MISSED, missed=MISSED),
        )
    )
    assert whole is not None
    assert [(row.line, row.severity) for row in whole.findings] == [(5, "critical"), (10, "medium")]
    assert whole.diff == PATCH


@pytest.mark.parametrize(
    "values",
    [
        {"verdict": "missed"},
        {"verdict": "right"},
        {"verdict": "right", "fingerprint": "f", "severity": "low"},
        {"verdict": "wrong-severity", "fingerprint": "f"},
        {"verdict": "missed", "fingerprint": "f", "missed": MISSED.model_dump()},
    ],
)
def test_a_verdict_that_makes_no_sense_is_refused(values: dict[str, object]) -> None:
    """Each kind of verdict has what it needs and nothing else."""
    with pytest.raises(ValidationError):
        Feedback.model_validate(values)


def test_a_diff_survives_being_written_again() -> None:
    """Renames, deletions, new files, modes, odd names and binary files parse to the same files."""
    text = PATCH + (
        "diff --git a/old name.py b/new name.py\nsimilarity index 90%\nrename from old name.py\n"
        "rename to new name.py\n--- a/old name.py\n+++ b/new name.py\n@@ -1,2 +1,2 @@ def f():\n a\n-b\n+c\n"
        "diff --git a/gone.py b/gone.py\ndeleted file mode 100644\n"
        "--- a/gone.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n"
        "diff --git a/new.sh b/new.sh\nnew file mode 100755\n"
        "--- /dev/null\n+++ b/new.sh\n@@ -0,0 +1 @@\n+echo\n"
        "diff --git a/mode.sh b/mode.sh\nold mode 100644\nnew mode 100755\n"
        'diff --git "a/tab\\tname.py" "b/tab\\tname.py"\n--- "a/tab\\tname.py"\n+++ "b/tab\\tname.py"\n'
        "@@ -1 +1 @@\n-a\n+b\n"
        "diff --git a/logo.png b/logo.png\nBinary files a/logo.png and b/logo.png differ\n"
    )
    files = parse_diff(text).files
    assert len(files) == 7
    assert parse_diff(to_diff(files)).files == files
