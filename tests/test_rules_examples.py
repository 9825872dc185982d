"""Every rule's own examples, and the loading of rule files."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from review_data.errors import DataError
from service.backends.embedded.packs import PACKS, RULES_FOLDER, load_pack, read_pack, read_yaml
from tests.support.rule_examples import languages_of, matches


@pytest.mark.parametrize("name", PACKS)
def test_examples(name: str) -> None:
    """Each rule of a pack matches all its `match` examples and none of its near misses, in each language."""
    wrong = []
    for rule in load_pack(name).rules:
        for language in languages_of(rule):
            wrong += [
                f"{rule.id} misses {text!r} ({language})"
                for text in rule.match
                if not matches(rule, text, language)
            ]
            wrong += [
                f"{rule.id} hits {text!r} ({language})"
                for text in rule.no_match
                if matches(rule, text, language)
            ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("- id: broken/a\n  category: nonsense\n", "rule `broken/a`"),
        ("a: 1\n", "not a list of rules"),
        ("- id: [", "can't be read as YAML"),
        ("- !!python/object/apply:os.system ['true']\n", "can't be read as YAML"),
    ],
)
def test_broken_file(tmp_path: Path, text: str, part: str) -> None:
    """A rule file that is wrong is refused with the file's name and the rule's id."""
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=r"broken\.yaml") as caught:
        read_pack(path)
    assert part in str(caught.value)


@pytest.mark.parametrize("name", PACKS)
def test_packs_read_as_the_safe_loader_reads_them(name: str) -> None:
    """The quicker reading changes nothing."""
    text = (RULES_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    assert read_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    "text",
    ["&a [*a]", "? [1, 2]\n: x", "1: x", "!!python/object/apply:os.getcwd []", "a: [", "a: 1\n---\nb: 2"],
)
def test_what_rules_have_no_use_for_is_refused(text: str) -> None:
    """Recursion, composite keys, tags and broken YAML are errors of one kind."""
    with pytest.raises(yaml.YAMLError):
        read_yaml(text)
