"""The review as SARIF 2.1.0 (OASIS, 2020), for code scanning on GitHub, Azure DevOps and editors.

A rule is `category/severity`: Terazi rates each finding, while SARIF's `security-severity` belongs to the
rule. SARIF has no old side, so a removed line's finding stands on the new line that took its place. What was
not reviewed is a failed invocation's notification and, because viewers ignore those, a result as well.
"""

from __future__ import annotations

import json
from typing import Any, Final

from review_data.domain import Category, Finding, Outcome, Review, Side, Skip, counts
from review_data.severity import DEFINITIONS, Severity
from service.render import summary
from service.render.escape import uri, visible, visible_text
from service.render.markdown import finding_message
from service.render.view import View

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
LEVELS: Final = {
    Severity.CRITICAL: "error",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "note",
}
# GitHub: above 9.0 is critical, 7.0 to 8.9 high, 4.0 to 6.9 medium, 0.1 to 3.9 low.
SECURITY_SEVERITY: Final = {
    Severity.CRITICAL: "9.5",
    Severity.HIGH: "8.0",
    Severity.MEDIUM: "5.5",
    Severity.LOW: "3.0",
}


def to_sarif(review: Review, view: View) -> str:
    """The review as a SARIF log with one run, all ASCII."""
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(review, view)]}, indent=2) + "\n"


def _run(review: Review, view: View) -> dict[str, Any]:
    failed = summary.failures(review)
    kinds = sorted({(finding.category, finding.severity) for finding in review.findings})
    rules = [*([_not_reviewed_rule()] if failed else []), *(_rule(*kind) for kind in kinds)]
    index = {rule["id"]: position for position, rule in enumerate(rules)}
    level = "error" if review.outcome is Outcome.FAILED else "warning"
    results = [_failure(skip, level, index) for skip in failed]
    results.extend(_result(finding, index, view) for finding in review.findings)
    driver = {"name": summary.TOOL, "version": summary.tool_version(), "rules": rules}
    return {
        "tool": {"driver": driver},
        "invocations": [_invocation(review)],
        "columnKind": "unicodeCodePoints",
        "results": results,
        "properties": _properties(review),
    }


def _properties(review: Review) -> dict[str, Any]:
    return {
        "outcome": review.outcome,
        "summary": visible(summary.one_line(review)),
        "threshold": review.threshold,
        "hidden": {str(level): count for level, count in review.hidden.items()},
        "suppressed": {str(level): count for level, count in counts(review.suppressed).items()},
        "backend": visible(review.backend),
        "elapsed_s": round(review.elapsed_s, 3),
    }


def _rule(category: Category, severity: Severity) -> dict[str, Any]:
    meaning, action, _ = DEFINITIONS[severity]
    properties: dict[str, Any] = {"tags": [str(category)]}
    if category is Category.SECURITY:
        properties["security-severity"] = SECURITY_SEVERITY[severity]
    return {
        "id": rule_id(category, severity),
        "shortDescription": {"text": f"{category} issue of {severity} severity"},
        "fullDescription": {"text": f"{severity.capitalize()}: {meaning}."},
        "help": {"text": f"{severity.capitalize()}: {meaning}. {action}"},
        "defaultConfiguration": {"level": LEVELS[severity]},
        "properties": properties,
    }


def rule_id(category: Category, severity: Severity) -> str:
    """`category/severity`, stable over releases."""
    return f"{category}/{severity}"


def _not_reviewed_rule() -> dict[str, Any]:
    return {
        "id": summary.NOT_REVIEWED,
        "shortDescription": {"text": "A part of the change was not reviewed"},
        "fullDescription": {
            "text": "Terazi could not review this part; the absence of findings says nothing."
        },
        "help": {"text": "Read the message, remove the cause and review again."},
        "defaultConfiguration": {"level": "warning"},
    }


def _result(finding: Finding, index: dict[str, int], view: View) -> dict[str, Any]:
    rule = rule_id(finding.category, finding.severity)
    return {
        "ruleId": rule,
        "ruleIndex": index[rule],
        "level": LEVELS[finding.severity],
        "message": {"text": _plain(summary.paragraphs(finding)), "markdown": finding_message(finding)},
        "locations": [_location(finding.path, view.excerpts.new_line(finding))],
        "partialFingerprints": {"teraziFingerprint/v1": finding.fingerprint},
        "properties": _result_properties(finding),
    }


def _result_properties(finding: Finding) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "category": finding.category,
        "severity": finding.severity,
        "side": finding.side,
        "source": visible(finding.source),
        "sources": [visible(source) for source in finding.sources],
    }
    if finding.rule is not None:
        properties["rule"] = visible(finding.rule)
    if finding.side is Side.OLD:
        properties["oldLine"] = finding.line
    if finding.probabilities is not None:
        properties["probabilities"] = finding.probabilities.model_dump()
    return properties


def _failure(skip: Skip, level: str, index: dict[str, int]) -> dict[str, Any]:
    rule = summary.NOT_REVIEWED
    return {
        "ruleId": rule,
        "ruleIndex": index[rule],
        "level": level,
        "message": {"text": _plain(summary.failure_message(skip))},
        "locations": [_location(skip.path or ".", skip.line)],
        "properties": {"kind": skip.kind},
    }


def _location(path: str, line: int | None) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": {"uri": uri(path), "uriBaseId": "%SRCROOT%"}}
    if line and line > 0:
        physical["region"] = {"startLine": line}
    return {"physicalLocation": physical}


def _invocation(review: Review) -> dict[str, Any]:
    skips = (*summary.failures(review), *summary.passed_over(review))
    return {
        "executionSuccessful": not summary.incomplete(review),
        "toolExecutionNotifications": [_notification(skip) for skip in skips],
    }


def _notification(skip: Skip) -> dict[str, Any]:
    notification: dict[str, Any] = {
        "level": "error" if skip.is_failure else "note",
        "message": {"text": _plain(f"{skip.kind}: {skip.reason}")},
        "descriptor": {"id": f"skip/{skip.kind}"},
    }
    if skip.path:
        notification["locations"] = [_location(skip.path, skip.line)]
    return notification


def _plain(text: str) -> str:
    """Plain text in which no `[words](target)` reads as a link (SARIF 2.1.0, 3.11.6)."""
    return visible_text(text).replace("](", "] (") or "."
