"""What every backend owes the pipeline: the same tests for embedded, local and endpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from review_data.domain import Issue, Outcome, Rating, Skip
from service.backends.catalog import BACKENDS, open_reviewer
from service.ports import Reviewer
from service.review import ReviewOptions, review
from service.settings import Settings
from tests.support.changes import change_of, file_of, issue_on
from tests.support.vllm import VllmServer

Open = Callable[..., Reviewer]

CODE = """\
 import os
+def find(name):
+    return db.execute(f"select * from users where name = '{name}'")
+def forget(name):
+    os.system("rm -rf /data/" + name)
-def old(): return 1"""
FILES = (
    file_of("app/users.py", CODE, start=10),
    file_of("web/view.ts", "+document.body.innerHTML = location.hash"),
)
CHANGE = change_of(*FILES)
ISSUES = (
    issue_on(FILES[0], 12),
    issue_on(FILES[1], 1, "Script injection"),
    issue_on(FILES[0], 14, "Shell injection"),
)


@pytest.fixture(
    params=[
        "embedded",
        pytest.param("local", marks=pytest.mark.train),
        pytest.param("endpoint", marks=pytest.mark.vllm),
    ]
)
def opened(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Open:
    """Opens the backend's reviewer with more settings."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    values: dict[str, object] = {"backend": request.param, "cache_mb": 0}
    if request.param == "local":
        folders: dict[str, Path] = request.getfixturevalue("tiny_models")
        values |= {
            "local_model": str(folders["tiny"]),
            "local_adapter": str(folders["strict"]),
            "device": "cpu",
        }
    if request.param == "endpoint":
        server: VllmServer = request.getfixturevalue("vllm_server")
        values |= {"endpoint": server.url, "adapter": "strict"}
    return lambda **more: open_reviewer(Settings.model_validate(values | more))


def test_every_backend_is_held_to_the_contract(opened: Open, request: pytest.FixtureRequest) -> None:
    """A backend that is added to the catalog is added here."""
    assert set(BACKENDS) == {"embedded", "local", "endpoint"}
    assert opened().name in BACKENDS


def test_a_review_is_whole_and_its_findings_stand_in_the_diff(opened: Open) -> None:
    """No failure, and every finding quotes the line it stands on."""
    result = review(CHANGE, opened(), ReviewOptions())
    assert result.outcome in (Outcome.CLEAN, Outcome.FINDINGS)
    files = {file.path: file for file in FILES}
    for finding in (*result.findings, *result.below):
        line = files[finding.path].line(finding.line, finding.side)
        assert line is not None
        assert finding.quote == line.text.strip()
        assert finding.source in result.provenance.finders
    assert result.provenance.rater == opened().rater.name


def test_each_issue_gets_its_own_rating_in_order(opened: Open) -> None:
    """One answer per issue; rated alone or in another order, an issue gets the same severity."""
    rater = opened(explain="none").rater
    together = rater.rate(CHANGE, ISSUES)
    turned = rater.rate(CHANGE, ISSUES[::-1])
    assert len(together) == len(ISSUES)
    for answer, again in zip(together, turned[::-1], strict=True):
        assert isinstance(answer, Rating)
        assert isinstance(again, Rating)
        assert answer.probabilities is not None
        assert again.probabilities is not None
        assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-3)
        assert answer.probabilities.values() == pytest.approx(again.probabilities.values(), abs=2e-3)


def test_no_issues_and_no_files_are_no_failure(opened: Open) -> None:
    """An empty change is clean, an empty list of issues gives an empty list."""
    reviewer = opened()
    assert review(change_of(), reviewer, ReviewOptions()).outcome is Outcome.CLEAN
    assert list(reviewer.rater.rate(CHANGE, ())) == []


def test_an_issue_far_from_the_diff_is_answered_too(opened: Open) -> None:
    """A line or a file that the change does not hold: still a rating or a skip, never an exception."""
    loose = Issue(path="gone.py", line=999, category="style", title="Rename this", quote="", source="test")
    (answer,) = opened(explain="none").rater.rate(CHANGE, [loose])
    assert isinstance(answer, Rating | Skip)
