"""Which reported finding is which labelled fault: same file and side, near lines, kindred category.

Each label takes at most one finding and each finding at most one label, chosen so that as many as possible
are matched and, among equals, lines are nearest and categories agree (an assignment problem).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from types import ModuleType
from typing import Final

from review_data.dataset import LabelledFinding
from review_data.domain import Category, Finding, Record
from review_data.errors import MissingExtra

FAR: Final = 1e6


class CategoryRule(StrEnum):
    """How alike categories must be: the same, of one family, or not at all."""

    SAME = "same"
    FAMILY = "family"
    ANY = "any"


FAMILIES: Final = (
    frozenset({Category.SECURITY, Category.CONFIGURATION}),
    frozenset(
        {Category.CORRECTNESS, Category.ERROR_HANDLING, Category.CONCURRENCY, Category.DATA, Category.API}
    ),
    frozenset({Category.PERFORMANCE, Category.RESOURCE, Category.CONCURRENCY}),
    frozenset({Category.MAINTAINABILITY, Category.DOCUMENTATION, Category.STYLE, Category.TESTING}),
)
Judge = Callable[[LabelledFinding, Finding], bool]


class Tolerance(Record):
    """When a finding may be a label's: at most `lines` apart, and categories by `category`."""

    lines: int = 3
    category: CategoryRule = CategoryRule.FAMILY


def match(
    labels: Sequence[LabelledFinding],
    findings: Sequence[Finding],
    tolerance: Tolerance,
    judge: Judge | None = None,
) -> list[tuple[int, int]]:
    """Pairs (label, finding) of indices. `judge`, if any, decides on pairs of one file that are not near."""
    if not labels or not findings:
        return []
    costs = [[_cost(label, finding, tolerance, judge) for finding in findings] for label in labels]
    rows, columns = _optimize().linear_sum_assignment(costs)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return [(row, column) for row, column in pairs if costs[row][column] < FAR]


def near(label: LabelledFinding, finding: Finding, tolerance: Tolerance) -> bool:
    """Whether place and category allow the pair."""
    return (
        label.path == finding.path
        and label.side == finding.side
        and abs(label.line - finding.line) <= tolerance.lines
        and kindred(label.category, finding.category, tolerance.category)
    )


def kindred(first: Category, second: Category, rule: CategoryRule) -> bool:
    """Whether the rule lets the two categories stand for one fault."""
    if rule is CategoryRule.ANY or first is second:
        return True
    return rule is CategoryRule.FAMILY and any(first in family and second in family for family in FAMILIES)


def _cost(label: LabelledFinding, finding: Finding, tolerance: Tolerance, judge: Judge | None) -> float:
    apart = abs(label.line - finding.line) + (0.5 if label.category is not finding.category else 0)
    if near(label, finding, tolerance):
        return apart
    if judge is not None and label.path == finding.path and judge(label, finding):
        return min(apart, 1000.0) + 1000.0
    return FAR


def _optimize() -> ModuleType:
    try:
        import scipy.optimize
    except ImportError:
        raise MissingExtra("evaluate", "evaluation", "scikit-learn") from None
    return scipy.optimize  # type: ignore[no-any-return]
