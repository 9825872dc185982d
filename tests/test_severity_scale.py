"""The scale's order, its labels, and that the docs quote its one source."""

from __future__ import annotations

from pathlib import Path

import pytest

from review_data.errors import SettingsError
from review_data.severity import SEVERITIES, Severity, rubric


def test_levels_are_ordered_by_severity_not_by_spelling() -> None:
    """low < medium < high < critical, although the alphabet says otherwise."""
    assert sorted(["critical", "low", "high", "medium"], key=lambda name: Severity(name).rank) == list(
        SEVERITIES
    )
    assert Severity.LOW < Severity.MEDIUM < Severity.HIGH < Severity.CRITICAL
    assert max(SEVERITIES) is Severity.CRITICAL
    assert Severity.HIGH >= "high"


def test_labels_run_from_1_to_4() -> None:
    """The labels a language model answers with."""
    assert [severity.label for severity in SEVERITIES] == ["1", "2", "3", "4"]


def test_an_unknown_name_lists_the_choices() -> None:
    """The message says what was given and what is possible."""
    with pytest.raises(SettingsError, match=r"severe.*low, medium, high, critical"):
        Severity.parse("severe")


def test_the_docs_quote_the_rubric() -> None:
    """docs/severity.md holds the rubric as the code has it."""
    assert rubric() in (Path(__file__).parent.parent / "docs" / "severity.md").read_text()
