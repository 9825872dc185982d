"""Every rule's own examples, and the loading of rule files."""

from __future__ import annotations

from pathlib import Path

import pytest

from review_data.errors import DataError
from service.backends.embedded.packs import PACKS, load_pack, read_pack
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
