"""What a batch came to: in numbers, in two sentences, and as a Markdown report for people.

Counts come from the results' JSON alone, so that results of an earlier batch count like new ones.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

from review_data.domain import Outcome
from review_data.severity import SEVERITIES, Severity
from service.batch.work import Counted, Result
from service.render.escape import code_span, prose_line, visible
from service.render.summary import plural, tally

_NAMED: Final = 5
_LISTED: Final = 500
_LONGEST: Final = 1000
# An even number of backslashes escape each other, and the pipe would end the cell.
_BARE_PIPE: Final = re.compile(r"(?<!\\)((?:\\\\)*)\|")
_MISSING: Final = (None, Outcome.FAILED, Outcome.PARTIAL)


class Row(NamedTuple):
    """One merge request; `outcome` is None when it could not be opened. `error` says what is missing."""

    id: str
    title: str
    exit_code: int
    outcome: Outcome | None
    shown: Counter[Severity]
    error: str

    @property
    def order(self) -> tuple[int, ...]:
        """The most severe first."""
        return tuple(-self.shown[level] for level in reversed(SEVERITIES))


class Totals:
    """Everything counted so far."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.shown: Counter[Severity] = Counter()
        self.hidden: Counter[Severity] = Counter()
        self.categories: Counter[tuple[str, Severity]] = Counter()

    def add(self, result: Result) -> None:
        """Counts one result."""
        if result.review is None:
            error = result.error or "is not reviewed"
            self.rows.append(Row(result.id, "", result.exit_code, None, Counter(), error[:_LONGEST]))
            return
        review = Counted.model_validate(result.review)
        pairs = [(str(found.category), found.severity) for found in review.findings]
        shown = Counter(level for _, level in pairs)
        self.shown += shown
        self.hidden += Counter(review.hidden)
        self.categories += Counter(pairs)
        error = _first_failure(review)[:_LONGEST]
        self.rows.append(Row(result.id, review.title, result.exit_code, review.outcome, shown, error))

    def put_in_order(self, ids: Iterable[str]) -> None:
        """Puts the rows into the order of `ids`, which hold them all."""
        rows = {row.id: row for row in self.rows}
        self.rows = [rows[name] for name in ids]

    @property
    def exit_code(self) -> int:
        """1 when a merge request reaches its gate, else 3 when one was not reviewed whole, else 0."""
        codes = {row.exit_code for row in self.rows}
        return 1 if 1 in codes else 3 if codes - {0} else 0

    def lines(self, elapsed_s: float) -> list[str]:
        """For the error stream: what was reviewed, what was found, what is missing and where."""
        outcomes = Counter(row.outcome for row in self.rows)
        done = f"{plural(len(self.rows), 'merge request')} in {elapsed_s:.1f} s"
        kinds = {
            "with findings": outcomes[Outcome.FINDINGS],
            "clean": outcomes[Outcome.CLEAN],
            "INCOMPLETE": outcomes[Outcome.PARTIAL],
            "NOT REVIEWED": outcomes[Outcome.FAILED] + outcomes[None],
        }
        said = [f"{done}: " + ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count) + "."]
        missing = [row for row in self.rows if row.outcome in _MISSING]
        found = [tally(self.shown) or "no findings" + (" in what was reviewed" if missing else "")]
        found += [f"{self.hidden.total()} hidden by the threshold"] if self.hidden.total() else []
        said.append(f"{', '.join(found)}.".capitalize())
        said += [visible(f"{row.id}: {row.error}") for row in missing[:_NAMED]]
        if len(missing) > _NAMED:
            said.append(f"... and {len(missing) - _NAMED} more; see `error` and `skips` in the results")
        return said


def to_markdown(totals: Totals, elapsed_s: float) -> str:
    """A report: totals, findings by category, merge requests with the most severe first, what is missing."""
    said = totals.lines(elapsed_s)
    parts = ["# Merge requests by severity", " ".join(said[:2])]
    if totals.shown:
        parts += ["## By category", _by_category(totals)]
    found = sorted((row for row in totals.rows if row.shown), key=lambda row: row.order)
    if found:
        parts += ["## Most severe first", _table(("merge request", "title"), map(_found, found[:_LISTED]))]
    if len(found) > _LISTED:
        parts.append(f"{len(found) - _LISTED} more are in the results.")
    missing = [row for row in totals.rows if row.outcome in _MISSING]
    if missing:
        parts += ["## Not reviewed, or not whole", "\n".join(map(_missing, missing))]
    return "\n\n".join(parts) + "\n"


def _by_category(totals: Totals) -> str:
    sums = Counter[str]()
    for (category, _), count in totals.categories.items():
        sums[category] += count
    rows = (
        (name, Counter({s: totals.categories[name, s] for s in SEVERITIES})) for name, _ in sums.most_common()
    )
    return _table(("category",), (((name,), counts) for name, counts in rows))


def _found(row: Row) -> tuple[tuple[str, ...], Counter[Severity]]:
    return (code_span(row.id), prose_line(row.title)), row.shown


def _missing(row: Row) -> str:
    return f"- {code_span(row.id)}: {prose_line(row.error)}"


def _first_failure(review: Counted) -> str:
    if review.outcome not in _MISSING:
        return ""
    failures = [skip for skip in review.skips if skip.failure]
    if not failures:
        return "the review did not finish"
    first = f"{failures[0].path}: {failures[0].reason}" if failures[0].path else failures[0].reason
    return f"{first} (and {len(failures) - 1} more in its `skips`)" if failures[1:] else first


def _table(head: tuple[str, ...], rows: Iterable[tuple[tuple[str, ...], Counter[Severity]]]) -> str:
    levels = tuple(reversed(SEVERITIES))
    lines = [(*head, *levels), ("---",) * len(head) + ("---:",) * len(levels)]
    for cells, counts in rows:
        safe = (_BARE_PIPE.sub(r"\1\\|", cell) for cell in cells)
        lines.append((*safe, *(str(counts[level] or "") for level in levels)))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
