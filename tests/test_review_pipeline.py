"""The pipeline's promises: order, merging, suppression, filtering, and that a failure never looks clean."""

from __future__ import annotations

import time

import pytest

from review_data.domain import Category, Issue, Outcome, Side, SkipKind
from review_data.errors import BackendError, ReplyError
from review_data.severity import Severity
from service.review import ReviewOptions, exit_code, review
from tests.support.changes import change_of, file_of
from tests.support.scripted import (
    FailingFinder,
    FailingRater,
    FixedFinder,
    SlowFinder,
    WordFinder,
    WordRater,
    reviewer_of,
)

EVERYTHING = ReviewOptions(threshold=Severity.LOW)


def test_findings_come_most_severe_first_then_by_path_and_line() -> None:
    """The order is severity, path, line, however the chunks finish."""
    change = change_of(
        file_of("b.py", "+word low\n+word critical\n"), file_of("a.py", "+word high\n+word critical\n")
    )
    result = review(change, reviewer_of(WordFinder("word")), EVERYTHING)
    assert [(f.severity, f.path, f.line) for f in result.findings] == [
        ("critical", "a.py", 2),
        ("critical", "b.py", 2),
        ("high", "a.py", 1),
        ("low", "b.py", 1),
    ]


def test_the_threshold_hides_and_counts() -> None:
    """What is below the threshold is not shown, counted per severity, and can be shown later."""
    change = change_of(file_of("a.py", "+word low\n+word medium\n+word high\n"))
    result = review(change, reviewer_of(WordFinder("word")), ReviewOptions(threshold=Severity.HIGH))
    assert [finding.severity for finding in result.findings] == ["high"]
    assert result.hidden == {"low": 1, "medium": 1, "high": 0, "critical": 0}
    assert len(result.at(Severity.LOW).findings) == 3


def test_only_hidden_findings_leave_the_review_clean() -> None:
    """A review whose findings are all below the threshold is clean, and says how many it hides."""
    result = review(
        change_of(file_of("a.py", "+word low\n")), reviewer_of(WordFinder("word")), ReviewOptions()
    )
    assert result.outcome is Outcome.CLEAN
    assert result.hidden[Severity.LOW] == 1


def test_two_finders_on_one_line_and_category_are_merged_with_their_sources() -> None:
    """One line and category give one finding that names every source."""
    change = change_of(file_of("a.py", "+word high\n"))
    result = review(change, reviewer_of(WordFinder("word"), WordFinder("high", name="other")), EVERYTHING)
    assert [finding.sources for finding in result.findings] == [("other", "words")]


def test_two_categories_on_one_line_stay_two_findings() -> None:
    """Different categories on one line are different faults."""
    change = change_of(file_of("a.py", "+word high\n"))
    other = WordFinder("high", category=Category.SECURITY)
    assert len(review(change, reviewer_of(WordFinder("word"), other), EVERYTHING).findings) == 2


@pytest.mark.parametrize(
    ("text", "suppressed"),
    [
        ("+word high  # terazi: ignore[correctness]\n", 1),
        ("+# terazi: ignore[correctness]\n+word high\n", 1),
        ("+# terazi: ignore[scripted/rule]\n+word high\n", 1),
        ("+# terazi: ignore[security, correctness]\n+word high\n", 1),
        ("+# terazi: ignore[security]\n+word high\n", 0),
        ("+word high\n+# terazi: ignore[correctness]\n", 0),
        ("+# terazi: ignore\n+word high\n", 0),
    ],
)
def test_an_ignore_comment_suppresses_its_line_or_the_next(text: str, suppressed: int) -> None:
    """The comment must name the category or the rule, and stand on the line or above it; it is counted."""
    result = review(change_of(file_of("a.py", text)), reviewer_of(WordFinder("word")), EVERYTHING)
    assert len(result.suppressed) == suppressed
    assert len(result.findings) == 1 - suppressed


def test_one_failed_chunk_makes_the_review_partial() -> None:
    """The other chunks are reviewed, the failed one is a skip, and the exit code says it."""
    change = change_of(file_of("a.py", "+word low\n"), file_of("b.py", "+word high\n"))
    finder = FailingFinder(BackendError("the server is gone"), fails=lambda id: id == "a.py")
    result = review(change, reviewer_of(finder), EVERYTHING)
    assert result.outcome is Outcome.PARTIAL
    assert [(skip.path, skip.kind) for skip in result.skips] == [("a.py", SkipKind.BACKEND_ERROR)]
    assert "the server is gone" in result.skips[0].reason
    assert exit_code(result, None) == 3
    assert exit_code(result, Severity.HIGH) == 1


def test_a_crash_of_one_finder_leaves_the_others_findings() -> None:
    """A bug in one finder is a recorded skip that names the exception; the other finder goes on."""
    change = change_of(file_of("a.py", "+word high\n"))
    result = review(
        change, reviewer_of(FailingFinder(ZeroDivisionError("oops")), WordFinder("word")), EVERYTHING
    )
    assert result.outcome is Outcome.PARTIAL
    assert len(result.findings) == 1
    assert "ZeroDivisionError: oops" in result.skips[0].reason


def test_all_chunks_failed_is_failed_not_clean() -> None:
    """When nothing was reviewed, the outcome is `failed`."""
    result = review(
        change_of(file_of("a.py", "+word\n")), reviewer_of(FailingFinder(BackendError("down"))), EVERYTHING
    )
    assert result.outcome is Outcome.FAILED
    assert exit_code(result, None) == 3


def test_an_unparsable_reply_is_its_own_kind_of_skip() -> None:
    """A reply that could not be parsed is told apart from a server that failed."""
    finder = FailingFinder(ReplyError("not JSON", reply="{"))
    result = review(change_of(file_of("a.py", "+word\n")), reviewer_of(finder), EVERYTHING)
    assert result.skips[0].kind is SkipKind.UNPARSABLE_REPLY


def test_issues_that_get_no_rating_are_named_in_the_skips() -> None:
    """A failing rater loses no issue silently."""
    change = change_of(file_of("a.py", "+word high\n"))
    result = review(
        change, reviewer_of(WordFinder("word"), rater=FailingRater(BackendError("down"))), EVERYTHING
    )
    assert result.outcome is Outcome.PARTIAL
    assert "Holds word" in result.skips[0].reason
    assert result.skips[0].line == 1


def test_the_deadline_ends_the_review_with_what_there_is() -> None:
    """Chunks that did not finish in time are skips; the caller gets the others without waiting."""
    change = change_of(file_of("slow.py", "+word high\n"), file_of("fast.py", "+word high\n"))
    started = time.monotonic()
    result = review(
        change,
        reviewer_of(SlowFinder(lambda id: id == "slow.py")),
        ReviewOptions(threshold=Severity.LOW, deadline_s=0.5),
    )
    assert time.monotonic() - started < 10
    assert [finding.path for finding in result.findings] == ["fast.py"]
    assert [(skip.path, skip.kind) for skip in result.skips] == [("slow.py", SkipKind.DEADLINE)]


def test_an_empty_change_is_clean() -> None:
    """Nothing to review is clean, not an error."""
    assert review(change_of(), reviewer_of(WordFinder("word")), EVERYTHING).outcome is Outcome.CLEAN


class ReadyRater(WordRater):
    """Counts how often it was told to prepare."""

    def __init__(self) -> None:
        self.prepared = 0

    def prepare(self) -> None:
        """Counts."""
        self.prepared += 1


@pytest.mark.parametrize(("lines", "prepared"), [(0, 0), (10, 0), (100, 1)])
def test_the_rater_prepares_where_issues_are_to_be_expected(lines: int, prepared: int) -> None:
    """A long change has the rater loaded beside the search, a short or an empty one loads nothing."""
    rater = ReadyRater()
    change = change_of(*(file_of(f"{n}.py", "+x = 1\n" * 10) for n in range(lines // 10)))
    review(change, reviewer_of(WordFinder("word"), rater=rater), EVERYTHING)
    assert rater.prepared == prepared


def test_progress_counts_chunks() -> None:
    """The callback sees every chunk once."""
    seen: list[tuple[int, int]] = []
    change = change_of(*(file_of(f"{n}.py", "+word\n") for n in range(5)))
    review(
        change, reviewer_of(WordFinder("word")), EVERYTHING, lambda done, total: seen.append((done, total))
    )
    assert seen == [(n, 5) for n in range(1, 6)]


def test_repeated_faulty_text_gets_distinct_fingerprints_that_survive_a_shift() -> None:
    """Fingerprints hold no line number, and the second copy of one text has its own."""
    text = "+word high\n+fine\n+word high\n"
    here = review(change_of(file_of("a.py", text)), reviewer_of(WordFinder("word")), EVERYTHING)
    moved = review(change_of(file_of("a.py", text, start=100)), reviewer_of(WordFinder("word")), EVERYTHING)
    prints = [finding.fingerprint for finding in here.findings]
    assert len(set(prints)) == 2
    assert prints == [finding.fingerprint for finding in moved.findings]


def issue(quote: str, line: int = 1, path: str = "a.py", side: Side = Side.NEW) -> Issue:
    """An issue as a language model reports it."""
    return Issue(
        path=path, line=line, category=Category.DATA, title="A title", quote=quote, side=side, source="model"
    )


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        (issue("x = 1", line=1), (1, "new")),
        (issue("x = 1", line=4), (5, "new")),
        (issue("x = 1", line=99), (5, "new")),
        (issue("   x  =  1 ", line=5), (5, "new")),
        (issue("check(user)", line=3), (2, "old")),
        (issue("return total_of(items)", line=1), (4, "new")),
        (issue("total_of(items)", line=1), (4, "new")),
        (issue("", line=4), (4, "new")),
        (issue("not in the diff", line=4), None),
        (issue("x = 1", path="other.py"), None),
    ],
)
def test_issues_stand_on_the_line_they_quote(reported: Issue, expected: tuple[int, str] | None) -> None:
    """The nearest line that matches the quote wins; a removed line moves the issue to the old side."""
    file = file_of("a.py", "+x = 1\n kept\n-check(user)\n+other\n+    return total_of(items)\n+x = 1\n")
    result = review(change_of(file), reviewer_of(FixedFinder(reported)), EVERYTHING)
    places = [(finding.line, finding.side) for finding in result.findings]
    assert places == ([expected] if expected else [])
    assert [skip.kind for skip in result.skips] == ([] if expected else [SkipKind.UNANCHORED])
