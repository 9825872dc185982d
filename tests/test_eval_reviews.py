"""Reviews against labelled merge requests: matching, rates, thresholds, comparison, the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetune.evaluate.client import Client
from finetune.evaluate.reviews.matching import CategoryRule, Tolerance, match
from finetune.evaluate.reviews.run import as_change, endpoint_judge, review_all
from finetune.evaluate.reviews.score import ReviewReport, report
from review_data.dataset import LabelledFinding, LabelledMergeRequest
from review_data.domain import Category, Finding, Outcome, Review, Side, Skip, SkipKind
from review_data.errors import BackendError
from review_data.severity import SEVERITIES, Severity
from tests.support.openai_script import scripted_server
from tests.support.scripted import FailingFinder, WordFinder, reviewer_of
from ui.cli.main import main

LOW, MEDIUM, HIGH, CRITICAL = SEVERITIES
DIFF = "diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -0,0 +1,3 @@\n+one\n+BUG here\n+three\n"


def label(line: int, severity: Severity = HIGH, category: Category = Category.CORRECTNESS) -> LabelledFinding:
    """A labelled fault of a.py."""
    return LabelledFinding(path="a.py", line=line, category=category, severity=severity, title="fault")


def finding(
    line: int,
    severity: Severity = HIGH,
    category: Category = Category.CORRECTNESS,
    side: Side = Side.NEW,
    path: str = "a.py",
) -> Finding:
    """A reported finding."""
    return Finding(
        path=path,
        line=line,
        side=side,
        category=category,
        severity=severity,
        title="found",
        explanation="",
        suggestion="",
        probabilities=None,
        source="test",
        fingerprint=f"{path}{line}{category}",
    )


def row(name: str, *labels: LabelledFinding) -> LabelledMergeRequest:
    """A labelled merge request."""
    return LabelledMergeRequest(id=name, diff=DIFF, findings=labels)


def done(*findings: Finding, outcome: Outcome | None = None) -> Review:
    """An unfiltered review with these findings."""
    ended = outcome or (Outcome.FINDINGS if findings else Outcome.CLEAN)
    return Review(outcome=ended, threshold=LOW, findings=findings)


def scored(
    rows: list[LabelledMergeRequest], reviews: list[Review], against: list[Review] | None = None
) -> ReviewReport:
    """The report at the usual threshold."""
    return report("one", "data", rows, reviews, against=("two", against) if against else None)


@pytest.mark.parametrize(
    ("given", "tolerance", "pairs"),
    [
        ([finding(10)], Tolerance(), [(0, 0)]),
        ([finding(13)], Tolerance(), [(0, 0)]),
        ([finding(14)], Tolerance(), []),
        ([finding(14)], Tolerance(lines=4), [(0, 0)]),
        ([finding(10, side=Side.OLD)], Tolerance(), []),
        ([finding(10, path="b.py")], Tolerance(), []),
        ([finding(10, category=Category.DATA)], Tolerance(), [(0, 0)]),
        ([finding(10, category=Category.DATA)], Tolerance(category=CategoryRule.SAME), []),
        ([finding(10, category=Category.STYLE)], Tolerance(), []),
        ([finding(10, category=Category.STYLE)], Tolerance(category=CategoryRule.ANY), [(0, 0)]),
        ([finding(12), finding(10)], Tolerance(), [(0, 1)]),
        ([finding(10, category=Category.DATA), finding(10)], Tolerance(), [(0, 1)]),
    ],
)
def test_a_finding_matches_by_place_and_category(
    given: list[Finding], tolerance: Tolerance, pairs: list[tuple[int, int]]
) -> None:
    """File, side, distance and kind decide; the nearest and most alike is taken."""
    assert match([label(10)], given, tolerance) == pairs


def test_matching_finds_as_many_pairs_as_there_are() -> None:
    """A greedy choice of the nearest would leave one of two labels without a finding."""
    assert match([label(10), label(13)], [finding(12), finding(16)], Tolerance()) == [(0, 0), (1, 1)]
    assert match([label(10)], [finding(10), finding(10)], Tolerance()) == [(0, 0)]


def test_found_missed_and_false_are_counted_per_severity() -> None:
    """Two merge requests, every kind of count, before and after the threshold."""
    rows = [row("a", label(1, CRITICAL), label(20, MEDIUM), label(40, LOW)), row("b")]
    reviews = [
        done(finding(2, HIGH), finding(21, LOW), finding(60, MEDIUM)),
        done(finding(1, LOW)),
    ]
    found = scored(rows, reviews)
    before, after = found.before.rates, found.after.rates
    assert (before.found, before.missed, before.false) == (2, 1, 2)
    assert before.precision == pytest.approx(2 / 4)
    assert before.recall == pytest.approx(2 / 3)
    assert before.f1 == pytest.approx(4 / 7)
    assert (before.noise_per_mr, before.noisy_clean) == (1.0, 1.0)
    # the medium fault was rated low and is hidden; the noise on the clean one is hidden too
    assert (after.found, after.missed, after.false) == (1, 1, 1)
    assert (after.noise_per_mr, after.noisy_clean) == (0.5, 0.0)
    by = {one.severity: (one.found, one.missed, one.false) for one in found.before.by_severity}
    assert by == {LOW: (0, 1, 1), MEDIUM: (1, 0, 1), HIGH: (0, 0, 0), CRITICAL: (1, 0, 0)}
    assert found.severity.n == 2
    assert found.severity.under_rated == 1.0


def test_a_finding_for_a_label_below_the_threshold_is_neither_found_nor_false() -> None:
    """Over-rating is a matter of severity, not a made-up fault."""
    found = scored([row("a", label(1, LOW))], [done(finding(1, HIGH))])
    assert (found.after.rates.found, found.after.rates.missed, found.after.rates.false) == (0, 0, 0)
    assert found.after.rates.precision is None


def test_a_failed_review_counts_as_failed_and_finds_nothing() -> None:
    """Its faults are missed and its outcome is told."""
    skip = Skip(path="a.py", reason="down", kind=SkipKind.BACKEND_ERROR)
    failed = Review(outcome=Outcome.FAILED, threshold=LOW, skips=(skip,))
    found = scored([row("a", label(1)), row("b", label(1))], [failed, done(finding(1))])
    assert found.outcomes[Outcome.FAILED] == 1
    assert (found.after.rates.found, found.after.rates.missed, found.skips) == (1, 1, 1)


def test_two_reviewers_are_compared_on_the_same_faults() -> None:
    """The better one is significantly better; against itself there is no difference."""
    rows = [row(f"r{i}", label(1)) for i in range(12)]
    good = [done(finding(1)) for _ in rows]
    bad = [done(finding(30)) if i else done(finding(1)) for i in range(12)]
    compared = scored(rows, good, bad).comparison
    assert compared is not None
    assert (compared.flips.first_only, compared.flips.second_only) == (11, 0)
    assert compared.flips.p_value < 0.01
    recall = compared.differences["recall"]
    assert recall.value == pytest.approx(11 / 12)
    assert recall.low is not None
    assert recall.low > 0
    same = scored(rows, good, good).comparison
    assert same is not None
    assert same.differences["f1"].value == 0
    assert same.flips.p_value == 1.0


def test_a_judge_decides_on_distant_pairs_alone() -> None:
    """A near pair is not asked about; a distant one counts when the judge says so."""
    with scripted_server(
        lambda body: "Yes." if "found" in body["messages"][0]["content"] else "no"
    ) as server:
        judge = endpoint_judge(Client(server.url), "judge")
        assert match([label(10)], [finding(11)], Tolerance(), judge) == [(0, 0)]
        assert server.asked == []
        assert match([label(10)], [finding(90)], Tolerance(), judge) == [(0, 0)]
        assert match([label(10)], [finding(90, path="b.py")], Tolerance(), judge) == []
        assert len(server.asked) == 1
        server.answer = lambda body: "perhaps"
        with pytest.raises(BackendError, match="instead of yes or no"):
            match([label(10)], [finding(90)], Tolerance(), judge)


def test_the_reviewer_sees_the_change_and_never_its_labels() -> None:
    """Title, description and project go along; the labels stay behind."""
    given = LabelledMergeRequest(
        id="a", title="T", project="P", description="D", diff=DIFF, findings=(label(2),)
    )
    request = as_change(given).request
    assert (request.title, request.project, request.description) == ("T", "P", "D")
    assert [file.path for file in request.files] == ["a.py"]
    assert "fault" not in request.model_dump_json()


def test_reviewing_runs_the_real_pipeline() -> None:
    """Findings come back unfiltered; a reviewer that fails everywhere is an error."""
    reviews = review_all([row("a", label(2))], reviewer_of(WordFinder("BUG")))
    assert [(one.line, one.severity) for one in reviews[0].findings] == [(2, LOW)]
    with pytest.raises(BackendError, match="could not review a single merge request"):
        review_all([row("a")], reviewer_of(FailingFinder(BackendError("down"))))


def test_the_command_line_scores_the_embedded_reviewer(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A live secret and a clean change: numbers at the top, both views below, JSON and text alike."""
    secret = "diff --git a/s.py b/s.py\n--- a/s.py\n+++ b/s.py\n@@ -1 +1,2 @@\n import os\n+eval(input())\n"
    rows: list[dict[str, Any]] = [
        {
            "id": "one",
            "diff": secret,
            "findings": [
                {
                    "path": "s.py",
                    "line": 2,
                    "category": "security",
                    "severity": "critical",
                    "title": "eval of input",
                }
            ],
        },
        {"id": "two", "diff": DIFF, "findings": []},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    args = ["evaluate", "review", "--data", str(path), "--backend", "embedded", "--threshold", "low"]
    assert main([*args, "--against", "embedded", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n"], found["found"], found["missed"]) == (2, 1, 0)
    assert found["recall"] == 1.0
    assert set(found["by_severity"]) == {"low", "medium", "high", "critical"}
    assert found["before"]["threshold"] == "low"
    assert found["against"]["flips"]["p_value"] == 1.0
    assert main(args) == 0
    assert "| shown | found | missed | false |" in capsys.readouterr().out
    assert main(["evaluate", "review", "--data", str(path), "--judge-model", "x"]) == 2


def test_a_second_reviewer_that_is_none_is_refused_before_the_first_begins(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistyped backend was found only after the first had reviewed everything; here it can't even begin."""
    monkeypatch.setenv("TERAZI_ENDPOINT", "http://127.0.0.1:9/v1")
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"id": "one", "diff": DIFF, "findings": []}) + "\n")
    args = ["evaluate", "review", "--data", str(path), "--backend", "endpoint", "--against", "embeded"]
    assert main(args) == 2
    assert "embeded" in capsys.readouterr().err
