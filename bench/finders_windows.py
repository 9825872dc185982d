"""What the embedded finders say of short diff windows with one known fault each, by half.

    python bench/finders_windows.py FILE [--half development hold-out] [--show wrong|missed|right] [--rules]

FILE has one JSON object per line: `id`, `path`, `severity`, and `lines` (a window of a diff whose faulty line
starts with `>`), such as finetune/severity/findings/train.jsonl. Rows with an even number in their id are
for writing rules, odd ones only measure. A finding within TOLERANCE lines of the faulty one is right. The
windows have little or no indentation: Python is given one that parses, if a simple guess finds it.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, Final

from bench.finders import NoFiles, shown
from review_data.diff import parse_diff
from review_data.domain import Issue, MergeRequest
from service.backends.embedded.finders import embedded_finders
from service.ports import Change

TOLERANCE: Final = 2
HALVES: Final = ("development", "hold-out")
_OPENS: Final = re.compile(r"[:(\[{]\s*(?:#.*)?$")
_CLOSES: Final = re.compile(r"^[)\]}]")
_LEAVES: Final = re.compile(r"^(?:return|raise|continue|break|pass)\b")

_SAME: Final = re.compile(r"^(?:except|finally|elif|else)\b")


def main() -> None:
    """Prints recall per severity and the false findings of each half."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--half", nargs="+", choices=HALVES, default=list(HALVES))
    parser.add_argument("--show", choices=["wrong", "missed", "right"])
    parser.add_argument("--rules", action="store_true", help="right and wrong per rule")
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.file.read_text(encoding="utf-8").splitlines()]
    for half in options.half:
        report(half, [row for row in rows if half_of(row) == half], options.show, options.rules)


def half_of(row: dict[str, Any]) -> str:
    """Even numbers are for development."""
    return HALVES[int(re.findall(r"\d+", row["id"])[-1]) % 2]


def report(half: str, rows: list[dict[str, Any]], show: str | None, rules: bool) -> None:
    """Runs the finders over the rows and prints the figures."""
    found: Counter[str] = Counter()
    of: Counter[str] = Counter(row["severity"] for row in rows)
    per_rule: Counter[tuple[str, bool]] = Counter()
    right = wrong = 0
    for row in rows:
        lines, at = window(row)
        issues = issues_of(row["path"], lines)
        hits = [issue for issue in issues if is_right(issue, lines, at)]
        right, wrong = right + len(hits), wrong + len(issues) - len(hits)
        found[row["severity"]] += bool(hits)
        per_rule.update((issue.rule or issue.source, issue in hits) for issue in issues)
        if show:
            print_row(show, row, issues, hits)
    print(f"\n{half}: {len(rows)} windows, {right + wrong} findings")
    print(f"  precision             {shown(right, right + wrong)}")
    for level in ("low", "medium", "high", "critical"):
        print(f"  recall {level:14} {shown(found[level], of[level])}")
    grave = ("high", "critical")
    print(f"  recall high+critical  {shown(sum(found[x] for x in grave), sum(of[x] for x in grave))}")
    if rules:
        for rule, good in sorted(per_rule):
            print(f"    {'right' if good else 'WRONG'} {per_rule[rule, good]:3} {rule}")


def window(row: dict[str, Any]) -> tuple[list[tuple[str, str]], int]:
    """(mark, text) of each line, and the index of the faulty one."""
    raw = [line[1:] if line.startswith(">") else line for line in row["lines"]]
    at = next(index for index, line in enumerate(row["lines"]) if line.startswith(">"))
    lines = [
        (line[0], line[2:]) if line[:2] in ("+ ", "- ") or line in ("+", "-") else (" ", line) for line in raw
    ]
    if row["path"].endswith(".py"):
        lines = indented(lines)
    return lines, at


def indented(lines: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Python with a guessed indentation, where the text as it is does not parse and the guess does."""
    if parses(lines):
        return lines
    level, guess = 0, []
    for mark, text in lines:
        text = text.strip()
        level -= bool(_CLOSES.match(text)) + bool(_SAME.match(text))
        if re.match(r"^(?:@|class |def |async def )", text) and not (guess and _OPENS.search(guess[-1][1])):
            level = 0 if not guess or not guess[-1][1].strip().startswith("@") else level
        guess.append((mark, " " * 4 * level + text))
        if mark != "-":
            level += bool(_OPENS.search(text)) - (bool(_LEAVES.match(text)) and level > 1)
    return guess


def parses(lines: list[tuple[str, str]]) -> bool:
    """Whether the new side is Python by itself."""
    try:
        ast.parse("\n".join(text for mark, text in lines if mark != "-"))
    except SyntaxError:
        return False
    return True


def issues_of(path: str, lines: list[tuple[str, str]]) -> list[Issue]:
    """What the finders say of a patch that has nothing but this window, as lines 10 and following."""
    old, new = (sum(mark != skipped for mark, _ in lines) for skipped in "+-")
    head = f"diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n@@ -10,{old} +10,{new} @@\n"
    diff = head + "".join(f"{mark}{text}\n" for mark, text in lines)
    change = Change(MergeRequest(title="", files=parse_diff(diff).files), NoFiles())
    found: dict[tuple[int, str], Issue] = {}
    for finder in embedded_finders():
        for chunk in finder.plan(change).chunks:
            for issue in finder.find(chunk).issues:
                found.setdefault((issue.line, issue.side), issue)
    return list(found.values())


def is_right(issue: Issue, lines: list[tuple[str, str]], at: int) -> bool:
    """Whether an issue stands near the faulty line; lines of the old side are counted on their side."""
    other = "+" if issue.side == "old" else "-"
    number, near = 9, set()
    for index, (mark, _) in enumerate(lines):
        number += mark != other
        if abs(index - at) <= TOLERANCE:
            near.add(number)
    return issue.line in near


def print_row(show: str, row: dict[str, Any], issues: list[Issue], hits: list[Issue]) -> None:
    """The row, if it is of the kind to show."""
    wrong = [issue for issue in issues if issue not in hits]
    if show == "missed" and not hits and row["severity"] in ("high", "critical"):
        print(f"--- {row['id']} {row['severity']} {row['path']}: {row['text']}")
        print("\n".join(f"      {line}" for line in row["lines"]))
    for issue in {"wrong": wrong, "right": hits}.get(show, []):
        print(f"--- {row['id']} {row['severity']} {row['path']}:{issue.line} {issue.rule}: {issue.title}")
        print(f"      {issue.quote}\n      label: {row['text']}")


if __name__ == "__main__":
    main()
