"""Everything the embedded finders can report, as one list: for `terazi rules`, SARIF metadata and docs.

Collects what the packs, ruff's table and the finders without a pack define; defines nothing itself.
"""

from __future__ import annotations

import re
from difflib import get_close_matches

from review_data.domain import Category, Record
from review_data.errors import UserError
from service.backends.embedded import hidden_text, review_settings, secrets
from service.backends.embedded.packs import PACKS, Rule, all_rules
from service.backends.embedded.ruff_rules import RULES, WHOLE_FILE


class RuleEntry(Record):
    """One rule as people are told of it; `languages` empty means every file, `examples` may be none."""

    id: str
    category: Category
    languages: tuple[str, ...]
    scope: str
    title: str
    why: str
    fix: str
    match: tuple[str, ...] = ()
    no_match: tuple[str, ...] = ()


def catalog() -> tuple[RuleEntry, ...]:
    """Every rule: the packs' in their order, then ruff's, then those of the finders without a pack."""
    packs = tuple(_of_pack(rule) for rule in all_rules())
    return (*packs, *_of_ruff(), *_of_secrets(), *_of_hidden_text())


def rule_named(name: str) -> RuleEntry:
    """The rule with that id; `UserError` names ids like it."""
    rules = {rule.id: rule for rule in catalog()}
    if name in rules:
        return rules[name]
    near = (
        get_close_matches(name, rules, n=4, cutoff=0.5) or [key for key in rules if name.lower() in key][:4]
    )
    hint = f"did you mean {', '.join(f'`{key}`' for key in near)}?" if near else "`terazi rules` lists them"
    raise UserError(f"rules: there is no rule `{name}`; {hint}")


def _of_pack(rule: Rule) -> RuleEntry:
    return RuleEntry(
        id=rule.id,
        category=rule.category,
        languages=rule.languages or PACKS[rule.id.split("/")[0]],
        scope=rule.scope,
        title=re.sub(r"`?(?:\{[A-Z_]+\})+`?", "…", rule.title),
        why=rule.why,
        fix=rule.fix,
        match=rule.match,
        no_match=rule.no_match,
    )


def _of_ruff() -> tuple[RuleEntry, ...]:
    return tuple(
        RuleEntry(
            id=f"ruff/{code}",
            category=words.category,
            languages=("python",),
            scope="added",
            title=re.sub(r"\{\w+\}", "…", words.title) or f"ruff's rule {code}",
            why=words.why or f"See ruff's documentation of {code}.",
            fix=words.fix or f"`ruff rule {code}` explains it.",
        )
        for code, words in (RULES | WHOLE_FILE).items()
    )


def _of_secrets() -> tuple[RuleEntry, ...]:
    kinds = {
        "provider-format": "A token or key in a provider's format, or a private key, is in the code",
        "hard-coded": "A password, token or key is written into the code",
    }
    return tuple(
        _everywhere(f"secrets/{kind}", title, secrets.WHY, secrets.FIX) for kind, title in kinds.items()
    )


def _of_hidden_text() -> tuple[RuleEntry, ...]:
    hidden = "The line holds characters that can't be seen or that reorder it"
    orders = "Text in the change gives orders to an automatic reviewer"
    return (
        _everywhere(review_settings.RULE, review_settings.TITLE, review_settings.WHY, review_settings.FIX),
        _everywhere("text/hidden-characters", hidden, hidden_text.HIDDEN_WHY, hidden_text.HIDDEN_FIX),
        _everywhere("text/orders-to-reviewer", orders, hidden_text.ORDERS_WHY, hidden_text.ORDERS_FIX),
    )


def _everywhere(name: str, title: str, why: str, fix: str) -> RuleEntry:
    return RuleEntry(
        id=name, category=Category.SECURITY, languages=(), scope="added", title=title, why=why, fix=fix
    )
