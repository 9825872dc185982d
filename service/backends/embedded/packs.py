"""Rule packs: what a rule file may say, and its loading. One YAML file per language in `rules/`.

Owns the shape of a rule and the errors about it; running rules is in `service.backends.embedded.matching`.
docs/rules.md describes the format for authors.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from review_data.domain import Category, Record
from review_data.errors import DataError

RULES_FOLDER: Final = Path(__file__).parent / "rules"
# Pack file -> languages (review_data.language names) whose files it reads.
PACKS: Final[dict[str, tuple[str, ...]]] = {
    "python": ("python",),
    "javascript": ("typescript", "javascript"),
    "go": ("go",),
    "java": ("java",),
    "kotlin": ("kotlin",),
    "csharp": ("csharp",),
    "c": ("c", "cpp"),
    "cpp": ("cpp",),
    "rust": ("rust",),
    "ruby": ("ruby",),
    "php": ("php",),
    "shell": ("shell",),
    "yaml": ("yaml",),
    "hcl": ("terraform",),
    "sql": ("sql",),
    "dockerfile": ("dockerfile",),
    "any": (),
}


class Rule(Record):
    """One rule. Exactly one of `rule` (ast-grep) and `regex` says what it looks for.

    `unit` is what a `regex` is searched in: a line, a statement (SQL statement, Dockerfile instruction with
    its continuations, top-level HCL block, YAML document) or the whole text at hand. `at` names the
    metavariable or group whose line the issue stands on. `unless` is searched in the match (structural) or
    the unit (regex), `unless_file` and `with_file` in the file's text at hand, `unless_other` in that of the
    other side of the change. `{NAME}` in `title`, `unless_file`, `with_file` and `replaced_by` stands for
    what was captured. `replaced` asks that a line like the removed one takes its place, false that no line
    at all does, `replaced_by` what the line in its place must match, `yields_to` names rules that say the
    same of a statement better. `needs` are literals of which one must occur in the text; `whole` rules want
    the whole file at hand.
    """

    id: str = Field(pattern=r"^[a-z]+/[a-z0-9-]+$")
    category: Category
    title: str = Field(min_length=8, max_length=110)
    why: str = Field(min_length=20)
    fix: str = Field(min_length=10)
    rule: dict[str, Any] | None = None
    constraints: dict[str, Any] | None = None
    utils: dict[str, Any] | None = None
    regex: str | None = None
    unit: Literal["line", "statement", "file"] = "line"
    scope: Literal["added", "removed"] = "added"
    at: str | None = None
    needs: tuple[str, ...] = ()
    unless: str | None = None
    unless_file: str | None = None
    with_file: str | None = None
    unless_other: str | None = None
    paths: str | None = None
    not_paths: str | None = None
    tests: Literal["no", "also", "only"] = "no"
    comments: bool = False
    whole: bool = False
    replaced: bool | None = None
    replaced_by: str | None = None
    yields_to: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    match: tuple[str, ...] = Field(min_length=2)
    no_match: tuple[str, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _has_one_matcher(self) -> Self:
        if (self.rule is None) == (self.regex is None):
            raise ValueError("needs exactly one of `rule` and `regex`")
        return self


class Pack(Record):
    """The rules of one file."""

    name: str
    rules: tuple[Rule, ...]


@cache
def load_pack(name: str) -> Pack:
    """The packaged rules of one pack; `DataError` names file and rule of what is wrong."""
    return read_pack(RULES_FOLDER / f"{name}.yaml")


def read_pack(path: Path) -> Pack:
    """The rules of a file: a YAML list of mappings, read with the safe loader."""
    try:
        rows = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"can't be read as YAML ({error}); correct the file", file=path) from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError("is not a list of rules; start each rule with `- id:`", file=path)
    rules = tuple(_rule(path, row) for row in rows)
    _refuse_repeats(path, rules)
    return Pack(name=path.stem, rules=rules)


def all_rules() -> tuple[Rule, ...]:
    """Every packaged rule, in the order of packs and files."""
    return tuple(rule for name in PACKS for rule in load_pack(name).rules)


def packs_for(language: str) -> tuple[Pack, ...]:
    """The packs that read files of a language; the pack `any` reads all."""
    names = [name for name, languages in PACKS.items() if language in languages]
    return tuple(load_pack(name) for name in (*names, "any"))


def _rule(path: Path, row: dict[str, Any]) -> Rule:
    name = row.get("id", "?")
    try:
        rule = Rule.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "rule"
        raise DataError(f"rule `{name}`: {first['msg']}", file=path, field=where) from None
    if rule.id.split("/")[0] != path.stem:
        raise DataError(f"rule `{name}`: its id must start with `{path.stem}/`", file=path, field="id")
    return rule


def _refuse_repeats(path: Path, rules: tuple[Rule, ...]) -> None:
    seen: set[str] = set()
    for rule in rules:
        if rule.id in seen:
            raise DataError(f"rule `{rule.id}` is defined twice; ids are unique", file=path, field="id")
        seen.add(rule.id)


def read_yaml(text: str) -> Any:
    """What the safe loader gives for lists and mappings of text, in two thirds of its time.

    Raises `yaml.YAMLError`, also for keys that are no text.
    """
    loader = _loader()(text)
    try:
        return _plain(loader, loader.get_single_node())
    except RecursionError:
        raise yaml.YAMLError("an alias stands in what it names") from None
    finally:
        loader.dispose()


def _plain(loader: Any, node: yaml.Node | None) -> Any:
    tag = "" if node is None else node.tag.removeprefix("tag:yaml.org,2002:")
    if node is None or tag == "str":
        return node and node.value
    if tag == "seq":
        return [_plain(loader, part) for part in node.value]
    if tag == "map":
        return {_key(key): _plain(loader, part) for key, part in node.value}
    return loader.construct_object(node, deep=True)


def _key(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode) or not node.tag.endswith(":str"):
        raise yaml.YAMLError(f"a key is no text{node.start_mark}")
    return str(node.value)


def _loader() -> Any:
    """The C parser where PyYAML was built with it: several times faster, as safe."""
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)
