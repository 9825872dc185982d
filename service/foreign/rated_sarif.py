"""SARIF logs back out with ratings; every field that is not Terazi's stays as it was.

Everything added is marked with properties that begin with `terazi/`, so that a log can be rated again.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from review_data.domain import Rating, Skip
from review_data.secrets import mask
from review_data.severity import Severity
from service.foreign.items import Item
from service.foreign.sarif import MARK, foreign, results
from service.render.sarif import LEVELS


def rated_sarif(
    log: Any, path: Path, items: Sequence[Item], answers: Sequence[Rating | Skip], threshold: Severity
) -> Any:
    """A copy of the log with `level`, severity and probabilities set; what is below the threshold is
    suppressed (`suppressions`, kind external), so that no result is lost. What has no rating says so, and its
    run has a failed invocation."""
    rated = copy.deepcopy(log)
    for (place, _, result), item, answer in zip(results(rated, path), items, answers, strict=True):
        found = result.get("properties") or {}
        kept = {key: value for key, value in found.items() if not key.startswith(MARK)}
        result["properties"] = {**kept, **_properties(answer)}
        if result.get("suppressions"):
            result["suppressions"] = foreign(result["suppressions"], path, f"{place}.suppressions")
        if isinstance(answer, Rating):
            _apply(result, answer, item, threshold)
    for at, run in enumerate(rated["runs"]):
        _complete(run, path, f"runs[{at}]")
    return rated


def _properties(answer: Rating | Skip) -> dict[str, Any]:
    if isinstance(answer, Skip):
        return {f"{MARK}unrated": mask(answer.reason)}
    found: dict[str, Any] = {f"{MARK}severity": str(answer.severity)}
    if answer.probabilities is not None:
        found[f"{MARK}probabilities"] = answer.probabilities.model_dump()
    return found


def _apply(result: Any, rating: Rating, item: Item, threshold: Severity) -> None:
    if (result.get("kind") or "fail") == "fail":  # all others have level none (SARIF 2.1.0, 3.27.10)
        result["level"] = LEVELS[rating.severity]
    if item.live and rating.severity < threshold:
        below = {
            "kind": "external",
            "justification": f"rated {rating.severity}, below {threshold}",
            "properties": {f"{MARK}threshold": str(threshold)},
        }
        result["suppressions"] = [*(result.get("suppressions") or ()), below]


def _complete(run: Any, path: Path, place: str) -> None:
    """Suppressions for all results or for none (SARIF 2.1.0, 3.27.23), and an invocation for the unrated."""
    found = run.get("results") or []
    if any(result.get("suppressions") for result in found):
        for result in found:
            result["suppressions"] = result.get("suppressions") or []
    reasons = [text for result in found if (text := result["properties"].get(f"{MARK}unrated")) is not None]
    invocations = foreign(run.get("invocations") or [], path, f"{place}.invocations")
    if reasons:
        invocations.append(_failed_invocation(reasons))
    if invocations or run.get("invocations"):
        run["invocations"] = invocations


def _failed_invocation(reasons: Sequence[str]) -> dict[str, Any]:
    notices = [{"level": "error", "message": {"text": f"Terazi: {text}"}} for text in reasons]
    return {
        "executionSuccessful": False,
        "toolExecutionNotifications": notices,
        "properties": {f"{MARK}unrated": len(reasons)},
    }
