"""What the severity rater is shown: fields, diff lines around the flagged one, and bots' wrapping gone."""

from __future__ import annotations

import pytest

from review_data.dataset import LabelledComment, LabelledFinding
from review_data.diff import parse_diff
from review_data.domain import Category, Issue, Side
from review_data.rater_input import RaterFields, comment_fields, finding_fields, issue_fields, plain, render
from review_data.severity import Severity

DIFF = """diff --git a/app.py b/app.py
--- a/app.py
+++ b/app.py
@@ -10,4 +10,4 @@ def load(name):
     path = root / name
-    check(path)
+    log(path)
     return path.read_text()
 # end
"""


def labelled(line: int, side: Side) -> LabelledFinding:
    """A finding of the diff above."""
    return LabelledFinding(
        path="app.py",
        line=line,
        side=side,
        category=Category.SECURITY,
        severity=Severity.HIGH,
        title="The check is gone",
        explanation="Attackers read any file.",
    )


@pytest.mark.parametrize(
    ("line", "side", "flagged"), [(11, Side.OLD, ">- check(path)"), (11, Side.NEW, ">+ log(path)")]
)
def test_the_flagged_line_is_marked_on_its_side(line: int, side: Side, flagged: str) -> None:
    """Old and new lines of one number are told apart, and the hunk's heading comes along."""
    fields = finding_fields(labelled(line, side), parse_diff(DIFF).files, "shop")
    assert [shown for shown in fields.lines if shown.startswith(">")] == [flagged]
    assert render(fields).context.splitlines()[0] == "security | app.py | shop | def load(name):"


def test_a_found_issue_and_a_labelled_one_look_the_same() -> None:
    """Training and serving build the same input."""
    files = parse_diff(DIFF).files
    issue = Issue(
        path="app.py", line=11, category=Category.SECURITY, title="The check is gone",
        quote="check(path)", side=Side.OLD, source="rules",
    )  # fmt: skip
    assert issue_fields(issue, files, "shop") == finding_fields(labelled(11, Side.OLD), files, "shop")


def test_a_line_outside_the_diff_leaves_the_context_without_lines() -> None:
    """Another file or line is no error: the rater does without."""
    assert finding_fields(labelled(99, Side.NEW), parse_diff(DIFF).files).lines == ()
    assert finding_fields(labelled(11, Side.NEW), ()).lines == ()


def test_a_comment_may_come_alone() -> None:
    """Without category, language and project there is no context at all."""
    shown = render(comment_fields(LabelledComment(comment="typo", severity=Severity.LOW)))
    assert (shown.text, shown.context) == ("typo", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("![high](https://x.test/high.svg) Null check", "high Null check"),
        ("See [the docs](https://x.test/a) first", "See the docs first"),
        ("Leak.\n<details>\n<summary>Script</summary>\nrm -rf\n</details>\nClose it.", "Leak.\n \nClose it."),
        ("Bug<!-- state: abc -->", "Bug"),
        ("Use <code>List<String></code>", "Use  List<String>"),
        ("<details>all of it</details>", "<details>all of it</details>"),
        ("cut off <details> never closed", "cut off"),
    ],
)
def test_bots_wrapping_is_taken_off(text: str, expected: str) -> None:
    """Only what carries no words goes; generics and plain text stay."""
    assert plain(text) == expected


def test_the_project_stands_in_the_context_not_in_the_text() -> None:
    """The issue's own words are a segment of their own."""
    shown = render(RaterFields(text="words", project="project", lines=("> x",)))
    assert (shown.text, shown.context) == ("words", "project\n> x")


def test_the_explanation_is_never_shown_to_the_rater() -> None:
    """Rows that differ only in explanation and suggestion, or in the request's title, look the same."""
    finding = labelled(11, Side.OLD)
    other = finding.model_copy(update={"explanation": "EXPLAINED", "suggestion": "SUGGESTED"})
    files = parse_diff(DIFF).files
    assert finding_fields(other, files) == finding_fields(finding, files)
    comment = LabelledComment(comment="typo", severity=Severity.LOW)
    explained = comment.model_copy(update={"explanation": "EXPLAINED", "title": "TITLED"})
    assert comment_fields(explained) == comment_fields(comment)
