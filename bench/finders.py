"""Precision and recall of the embedded finders on the packaged dataset, per split and severity.

    python bench/finders.py [--split train validation test] [--show wrong|missed|right] [--rules]

A finding is right when it stands on a labelled one's path and side at most TOLERANCE lines away (removals:
either side, since a label may stand on the line that took the removed one's place). Category agreement is
shown both ways: `line` ignores it, `category` asks for the same or a neighbouring one (NEIGHBOURS). Every
labelled finding answers for any number of findings, since several rules may see one fault; duplicates on one
line count once. Intervals are Wilson's at 95%.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from review_data.dataset import SPLITS, LabelledFinding, LabelledMergeRequest, Split, merge_requests
from review_data.diff import parse_diff
from review_data.domain import Category, Issue, MergeRequest, Side
from review_data.severity import SEVERITIES, Severity
from service.backends.embedded.finders import embedded_finders
from service.ports import Change
from service.rating import NoFiles

TOLERANCE = 2
# Groups of categories between which labelling one fault is a matter of taste.
NEIGHBOURS: tuple[frozenset[Category], ...] = (
    frozenset(
        {Category.CORRECTNESS, Category.DATA, Category.CONCURRENCY, Category.ERROR_HANDLING, Category.API}
    ),
    frozenset({Category.RESOURCE, Category.PERFORMANCE, Category.ERROR_HANDLING, Category.CONCURRENCY}),
    frozenset({Category.SECURITY, Category.CONFIGURATION, Category.DATA}),
    frozenset({Category.CONFIGURATION, Category.CORRECTNESS, Category.RESOURCE, Category.DATA}),
    frozenset({Category.STYLE, Category.MAINTAINABILITY, Category.DOCUMENTATION, Category.TESTING}),
    frozenset({Category.STYLE, Category.MAINTAINABILITY, Category.ERROR_HANDLING, Category.CORRECTNESS}),
    frozenset({Category.SECURITY, Category.CORRECTNESS}),
)


class Judged(NamedTuple):
    """One issue and the labelled finding it stands on, if any."""

    row: LabelledMergeRequest
    issue: Issue
    label: LabelledFinding | None
    agrees: bool


def main() -> None:
    """Prints one block per split."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--split", nargs="+", choices=SPLITS, default=list(SPLITS))
    parser.add_argument("--show", choices=["wrong", "missed", "right"])
    parser.add_argument("--rules", action="store_true", help="right and wrong per rule")
    options = parser.parse_args()
    for split in options.split:
        report(split, options.show, options.rules)


def report(split: Split, show: str | None, rules: bool) -> None:
    """Runs the finders over one split and prints its figures."""
    rows = merge_requests(split)
    judged = [one for row in rows for one in judge(row)]
    print(f"\n{split}: {len(rows)} merge requests, {len(judged)} findings")
    print(f"  precision (line)      {shown(sum(one.label is not None for one in judged), len(judged))}")
    print(f"  precision (category)  {shown(sum(one.agrees for one in judged), len(judged))}")
    grave = [one for one in judged if one.label is None or one.label.severity >= Severity.MEDIUM]
    print(f"  precision without hits of low ones  {shown(sum(one.agrees for one in grave), len(grave))}")
    for name, levels in [(str(level), (level,)) for level in SEVERITIES] + [
        ("high+critical", (Severity.HIGH, Severity.CRITICAL))
    ]:
        print(f"  recall {name:14} {recall(rows, judged, levels)}")
    clean = [row for row in rows if not row.findings]
    noise = [one for one in judged if not one.row.findings]
    noisy = len({one.row.id for one in noise})
    print(
        f"  clean merge requests: {len(noise) / max(1, len(clean)):.2f} findings each, "
        f"{noisy} of {len(clean)} with any"
    )
    if rules:
        print_rules(judged)
    if show:
        print_cases(show, rows, judged)


def judge(row: LabelledMergeRequest) -> Iterable[Judged]:
    """The finders' issues of one merge request, one per line and category, each with its label."""
    change = Change(MergeRequest(title=row.title, files=parse_diff(row.diff).files), NoFiles())
    seen: set[tuple[str, int, Side]] = set()
    for finder in embedded_finders():
        for chunk in finder.plan(change).chunks:
            for issue in finder.find(chunk).issues:
                place = (issue.path, issue.line, issue.side)
                if place not in seen:
                    seen.add(place)
                    yield judged_issue(row, issue)


def judged_issue(row: LabelledMergeRequest, issue: Issue) -> Judged:
    """The nearest label within the tolerance, preferring one whose category agrees."""
    near = [
        label
        for label in row.findings
        if label.path == issue.path
        and (label.side is issue.side or Side.OLD in (label.side, issue.side))
        and abs(label.line - issue.line) <= TOLERANCE
    ]
    near.sort(key=lambda label: (not agree(label.category, issue.category), abs(label.line - issue.line)))
    label = near[0] if near else None
    return Judged(row, issue, label, label is not None and agree(label.category, issue.category))


def agree(one: Category, other: Category) -> bool:
    """Whether two categories are the same or neighbours."""
    return one is other or any(one in group and other in group for group in NEIGHBOURS)


def recall(rows: Iterable[LabelledMergeRequest], judged: list[Judged], levels: tuple[Severity, ...]) -> str:
    """Share of the labels of these levels that an issue with an agreeing category (or any) stands on."""
    wanted = [(row.id, label) for row in rows for label in row.findings if label.severity in levels]
    by_line = {(one.row.id, one.label) for one in judged if one.label is not None}
    by_category = {(one.row.id, one.label) for one in judged if one.agrees}
    line, category = (sum(key in found for key in wanted) for found in (by_line, by_category))
    return f"{shown(category, len(wanted))}   (line only {line / max(1, len(wanted)):.3f})"


def shown(right: int, of: int) -> str:
    """`0.700 [0.60, 0.78] 70/100`: the share with its Wilson interval."""
    from finetune.statistics import wilson

    if not of:
        return "none"
    interval = wilson(right, of)
    return f"{right / of:.3f} [{interval.low:.2f}, {interval.high:.2f}] {right}/{of}"


def print_rules(judged: list[Judged]) -> None:
    """Right and wrong findings per rule."""
    right: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for one in judged:
        (right if one.agrees else wrong)[one.issue.rule or one.issue.source] += 1
    for rule in sorted({*right, *wrong}, key=lambda rule: (wrong[rule] - right[rule], rule)):
        print(f"    {right[rule]:3} right {wrong[rule]:3} wrong  {rule}")


def print_cases(show: str, rows: Iterable[LabelledMergeRequest], judged: list[Judged]) -> None:
    """The cases themselves."""
    if show == "missed":
        found: dict[str, set[LabelledFinding | None]] = defaultdict(set)
        for one in judged:
            found[one.row.id].add(one.label)
        for row in rows:
            for label in row.findings:
                if label not in found[row.id] and label.severity >= Severity.HIGH:
                    print(
                        f"    {row.id} {row.language} {label.severity}",
                        f"{label.path}:{label.line} {label.title}",
                    )
        return
    for one in judged:
        if one.agrees == (show == "right"):
            issue = one.issue
            print(
                f"    {one.row.id} {issue.path}:{issue.line} {issue.rule}: {issue.title}\n       ",
                issue.quote,
            )
            if one.label is not None:
                print(f"        label: {one.label.severity} {one.label.category} {one.label.title}")


if __name__ == "__main__":
    main()
