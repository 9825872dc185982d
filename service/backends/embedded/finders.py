"""The embedded backend's finders, each a `Finder` of its own so that one's crash leaves the rest working.

Owns their planning (which files, how many per chunk) and the loop over files. What they look for is in
the rule packs and in the modules named here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from review_data.domain import FileChange, Issue, Side, Skip, SkipKind
from review_data.errors import BackendError
from review_data.secrets import mask
from service.backends.embedded.guards import is_gone
from service.backends.embedded.hidden_text import hidden_text
from service.backends.embedded.issues import at_replacement, issue_of
from service.backends.embedded.matching import Match, Parsed, introduced
from service.backends.embedded.packs import Rule, packs_for
from service.backends.embedded.review_settings import review_settings
from service.backends.embedded.ruff import RuffFinder
from service.backends.embedded.secrets import exposed_secrets
from service.backends.embedded.sources import language, source_of
from service.ports import Change, Chunk, Finder, Found, Plan

_FILES_PER_CHUNK: Final = 40
# How many lines apart two findings about one statement stand at most.
_SAME_STATEMENT: Final = 4
# Rows and prose, in which code is only spoken of; secrets and hidden text are looked for there too.
_NO_CODE: Final = re.compile(r"(?i)\.(?:jsonl|ndjson|csv|tsv|txt|log|md|markdown|rst|adoc)$")
_SEPARATE: Final = ("sql", "dockerfile")
_STRUCTURAL: Final = frozenset(
    {
        "python",
        "typescript",
        "javascript",
        "go",
        "java",
        "kotlin",
        "csharp",
        "c",
        "cpp",
        "rust",
        "ruby",
        "php",
        "shell",
        "yaml",
        "terraform",
        "html",
        "",
    }
)

Look = Callable[[Change, FileChange], Iterable[Issue]]


@dataclass(frozen=True)
class FileFinder:
    """A finder that looks at one file at a time; `languages` None means every file."""

    name: str
    look: Look
    languages: frozenset[str] | None = None
    concurrency: int = field(default=2)

    def plan(self, change: Change) -> Plan:
        """Files with text of the finder's languages, some dozens per chunk."""
        files = [
            file
            for file in change.request.files
            if file.hunks and not file.binary and (self.languages is None or language(file) in self.languages)
        ]
        groups = [files[at : at + _FILES_PER_CHUNK] for at in range(0, len(files), _FILES_PER_CHUNK)]
        return Plan(
            tuple(
                Chunk(f"{self.name}-{number}", tuple(group), change) for number, group in enumerate(groups, 1)
            )
        )

    def find(self, chunk: Chunk) -> Found:
        """Issues of the chunk's files; a file that fails is a skip, all of them failing is `BackendError`."""
        issues: list[Issue] = []
        skips: list[Skip] = []
        for file in chunk.files:
            try:
                issues.extend(self.look(chunk.change, file))
            except BackendError as error:
                skips.append(
                    Skip(path=file.path, reason=mask(f"{self.name}: {error}"), kind=SkipKind.BACKEND_ERROR)
                )
        if skips and len(skips) == len(chunk.files):
            raise BackendError(skips[0].reason)
        return Found(tuple(issues), tuple(skips))


def embedded_finders() -> tuple[Finder, ...]:
    """Every finder of the embedded backend."""
    return (
        FileFinder("rules", added_faults, _STRUCTURAL),
        *(FileFinder(name, added_faults, frozenset({name})) for name in _SEPARATE),
        FileFinder("removed-guards", removed_guards),
        RuffFinder(),
        FileFinder("secrets", exposed_secrets),
        FileFinder("hidden-text", hidden_text),
        FileFinder("review-settings", review_settings),
    )


def added_faults(change: Change, file: FileChange) -> Iterable[Issue]:
    """Faults that added lines bring, by the rule packs of the file's language."""
    if _NO_CODE.search(file.path):
        return []
    source = source_of(change, file, Side.NEW)
    matches = introduced(
        rules_for(source.language, "added"), Parsed(source), lambda: Parsed(source_of(change, file, Side.OLD))
    )
    return [issue_of(match, source, "rules") for match in _said_once(list(matches))]


def removed_guards(change: Change, file: FileChange) -> Iterable[Issue]:
    """Protections that the change takes away and does not put anywhere else."""
    if not file.removed or _NO_CODE.search(file.path):
        return []
    source = source_of(change, file, Side.OLD)
    matches = introduced(
        rules_for(source.language, "removed"),
        Parsed(source),
        lambda: Parsed(source_of(change, file, Side.NEW)),
    )
    gone = _said_once([match for match in matches if is_gone(match, change, file)])
    # One rewrite takes several lines of a guard away: the first speaks for all.
    gone = list({match.rule.id: match for match in reversed(gone)}.values())
    return [at_replacement(issue_of(match, source, "removed-guards"), file) for match in gone]


def _said_once(matches: list[Match]) -> list[Match]:
    """Leaves out what a rule says of a statement that the rule it yields to has found as well."""
    return [
        match
        for match in matches
        if not any(
            other.rule.id in match.rule.yields_to and abs(other.line - match.line) <= _SAME_STATEMENT
            for other in matches
        )
    ]


@cache
def rules_for(name: str, scope: str) -> tuple[Rule, ...]:
    """The rules of one scope that read files of a language."""
    return tuple(rule for pack in packs_for(name) for rule in pack.rules if rule.scope == scope)
