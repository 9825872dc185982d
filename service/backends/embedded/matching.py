"""Runs rules over a file's text and keeps the matches that the change introduced.

Owns the meaning of a rule's fields (see `packs.Rule`), anchoring to touched lines, and the comparison with
the other side of the change. Which files are looked at, and reporting, are the finders' part.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import accumulate
from typing import Any, Final

from review_data.errors import BackendError
from service.backends.embedded.packs import Rule
from service.backends.embedded.sources import Fragment, Source
from service.backends.embedded.statements import statements

_GRAMMARS: Final = {
    "python": "python",
    "typescript": "typescript",
    "javascript": "javascript",
    "go": "go",
    "java": "java",
    "kotlin": "kotlin",
    "csharp": "csharp",
    "c": "c",
    "cpp": "cpp",
    "rust": "rust",
    "ruby": "ruby",
    "php": "php",
    "shell": "bash",
    "yaml": "yaml",
    "terraform": "hcl",
}
_COMMENT: Final = re.compile(r"\s*(?:#(?!\[|include|define|if|!)|//|--|\*|/\*|<!--|\"\"\"|''')")
_PLACE: Final = re.compile(r"\{([A-Z][A-Z_]*)\}")
# A longer match stands for a whole body: a touched line in it does not say that the change made the fault.
_MAX_SPAN: Final = 12
# The same sentence about lines next to each other is said once.
_SAME_PLACE: Final = 10


@dataclass(frozen=True, slots=True)
class Match:
    """A rule's match on line `line` of the source's side; `text` is what is compared with the other side."""

    rule: Rule
    line: int
    text: str
    captures: dict[str, str]
    spanning: bool = False


@dataclass
class Parsed:
    """A source with its syntax trees, made when a structural rule first asks for them."""

    source: Source
    trees: dict[int, Any] = field(default_factory=dict)

    def tree(self, index: int) -> Any:
        """The root node of fragment `index`; `BackendError` when the parser gives up."""
        if index not in self.trees:
            fragment, grammar = self.source.fragments[index], grammar_of(self.source)
            self.trees[index] = guarded(partial(_parse, fragment.text, grammar), self.source.path)
        return self.trees[index]


def grammar_of(source: Source) -> str:
    """ast-grep's name of the grammar for the source's language, "" when it has none."""
    if source.language == "typescript" and source.path.endswith("x"):
        return "tsx"
    return _GRAMMARS.get(source.language, "")


def guarded(call: Callable[[], Any], path: str) -> Any:
    """The call's result; a failure of the native parser (a panic is no `Exception`) as `BackendError`."""
    try:
        return call()
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise BackendError(f"{path}: the parser failed ({error}); please report the file") from error
        raise


def introduced(rules: Iterable[Rule], this: Parsed, other: Callable[[], Parsed]) -> Iterator[Match]:
    """Matches on touched lines that the other side does not have as often. `other` is called when needed."""
    source = this.source
    for rule in rules:
        if not _applies(rule, source):
            continue
        matches = list(find(rule, this))
        if not any(match.line in source.touched for match in matches):
            continue
        if rule.unless_other is None or not _search(rule.unless_other, other().source.text):
            yield from _more_often(matches, list(find(rule, other())), source)


def find(rule: Rule, parsed: Parsed) -> Iterator[Match]:
    """Every match of a rule in the text at hand, in the order of the text."""
    text = parsed.source.text
    if rule.needs and not any(need in text for need in rule.needs):
        return
    if rule.with_file is not None and "{" not in rule.with_file and not _search(rule.with_file, text):
        return
    found = _structural(rule, parsed) if rule.rule is not None else _textual(rule, parsed.source)
    for match in found:
        if _in_its_file(rule, match, text):
            yield match


def filled(template: str, captures: dict[str, str], escape: bool = False) -> str:
    """The template with `{NAME}` replaced by the captured text."""

    def text_of(place: re.Match[str]) -> str:
        captured = captures.get(place[1], "")
        return re.escape(captured) if escape else _short(captured)

    return _PLACE.sub(text_of, template)


def _applies(rule: Rule, source: Source) -> bool:
    if (rule.languages and source.language not in rule.languages) or (rule.whole and not source.whole):
        return False
    if rule.tests != "also" and source.is_test != (rule.tests == "only"):
        return False
    if rule.paths is not None and not _search(rule.paths, source.path):
        return False
    return rule.not_paths is None or not _search(rule.not_paths, source.path)


def _more_often(matches: list[Match], others: list[Match], source: Source) -> Iterator[Match]:
    there = Counter(match.text for match in others)
    here = Counter(match.text for match in matches)
    last: dict[str, int] = {}
    for match in matches:
        new = len(matches) > len(others) if match.spanning else here[match.text] > there[match.text]
        if match.line not in source.touched or not new:
            continue
        title = filled(match.rule.title, match.captures)
        if title not in last or match.line - last[title] > _SAME_PLACE:
            last[title] = match.line
            yield match


def _in_its_file(rule: Rule, match: Match, text: str) -> bool:
    if rule.unless_file is not None and re.search(filled(rule.unless_file, match.captures, True), text):
        return False
    with_file = rule.with_file
    if with_file is None or "{" not in with_file:
        return True
    return bool(re.search(filled(with_file, match.captures, True), text))


def _structural(rule: Rule, parsed: Parsed) -> Iterator[Match]:
    grammar = grammar_of(parsed.source)
    config = {
        name: value
        for name, value in (("rule", rule.rule), ("constraints", rule.constraints), ("utils", rule.utils))
        if value is not None
    }
    if not grammar:
        return
    for index, fragment in enumerate(parsed.source.fragments):
        tree = parsed.tree(index)
        nodes = guarded(partial(tree.find_all, config), f"{parsed.source.path}, rule `{rule.id}`")
        for node in nodes:
            match = _node_match(rule, node, fragment, parsed.source)
            if match is not None:
                yield match


def _node_match(rule: Rule, node: Any, fragment: Fragment, source: Source) -> Match | None:
    anchor = (node.get_match(rule.at) if rule.at else None) or node
    text = anchor.text()
    if rule.unless is not None and _search(rule.unless, node.text()):
        return None
    reach = anchor.range()
    line, spanning = fragment.number(reach.start.line), False
    if line not in source.touched and reach.end.line - reach.start.line <= _MAX_SPAN:
        inside = (fragment.number(index) for index in range(reach.start.line + 1, reach.end.line + 1))
        touched = next((number for number in inside if number in source.touched), None)
        line, spanning = (touched, True) if touched is not None else (line, False)
    if line is None:
        return None
    return Match(rule, line, _squeezed(text), _captures(rule, node), spanning)


def _captures(rule: Rule, node: Any) -> dict[str, str]:
    found = {name: node.get_match(name) for name in _places(rule)}
    return {name: captured.text() for name, captured in found.items() if captured is not None}


def _textual(rule: Rule, source: Source) -> Iterator[Match]:
    pattern = _compiled(rule.regex or "", rule.unit)
    for fragment in source.fragments:
        for start, unit in _units(rule.unit, fragment.text, source.language):
            # Most units hold no match: what excludes a unit is asked after it.
            places = list(pattern.finditer(unit))
            if not places or _excluded(rule, unit):
                continue
            for found in places:
                place = found.start(rule.at) if rule.at else found.start()
                line = fragment.number(fragment.text.count("\n", 0, start + place))
                if line is not None:
                    groups = {name.upper(): text or "" for name, text in found.groupdict().items()}
                    text = unit if rule.unit == "line" else found[0]
                    yield Match(rule, line, _squeezed(text), groups)


def _excluded(rule: Rule, unit: str) -> bool:
    if rule.unit == "line" and not rule.comments and _COMMENT.match(unit):
        return True
    return rule.unless is not None and _search(rule.unless, unit)


@lru_cache(maxsize=8)
def _units(unit: str, text: str, language: str) -> tuple[tuple[int, str], ...]:
    """Offsets and texts of what a rule is searched in; kept for the file's next rules."""
    if unit == "file":
        return ((0, text),)
    if unit == "statement":
        return tuple(statements(text, language))
    lines = text.split("\n")
    starts = accumulate((len(line) + 1 for line in lines), initial=0)
    return tuple(zip(starts, lines, strict=False))


def _parse(text: str, grammar: str) -> Any:
    from ast_grep_py import SgRoot

    return SgRoot(text, grammar).root()


@lru_cache(maxsize=4096)
def _compiled(regex: str, unit: str) -> re.Pattern[str]:
    return re.compile(regex, 0 if unit == "line" else re.MULTILINE)


def _search(regex: str, text: str) -> bool:
    """As `re.search`, whose cache is too small for the packs: it would compile rules again and again."""
    return _compiled(regex, "line").search(text) is not None


@lru_cache(maxsize=4096)
def _places_in(templates: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_PLACE.findall(templates)))


def _places(rule: Rule) -> tuple[str, ...]:
    return _places_in(f"{rule.title} {rule.unless_file or ''} {rule.with_file or ''}")


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def _short(text: str, limit: int = 40) -> str:
    squeezed = _squeezed(text).replace("`", "'")
    return squeezed if len(squeezed) <= limit else squeezed[: limit - 1] + "…"
