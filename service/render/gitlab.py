"""The review as a GitLab Code Quality report.

Fields as in GitLab's "Code Quality report format" (docs.gitlab.com/ci/testing/code_quality). The format is a
bare list of issues: what was not reviewed is an issue too, because a report without entries reads as clean.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from review_data.domain import Finding, Outcome, Review, Skip
from review_data.severity import Severity
from service.render import summary
from service.render.escape import visible, visible_text
from service.render.view import View

SEVERITIES: Final = {
    Severity.CRITICAL: "blocker",
    Severity.HIGH: "critical",
    Severity.MEDIUM: "major",
    Severity.LOW: "minor",
}


def to_gitlab(review: Review, view: View) -> str:
    """The review as a JSON array of issues, all ASCII; unreviewed parts first."""
    severity = "blocker" if review.outcome is Outcome.FAILED else "major"
    issues = [_failure(skip, severity) for skip in summary.failures(review)]
    issues.extend(_issue(finding, view) for finding in review.findings)
    return json.dumps(_with_unique_fingerprints(issues), indent=2) + "\n"


def _issue(finding: Finding, view: View) -> dict[str, Any]:
    return {
        "description": visible_text(summary.paragraphs(finding)),
        "check_name": visible(finding.rule or str(finding.category)),
        "fingerprint": finding.fingerprint,
        "severity": SEVERITIES[finding.severity],
        "location": {
            "path": finding.path,
            "lines": {"begin": max(1, view.excerpts.new_line(finding) or 1)},
        },
    }


def _failure(skip: Skip, severity: str) -> dict[str, Any]:
    text = f"{skip.path}\0{skip.kind}\0{skip.reason}"
    return {
        "description": visible(summary.failure_message(skip)),
        "check_name": summary.NOT_REVIEWED,
        "fingerprint": _digest(text),
        "severity": severity,
        "location": {"path": skip.path or ".", "lines": {"begin": max(1, skip.line or 1)}},
    }


def _with_unique_fingerprints(issues: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """GitLab drops an issue whose fingerprint it has seen; the n-th repeat gets one of its own."""
    seen: dict[str, int] = {}
    for issue in issues:
        mark = issue["fingerprint"]
        count = seen[mark] = seen.get(mark, 0) + 1
        if count > 1:
            issue["fingerprint"] = _digest(f"{mark}#{count}")
    return issues


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
