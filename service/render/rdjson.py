"""The review as reviewdog's rdjson (Reviewdog Diagnostic Format).

Fields as in reviewdog's proto/rdf: a range without columns covers its whole lines. Messages become comments
on a forge, so they are inert Markdown.
"""

from __future__ import annotations

import json
from typing import Any, Final

from review_data.domain import Finding, Outcome, Review, Skip
from review_data.severity import Severity
from service.render import summary
from service.render.escape import visible
from service.render.markdown import failure_message, finding_message
from service.render.view import View

SEVERITIES: Final = {
    Severity.CRITICAL: "ERROR",
    Severity.HIGH: "ERROR",
    Severity.MEDIUM: "WARNING",
    Severity.LOW: "INFO",
}


def to_rdjson(review: Review, view: View) -> str:
    """The review as a DiagnosticResult, all ASCII; unreviewed parts first."""
    severity = "ERROR" if review.outcome is Outcome.FAILED else "WARNING"
    diagnostics = [_failure(skip, severity) for skip in summary.failures(review)]
    diagnostics.extend(_diagnostic(finding, view) for finding in review.findings)
    return json.dumps({"source": {"name": summary.TOOL}, "diagnostics": diagnostics}, indent=2) + "\n"


def _diagnostic(finding: Finding, view: View) -> dict[str, Any]:
    return {
        "message": finding_message(finding),
        "location": _location(finding.path, view.excerpts.new_line(finding)),
        "severity": SEVERITIES[finding.severity],
        "source": {"name": f"{summary.TOOL} ({visible(finding.source)})"},
        "code": {"value": visible(finding.rule or str(finding.category))},
    }


def _failure(skip: Skip, severity: str) -> dict[str, Any]:
    return {
        "message": failure_message(skip),
        "location": _location(skip.path or ".", skip.line),
        "severity": severity,
        "source": {"name": summary.TOOL},
        "code": {"value": summary.NOT_REVIEWED},
    }


def _location(path: str, line: int | None) -> dict[str, Any]:
    if not line or line < 1:
        return {"path": path}
    return {"path": path, "range": {"start": {"line": line}, "end": {"line": line}}}
