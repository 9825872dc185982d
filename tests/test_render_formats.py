"""Every format, for any review: parses back, counts right, holds nothing that acts on a reader's screen."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from review_data.domain import Outcome, Review, Side, Skip, SkipKind
from review_data.errors import SettingsError
from review_data.severity import Severity
from service.render import FORMATS, Screen, render, summary
from service.render.escape import is_unseen
from service.render.excerpt import Excerpts
from tests.support.changes import file_of
from tests.support.hostile_reviews import SAMPLE, SAMPLE_FILES, finding, reviews

GOLDEN = Path(__file__).parent / "golden"
SCHEMA = json.loads((Path(__file__).parent.parent / "docs/review.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
EXTENSIONS = {
    "text": "txt",
    "markdown": "md",
    "json": "json",
    "sarif": "sarif",
    "gitlab": "gitlab.json",
    "rdjson": "rdjson",
}

some = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def incomplete_entries(review: Review) -> int:
    """How many entries a report must have for what was not reviewed."""
    return len(summary.failures(review))


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_prints_its_golden_file(name: str) -> None:
    """The sample review comes out exactly as the golden file says."""
    golden = GOLDEN / f"review.{EXTENSIONS[name]}"
    printed = render(SAMPLE, name, excerpts=SAMPLE_FILES).replace(
        f'"version": "{summary.tool_version()}"', '"version": "0"'
    )
    assert printed == golden.read_text(encoding="utf-8")


@some
@given(review=reviews(), verbose=st.booleans(), name=st.sampled_from(list(FORMATS)))
def test_no_unseen_character_reaches_any_output(review: Review, verbose: bool, name: str) -> None:
    """No control, bidirectional or zero-width character is printed raw, and the text is valid UTF-8."""
    printed = render(review, name, excerpts=SAMPLE_FILES, verbose=verbose)
    printed.encode("utf-8")
    assert not {c for c in printed if c != "\n" and is_unseen(c)}
    assert printed.endswith("\n")


@some
@given(review=reviews())
def test_json_follows_its_published_schema(review: Review) -> None:
    """Any review's JSON validates, keeps its counts and exact paths, and puts failures first."""
    printed = json.loads(render(review, "json"))
    VALIDATOR.validate(printed)
    assert printed["outcome"] == review.outcome
    assert [(f["path"], f["line"], f["severity"]) for f in printed["findings"]] == [
        (f.path, f.line, f.severity) for f in review.findings
    ]
    assert sum(printed["hidden"].values()) == len(review.below)
    assert sum(printed["suppressed"].values()) == len(review.suppressed)
    assert len(printed["skips"]) == len(review.skips)
    failed = [skip["failure"] for skip in printed["skips"]]
    assert failed == sorted(failed, reverse=True)


@some
@given(review=reviews())
def test_gitlab_report_has_the_fields_that_gitlab_reads(review: Review) -> None:
    """Every issue has GitLab's fields and a fingerprint of its own; unreviewed parts are issues."""
    issues = json.loads(render(review, "gitlab", excerpts=SAMPLE_FILES))
    assert len(issues) == len(review.findings) + incomplete_entries(review)
    assert len({issue["fingerprint"] for issue in issues}) == len(issues)
    for issue in issues:
        assert set(issue) == {"description", "check_name", "fingerprint", "severity", "location"}
        assert issue["severity"] in {"info", "minor", "major", "critical", "blocker"}
        assert issue["location"]["path"]
        assert issue["location"]["lines"]["begin"] >= 1


@some
@given(review=reviews())
def test_rdjson_has_the_fields_that_reviewdog_reads(review: Review) -> None:
    """Every diagnostic has message, path and a known severity; ranges are whole lines."""
    result = json.loads(render(review, "rdjson", excerpts=SAMPLE_FILES))
    assert result["source"]["name"] == "Terazi"
    assert len(result["diagnostics"]) == len(review.findings) + incomplete_entries(review)
    for diagnostic in result["diagnostics"]:
        assert diagnostic["message"].strip()
        assert diagnostic["severity"] in {"ERROR", "WARNING", "INFO"}
        assert diagnostic["location"]["path"]
        for end in diagnostic["location"].get("range", {}).values():
            assert set(end) == {"line"}
            assert end["line"] >= 1


@some
@given(review=reviews(), name=st.sampled_from(["text", "markdown"]))
def test_readable_formats_say_every_count(review: Review, name: str) -> None:
    """Outcome, findings, hidden and suppressed counts stand in the text; failure is the first line."""
    printed = render(review, name, screen=Screen(width=10_000))
    for sentence in (summary.headline(review), summary.hidden_sentence(review)):
        assert sentence in printed
    assert summary.suppressed_sentence(review) in printed
    if review.outcome is Outcome.PARTIAL:
        assert "INCOMPLETE REVIEW" in printed.split("\n")[0]
    if review.outcome is Outcome.FAILED:
        assert "REVIEW FAILED" in printed.split("\n")[0]


def every_failed() -> Review:
    """A review of which nothing is left."""
    skip = Skip(path="a.py", reason="connection refused", kind=SkipKind.BACKEND_ERROR)
    return Review(outcome=Outcome.FAILED, threshold=Severity.MEDIUM, skips=(skip,))


@pytest.mark.parametrize(
    ("name", "loud"),
    [
        ("text", lambda text: text.startswith("REVIEW FAILED") and "connection refused" in text),
        ("markdown", lambda text: "REVIEW FAILED" in text.split("\n")[0] and "connection refused" in text),
        ("json", lambda text: json.loads(text)["outcome"] == "failed"),
        ("sarif", lambda text: json.loads(text)["runs"][0]["results"][0]["level"] == "error"),
        ("gitlab", lambda text: json.loads(text)[0]["severity"] == "blocker"),
        ("rdjson", lambda text: json.loads(text)["diagnostics"][0]["severity"] == "ERROR"),
    ],
)
def test_a_failed_review_is_loud_in_every_format(name: str, loud: Callable[[str], bool]) -> None:
    """A review of which everything failed is never an empty report."""
    assert loud(render(every_failed(), name))


def test_a_failed_outcome_without_a_skip_is_still_loud() -> None:
    """Even when nothing says what failed, SARIF and GitLab hold an entry."""
    review = Review(outcome=Outcome.FAILED, threshold=Severity.MEDIUM)
    assert json.loads(render(review, "gitlab"))
    assert json.loads(render(review, "sarif"))["runs"][0]["results"]


def test_an_unknown_format_names_the_known_ones() -> None:
    """The message lists every format."""
    with pytest.raises(SettingsError, match="text, markdown, json, sarif, gitlab, rdjson"):
        render(SAMPLE, "yaml")


def test_verbose_lists_what_the_threshold_hides() -> None:
    """Hidden and suppressed findings are listed on request and counted otherwise."""
    for name in ("text", "markdown"):
        plain = render(SAMPLE, name)
        assert "1 finding below medium hidden: 1 low." in plain
        assert "A name says nothing" not in plain
        verbose = render(SAMPLE, name, verbose=True)
        assert "A name says nothing" in verbose
        assert "Known" in verbose
        assert "poetry.lock" in verbose


def test_an_old_side_finding_stands_where_the_line_was() -> None:
    """A removed line maps to the new line that took its place; without the diff to no line at all."""
    review = SAMPLE.model_copy(update={"findings": (finding(line=43, side=Side.OLD),), "skips": ()})
    issue = json.loads(render(review, "gitlab", excerpts=SAMPLE_FILES))[1]
    assert issue["location"]["lines"]["begin"] == 42
    assert "(removed line 43)" in issue["description"]
    assert "range" not in json.loads(render(review, "rdjson"))["diagnostics"][1]["location"]


KEY_BODY = ("MIIEowIBAAKCAQEAx7kq", "Yz3vN8pQ2mT5wR9cK1sL")
KEY_LINES = ("-----BEGIN RSA PRIVATE KEY-----", *KEY_BODY, "-----END RSA PRIVATE KEY-----", "done = True")
TOKEN = "ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC2dF4gH6"


def test_every_line_of_a_large_hunk_has_its_excerpt() -> None:
    """Many findings in one hunk each show their own line (an index per finding would never end)."""
    file = file_of("big.py", "".join(f"+x{number} = {number}\n" for number in range(20_000)))
    excerpts = Excerpts([file])
    for number in range(1, 20_001):
        (flagged,) = [line for line in excerpts.around(finding(path="big.py", line=number)) if line.flagged]
        assert (flagged.number, flagged.text) == (number, f"x{number - 1} = {number - 1}")


@some
@given(review=reviews(), name=st.sampled_from(list(FORMATS)), verbose=st.booleans())
def test_no_secret_reaches_any_output(review: Review, name: str, verbose: bool) -> None:
    """A token in any text and a private key in the quoted lines are masked, in every format."""
    found = finding(
        path=f"keys/{TOKEN}.py",
        line=2,
        title=f"Token {TOKEN}",
        explanation=f"It reads `{TOKEN}`.",
        suggestion=f"Remove {TOKEN}",
        quote=f'token = "{TOKEN}"',
    )
    in_key = finding(path="key.pem", line=3)
    skip = Skip(path=f"{TOKEN}.txt", reason=f"server said {TOKEN}", kind=SkipKind.BACKEND_ERROR)
    whole = review.model_copy(
        update={
            "outcome": Outcome.PARTIAL,
            "title": f"Add {TOKEN}",
            "head": TOKEN,
            "findings": (*review.findings, found, in_key),
            "below": (*review.below, found, in_key),
            "suppressed": (found,),
            "skips": (*review.skips, skip),
        }
    )
    file = file_of("key.pem", "".join(f"+{line}\n" for line in KEY_LINES))
    printed = render(whole, name, excerpts=[file], verbose=verbose)
    for value in (TOKEN[8:], *KEY_BODY):
        assert value not in printed
    if name in ("text", "markdown"):
        assert "done = True" in printed


@pytest.mark.skipif("TERAZI_TEST_SARIF_SCHEMA" not in os.environ, reason="needs the official schema's path")
@some
@given(review=reviews())
def test_sarif_follows_the_official_schema(review: Review) -> None:
    """The schema of OASIS, where the machine has it, accepts any review's log."""
    text = Path(os.environ["TERAZI_TEST_SARIF_SCHEMA"]).read_text(encoding="utf-8-sig")
    log = json.loads(render(review, "sarif", excerpts=SAMPLE_FILES))
    jsonschema.validate(log, json.loads(text))


# SARIF -----------------------------------------------------------------------------------------------------

# The properties that SARIF 2.1.0 defines for the objects we write; its schema allows no others.
ALLOWED = {
    "log": {"$schema", "version", "runs"},
    "run": {"tool", "invocations", "columnKind", "results", "properties"},
    "driver": {"name", "version", "rules"},
    "rule": {"id", "shortDescription", "fullDescription", "help", "defaultConfiguration", "properties"},
    "result": {
        "ruleId",
        "ruleIndex",
        "level",
        "message",
        "locations",
        "partialFingerprints",
        "properties",
    },
    "invocation": {"executionSuccessful", "toolExecutionNotifications"},
    "notification": {"level", "message", "descriptor", "locations"},
}
LEVELS = {"none", "note", "warning", "error"}


def check_sarif(log: dict[str, Any]) -> dict[str, Any]:
    """Each property that SARIF 2.1.0 requires, its type and its allowed values; returns the run."""
    assert set(log) == ALLOWED["log"]
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    assert set(run) == ALLOWED["run"]
    assert run["columnKind"] in {"utf16CodeUnits", "unicodeCodePoints"}
    assert set(run["tool"]) == {"driver"}
    rules = check_driver(run["tool"]["driver"])
    for result in run["results"]:
        check_result(result, rules)
    for invocation in run["invocations"]:
        assert set(invocation) == ALLOWED["invocation"]
        assert isinstance(invocation["executionSuccessful"], bool)
        for notification in invocation["toolExecutionNotifications"]:
            assert set(notification) <= ALLOWED["notification"]
            assert notification["level"] in LEVELS
            assert notification["message"]["text"]
            check_locations(notification.get("locations", []))
    return run


def check_driver(driver: dict[str, Any]) -> list[str]:
    """The driver's required properties; returns the rules' ids."""
    assert set(driver) == ALLOWED["driver"]
    assert driver["name"]
    for rule in driver["rules"]:
        assert set(rule) <= ALLOWED["rule"]
        assert rule["defaultConfiguration"]["level"] in LEVELS
        assert all(rule[key]["text"] for key in ("shortDescription", "fullDescription", "help"))
    ids = [rule["id"] for rule in driver["rules"]]
    assert len(set(ids)) == len(ids)
    return ids


def check_result(result: dict[str, Any], rules: list[str]) -> None:
    """A result's required properties and its rule."""
    assert set(result) <= ALLOWED["result"]
    assert rules[result["ruleIndex"]] == result["ruleId"]
    assert result["level"] in LEVELS
    assert set(result["message"]) <= {"text", "markdown"}
    assert result["message"]["text"]
    assert "](" not in result["message"]["text"]
    assert all(isinstance(value, str) for value in result.get("partialFingerprints", {}).values())
    check_locations(result["locations"])


def check_locations(locations: list[dict[str, Any]]) -> None:
    """Locations are relative URIs and positive lines."""
    for location in locations:
        physical = location["physicalLocation"]
        uri = urlsplit(physical["artifactLocation"]["uri"])
        assert (uri.scheme, uri.netloc, uri.query, uri.fragment) == ("", "", "", "")
        assert re.fullmatch(r"[A-Za-z0-9/._~%-]+", uri.path)
        assert physical.get("region", {"startLine": 1})["startLine"] >= 1


@some
@given(review=reviews())
def test_sarif_has_every_required_property(review: Review) -> None:
    """Any review's log is SARIF 2.1.0, holds every finding, and its URIs give the paths back."""
    run = check_sarif(json.loads(render(review, "sarif", excerpts=SAMPLE_FILES)))
    failed = incomplete_entries(review)
    assert len(run["results"]) == len(review.findings) + failed
    assert run["invocations"][0]["executionSuccessful"] is (failed == 0)
    for result, found in zip(run["results"][failed:], review.findings, strict=True):
        uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        raw = unquote_to_bytes(uri.removeprefix(".") if uri.startswith("./") else uri)
        try:
            assert raw == found.path.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            assert raw == found.path.encode("utf-8", "surrogatepass")


def test_sarif_security_severity_stands_on_security_rules_only() -> None:
    """GitHub's levels: above 9.0 critical, from 7.0 high, from 4.0 medium, above 0 low."""
    levels = [finding(severity=level, fingerprint=level) for level in Severity]
    review = SAMPLE.model_copy(update={"findings": (*levels, finding(category="style")), "skips": ()})
    run = json.loads(render(review, "sarif"))["runs"][0]
    scores = {
        rule["id"]: float(rule["properties"]["security-severity"])
        for rule in run["tool"]["driver"]["rules"]
        if "security-severity" in rule.get("properties", {})
    }
    assert set(scores) == {f"security/{level}" for level in Severity}
    assert scores["security/critical"] > 9.0
    assert 7.0 <= scores["security/high"] <= 8.9
    assert 4.0 <= scores["security/medium"] <= 6.9
    assert 0.1 <= scores["security/low"] <= 3.9
