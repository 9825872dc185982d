"""`terazi evaluate severity`: right scores for known ratings, grouped intervals, and honest failures."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from finetune.evaluate.severity import evaluate_severity, open_rater_named
from finetune.evaluate.severity_report import as_dict, to_markdown, write_report
from review_data.dataset import TEACHER_FOLDER
from review_data.domain import Issue, Rating, Skip, SkipKind
from review_data.errors import BackendError, DataError, UserError
from review_data.severity import SEVERITIES
from service.ports import Change
from tests.support.scripted import FailingRater, WordRater
from ui.cli.main import main

COMMENTS = TEACHER_FOLDER / "comments.test.jsonl"
MERGE_REQUESTS = TEACHER_FOLDER / "merge_requests.test.jsonl"


def write_comments(path: Path, rows: Sequence[tuple[str, str]]) -> Path:
    """Labelled comments of (text, severity); the scripted rater goes by the text's words."""
    path.write_text("".join(json.dumps({"comment": text, "severity": label}) + "\n" for text, label in rows))
    return path


class ForgetfulRater(WordRater):
    """Rates by words, and gives a skip for every issue whose text holds `mystery`."""

    def rate(self, change: Change, issues: Sequence[Issue]) -> Sequence[Rating | Skip]:
        """A rating or a skip per issue."""
        skip = Skip(path="p", reason="unparsable", kind=SkipKind.UNPARSABLE_REPLY)
        return [skip if "mystery" in issue.title else self._one(issue) for issue in issues]


def test_a_perfect_rater_scores_perfectly(tmp_path: Path) -> None:
    """Accuracy, kappa, recall are 1 and the errors 0; the confusion is diagonal."""
    path = write_comments(
        tmp_path / "c.jsonl", [(f"{level} {n}", level) for level in SEVERITIES for n in range(5)]
    )
    printed = as_dict(evaluate_severity(path, WordRater())[0])
    assert printed["n"] == 20
    perfect = ("accuracy", "macro_f1", "qwk", "recall_high", "precision_high")
    assert [printed[key] for key in perfect] == [1, 1, 1, 1, 1]
    assert printed["mae"] == printed["ece"] == 0
    assert printed["confusion"] == [[5 if i == j else 0 for j in range(4)] for i in range(4)]
    assert printed["intervals"]["accuracy"] == [1, 1]


def test_known_mistakes_give_known_scores(tmp_path: Path) -> None:
    """One of four is over-rated by two levels, one under-rated by three."""
    rows = [("low", "low"), ("high", "low"), ("low", "critical"), ("high", "high")]
    printed = as_dict(evaluate_severity(write_comments(tmp_path / "c.jsonl", rows), WordRater())[0])
    assert printed["accuracy"] == 0.5
    assert printed["over_rated"] == printed["under_rated"] == 0.25
    assert printed["mae"] == 5 / 4
    assert printed["recall_high"] == printed["precision_high"] == 0.5


def test_the_threshold_table_tells_what_would_be_hidden(tmp_path: Path) -> None:
    """Hidden rows, wrongly hidden severe rows, and nothing hidden at the lowest threshold."""
    rows = [("low", "low"), ("low", "critical"), ("medium", "medium"), ("high", "high")]
    effects = evaluate_severity(write_comments(tmp_path / "c.jsonl", rows), WordRater())[0].thresholds
    low, medium, high, _ = effects
    assert (low.hidden, low.severe_hidden) == (0, 0)
    assert (medium.hidden, medium.severe_hidden, medium.right) == (0.5 - 0, 0.5, 0.75)
    assert (high.hidden, high.severe_hidden) == (0.75, 0.5)


def test_rows_without_a_rating_are_wrong_and_named(tmp_path: Path) -> None:
    """An unparsable rating is not dropped from the score, and its row is listed."""
    rows = [("low", "low"), ("mystery", "low")]
    printed = as_dict(evaluate_severity(write_comments(tmp_path / "c.jsonl", rows), ForgetfulRater())[0])
    assert (printed["n"], printed["unrated"], printed["accuracy"]) == (2, 1, 0.5)
    assert printed["failures"] == ["line 2: unparsable"]


def test_a_rater_that_always_fails_is_no_score(tmp_path: Path) -> None:
    """A backend that is down is an error, not an accuracy of 0."""
    path = write_comments(tmp_path / "c.jsonl", [("low", "low")])
    with pytest.raises(BackendError, match="the server is down"):
        evaluate_severity(path, FailingRater(BackendError("the server is down")))


def test_two_equal_raters_differ_in_nothing(tmp_path: Path) -> None:
    """Differences are 0 with p = 1, and no row flips."""
    path = write_comments(tmp_path / "c.jsonl", [("low", "low"), ("high", "low"), ("high", "high")] * 5)
    comparison = evaluate_severity(path, WordRater(), against=WordRater())[0].comparison
    assert comparison is not None
    assert (comparison.flips.first_only, comparison.flips.second_only, comparison.flips.p_value) == (0, 0, 1)
    assert comparison.differences["accuracy"].value == 0


def test_a_better_rater_wins_the_comparison(tmp_path: Path) -> None:
    """The first rater is right where the second has no answer: the difference is positive and significant."""
    rows = [(f"mystery {level} {n}", level) for level in SEVERITIES for n in range(5)]
    path = write_comments(tmp_path / "c.jsonl", [*rows, ("low", "low")])
    report, _ = evaluate_severity(path, WordRater(), against=ForgetfulRater())
    assert report.comparison is not None
    assert report.comparison.flips.first_only == 20
    assert report.comparison.flips.p_value < 1e-4
    difference = report.comparison.differences["accuracy"]
    assert difference.low is not None
    assert difference.low > 0


def test_strata_cover_every_row() -> None:
    """Per language, category and severity the counts add up to all findings."""
    report, predictions = evaluate_severity(MERGE_REQUESTS, WordRater())
    assert len(predictions) == 97
    for kind in ("language", "category", "severity"):
        assert sum(stratum.scores.n for stratum in report.strata[kind]) == 97


def test_the_same_call_gives_the_same_intervals() -> None:
    """The bootstrap is seeded."""
    first, second = (evaluate_severity(COMMENTS, WordRater())[0] for _ in range(2))
    assert first == second


def test_the_report_folder_holds_tables_and_pictures(tmp_path: Path) -> None:
    """Markdown, JSON, predictions and two PNG files that are pictures."""
    report, predictions = evaluate_severity(COMMENTS, WordRater(), against=WordRater())
    write_report(tmp_path / "report", report, predictions)
    assert (tmp_path / "report" / "confusion.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "report" / "reliability.png").read_bytes().startswith(b"\x89PNG")
    assert "quadratic kappa" in (tmp_path / "report" / "report.md").read_text()
    assert len((tmp_path / "report" / "predictions.jsonl").read_text().splitlines()) == 104
    printed: dict[str, Any] = json.loads((tmp_path / "report" / "report.json").read_text())
    assert printed["n"] == 104


def test_the_markdown_lists_each_label_row(tmp_path: Path) -> None:
    """A person can read the confusion off the terminal."""
    path = write_comments(tmp_path / "c.jsonl", [("low", "low"), ("critical", "critical")])
    text = to_markdown(evaluate_severity(path, WordRater())[0])
    assert "| critical | 0   | 0      | 0    | 1        | 0       |" in text


def test_an_unknown_rater_is_named_with_the_choices() -> None:
    """Neither a backend nor a run folder: the message says what can be given."""
    with pytest.raises(UserError, match=r"nonsense.*embedded"):
        open_rater_named("nonsense")


def test_a_second_rater_that_always_fails_is_no_comparison(tmp_path: Path) -> None:
    """It is an error that names the second rater, not an accuracy of 0 with significance."""
    path = write_comments(tmp_path / "c.jsonl", [("low", "low")])
    with pytest.raises(BackendError, match=r"by other: the server is down"):
        evaluate_severity(
            path, WordRater(), against=FailingRater(BackendError("the server is down")), names=("", "other")
        )


def test_rows_that_the_second_rater_leaves_out_are_counted(tmp_path: Path) -> None:
    """The comparison says how many rows the second rater did not rate, and which."""
    path = write_comments(tmp_path / "c.jsonl", [("low", "low"), ("mystery low", "low")])
    report, _ = evaluate_severity(path, WordRater(), against=ForgetfulRater())
    against = as_dict(report)["against"]
    assert (against["unrated"], against["failures"]) == (1, ["line 2: unparsable"])
    assert "1 row without a rating by word-rater" in to_markdown(report)


@pytest.mark.parametrize(("row", "code"), [("mystery low", 3), ("low", 0)])
def test_the_command_exits_with_3_when_a_row_has_no_rating(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    row: str,
    code: int,
) -> None:
    """The scores are printed all the same, and standard error says how many rows they lack."""
    monkeypatch.setattr("ui.cli.commands.evaluate_severity.open_rater_named", lambda name: ForgetfulRater())
    path = write_comments(tmp_path / "c.jsonl", [("low", "low"), (row, "low")])
    assert main(["evaluate", "severity", "--data", str(path)]) == code
    printed = capsys.readouterr()
    assert "# Severity of 2 rows" in printed.out
    assert ("gave 1 of 2 rows no rating" in printed.err) is (code == 3)


def test_rows_from_a_pipe_are_all_rated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What can be read only once is read once, and hashed as it came."""
    rows = "".join(json.dumps({"comment": f"A typo {n}.", "severity": "low"}) + "\n" for n in range(5))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(pipe.write_text, rows)
        assert main(["evaluate", "severity", "--data", str(pipe), "--format", "json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["n"], printed["data_sha256"]) == (5, hashlib.sha256(rows.encode()).hexdigest())


def test_a_diff_that_cannot_be_read_is_named_by_its_row(tmp_path: Path) -> None:
    """File, line and field, like any other wrong row."""
    finding = {"path": "a.py", "line": 2, "category": "data", "severity": "low", "title": "T"}
    path = tmp_path / "rows.jsonl"
    path.write_text("\n" + json.dumps({"id": "m", "diff": "@@ garbage @@\nfoo", "findings": [finding]}))
    with pytest.raises(DataError, match=r"rows\.jsonl:2, field `diff`"):
        evaluate_severity(path, WordRater())


@pytest.mark.parametrize("more", [["--report", "{file}"], ["--report", "{file}/x"], ["--seed", "-1"]])
def test_what_cannot_work_is_refused_before_anything_is_rated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    """A file in the report's place, or a seed that is none: exit code 2 and the option's name."""
    monkeypatch.setattr("ui.cli.commands.evaluate_severity.open_rater_named", lambda name: pytest.fail(name))
    path = write_comments(tmp_path / "c.jsonl", [("low", "low")])
    args = [word.format(file=path) for word in more]
    assert main(["evaluate", "severity", "--data", str(path), *args]) == 2
    assert more[0] in capsys.readouterr().err


def test_nothing_in_the_rows_acts_on_the_reader(tmp_path: Path) -> None:
    """Escapes and line ends of languages and ids are written out, and a bar ends no cell."""
    path = tmp_path / "c.jsonl"
    rows = [
        {"id": "a\x1b[31m", "language": "C|C++\x1b]0;pwn\x07\nnext", "comment": "mystery", "severity": "low"}
    ]
    rows.append({"id": "b", "language": "go", "comment": "low", "severity": "low"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = to_markdown(evaluate_severity(path, ForgetfulRater())[0])
    assert "\x1b" not in text
    assert r"| C\|C++\x1b]0;pwn\x07\nnext | 1 " in text
    assert r"- a\x1b[31m: unparsable" in text
