"""Time of each output format for a review of many findings in one large hunk.

Usage: python bench/render.py [FINDINGS]    (default 1,000; the hunk has 20 lines per finding)

Prints the median of five runs per format and the size of its output.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from review_data.domain import Review


def main(count: int) -> None:
    """Builds the review and prints one line per format."""
    from review_data.domain import DiffLine, FileChange, Hunk, LineKind
    from service.render import FORMATS, render

    lines = tuple(
        DiffLine(kind=LineKind.ADDED, text=f"    total += price[{number}] * rate", new_line=number)
        for number in range(1, count * 20 + 1)
    )
    hunk = Hunk(old_start=0, old_count=0, new_start=1, new_count=len(lines), lines=lines)
    files = [FileChange(path="shop/totals.py", hunks=(hunk,))]
    review = review_of(count)
    for name in FORMATS:
        runs = [timed(lambda name=name: render(review, name, excerpts=files)) for _ in range(5)]
        size = len(render(review, name, excerpts=files)) / 1024
        print(f"{name:9} {statistics.median(runs) * 1000:8.0f} ms {size:8.0f} KiB  {count} findings")


def review_of(count: int) -> Review:
    """A review of `count` findings, one for every 20 lines."""
    from review_data.domain import Category, Finding, Outcome, Review, Side, fingerprint
    from review_data.severity import SEVERITIES, Severity

    findings = tuple(
        Finding(
            path="shop/totals.py",
            line=number * 20 + 1,
            side=Side.NEW,
            category=Category.CORRECTNESS,
            severity=SEVERITIES[number % 4],
            title=f"The total of item {number} is not rounded",
            explanation="A float sum drifts by cents over many rows; invoices then differ from the ledger. "
            * 2,
            suggestion="Sum `Decimal` values and round once, at the end.",
            probabilities=None,
            source="rules",
            rule="python/float-money",
            fingerprint=fingerprint(Category.CORRECTNESS, "shop/totals.py", str(number), None),
        )
        for number in range(count)
    )
    return Review(outcome=Outcome.FINDINGS, threshold=Severity.LOW, findings=findings)


def timed(work: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
