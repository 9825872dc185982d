"""Finders and raters that do what a test tells them: real implementations of the ports, without a model."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from review_data.domain import Category, Issue, LineKind, Probabilities, Provenance, Rating, Skip
from review_data.severity import Severity
from service.ports import Change, Chunk, Finder, Found, Plan, Rater, Reviewer


class WordFinder:
    """Reports every added line that holds `word`; one chunk per file."""

    concurrency = 4

    def __init__(self, word: str, name: str = "words", category: Category = Category.CORRECTNESS) -> None:
        self.word, self.name, self.category = word, name, category

    def plan(self, change: Change) -> Plan:
        """A chunk per file."""
        return Plan(tuple(Chunk(file.path, (file,), change) for file in change.request.files))

    def find(self, chunk: Chunk) -> Found:
        """One issue per added line with the word."""
        return Found(
            tuple(
                self.issue(file.path, line.new_line or 0, line.text)
                for file in chunk.files
                for hunk in file.hunks
                for line in hunk.lines
                if line.kind is LineKind.ADDED and self.word in line.text
            )
        )

    def issue(self, path: str, line: int, text: str) -> Issue:
        """An issue of this finder."""
        return Issue(
            path=path,
            line=line,
            category=self.category,
            title=f"Holds {self.word}",
            quote=text,
            source=self.name,
            rule="scripted/rule",
        )


class FailingFinder(WordFinder):
    """Raises `error` on the chunks whose id `fails` accepts."""

    def __init__(self, error: Exception, fails: Callable[[str], bool] = lambda _: True) -> None:
        super().__init__("word", name="failing")
        self.error, self.fails = error, fails

    def find(self, chunk: Chunk) -> Found:
        """Fails, or finds as usual."""
        if self.fails(chunk.id):
            raise self.error
        return super().find(chunk)


class SlowFinder(WordFinder):
    """Sleeps on the chunks whose id `is_slow` accepts."""

    def __init__(self, is_slow: Callable[[str], bool]) -> None:
        super().__init__("word", name="slow")
        self.is_slow = is_slow

    def find(self, chunk: Chunk) -> Found:
        """Finds late."""
        if self.is_slow(chunk.id):
            time.sleep(30)
        return super().find(chunk)


class FixedFinder(WordFinder):
    """Reports the given issues with every chunk."""

    def __init__(self, *issues: Issue) -> None:
        super().__init__("word", name="fixed")
        self.issues = issues

    def find(self, chunk: Chunk) -> Found:
        """The given issues."""
        return Found(self.issues)


class WordRater:
    """Rates by the first severity whose name stands in the quoted line; `low` otherwise."""

    name = "word-rater"
    concurrency = 1

    def prepare(self) -> None:
        """Needs nothing."""

    def rate(self, change: Change, issues: Sequence[Issue]) -> Sequence[Rating | Skip]:
        """One certain rating per issue."""
        return [self._one(issue) for issue in issues]

    def _one(self, issue: Issue) -> Rating:
        text = issue.quote or issue.title
        severity = next((level for level in Severity if level in text), Severity.LOW)
        return Rating(
            severity=severity, probabilities=Probabilities.of([level is severity for level in Severity])
        )


class FailingRater(WordRater):
    """Raises `error` for every call."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def rate(self, change: Change, issues: Sequence[Issue]) -> Sequence[Rating | Skip]:
        """Fails."""
        raise self.error


def reviewer_of(*finders: Finder, rater: Rater | None = None) -> Reviewer:
    """These finders with a rater that goes by words."""
    return Reviewer(finders, rater or WordRater(), "scripted", Provenance())
