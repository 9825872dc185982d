"""Runs one rule over one piece of text, the way a finder does with a whole new file."""

from __future__ import annotations

from review_data.domain import Side
from service.backends.embedded.matching import Match, Parsed, find
from service.backends.embedded.packs import PACKS, Rule
from service.backends.embedded.sources import Fragment, Source

# Rules of the pack `any` are tried in a language with a small grammar.
_ANY = ("python",)


def languages_of(rule: Rule) -> tuple[str, ...]:
    """The languages whose grammars a rule's examples must work with."""
    return rule.languages or PACKS[rule.id.split("/")[0]] or _ANY


def matches(rule: Rule, text: str, language: str) -> list[Match]:
    """The rule's matches in the text."""
    lines = text.split("\n")
    fragment = Fragment(text, tuple(range(1, len(lines) + 1)))
    touched = dict(enumerate(lines, start=1))
    # The name picks the grammar that reads JSX too; other languages do not look at it.
    source = Source("example.tsx", Side.NEW, language, (fragment,), touched, True)
    return list(find(rule, Parsed(source)))
