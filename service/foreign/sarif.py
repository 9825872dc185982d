"""SARIF 2.1.0 logs (OASIS, 2020) in, and back out with ratings; every field we don't know stays as it was."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from review_data.domain import Issue, Rating
from review_data.errors import DataError
from review_data.severity import Severity
from service.foreign.items import NO_PATH, Item, get, guess_category, item, load_json, need
from service.render.sarif import LEVELS


def load_sarif(path: Path) -> tuple[Any, list[Item]]:
    """The log as it stands in the file, and an item per result; `DataError` names the place of a fault."""
    log = load_json(path)
    version = get(log, "version", str, path, "")
    if version is None or not version.startswith("2."):
        raise DataError(f"is SARIF {version}, not 2.1.0; export it as 2.1.0", file=path, field="version")
    items = []
    for place, run, result in results(log, path):
        items.append(item(_issue(result, run, path, place), place))
    return log, items


def results(log: Any, path: Path) -> Iterator[tuple[str, Any, Any]]:
    """Each result with its place and its run."""
    for at, run in enumerate(need(log, "runs", list, path, "")):
        place = f"runs[{at}]"
        for number, result in enumerate(get(run, "results", list, path, place) or ()):
            yield f"{place}.results[{number}]", run, result


def rated_sarif(log: Any, path: Path, ratings: Sequence[Rating | None], threshold: Severity) -> Any:
    """A copy of the log with `level`, severity and probabilities set; what is below the threshold is
    suppressed (`suppressions`, kind external), so that no result is lost."""
    rated = copy.deepcopy(log)
    for (_, _, result), rating in zip(results(rated, path), ratings, strict=True):
        if rating is None:
            continue
        result["level"] = LEVELS[rating.severity]
        properties = result.setdefault("properties", {})
        properties["terazi/severity"] = str(rating.severity)
        if rating.probabilities is not None:
            properties["terazi/probabilities"] = rating.probabilities.model_dump()
        if rating.severity < threshold:
            below = {"kind": "external", "justification": f"rated {rating.severity}, below {threshold}"}
            result["suppressions"] = [*(result.get("suppressions") or ()), below]
    return rated


def _issue(result: Any, run: Any, path: Path, place: str) -> Issue:
    rule_id, rule = _rule(result, run, path, place)
    file, line = _location(result, path, place)
    message = _message(result, rule, path, place)
    properties = get(rule, "properties", dict, path, f"{place}.rule") or {}
    tags = " ".join(str(tag) for tag in properties.get("tags") or ())
    security = "security" if "security-severity" in properties else ""
    driver = _driver(run)
    return Issue(
        path=file,
        line=line,
        category=guess_category(security, rule_id, tags, message),
        title=message,
        quote="",
        source=str(driver.get("name") or "sarif"),
        rule=rule_id or None,
    )


def _message(result: Any, rule: Mapping[str, Any], path: Path, place: str) -> str:
    message = need(result, "message", dict, path, place)
    text = get(message, "text", str, path, f"{place}.message") or get(
        message, "markdown", str, path, f"{place}.message"
    )
    if not text and message.get("id"):
        strings = rule.get("messageStrings")
        found = strings.get(message["id"]) if isinstance(strings, Mapping) else None
        text = found.get("text") if isinstance(found, Mapping) else None
        for number, argument in enumerate(message.get("arguments") or ()):
            text = (text or "").replace(f"{{{number}}}", str(argument))
    if not text or not text.strip():
        raise DataError("has no text", file=path, field=f"{place}.message")
    return str(text).strip()


def _rule(result: Any, run: Any, path: Path, place: str) -> tuple[str, Mapping[str, Any]]:
    reference = get(result, "rule", dict, path, place) or {}
    rule_id = get(result, "ruleId", str, path, place) or reference.get("id") or ""
    index = get(result, "ruleIndex", int, path, place)
    rules = _driver(run).get("rules")
    rules = rules if isinstance(rules, list) else []
    if index is not None and 0 <= index < len(rules) and isinstance(rules[index], Mapping):
        return str(rule_id or rules[index].get("id") or ""), rules[index]
    named = (rule for rule in rules if isinstance(rule, Mapping) and rule.get("id") == rule_id)
    return str(rule_id), next(named, {})


def _driver(run: Any) -> Mapping[str, Any]:
    tool = run.get("tool") if isinstance(run, Mapping) else None
    driver = tool.get("driver") if isinstance(tool, Mapping) else None
    return driver if isinstance(driver, Mapping) else {}


def _location(result: Any, path: Path, place: str) -> tuple[str, int]:
    for location in (get(result, "locations", list, path, place) or ())[:1]:
        where = f"{place}.locations[0]"
        physical = get(location, "physicalLocation", dict, path, where) or {}
        artifact = get(physical, "artifactLocation", dict, path, f"{where}.physicalLocation") or {}
        uri = get(artifact, "uri", str, path, f"{where}.physicalLocation.artifactLocation")
        region = get(physical, "region", dict, path, f"{where}.physicalLocation") or {}
        line = get(region, "startLine", int, path, f"{where}.physicalLocation.region")
        if uri:
            return _relative(uri), max(1, line or 1)
    return NO_PATH, 1


def _relative(uri: str) -> str:
    parts = urlsplit(uri)
    text = unquote(parts.path if parts.scheme in ("file", "") else uri)
    return text.removeprefix("./") or NO_PATH
