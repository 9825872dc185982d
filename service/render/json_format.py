"""The review as JSON for programs; docs/review.schema.json is its schema and docs/formats.md its page.

Paths are exact (escaped by JSON only), prose has its unseen characters written out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from review_data.domain import Finding, Review, Skip, counts
from service.render.escape import visible, visible_text
from service.render.view import View

SCHEMA_VERSION: Final = "1.0"


def to_json(review: Review, view: View) -> str:
    """The review as one JSON object, all ASCII."""
    return json.dumps(as_dict(review), indent=2) + "\n"


def as_dict(review: Review) -> dict[str, Any]:
    """The JSON object; failures stand first among the skips."""
    return {
        "schema_version": SCHEMA_VERSION,
        "outcome": review.outcome,
        "threshold": review.threshold,
        "title": visible(review.title),
        "base": visible(review.base),
        "head": visible(review.head),
        "findings": [_finding(finding) for finding in review.findings],
        "hidden": {str(level): count for level, count in review.hidden.items()},
        "suppressed": _counts(review.suppressed),
        "skips": [_skip(skip) for skip in sorted(review.skips, key=lambda skip: not skip.is_failure)],
        "backend": visible(review.backend),
        "provenance": review.provenance.model_dump(mode="json"),
        "elapsed_s": round(review.elapsed_s, 3),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    probabilities = finding.probabilities
    return {
        "path": finding.path,
        "line": finding.line,
        "side": finding.side,
        "category": finding.category,
        "severity": finding.severity,
        "title": visible(finding.title),
        "explanation": visible_text(finding.explanation),
        "suggestion": visible_text(finding.suggestion),
        "probabilities": probabilities.model_dump() if probabilities else None,
        "source": visible(finding.source),
        "sources": [visible(source) for source in finding.sources],
        "rule": visible(finding.rule) if finding.rule is not None else None,
        "fingerprint": finding.fingerprint,
    }


def _counts(findings: Iterable[Finding]) -> dict[str, int]:
    return {str(level): count for level, count in counts(findings).items()}


def _skip(skip: Skip) -> dict[str, Any]:
    return {
        "path": skip.path,
        "line": skip.line,
        "kind": skip.kind,
        "reason": visible(skip.reason),
        "failure": skip.is_failure,
    }
