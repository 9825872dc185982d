"""SARIF 2.1.0 logs (OASIS, 2020) in: an item per result, and what the log's scanners could not do.

The way back, with ratings, is `service.foreign.rated_sarif`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from review_data.domain import Issue, Skip, SkipKind
from review_data.errors import DataError
from service.foreign.items import AGAIN, NO_PATH, Item, get, guess_category, item, load_json, need, relative

# Keys of a property bag that begin so are Terazi's own; an entry that has one was written by Terazi.
MARK: Final = "terazi/"
_LIVE_KINDS: Final = ("fail", "open", "review")
_PLACEHOLDER: Final = re.compile(r"\{\{|\}\}|\{(\d{1,4})\}")


class _Rule(NamedTuple):
    """A result's rule: its id, what the log says of it (may be nothing), and the tool's part that has it."""

    id: str
    said: Mapping[str, Any]
    component: Mapping[str, Any]


def load_sarif(path: Path, root: Path | None = None) -> tuple[Any, list[Item]]:
    """The log as it stands in the file, and an item per result; `DataError` names the place of a fault."""
    log = load_json(path)
    if not isinstance(log, Mapping):
        raise DataError(
            "is not a SARIF log (an object with `version` and `runs`); name another tool's report with "
            "--rdjson, --gitlab or --comments",
            file=path,
        )
    version = get(log, "version", str, path, "")
    if version is None or not version.startswith("2."):
        said = "is missing" if version is None else f"is {version}, not 2.1.0"
        raise DataError(f"{said}; export the log as SARIF 2.1.0", file=path, field="version")
    return log, [_item(result, run, path, place, root) for place, run, result in results(log, path)]


def results(log: Any, path: Path) -> Iterator[tuple[str, Any, Any]]:
    """Each result with its place and its run."""
    for at, run in enumerate(need(log, "runs", list, path, "")):
        place = f"runs[{at}]"
        for number, result in enumerate(get(run, "results", list, path, place) or ()):
            yield f"{place}.results[{number}]", run, result


def failed_runs(log: Any, path: Path) -> tuple[Skip, ...]:
    """What the log says was not scanned: each complaint of a failed invocation, and runs without results."""
    skips: list[Skip] = []
    for at, run in enumerate(need(log, "runs", list, path, "")):
        place = f"runs[{at}]"
        complaints = _complaints(run, path, place)
        if not complaints and get(run, "results", list, path, place) is None:
            complaints = ["its run holds no results, not even an empty list"]
        name = _name(_driver(run, path, place), path, place)
        skips += [
            Skip(path="", kind=SkipKind.BACKEND_ERROR, reason=f"{name} failed: {text}") for text in complaints
        ]
    return tuple(skips)


def foreign(entries: list[Any], path: Path, place: str) -> list[Any]:
    """The entries that Terazi has not written itself when it rated this log before."""
    found = []
    for number, entry in enumerate(entries):
        properties = get(entry, "properties", dict, path, f"{place}[{number}]") or {}
        if not any(key.startswith(MARK) for key in properties):
            found.append(entry)
    return found


def _complaints(run: Any, path: Path, place: str) -> list[str]:
    """What the failed invocations of a run say: their errors, else whatever they say."""
    said: list[str] = []
    where = f"{place}.invocations"
    for invocation in foreign(get(run, "invocations", list, path, place) or [], path, where):
        if invocation.get("executionSuccessful") is False:
            notices = _notices(invocation, path, where)
            errors = [text for level, text in notices if level == "error"]
            code = get(invocation, "exitCode", int, path, where)
            reason = "its log does not say why" if code is None else f"it ended with exit code {code}"
            said += errors or [text for _, text in notices] or [reason]
    return said


def _notices(invocation: Any, path: Path, place: str) -> list[tuple[Any, str]]:
    """Level and text of an invocation's notifications."""
    found = []
    for key in ("toolExecutionNotifications", "toolConfigurationNotifications"):
        for number, notice in enumerate(get(invocation, key, list, path, place) or ()):
            where = f"{place}.{key}[{number}]"
            message = get(notice, "message", dict, path, where) or {}
            text = get(message, "text", str, path, f"{where}.message")
            if text:
                found.append((notice.get("level"), text))
    return found


def _item(result: Any, run: Any, path: Path, place: str, root: Path | None) -> Item:
    get(result, "properties", dict, path, place)  # what a rating could not be added to is refused before it
    return item(_issue(result, run, path, place, root), place, live=_is_live(result, path, place))


def _is_live(result: Any, path: Path, place: str) -> bool:
    kind = get(result, "kind", str, path, place) or "fail"
    if kind not in _LIVE_KINDS or get(result, "baselineState", str, path, place) == "absent":
        return False
    entries = get(result, "suppressions", list, path, place) or []
    where = f"{place}.suppressions"
    statuses = [get(entry, "status", str, path, where) for entry in foreign(entries, path, where)]
    return not statuses or any(status not in (None, "accepted") for status in statuses)


def _issue(result: Any, run: Any, path: Path, place: str, root: Path | None) -> Issue:
    rule = _rule(result, run, path, place)
    file, line = _location(result, run, path, place, root)
    message = _message(result, rule, path, place)
    properties = get(rule.said, "properties", dict, path, f"{place}.rule") or {}
    tags = get(properties, "tags", list, path, f"{place}.rule.properties") or ()
    security = "security" if "security-severity" in properties else ""
    return Issue(
        path=file,
        line=line,
        category=guess_category(security, rule.id, " ".join(map(str, tags)), message),
        title=message,
        quote="",
        source=_name(_driver(run, path, place), path, place),
        rule=rule.id or None,
    )


def _message(result: Any, rule: _Rule, path: Path, place: str) -> str:
    """The message's text with its arguments in it; without one what the rule is about."""
    message, where = need(result, "message", dict, path, place), f"{place}.message"
    text = get(message, "text", str, path, where) or get(message, "markdown", str, path, where)
    arguments = get(message, "arguments", list, path, where) or ()
    name = get(message, "id", str, path, where)
    if not text and name:
        text = _string(rule, name, path, f"{place}.rule")
    if text and arguments:
        text = _PLACEHOLDER.sub(lambda match: _argument(match, arguments), text)
    if not text or not text.strip():
        short = get(rule.said, "shortDescription", dict, path, f"{place}.rule") or {}
        text = get(short, "text", str, path, f"{place}.rule.shortDescription") or rule.id
    if not text.strip():
        raise DataError(f"has no text, and there is no rule that has one{AGAIN}", file=path, field=where)
    return str(text).strip()


def _string(rule: _Rule, name: str, path: Path, place: str) -> str | None:
    for holder, key in ((rule.said, "messageStrings"), (rule.component, "globalMessageStrings")):
        strings = get(holder, key, dict, path, place) or {}
        found = get(strings, name, dict, path, f"{place}.{key}") or {}
        text: str | None = get(found, "text", str, path, f"{place}.{key}.{name}")
        if text:
            return text
    return None


def _argument(match: re.Match[str], arguments: list[Any]) -> str:
    """What takes a placeholder's place (SARIF 2.1.0, 3.11.5): doubled braces stand for one."""
    if match[1] is None:
        return match[0][0]
    return str(arguments[int(match[1])]) if int(match[1]) < len(arguments) else match[0]


def _rule(result: Any, run: Any, path: Path, place: str) -> _Rule:
    where = f"{place}.rule"
    reference = get(result, "rule", dict, path, place) or {}
    rule_id = get(result, "ruleId", str, path, place) or get(reference, "id", str, path, where) or ""
    index = get(result, "ruleIndex", int, path, place)
    if index is None:
        index = get(reference, "index", int, path, where)
    component = _component(run, get(reference, "toolComponent", dict, path, where) or {}, path, place)
    rules = get(component, "rules", list, path, f"{where}.toolComponent") or []
    named = (rule for rule in rules if isinstance(rule, Mapping) and rule.get("id") == rule_id)
    said = rules[index] if index is not None and 0 <= index < len(rules) else next(named, {})
    return _Rule(rule_id or get(said, "id", str, path, where) or "", said, component)


def _component(run: Any, reference: Mapping[str, Any], path: Path, place: str) -> Mapping[str, Any]:
    """The extension that a reference names by index or name, else the tool's driver."""
    tool = get(run, "tool", dict, path, _of_run(place)) or {}
    extensions = get(tool, "extensions", list, path, f"{_of_run(place)}.tool") or []
    for number, extension in enumerate(extensions):
        name = get(extension, "name", str, path, f"{_of_run(place)}.tool.extensions[{number}]")
        if reference.get("index") == number or (name is not None and name == reference.get("name")):
            return extension  # type: ignore[no-any-return]
    return _driver(run, path, place)


def _driver(run: Any, path: Path, place: str) -> Mapping[str, Any]:
    tool = get(run, "tool", dict, path, _of_run(place)) or {}
    return get(tool, "driver", dict, path, f"{_of_run(place)}.tool") or {}


def _name(driver: Mapping[str, Any], path: Path, place: str) -> str:
    return get(driver, "name", str, path, f"{_of_run(place)}.tool.driver") or "sarif"


def _of_run(place: str) -> str:
    return place.partition(".")[0]


def _location(result: Any, run: Any, path: Path, place: str, root: Path | None) -> tuple[str, int]:
    for location in (get(result, "locations", list, path, place) or ())[:1]:
        where = f"{place}.locations[0]"
        physical = get(location, "physicalLocation", dict, path, where) or {}
        where = f"{where}.physicalLocation"
        artifact = get(physical, "artifactLocation", dict, path, where) or {}
        file = _file(artifact, run, path, f"{where}.artifactLocation", root)
        region = get(physical, "region", dict, path, where) or {}
        line = get(region, "startLine", int, path, f"{where}.region")
        if file:
            return file, max(1, line or 1)
    return NO_PATH, 1


def _file(artifact: Mapping[str, Any], run: Any, path: Path, place: str, root: Path | None) -> str:
    """The artifact's path below `root`. Where its base is a folder elsewhere (the log is of another machine),
    the path as it stands is the best guess."""
    index = get(artifact, "index", int, path, place)
    artifacts = get(run, "artifacts", list, path, _of_run(place)) or []
    if not get(artifact, "uri", str, path, place) and index is not None and 0 <= index < len(artifacts):
        artifact = get(artifacts[index], "location", dict, path, f"{_of_run(place)}.artifacts[{index}]") or {}
    uri = get(artifact, "uri", str, path, place) or ""
    whole = _local(_with_base(uri, artifact, run, path, place), path, place, root)
    return _local(uri, path, place, root) if whole.startswith("/") else whole


def _with_base(uri: str, artifact: Mapping[str, Any], run: Any, path: Path, place: str) -> str:
    where = f"{_of_run(place)}.originalUriBaseIds"
    bases = dict(get(run, "originalUriBaseIds", dict, path, _of_run(place)) or {})
    name = get(artifact, "uriBaseId", str, path, place)
    while uri and name in bases:
        base = get(bases, name, dict, path, where) or {}
        del bases[name]  # bases may have bases, but not in a circle
        uri = f"{get(base, 'uri', str, path, f'{where}.{name}') or ''}{uri}"
        name = get(base, "uriBaseId", str, path, f"{where}.{name}")
    return uri


def _local(uri: str, path: Path, place: str, root: Path | None) -> str:
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise DataError(f"is not a URI ({error}){AGAIN}", file=path, field=f"{place}.uri") from None
    if parts.scheme not in ("file", ""):
        return uri
    return relative(unquote(parts.path), root)
