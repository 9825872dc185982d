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
from service.batch.work import Result
from service.render.escape import code_span, prose_line, visible
from service.render.summary import plural, tally

_NAMED: Final = 5
_LISTED: Final = 500
_MISSING: Final = (None, Outcome.FAILED, Outcome.PARTIAL)


class Row(NamedTuple):
    """One merge request; `outcome` is None, and `error` not empty, when it could not be opened."""

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
        review = result.review or {}
        pairs = [(found["category"], Severity(found["severity"])) for found in review.get("findings", ())]
        shown = Counter(level for _, level in pairs)
        self.shown += shown
        self.hidden += Counter({Severity(level): count for level, count in review.get("hidden", {}).items()})
        self.categories += Counter(pairs)
        outcome = Outcome(review["outcome"]) if review else None
        title = review.get("title", "")
        self.rows.append(Row(result.id, title, result.exit_code, outcome, shown, result.error or ""))

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
        found = [tally(self.shown) or "no findings"]
        found += [f"{self.hidden.total()} hidden by the threshold"] if self.hidden.total() else []
        said.append(f"{', '.join(found)}.".capitalize())
        missing = [row for row in self.rows if row.error]
        said += [visible(f"{row.id}: {row.error}") for row in missing[:_NAMED]]
        if len(missing) > _NAMED:
            said.append(f"... and {len(missing) - _NAMED} more; see `error` in the results")
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
    return f"- {code_span(row.id)}: " + (prose_line(row.error) or "a part failed; see its `skips`")


def _table(head: tuple[str, ...], rows: Iterable[tuple[tuple[str, ...], Counter[Severity]]]) -> str:
    levels = tuple(reversed(SEVERITIES))
    lines = [(*head, *levels), ("---",) * len(head) + ("---:",) * len(levels)]
    for cells, counts in rows:
        safe = (re.sub(r"(?<!\\)\|", r"\\|", cell) for cell in cells)
        lines.append((*safe, *(str(counts[level] or "") for level in levels)))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
