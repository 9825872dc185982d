"""`terazi rate` from outside, with the packaged model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from review_data.dataset import TEACHER_FOLDER
from ui.cli.main import main

SARIF = {
    "version": "2.1.0",
    "runs": [
        {
            "tool": {"driver": {"name": "scanner", "secretField": 1}},
            "results": [
                {
                    "ruleId": "sqli",
                    "message": {"text": "Request input is concatenated into an SQL query"},
                    "locations": [{"physicalLocation": {"artifactLocation": {"uri": "a.py"}}}],
                },
                {"ruleId": "typo", "message": {"text": "Typo in a comment"}},
            ],
        }
    ],
}


def rate(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `terazi rate ARGS`."""
    code = main(["rate", *args])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_comments_get_one_rating_per_row(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON holds a rating per row, in order, with probabilities that sum to 1."""
    path = TEACHER_FOLDER / "comments.validation.jsonl"
    code, out, _ = rate(capsys, "--comments", str(path), "--format", "json")
    ratings = json.loads(out)["ratings"]
    assert code == 0
    assert [row["line"] for row in ratings] == list(range(1, 85))
    assert all(abs(sum(row["probabilities"].values()) - 1) < 1e-6 for row in ratings)


def test_sarif_comes_back_with_ratings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The injection is rated above the typo, the typo is suppressed, unknown fields are kept."""
    path = tmp_path / "log.sarif"
    path.write_text(json.dumps(SARIF))
    code, out, _ = rate(capsys, "--sarif", str(path), "--format", "sarif", "--gate", "high")
    run = json.loads(out)["runs"][0]
    assert code == 1
    assert [result["level"] for result in run["results"]] == ["error", "note"]
    assert "suppressions" in run["results"][1]
    assert run["tool"]["driver"]["secretField"] == 1


def test_the_threshold_hides_what_is_rated_below(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same threshold and counts as in a review."""
    path = tmp_path / "log.sarif"
    path.write_text(json.dumps(SARIF))
    found = json.loads(rate(capsys, "--sarif", str(path), "--format", "json")[1])
    assert [finding["rule"] for finding in found["findings"]] == ["sqli"]
    assert found["hidden"]["low"] == 1


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], ("one report",)),
        (["--sarif", "{log}", "--comments", "{log}"], ("one report",)),
        (["--sarif", "{log}/absent"], ("absent",)),
        (["--sarif", "{log}"], ("log.txt:1", "JSON")),
        (["--comments", "{log}"], ("log.txt:1",)),
        (["--rdjson", "{log}"], ("log.txt:1",)),
        (["--gitlab", "{log}"], ("log.txt:1",)),
        (["--sarif", "\x1b[31m"], (r"\x1b[31m",)),
    ],
)
def test_malformed_input_exits_2_with_the_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], args: list[str], words: tuple[str, ...]
) -> None:
    """Which file, and where in it."""
    log = tmp_path / "log.txt"
    log.write_text("hello\n")
    code, out, err = rate(capsys, *(arg.format(log=log) for arg in args))
    assert (code, out) == (2, "")
    assert all(word in err for word in words), err
