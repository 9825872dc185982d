"""`terazi rules`: list what the embedded finders look for, and explain one rule."""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

import typer

from service.backends.embedded.rule_catalog import RuleEntry, catalog, rule_named

app = typer.Typer(no_args_is_help=False)


class Format(StrEnum):
    """How to print the rules."""

    TABLE = "table"
    JSON = "json"


@app.callback(invoke_without_command=True)
def default(context: typer.Context) -> None:
    """List what the embedded finders look for, and explain one rule."""
    if context.invoked_subcommand is None:
        show()


@app.command("list")
def show(
    language: Annotated[str | None, typer.Option(help="Only rules that read this language.")] = None,
    category: Annotated[str | None, typer.Option(help="Only rules of this category.")] = None,
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.TABLE,
) -> None:
    """List the rules: id, category, language, title."""
    rules = [
        rule
        for rule in catalog()
        if (language is None or not rule.languages or language in rule.languages)
        and (category is None or rule.category == category)
    ]
    print(as_json(rules)) if format is Format.JSON else print_table(rules)


@app.command()
def explain(
    name: Annotated[str, typer.Argument(metavar="ID", help="The rule's id, as findings name it.")],
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.TABLE,
) -> None:
    """Say why a rule matters, how to put its fault right, and what it does and does not match."""
    rule = rule_named(name)
    print(as_json([rule]) if format is Format.JSON else as_text(rule))


def as_json(rules: Iterable[RuleEntry]) -> str:
    """A JSON list with one object per rule."""
    return json.dumps([rule.model_dump(mode="json") for rule in rules], indent=2, ensure_ascii=False)


def as_text(rule: RuleEntry) -> str:
    """Several paragraphs: the fault, why, fix, examples."""
    where = ", ".join(rule.languages) or "every file"
    side = "removed lines" if rule.scope == "removed" else "added lines"
    parts = [
        f"{rule.id} ({rule.category}; {where}; {side})",
        rule.title,
        f"Why: {rule.why}",
        f"Fix: {rule.fix}",
    ]
    parts += [f"Reported:\n{_indented(text)}" for text in rule.match]
    parts += [f"Not reported:\n{_indented(text)}" for text in rule.no_match]
    return "\n\n".join(parts)


def print_table(rules: Iterable[RuleEntry]) -> None:
    """A table on a terminal, tab-separated lines in a pipe."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    rows = [(rule.id, rule.category.value, ", ".join(rule.languages) or "any", rule.title) for rule in rules]
    if not console.is_terminal:
        print("\n".join("\t".join(row) for row in rows))
        return
    table = Table("id", "category", "language", "title")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console.print(table)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.rstrip("\n").split("\n"))
