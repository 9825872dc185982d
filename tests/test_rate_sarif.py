"""SARIF logs in and out: what a log says of itself counts, and a rated one can be rated again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from review_data.domain import Issue, Rating, Skip, fingerprint
from review_data.errors import BackendError, DataError
from review_data.severity import Severity
from service.foreign.sarif import load_sarif
from service.ports import Change
from service.rating import rate_items
from tests.support.scripted import FailingRater, WordRater
from ui.cli.main import main

Capture = pytest.CaptureFixture[str]

INJECTION = "Request input is concatenated into an SQL query: anyone can read or delete all rows"
FAILED = {
    "executionSuccessful": False,
    "exitCode": 2,
    "toolExecutionNotifications": [{"level": "error", "message": {"text": "Out of memory"}}],
}


def result(text: str = INJECTION, **more: Any) -> dict[str, Any]:
    """A result of the rule `sqli` in src/a.py, line 3."""
    artifact = {"uri": "src/a.py"}
    place = {"physicalLocation": {"artifactLocation": artifact, "region": {"startLine": 3}}}
    return {"ruleId": "sqli", "message": {"text": text}, "locations": [place], **more}


def run_of(*results: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A run of `scanner`."""
    rule = {"id": "sqli", "messageStrings": {"m": {"text": "SQL from {0}"}}}
    return {"tool": {"driver": {"name": "scanner", "rules": [rule]}}, "results": list(results), **more}


def write(path: Path, *runs: dict[str, Any]) -> Path:
    """A log of these runs in a file."""
    path.write_text(json.dumps({"version": "2.1.0", "runs": runs}))
    return path


def rate(capsys: Capture, path: Path, *args: str, form: str = "json") -> tuple[int, Any, str]:
    """Exit code, standard output as JSON and standard error of `terazi rate --sarif PATH ARGS`."""
    code = main(["rate", "--sarif", str(path), "--format", form, *args])
    printed = capsys.readouterr()
    return code, json.loads(printed.out) if printed.out else None, printed.err


def use(monkeypatch: pytest.MonkeyPatch, rater: WordRater) -> None:
    """Has `terazi rate` use this rater."""
    monkeypatch.setattr("service.backends.catalog.open_rater", lambda settings: rater)


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (run_of(invocations=[FAILED]), "scanner failed: Out of memory"),
        (run_of(invocations=[{"executionSuccessful": False, "exitCode": 2}]), "exit code 2"),
        (run_of(invocations=[{"executionSuccessful": False}]), "does not say why"),
        (
            run_of(invocations=[{"executionSuccessful": True}], results=None),
            "scanner failed: its run holds no",
        ),
        ({"tool": {"driver": {"name": "scanner"}}}, "scanner failed: its run holds no results"),
    ],
)
def test_a_scanner_that_failed_is_not_clean(
    tmp_path: Path, capsys: Capture, run: dict[str, Any], reason: str
) -> None:
    """Its complaint is a skip and the exit code 3; beside other findings the review is partial."""
    code, found, _ = rate(capsys, write(tmp_path / "log.sarif", run))
    assert (code, found["outcome"], len(found["skips"])) == (3, "failed", 1)
    assert reason in found["skips"][0]["reason"]
    code, found, _ = rate(capsys, write(tmp_path / "log.sarif", run, run_of(result())))
    assert (code, found["outcome"], len(found["findings"])) == (3, "partial", 1)


def test_a_log_without_runs_or_results_is_clean(tmp_path: Path, capsys: Capture) -> None:
    """Nothing was found, by nobody or by a scanner that finished."""
    for runs in ([], [run_of()], [run_of(invocations=[{"executionSuccessful": True}])]):
        code, found, _ = rate(capsys, write(tmp_path / "log.sarif", *runs))
        assert (code, found["outcome"]) == (0, "clean")


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"suppressions": [{"kind": "inSource"}]}, 0),
        ({"suppressions": [{"kind": "external", "status": "accepted"}]}, 0),
        ({"suppressions": [{"kind": "external", "status": "underReview"}]}, 1),
        ({"suppressions": [{"kind": "inSource"}, {"kind": "external", "status": "rejected"}]}, 1),
        ({"suppressions": []}, 1),
        ({"kind": "pass", "level": "none"}, 0),
        ({"kind": "notApplicable"}, 0),
        ({"kind": "open", "level": "none"}, 1),
        ({"kind": "review"}, 1),
        ({"baselineState": "absent"}, 0),
        ({"baselineState": "unchanged"}, 1),
    ],
)
def test_what_the_log_does_not_count_does_not_trip_the_gate(
    tmp_path: Path, capsys: Capture, more: dict[str, Any], code: int
) -> None:
    """Suppressed, passed and absent results are rated and counted as suppressed; `level` is for failures."""
    path = write(tmp_path / "log.sarif", run_of(result(**more)))
    exited, found, _ = rate(capsys, path, "--gate", "high")
    assert exited == code
    assert (len(found["findings"]), sum(found["suppressed"].values())) == (code, 1 - code)
    assert found["ratings"][0]["severity"] in ("high", "critical")
    back = rate(capsys, path, form="sarif")[1]["runs"][0]["results"][0]
    assert back.get("level") == ("error" if more.get("kind", "fail") == "fail" else more.get("level"))


def test_a_log_that_was_not_rated_says_so(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results, invocations and standard error say what has no rating; a later rating takes it back."""
    use(monkeypatch, FailingRater(BackendError("the server is down")))
    first = [{"executionSuccessful": True}]
    path = write(tmp_path / "log.sarif", run_of(result(), invocations=first), run_of())
    code, log, err = rate(capsys, path, form="sarif")
    run, other = log["runs"]
    assert code == 3
    assert "REVIEW FAILED" in err
    assert "the server is down" in run["results"][0]["properties"]["terazi/unrated"]
    assert [invocation["executionSuccessful"] for invocation in run["invocations"]] == [True, False]
    assert "the server is down" in run["invocations"][1]["toolExecutionNotifications"][0]["message"]["text"]
    assert "invocations" not in other
    path.write_text(json.dumps(log))
    use(monkeypatch, WordRater())
    code, log, _ = rate(capsys, path, form="sarif")
    assert code == 0
    assert log["runs"][0]["invocations"] == first
    assert "terazi/unrated" not in log["runs"][0]["results"][0]["properties"]


def test_a_rated_log_can_be_rated_again(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Terazi's own suppressions are replaced, others stay, and all results have some or none has."""
    use(monkeypatch, WordRater())
    theirs = {"kind": "inSource"}
    path = write(
        tmp_path / "log.sarif",
        run_of(result("low"), result("critical"), result("low", suppressions=[theirs])),
    )
    seen = []
    for threshold in ("critical", "high", "low"):
        log = rate(capsys, path, "--threshold", threshold, form="sarif")[1]
        path.write_text(json.dumps(log))
        seen.append([result["suppressions"] for result in log["runs"][0]["results"]])
    assert [[len(entries) for entries in found] for found in seen] == [[1, 0, 1], [1, 0, 1], [0, 0, 1]]
    assert seen[1][0][0]["justification"] == "rated low, below high"
    assert seen[2][2] == [theirs]


@pytest.mark.parametrize(
    ("artifact", "run"),
    [
        ({"uri": "./src/a.py"}, {}),
        ({"uri": "src/x/../a.py"}, {}),
        ({"uri": "file:///home/me/repo/src/a.py"}, {}),
        ({"uri": "/home/me/repo/src/a.py"}, {}),
        ({"index": 0}, {"artifacts": [{"location": {"uri": "src/a.py"}}]}),
        ({"uri": "a.py", "uriBaseId": "SRC"}, {"originalUriBaseIds": {"SRC": {"uri": "src/"}}}),
        (
            {"uri": "a.py", "uriBaseId": "SRC"},
            {
                "originalUriBaseIds": {
                    "SRC": {"uri": "src/", "uriBaseId": "R"},
                    "R": {"uri": "file:///home/me/repo/"},
                }
            },
        ),
        (
            {"uri": "src/a.py", "uriBaseId": "R"},
            {"originalUriBaseIds": {"R": {"uri": "file:///builds/app/"}}},
        ),
        ({"uri": "src/a.py", "uriBaseId": "R"}, {"originalUriBaseIds": {"R": {"uriBaseId": "R"}}}),
        ({"uri": "src/a.py", "uriBaseId": "%SRCROOT%"}, {}),
    ],
)
def test_every_way_to_name_a_file_meets_the_change(
    tmp_path: Path, artifact: dict[str, Any], run: dict[str, Any]
) -> None:
    """The path is the one below the repository's root."""
    found = result(locations=[{"physicalLocation": {"artifactLocation": artifact}}])
    _, items = load_sarif(write(tmp_path / "log.sarif", run_of(found, **run)), Path("/home/me/repo"))
    assert items[0].issue.path == "src/a.py"


def test_findings_outside_the_change_are_counted(tmp_path: Path, capsys: Capture) -> None:
    """A finding by its absolute path stands in the change; one of another file is said to be outside."""
    patch = tmp_path / "p.diff"
    patch.write_text("--- a/src/a.py\n+++ b/src/a.py\n@@ -3,1 +3,1 @@\n-x = 1\n+x = query(request.id)\n")
    (tmp_path / ".git").mkdir()
    first, second = result(), result()
    for each, uri in ((first, (tmp_path / "src" / "a.py").as_uri()), (second, "src/b.py")):
        each["locations"][0]["physicalLocation"]["artifactLocation"] = {"uri": uri}
    path = write(tmp_path / "log.sarif", run_of(first, second))
    args = ("--patch", str(patch), "--repo", str(tmp_path))
    _, found, err = rate(capsys, path, *args)
    assert [row["path"] for row in found["ratings"]] == ["src/a.py", "src/b.py"]
    assert "1 of 2 findings lie in files that the change does not touch" in err


def test_half_a_character_leaves_no_finding_unrated(tmp_path: Path, capsys: Capture) -> None:
    """A message that was cut within an emoji is rated, and so are its neighbours."""
    path = write(
        tmp_path / "log.sarif", run_of(*(result(text) for text in ("A typo", "cut \ud83d", "Another")))
    )
    code, found, _ = rate(capsys, path)
    assert code == 0
    assert all(row["severity"] for row in found["ratings"])


class Picky(WordRater):
    """Fails with `error` on every call that holds an issue titled `bad`; counts the calls."""

    def __init__(self, error: Exception) -> None:
        self.error, self.calls = error, 0

    def rate(self, change: Change, issues: Sequence[Issue]) -> Sequence[Rating | Skip]:
        """Fails, or rates as usual."""
        self.calls += 1
        if any(issue.title == "bad" for issue in issues):
            raise self.error
        return super().rate(change, issues)


def test_one_bad_item_costs_only_its_own_rating(tmp_path: Path) -> None:
    """A batch that fails for another reason than a failing backend is rated item by item."""
    _, items = load_sarif(write(tmp_path / "log.sarif", run_of(result("a"), result("bad"), result("b"))))
    answers = rate_items(items, Picky(ValueError("odd"))).answers
    assert [isinstance(answer, Rating) for answer in answers] == [True, False, True]
    down = Picky(BackendError("down"))
    assert not any(isinstance(answer, Rating) for answer in rate_items(items, down).answers)
    assert down.calls == 1


GLOBAL = {"name": "scanner", "globalMessageStrings": {"g": {"text": "all of {0}"}}}
EXTENSION = {"name": "pack", "rules": [{"id": "js/sqli", "messageStrings": {"m": {"text": "JS from {0}"}}}]}
SHORT = {"name": "scanner", "rules": [{"id": "r", "shortDescription": {"text": "Short words"}}]}


@pytest.mark.parametrize(
    ("found", "tool", "text", "rule"),
    [
        ({"message": {"id": "g", "arguments": ["it"]}}, {"driver": GLOBAL}, "all of it", None),
        (
            {
                "rule": {"index": 0, "toolComponent": {"index": 0}},
                "message": {"id": "m", "arguments": ["it"]},
            },
            {"driver": {"name": "d"}, "extensions": [EXTENSION]},
            "JS from it",
            "js/sqli",
        ),
        (
            {"rule": {"id": "js/sqli", "toolComponent": {"name": "pack"}}, "message": {"id": "m"}},
            {"driver": {"name": "d"}, "extensions": [{"name": "other"}, EXTENSION]},
            "JS from {0}",
            "js/sqli",
        ),
        ({"rule": {"index": 0}, "message": {"id": "none"}}, {"driver": SHORT}, "Short words", "r"),
        ({"ruleId": "only-an-id", "message": {}}, {"driver": {"name": "d"}}, "only-an-id", "only-an-id"),
        (
            {"message": {"text": "{0} in {{0}} of {1} and {7}", "arguments": ["a", "b"]}},
            {"driver": {"name": "d"}},
            "a in {0} of b and {7}",
            None,
        ),
        ({"message": {"text": "a {0} as it stands"}}, {}, "a {0} as it stands", None),
    ],
)
def test_every_legal_message_is_read(
    tmp_path: Path, found: dict[str, Any], tool: dict[str, Any], text: str, rule: str | None
) -> None:
    """Strings of the tool or an extension, rules by index, arguments; else the rule's own words."""
    path = write(tmp_path / "log.sarif", {"tool": tool, "results": [found]})
    issue = load_sarif(path)[1][0].issue
    assert (issue.title, issue.rule) == (text, rule)


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"properties": 5}, "results[0].properties"),
        ({"suppressions": 5}, "results[0].suppressions"),
        ({"suppressions": {}}, "results[0].suppressions"),
        ({"message": {"text": "t", "arguments": 5}}, "message.arguments"),
        ({"message": {"id": []}}, "message.id"),
        ({"message": {"id": "n"}}, "messageStrings.n.text"),
        ({"rule": {"index": 1}}, "rule.properties.tags"),
        ({"locations": [{"physicalLocation": {"artifactLocation": {"uri": "http://[foo"}}}]}, "uri"),
    ],
)
def test_a_wrong_type_is_named_before_anything_is_rated(
    tmp_path: Path, capsys: Capture, more: dict[str, Any], place: str
) -> None:
    """Exit code 2, the place, and what to do; no internal error."""
    rules = [{"id": "sqli", "messageStrings": {"n": {"text": 5}}}, {"id": "t", "properties": {"tags": 5}}]
    run = {"tool": {"driver": {"name": "s", "rules": rules}}, "results": [result(**more)]}
    code, found, err = rate(capsys, write(tmp_path / "log.sarif", run))
    assert (code, found) == (2, None)
    assert place in err
    assert "correct the report or export it again" in err


def test_null_properties_are_none(tmp_path: Path, capsys: Capture) -> None:
    """JSON's null is the same as absent, in the way back too."""
    path = write(tmp_path / "log.sarif", run_of(result(properties=None, suppressions=None)))
    code, log, _ = rate(capsys, path, form="sarif")
    assert code == 0
    assert "terazi/severity" in log["runs"][0]["results"][0]["properties"]


@pytest.mark.parametrize(
    "value", ["1e400", "NaN", "-Infinity", "9" * 5000, "[" * 500 + "]" * 500, "[" * 99999 + "]" * 99999]
)
def test_json_that_could_not_be_written_again_is_refused_with_its_line(tmp_path: Path, value: str) -> None:
    """Numbers that are none, and nesting that no report has."""
    path = tmp_path / "log.sarif"
    path.write_text(f'{{"version": "2.1.0", "runs": [],\n"x": {value}}}')
    with pytest.raises(DataError, match=r"log\.sarif:[12]: .*correct the report"):
        load_sarif(path)


def test_a_message_is_not_shown_as_a_line_of_source(tmp_path: Path, capsys: Capture) -> None:
    """Without a change there is no excerpt; the fingerprint still goes by the message."""
    path = write(tmp_path / "log.sarif", run_of(result(), result()))
    assert main(["rate", "--sarif", str(path), "--threshold", Severity.LOW]) == 0
    assert capsys.readouterr().out.count("anyone can read") == 2
    findings = rate(capsys, path)[1]["findings"]
    category, rule = findings[0]["category"], "sqli"
    assert [each["fingerprint"] for each in findings] == [
        fingerprint(category, "src/a.py", INJECTION, rule),
        fingerprint(category, "src/a.py", INJECTION, f"{rule}#2"),
    ]
