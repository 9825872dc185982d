"""Changes that look alarming and are right: no finder says anything of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from review_data.diff import parse_diff
from review_data.domain import MergeRequest
from service.backends.embedded.finders import embedded_finders
from service.ports import Change
from service.rating import NoFiles

CLEAN = Path(__file__).parent / "data" / "clean_changes.jsonl"
ROWS: list[dict[str, Any]] = [json.loads(line) for line in CLEAN.read_text(encoding="utf-8").splitlines()]


def change_of(row: dict[str, Any]) -> Change:
    """The row's lines as one hunk in the middle of its file."""
    old, new = (sum(line[:1] != mark for line in row["lines"]) for mark in "+-")
    path = row["path"]
    head = f"diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n@@ -20,{old} +20,{new} @@\n"
    return Change(MergeRequest(files=parse_diff(head + "\n".join(row["lines"]) + "\n").files), NoFiles())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row["path"]))
def test_clean_change(row: dict[str, Any]) -> None:
    """A correct change in a suspicious shape stays without a finding, from its diff alone."""
    change = change_of(row)
    found = [
        f"{issue.rule} on {issue.quote!r}"
        for finder in embedded_finders()
        for chunk in finder.plan(change).chunks
        for issue in finder.find(chunk).issues
    ]
    assert not found
