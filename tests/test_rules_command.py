"""`terazi rules`."""

from __future__ import annotations

import json

import pytest

from service.backends.embedded.rule_catalog import catalog
from ui.cli.main import main


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    """`terazi rules` prints one line per rule in a pipe."""
    assert main(["rules"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(catalog())
    assert any(line.startswith("python/timedelta-seconds\tcorrectness\tpython\t") for line in lines)


def test_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """`--format json` gives objects, filtered by language and category."""
    assert main(["rules", "list", "--format", "json", "--language", "go", "--category", "security"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows
    assert {row["category"] for row in rows} == {"security"}


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    """`explain` says why, how to fix, and shows examples."""
    assert main(["rules", "explain", "python/timedelta-seconds"]) == 0
    out = capsys.readouterr().out
    assert "Why:" in out
    assert "Fix:" in out
    assert "total_seconds" in out


def test_unknown_rule(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown id is the user's error and names ids like it."""
    assert main(["rules", "explain", "python/timedelta-second"]) == 2
    assert "python/timedelta-seconds" in capsys.readouterr().err


def test_every_rule_is_told_once() -> None:
    """No two rules share an id, and each has a title, a reason and a fix."""
    rules = catalog()
    assert len({rule.id for rule in rules}) == len(rules)
    assert all(rule.title and rule.why and rule.fix for rule in rules)
