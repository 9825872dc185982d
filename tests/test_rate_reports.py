"""Other tools' reports: what is read from them, what survives, and what a malformed one gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from review_data.domain import Category, Outcome, Rating
from review_data.errors import BackendError, DataError
from review_data.severity import Severity
from service.foreign.items import Item, guess_category
from service.foreign.rated_sarif import rated_sarif
from service.foreign.readers import load_comments, load_gitlab, load_rdjson
from service.foreign.sarif import load_sarif
from service.rating import rate_items
from tests.support.scripted import FailingRater, WordRater


def sarif_log(*results: dict[str, Any]) -> dict[str, Any]:
    """A log of one run, with fields of other tools in every place."""
    rule = {
        "id": "sql",
        "properties": {"tags": ["security"], "x": 1},
        "messageStrings": {"m": {"text": "{0} leaks"}},
    }
    driver = {"name": "scanner", "rules": [rule], "vendorField": {"kept": True}}
    return {
        "version": "2.1.0",
        "$schema": "https://example.org/schema",
        "custom": [1, 2],
        "runs": [{"tool": {"driver": driver}, "results": list(results), "runField": "kept"}],
    }


def sarif_result(text: str, path: str = "src/a%20b.py", line: int = 3, **more: Any) -> dict[str, Any]:
    """A result at a place."""
    region = {"startLine": line, "snippet": {"text": "x"}}
    place = {"physicalLocation": {"artifactLocation": {"uri": path}, "region": region}}
    return {"ruleId": "sql", "message": {"text": text}, "locations": [place], "resultField": "kept", **more}


def write(path: Path, content: object) -> Path:
    """`content` as JSON in a file."""
    path.write_text(json.dumps(content))
    return path


def test_sarif_results_become_issues(tmp_path: Path) -> None:
    """Path (decoded), line, message, rule, tool and category come from the log."""
    _, items = load_sarif(write(tmp_path / "log.sarif", sarif_log(sarif_result("high: injected"))))
    issue = items[0].issue
    assert (issue.path, issue.line, issue.title) == ("src/a b.py", 3, "high: injected")
    assert (issue.rule, issue.source, issue.category) == ("sql", "scanner", Category.SECURITY)


def test_sarif_messages_by_id_are_filled_in(tmp_path: Path) -> None:
    """A message that names a rule's string, with arguments, is read as its text."""
    result = {"ruleIndex": 0, "message": {"id": "m", "arguments": ["the socket"]}}
    _, items = load_sarif(write(tmp_path / "log.sarif", sarif_log(result)))
    assert items[0].issue.title == "the socket leaks"


def test_sarif_round_trip_keeps_every_unknown_field(tmp_path: Path) -> None:
    """Only level, properties and suppressions change; the rest of the log is the same."""
    log = sarif_log(sarif_result("low"), sarif_result("critical", properties={"mine": 1}))
    path = write(tmp_path / "log.sarif", log)
    loaded, items = load_sarif(path)
    answers = rate_items(items, WordRater(), threshold=Severity.HIGH).answers
    ratings = [answer for answer in answers if isinstance(answer, Rating)]
    # The scripted rater goes by the quote, which a report has not: give the second its own severity.
    ratings[1] = ratings[1].model_copy(update={"severity": Severity.CRITICAL})
    rated = rated_sarif(loaded, path, items, ratings, Severity.HIGH)
    low, critical = rated["runs"][0]["results"]
    assert low["suppressions"][0]["kind"] == "external"
    assert critical["suppressions"] == []
    assert critical["properties"]["mine"] == 1
    assert critical["properties"]["terazi/severity"] == "critical"
    assert critical["level"] == "error"
    for result in (low, critical):
        result.pop("level")
        result.pop("suppressions", None)
        result["properties"] = {k: v for k, v in result["properties"].items() if not k.startswith("terazi/")}
    low.pop("properties")
    assert rated == log


def test_rdjson_and_rdjsonl_are_read(tmp_path: Path) -> None:
    """Both of reviewdog's shapes give the same issues."""
    diagnostic = {
        "message": "unused import",
        "location": {"path": "a.go", "range": {"start": {"line": 7, "column": 2}}},
        "code": {"value": "F401"},
    }
    whole = write(tmp_path / "r.json", {"source": {"name": "lint"}, "diagnostics": [diagnostic, diagnostic]})
    lines = tmp_path / "r.jsonl"
    row = json.dumps({**diagnostic, "source": {"name": "lint"}})
    lines.write_text(f"{row}\n{row}\n")
    first, second = (
        [(i.issue.path, i.issue.line, i.issue.rule, i.issue.source) for i in load_rdjson(path)]
        for path in (whole, lines)
    )
    assert first == second == [("a.go", 7, "F401", "lint")] * 2


def test_code_quality_is_read_with_lines_or_positions(tmp_path: Path) -> None:
    """Both ways to give a place are allowed by GitLab's format."""
    report = [
        {"description": "a", "check_name": "c", "location": {"path": "a.py", "lines": {"begin": 4}}},
        {"description": "b", "location": {"path": "b.py", "positions": {"begin": {"line": 5}}}},
    ]
    items = load_gitlab(write(tmp_path / "q.json", report))
    assert [(i.issue.path, i.issue.line) for i in items] == [("a.py", 4), ("b.py", 5)]


def test_comments_stand_on_their_row_unless_they_name_a_place(tmp_path: Path) -> None:
    """A comment without a path points into its own file; other columns are ignored."""
    path = tmp_path / "c.jsonl"
    rows = [
        {"comment": "A typo.", "url": "https://example.org"},
        {"comment": "Null.", "path": "a.py", "line": 9},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    places = [(item.issue.path, item.issue.line, item.fields.path) for item in load_comments(path)]
    assert places == [("c.jsonl", 1, ""), ("a.py", 9, "a.py")]


@pytest.mark.parametrize(
    ("load", "content", "place"),
    [
        (load_sarif, "{", "log:1"),
        (load_sarif, "[]", "is not a SARIF log"),
        (load_sarif, '{"version": "1.0.0"}', "version"),
        (load_sarif, '{"version": "2.1.0"}', "runs"),
        (load_sarif, '{"version": "2.1.0", "runs": [{"results": 1}]}', "runs[0].results"),
        (load_sarif, '{"version": "2.1.0", "runs": [{"results": [{}]}]}', "runs[0].results[0].message"),
        (load_sarif, '{"version": "2.1.0", "runs": [{"results": [{"message": {"text": " "}}]}]}', "message"),
        (load_rdjson, '{"diagnostics": [{}]}', "diagnostics[0].message"),
        (load_rdjson, " \n", "is empty"),
        (load_rdjson, '{"diagnostics": ' + "[" * 5000, "log:1: is nested too deeply"),
        (load_rdjson, '{"message": "m"}\n{"n": 1e999}\n', "log:2: holds a number"),
        (load_rdjson, '{"message": "m"}\n{"oops"\n', "log:2"),
        (load_rdjson, '{"diagnostics": [{"message": "m"}]}', "diagnostics[0].location"),
        (load_gitlab, "{}", "array"),
        (load_gitlab, '[{"description": "d"}]', "[0].location"),
        (load_gitlab, '[{"description": 1.5}]', "[0].description`: is a number, not text; correct"),
        (
            load_gitlab,
            '[{"description": " ", "location": {"path": "a", "lines": {"begin": 1}}}]',
            "is empty; c",
        ),
        (load_comments, "", "no comments"),
        (load_comments, '\n{"comment": "a"}\n\n{"comment": " "}\n', "log:4, field `comment`: is empty"),
        (load_comments, '{"comment": "a"}\n{"comment": "cut \\ud83d"}\n', "log:2: Invalid JSON: "),
        (load_comments, '{"comment": "a"}\n{"comment": 1}\n', "log:2, field `comment`"),
    ],
)
def test_a_malformed_report_names_file_and_place(tmp_path: Path, load: Any, content: str, place: str) -> None:
    """The message says which file, and where in it."""
    path = tmp_path / "log"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert place in str(caught.value)


def test_a_failing_rater_leaves_a_named_skip_per_item(tmp_path: Path) -> None:
    """Nothing is lost: the outcome is failed and each finding is named."""
    items: list[Item] = load_sarif(write(tmp_path / "l", sarif_log(sarif_result("m"), sarif_result("n"))))[1]
    rated = rate_items(items, FailingRater(BackendError("down")))
    assert rated.review.outcome is Outcome.FAILED
    assert len(rated.review.skips) == len(rated.answers) == 2


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("CWE-89 SQL injection", Category.SECURITY),
        ("F401 unused import", Category.MAINTAINABILITY),
        ("possible data race on counter", Category.CONCURRENCY),
        ("result is off by one", Category.CORRECTNESS),
    ],
)
def test_categories_are_guessed_from_words(text: str, category: Category) -> None:
    """A report's rule and message decide; correctness is the rest."""
    assert guess_category(text) is category


def test_lines_of_rdjson_end_where_json_lets_them(tmp_path: Path) -> None:
    """A line separator within a string ends no line; blank lines are counted; each line names its tool."""
    row = {"message": "Unused\u2028\u0085import", "location": {"path": "./a.py"}, "source": {"name": "lint"}}
    line = json.dumps(row, ensure_ascii=False)
    for content, places in ((f"{line}\n", [""]), (f"\ufeff\n{line}\r\n\n{line}\n", ["line 2", "line 4"])):
        path = tmp_path / "r.jsonl"
        path.write_text(content, encoding="utf-8")
        items = load_rdjson(path)
        assert [item.place for item in items] == places
        assert {(item.issue.path, item.issue.source) for item in items} == {("a.py", "lint")}


def test_absolute_paths_lose_the_repository(tmp_path: Path) -> None:
    """As a change names them: the repository's folder is left out, one elsewhere is kept."""
    for given, path in (("/home/me/repo/src/a.py", "src/a.py"), ("/home/me/repository/a.py", None)):
        report = [{"description": "d", "location": {"path": given, "lines": {"begin": 1}}}]
        items = load_gitlab(write(tmp_path / "q.json", report), Path("/home/me/repo"))
        assert items[0].issue.path == (path or given)


def test_comments_are_counted_by_the_lines_of_their_file(tmp_path: Path) -> None:
    """Neither a byte order mark nor a blank line shifts them, and no line lies before the first."""
    path = tmp_path / "c.jsonl"
    rows = ['\ufeff{"comment": "a"}', "", '{"comment": "b"}', '{"comment": "c", "path": "a.py", "line": -4}']
    path.write_text("\n".join(rows), encoding="utf-8")
    assert [(item.place, item.issue.line) for item in load_comments(path)] == [
        ("line 1", 1),
        ("line 3", 3),
        ("line 4", 1),
    ]
